"""The record against the machine: a process killed at any moment, a disk that is really full, a disk that may really only be read."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from device.store import Store

pytestmark = pytest.mark.integration

WRITER = """
import sys
from datetime import datetime, timezone
import numpy as np
from device.errors import StoreError
from device.slide.model import Cell, Field, Slide
from device.store import Provenance, Store
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI

now = datetime(2026, 11, 23, tzinfo=timezone.utc)
model = EngineInfo("attridet-n", "1.0.0", "ab" * 32, "onnxruntime", "fp32", (640, 640), LEUKEMIA_ATTRI, 0.25)

def field(index):
    cell = Cell(1, 0.9, True, (0.0, 0.0, 9.0, 9.0), np.zeros(15, np.float32), bytes([index % 256]) * 5000)
    return Field(index, now, "test", (640, 480), 1.0, (cell,) * (index % 5))

def begin(store):
    store.start_slide(Slide("s", now), Provenance(model, 0.4, None, None, device_id="box-1", boot_id="b-1", time_trusted=True))
"""

ENDLESS = """
with Store.open(sys.argv[1]) as store:
    begin(store)
    index = 0
    while True:
        index += 1
        store.put_field("s", field(index))
        print(index, flush=True)
"""

UNTIL_FULL = """
from pathlib import Path
ballast = Path(sys.argv[1]).parent / "ballast"
ballast.write_bytes(bytes(400_000))
with Store.open(sys.argv[1]) as store:
    begin(store)
    index = 0
    try:
        while True:
            index += 1
            store.put_field("s", field(index))
    except StoreError as error:
        print(error)
    print(len(store.slide("s").slide.fields) == index - 1 > 3)
    ballast.unlink()
    store.put_field("s", field(index))
    print(len(store.slide("s").slide.fields) == index)
with Store.open(sys.argv[1]) as store:
    print(store.put_aside is None and len(store.slide("s", with_crops=True).slide.fields) == index)
"""

ONE_FIELD = """
with Store.open(sys.argv[1]) as store:
    begin(store)
    store.put_field("s", field(1))
"""

READ_ONLY = """
try:
    Store.open(sys.argv[1])
except StoreError as error:
    print(error)
with Store.read(sys.argv[1]) as store:
    print(len(store.slide("s").slide.fields))
    try:
        store.put_field("s", field(9))
    except StoreError as error:
        print(error)
try:
    Store.connect(sys.argv[1])
except StoreError as error:
    print(error)
"""


def test_every_acknowledged_field_outlives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "record.sqlite"
    with subprocess.Popen([sys.executable, "-c", WRITER + ENDLESS, path], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(0.3 + random.random() / 2)  # not at a moment that the child chose
        child.send_signal(signal.SIGKILL)
        acknowledged = [int(line) for line in (first, *child.stdout) if line.endswith("\n")]
    assert child.returncode == -signal.SIGKILL
    assert len(acknowledged) >= 2
    with Store.open(path) as store:
        assert store.put_aside is None
        assert [each.slide.slide_id for each in store.unfinished()] == ["s"]
        slide = store.slide("s", with_crops=True).slide
        indices = [f.index for f in slide.fields]
        assert indices[: len(acknowledged)] == acknowledged
        assert len(indices) <= len(acknowledged) + 1  # one more may have been committed, its line not yet written
        for field in slide.fields:
            assert [c.crop_jpeg for c in field.cells] == [bytes([field.index % 256]) * 5000] * (field.index % 5)


def on_own_disk(folder: Path, mount: str, child: str) -> list[str]:
    """Lines that `child` prints when run in a mount namespace of its own, after `mount` was done at `folder`."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare, to mount a small disk")
    script = f'set -e; {mount}; exec "$0" -c "$1" "$2/record.sqlite"'
    command = ["unshare", "-m", "sh", "-c", script, sys.executable, WRITER + child, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode and "mount" in done.stderr and "Traceback" not in done.stderr:
        pytest.skip(f"this machine lets nothing be mounted: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_disk_that_fills_up_stops_nothing_for_good(tmp_path: Path) -> None:
    lines = on_own_disk(tmp_path, f"mount -t tmpfs -o size=1m none {tmp_path}", UNTIL_FULL)
    assert "the disk is full (0 MB free): free space on it, then it goes on" in lines[0]
    assert str(tmp_path / "record.sqlite") in lines[0]
    assert lines[1:] == ["True", "True", "True"]


def test_a_read_only_disk_can_still_be_read(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", WRITER + ONE_FIELD, tmp_path / "record.sqlite"], check=True)
    lines = on_own_disk(tmp_path, f"mount --bind {tmp_path} {tmp_path}; mount -o remount,bind,ro {tmp_path}", READ_ONLY)
    assert "Read-only file system; check record.path and this user's rights" in lines[0]
    assert lines[1] == "1"
    assert "it may only be read: mount its disk read-write" in lines[2]
    assert "may only be read: mount its disk read-write" in lines[3], "else no connection of the process could ever write again"

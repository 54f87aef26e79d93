"""`leukoscope run` as a process of its own, with the shipped engine: memory, SIGTERM, the control socket, a kill without warning."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from device.errors import StoreError
from device.slide.model import SlideState
from device.store import Store

pytestmark = pytest.mark.integration

PATIENCE_S = 90.0
GIB = 1 << 30


def configuration(folder: Path, width_px: int = 1920, height_px: int = 1080) -> Path:
    file = folder / "device.yaml"
    file.write_text(
        f"camera: {{kind: simulator, loop: true, live: true, width_px: {width_px}, height_px: {height_px}}}\n"
        f"device: {{id: process-test, state_dir: {folder / 'state'}}}\nengine: {{runtime: onnx, precision: float32}}\n"
        "display: {kind: file, directory: screens, period_s: 1}\n"
        "broker: {enabled: false}\nslide: {auto_start: true}\nlog_level: warning\n"
    )
    return file


@contextmanager
def daemon(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "device", "run", "--config", str(config)], stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()


def until(holds: Callable[[], bool], what: str | Callable[[], str]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"never came: {what if isinstance(what, str) else what()}"
        time.sleep(0.2)


def fields_counted(record: Path) -> int:
    try:
        with Store.read(record) as store:
            return sum(len(stored.slide.fields) for stored in store.slides(5))
    except StoreError as error:  # until the daemon has begun it
        assert "there is none yet" in str(error)
        return 0


def peak_bytes(pid: int) -> int:
    """Peak of a process's own memory; the rusage of a child counts what the parent had when it forked, and pytest may have a GiB."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def ask(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "device", *words, "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_memory_commands_and_sigterm(tmp_path: Path) -> None:
    config, record = configuration(tmp_path), tmp_path / "state" / "record.sqlite"
    with daemon(config) as process:
        until(lambda: fields_counted(record) >= 2, "two counted fields")
        status = json.loads(ask(config, "status").stdout)
        assert status["state"] == "online" and status["slide"]["fields"] >= 1 and status["simulated"] is True
        refused = ask(config, "slide", "start")
        assert refused.returncode == 2 and "a slide is open" in refused.stderr
        assert "taken back" in ask(config, "slide", "undo").stdout
        peak = peak_bytes(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    assert peak < GIB, f"peak {peak / 2**20:.0f} MiB"
    with Store.read(record) as store:
        slide = store.slides(5)[0].slide
    assert slide.state is SlideState.PAUSED and not slide.abort_reason
    assert slide.fields_undone == 1 and len(slide.fields) >= 1
    assert list((tmp_path / "screens").glob("screen-*.png"))
    assert not (tmp_path / "state" / "control.sock").exists()


def test_a_slide_cut_off_without_warning_goes_on_at_the_next_start(tmp_path: Path) -> None:
    config, record = configuration(tmp_path, 960, 540), tmp_path / "state" / "record.sqlite"
    with daemon(config) as process:
        until(lambda: fields_counted(record) >= 1, "a counted field")
        process.send_signal(signal.SIGKILL)
        process.wait()
    with Store.read(record) as store:
        (left,) = store.unfinished()
    assert left.slide.state is SlideState.COUNTING
    with daemon(config) as process:
        until(lambda: fields_counted(record) > len(left.slide.fields), "one more counted field")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    with Store.read(record) as store:
        (again,) = store.unfinished()
        assert store.slide_ids() == [left.slide.slide_id]
    assert again.slide.state is SlideState.PAUSED
    before = {field.index: field for field in left.slide.fields}
    after = {field.index: field for field in again.slide.fields}
    assert len(after) > len(before)
    counted = {cell.cell_id for field in after.values() for cell in field.cells}
    for index, field in before.items():  # as it was, or by a sharper look at the same place
        assert after[index].focus >= field.focus
        assert {cell.cell_id for cell in field.cells} <= counted, "one that the border cut may be counted elsewhere, as a whole"

"""Damage in the slide that was open: the appliance starts, the slide is named and left as it is, others are counted and read."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from device.cli import call
from device.slide.commands import Command, Wish
from device.store import Store
from tests.support.picture_line import DESK, OneNeutrophil, Pictures, counted, pipeline_of

pytestmark = pytest.mark.integration

OPEN = "(SELECT slide_id FROM slides WHERE state = 'counting')"
DAMAGE = {
    "attributes": f"UPDATE cells SET attributes = '[0.1, ' WHERE slide_id = {OPEN}",
    "class": f"UPDATE cells SET class_index = 99 WHERE slide_id = {OPEN}",
    "taxonomy": "UPDATE models SET taxonomy = '{}'",
    "source": "UPDATE slides SET source = '{}' WHERE state = 'counting'",
    "calibration": "UPDATE slides SET calibration = '{bad' WHERE state = 'counting'",
    "started_at": "UPDATE slides SET started_at = 'yesterday' WHERE state = 'counting'",
    "review_state": "UPDATE slides SET review_state = 'maybe' WHERE state = 'counting'",
    "captured_at": f"UPDATE fields SET captured_at = 'x' WHERE slide_id = {OPEN}",
    "faults": f"UPDATE fields SET faults = '[\"no such fault\"]' WHERE slide_id = {OPEN}",
    "state": "UPDATE slides SET state = 'aborNed' WHERE state = 'counting'",
    "keyframes": f"UPDATE keyframes SET picture = x'00ff' WHERE slide_id = {OPEN}",
    "skipped": "UPDATE slides SET skipped = '[1]' WHERE state = 'counting'",
    "naming": "UPDATE slides SET naming = '{\"x\": 1}' WHERE state = 'counting'",
    "target": "UPDATE slides SET target_cells = -5 WHERE state = 'counting'",
    "schema_version": "DELETE FROM schema_version",
}


@pytest.mark.parametrize("what", DAMAGE)
def test_the_appliance_starts_and_counts_whatever_is_damaged(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "record.sqlite"
    with Store.open(record) as store:
        finished = counted(tmp_path, store, [1, 1, 1, 2, 2, 2], finish=True)
        left = counted(tmp_path, store, [3, 3, 3, 4, 4, 4], finish=False)
    with sqlite3.connect(record) as db:
        db.execute(DAMAGE[what])
        rows = db.execute("SELECT * FROM slides ORDER BY sequence").fetchall()
    db.close()
    for _ in range(2):  # the second start finds it put aside already
        with Store.open(record) as store:
            pipeline = pipeline_of(tmp_path, Pictures([5, 5, 5, 6, 6, 6]), OneNeutrophil(), store=store, rules=DESK)
            assert not pipeline.recovers
            if pipeline.slide is not None and pipeline.slide.is_open:
                assert pipeline.slide.slide_id == left
                continue
            assert pipeline.obey(Wish(Command.START, sure=True))[0]
            for _ in range(6):
                pipeline.round()
            assert pipeline.slide is not None and len(pipeline.slide.fields) == 2
            pipeline.view()
            assert pipeline.obey(Wish(Command.FINISH, sure=True))[0]
            assert pipeline.close()
            if what not in ("taxonomy", "schema_version"):
                assert store.slide(finished).slide.slide_id == finished
    with sqlite3.connect(record) as db:
        after = db.execute("SELECT * FROM slides ORDER BY sequence LIMIT 2").fetchall()
    db.close()
    assert after[0] == rows[0]
    config = tmp_path / "device.yaml"
    config.write_text(
        f"camera: {{kind: replay, source: {tmp_path}}}\ndevice: {{id: unit, state_dir: {tmp_path}}}\n"
        "display: {kind: none}\nbroker: {enabled: false}\n"
    )
    assert call(["slides", "--config", str(config)]) in (0, 1)
    told = capsys.readouterr()
    assert left in told.out + told.err, "it is named"
    assert call(["report", left, "--out", str(tmp_path / "page.html"), "--config", str(config)]) in (0, 1, 2)
    assert "Traceback" not in capsys.readouterr().err


STUCK = """
import os, signal, sys, threading, time
from device.service.signals import ending_signals
kept = []
with ending_signals(lambda reason: kept.append(reason), lambda: print("kept elsewhere", flush=True), stuck_s=0.5):
    threading.Timer(0.3, os.kill, (os.getpid(), int(sys.argv[1]))).start()
    import ctypes
    ctypes.PyDLL(None).usleep(0)
    end = time.monotonic() + 20
    while time.monotonic() < end and not (kept and sys.argv[2] == "obeys"):
        time.sleep(0.05) if sys.argv[2] == "obeys" else sum(range(10_000_000)) and ctypes.CDLL(None).sleep(15)
print("ended in order", flush=True)
"""


@pytest.mark.parametrize(("how", "code", "said"), [("obeys", 0, "ended in order"), ("hangs", 1, "kept elsewhere")])
def test_a_main_thread_that_hangs_in_a_library_does_not_keep_the_process(how: str, code: int, said: str) -> None:
    import signal

    command = [sys.executable, "-c", STUCK, str(int(signal.SIGTERM)), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=15, check=False)
    assert (done.returncode, done.stdout.strip()) == (code, said), done.stderr

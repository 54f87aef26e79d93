"""Makes a record as the code at hand writes it, with a slide of each end: finished, aborted, and cut off while it was counted.

`python -m tests.support.freeze_record tests/records/4-COMMIT.sqlite` (tests/messages/README.md); `leukoscope run` three times with the
shipped engine over rendered film, the third killed. Nothing here runs in the daemon.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

from device.errors import StoreError
from device.store import Store

_PATIENCE_S = 120.0
_CONFIGURATION = """\
camera: {kind: simulator, loop: true, live: true, width_px: 960, height_px: 540}
device: {id: frozen}
engine: {runtime: onnx, precision: float32}
display: {kind: none}
broker: {enabled: true, host: 127.0.0.1, port: 9}
record: {jpeg_quality: 60}
log_level: error
"""


def main(target: Path) -> None:
    """Write the record to `target`, which must not be there yet."""
    if target.exists():
        raise SystemExit(f"{target}: is there already; frozen records are only added")
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "state" / "record.sqlite"
        config = Path(folder) / "device.yaml"
        config.write_text(_CONFIGURATION.replace("id: frozen", f"id: frozen, state_dir: {record.parent}"))
        for number, end in enumerate((["finish", "--anyway"], ["abort", "--reason", "poor film"], [])):
            _one(config, record, f"H26-10431{number}", end)
        with closing(sqlite3.connect(record)) as db:
            db.execute("PRAGMA journal_mode = delete")
        target.write_bytes(record.read_bytes())


def _one(config: Path, record: Path, specimen: str, end: list[str]) -> None:
    """One run with one slide of three fields, of which one is taken back; `end` empty: it is killed."""
    process = subprocess.Popen([sys.executable, "-m", "device", "run", "--config", str(config)])
    try:
        _until(lambda: _asked(config, "start", "--specimen", specimen, "--operator", "AB"))
        _until(lambda: _fields(record) >= 3)
        assert _asked(config, "undo")
        _until(lambda: _fields(record) >= 3)
        assert not end or _asked(config, *end)
    finally:
        process.send_signal(signal.SIGTERM if end else signal.SIGKILL)
        process.wait(30)


def _asked(config: Path, *words: str) -> bool:
    command = [sys.executable, "-m", "device", "slide", *words, "--config", str(config)]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def _fields(record: Path) -> int:
    with suppress(StoreError), Store.read(record) as store:
        return len(store.slides(1)[0].slide.fields)
    return 0


def _until(holds: object) -> None:
    assert callable(holds)
    end = time.monotonic() + _PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "it never came so far"
        time.sleep(0.2)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

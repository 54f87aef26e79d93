"""The daemon as `leukoscope` runs it, in a process of its own, with an engine that sees one cell in each picture.

`python -m tests.support.surviving_line WORDS...` is `leukoscope WORDS...` with that engine.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import pytest

PATIENCE_S = 60.0
ROOT = Path(__file__).resolve().parents[2]


def until(holds: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until it holds."""
    end = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.05)


class Box:
    """An appliance in `folder`: its configuration, its pictures, and the process that runs it. record: where, default in the state
    folder. camera, broker, display: their sections; default stored pictures, none, none. module: what is run as `leukoscope`."""

    def __init__(
        self,
        folder: Path,
        record: Path | None = None,
        slide: str = "auto_start: true",
        extra: str = "",
        camera: str = "",
        broker: str = "enabled: false",
        display: str = "kind: none",
        module: str = "tests.support.surviving_line",
    ) -> None:
        from tests.support.picture_line import picture

        self.folder, self.state = folder, folder / "state"
        self.record = record or self.state / "record.sqlite"
        self.config, self.log = folder / "device.yaml", folder / "log"
        self.pictures, self.module = folder / "pictures", module
        self.pictures.mkdir(exist_ok=True)
        for number in range(12):
            cv2.imwrite(str(self.pictures / f"{number:02}.png"), picture(number))
        camera = camera or f"kind: replay, source: {self.pictures}, hold_frames: 3, loop: true, fps: 15"
        self.config.write_text(
            f"camera: {{{camera}}}\n"
            f"device: {{id: box, state_dir: {self.state}}}\nrecord: {{path: {self.record}, min_free_mb: 0, pictures: false}}\n"
            f"display: {{{display}}}\nbroker: {{{broker}}}\nslide: {{{slide}}}\n{extra}"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str] | None = None) -> Box:
        """Run it; what it says is added to the log."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module, "run", "--config", str(self.config), "--wait-for-devices"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
            )
        return self

    def up(self) -> Box:
        """Wait until it answers."""
        until(lambda: self.ended is not None or self.status() is not None, "an answer")
        assert self.ended is None, self.said
        return self

    @property
    def ended(self) -> int | None:
        assert self.process is not None
        return self.process.poll()

    def end(self, number: int = signal.SIGTERM, patience_s: float = PATIENCE_S) -> int:
        """Send a signal; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(patience_s)

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def status(self) -> dict[str, Any] | None:
        """What it says of itself; None where it does not answer."""
        answer = self.ask("status")
        return None if answer is None else answer.get("status")

    def ask(self, command: str, **words: object) -> dict[str, Any] | None:
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.state / "control.sock"))
            connection.sendall(json.dumps({"command": command, **words}).encode() + b"\n")
            with connection.makefile("rb") as answer:
                told: dict[str, Any] = json.loads(answer.readline())
                return told
        return None

    @property
    def fields(self) -> int:
        """Fields of the open slide, as the daemon tells it; 0 without one."""
        status = self.status()
        slide = None if status is None else status["slide"]
        return 0 if slide is None else int(slide["fields"])

    @property
    def record_lamp(self) -> str:
        """Level and words of the record."""
        status = self.status()
        return "" if status is None else f"{status['record']['level']} {status['record']['text']}"

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`leukoscope WORDS --config …` beside it."""
        asked = [sys.executable, "-m", "tests.support.surviving_line", *words, "--config", str(self.config)]
        return subprocess.run(asked, capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=ROOT)


def fields_told(said: str) -> Iterator[tuple[str, int]]:
    """Slide and number of each field that a log tells as counted, or as counted again from a sharper frame."""
    current = ""
    for line in said.splitlines():
        if found := re.search(r"[Ss]lide (\S+) (?:started|is counted on|was open)", line):
            current = found[1]
        elif found := re.search(r"Field (\d+) counted", line):
            yield current, int(found[1])


@contextmanager
def small_disk(place: Path, size: str = "4m", options: str = "") -> Iterator[Path]:
    """A file system of its own at `place`, which can be full or read-only; needs root, skips elsewhere."""
    place.mkdir(exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}{options}", "none", str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"this machine lets nothing be mounted: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def fill(place: Path) -> Path:
    """Leave no byte free; the file to be removed."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


def main() -> None:
    """`leukoscope` with the stand-in engine."""
    import device.line
    from device.cli import call
    from tests.support.picture_line import OneNeutrophil

    device.line.open_configured = lambda config: OneNeutrophil()  # type: ignore[assignment,return-value]
    sys.exit(call(sys.argv[1:]))


if __name__ == "__main__":
    main()

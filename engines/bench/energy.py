"""Joules, where the board has a counter: Intel's and AMD's counters (RAPL) or a Jetson's tegrastats."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
_BOARD_POWER = re.compile(r"\b(?:VDD_IN|POM_5V_IN) (\d+)mW/")
_EVERY_MS = 100


class Rapl:
    """The processor packages' own counters, added up."""

    name = "RAPL, processor packages"

    def __init__(self, packages: list[Path]) -> None:
        self._packages = packages
        self._ranges = [int((p / "max_energy_range_uj").read_text()) for p in packages]
        self._last = [int((p / "energy_uj").read_text()) for p in packages]
        self._spent_uj = 0

    def joules(self) -> float:
        """So far, since some moment before, whoever used them."""
        for at, package in enumerate(self._packages):
            now = int((package / "energy_uj").read_text())
            self._spent_uj += (now - self._last[at]) % (self._ranges[at] + 1)  # it begins again at 0 when it is full
            self._last[at] = now
        return self._spent_uj / 1e6


class Tegrastats:
    """A Jetson's power of the whole board, summed up from what `tegrastats` prints."""

    name = "tegrastats, whole board"

    def __init__(self) -> None:
        self._joules, self._watts, self._since_s = 0.0, 0.0, 0.0
        self._lock = threading.Lock()

    def add_line(self, line: str, now_s: float) -> None:
        """One line of tegrastats at this moment of a monotonic clock; lines without the board's power change nothing."""
        match = _BOARD_POWER.search(line)
        if match is None:
            return
        with self._lock:
            self._joules += self._watts * (now_s - self._since_s)
            self._watts, self._since_s = int(match[1]) / 1e3, now_s

    def joules(self) -> float:
        """So far, since some moment before, whoever used them."""
        with self._lock:
            return self._joules + self._watts * max(0.0, time.monotonic() - self._since_s)


@contextmanager
def open_meter(powercap: Path = POWERCAP) -> Iterator[Rapl | Tegrastats | None]:
    """The meter that this machine has, or None."""
    if shutil.which("tegrastats"):
        with _tegrastats() as meter:
            yield meter
        return
    packages = sorted(p for p in powercap.glob("*-rapl:*") if p.name.count(":") == 1)
    try:
        rapl = Rapl(packages) if packages else None
    except (OSError, ValueError):  # since 2020 only root may read it
        rapl = None
    yield rapl


@contextmanager
def _tegrastats() -> Iterator[Tegrastats]:
    meter = Tegrastats()

    def listen(lines: Iterable[str]) -> None:
        for line in lines:
            meter.add_line(line, time.monotonic())

    with subprocess.Popen(["tegrastats", "--interval", str(_EVERY_MS)], stdout=subprocess.PIPE, text=True) as process:
        listener = threading.Thread(target=listen, args=(process.stdout,), daemon=True)
        listener.start()
        try:
            yield meter
        finally:
            process.terminate()
            listener.join(5)

"""Time: monotonic for logic, wall time for people with a word on whether it can be trusted, and the boot's id."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

_SYNCHRONISED = Path("/run/systemd/timesync/synchronized")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_OLDEST_PLAUSIBLE = datetime(2025, 1, 1, tzinfo=timezone.utc)


class Clock(Protocol):
    """What the daemon asks about time; tests bring one that they move by hand."""

    def monotonic_s(self) -> float: ...

    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...


def read_boot_id() -> str:
    """The kernel's id of this boot, or "unknown" off Linux: orders events when the wall clock was wrong."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return "unknown"


@dataclass(frozen=True)
class SystemClock:
    """The machine's own clock. `now` is UTC."""

    boot_id: str = field(default_factory=read_boot_id)

    def monotonic_s(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(timezone.utc)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def time_trusted(now: datetime) -> bool:
    """Whether wall time may be believed: after the software was written, and synchronised where systemd tells.

    A box in a remote clinic often has no battery behind its clock and no network; dates of its slides then need a person's look.
    """
    if now < _OLDEST_PLAUSIBLE:
        return False
    return _SYNCHRONISED.exists() or not _SYNCHRONISED.parent.exists()

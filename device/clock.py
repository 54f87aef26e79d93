"""Time: monotonic for logic, wall time for people with a word on its trust, pauses between attempts, an even pace, the boot's id."""

from __future__ import annotations

import ctypes
import random
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

_SYNCHRONISED = Path("/run/systemd/timesync/synchronized")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_UNSYNCHRONISED, _NANOSECONDS = 0x40, 0x2000  # STA_UNSYNC; STA_NANO: the offset is in ns, else in µs
_ASKED_FOR_S = 30.0
_OLDEST_PLAUSIBLE = datetime(2025, 1, 1, tzinfo=timezone.utc)


class Clock(Protocol):
    """What the daemon asks about time; tests bring one that they move by hand."""

    def monotonic_s(self) -> float: ...

    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...


def doubled_s(first_s: float, cap_s: float, times: int) -> float:
    """A pause that was doubled so many times, `cap_s` at most."""
    return min(cap_s, first_s * 2.0 ** min(max(0, times), 64))


class Backoff:
    """Retry with backoff: pauses that double from `first_s` to `cap_s`, each shortened at random by up to the share `jitter` of it.

    Full jitter, which is the default, keeps devices that lost the same broker from retrying in step: each pause is anywhere between
    nothing and the doubled one. `next_s` after a failure, `spread_s` after a loss that many suffered at once, `reset` after a success.
    """

    def __init__(self, first_s: float, cap_s: float, jitter: float = 1.0, rand: Callable[[], float] = random.random) -> None:
        self._first_s, self._cap_s, self._jitter, self._rand = first_s, cap_s, jitter, rand
        self._attempts = 0

    def next_s(self) -> float:
        """Seconds to wait before the next attempt."""
        pause_s = doubled_s(self._first_s, self._cap_s, self._attempts)
        self._attempts += 1
        return pause_s * (1.0 - self._jitter * self._rand())

    def spread_s(self) -> float:
        """Seconds to wait before the first attempt after a loss that many suffered: from the whole cap, as all pauses until `reset`.

        Pauses that begin short would bring a thousand devices back within a second.
        """
        self._attempts = max(self._attempts, 64)
        return self.next_s()

    @property
    def tried(self) -> bool:
        """An attempt failed since the last success."""
        return self._attempts > 0

    def reset(self) -> None:
        """An attempt succeeded: the next pause is the first again."""
        self._attempts = 0


class Pacer:
    """An even frame rate for sources that have none. A slower consumer is not made to wait again, and lost time is not made up."""

    def __init__(self, clock: Clock, fps: float) -> None:
        self._clock = clock
        self._period_s = 1.0 / fps
        self._due_s: float | None = None

    def wait(self) -> None:
        """Sleeps until the next frame is due."""
        now = self._clock.monotonic_s()
        due = now if self._due_s is None else self._due_s
        if now < due:
            self._clock.sleep(due - now)
        self._due_s = max(now, due) + self._period_s


def read_boot_id() -> str:
    """The kernel's id of this boot, or "unknown" off Linux: orders events when the wall clock was wrong."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return "unknown"


class SystemClock:
    """The machine's own clock. `now` is UTC."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(timezone.utc)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def time_trusted(now: datetime) -> bool:
    """Whether wall time may be believed: after the software was written, and kept by a time service.

    A box in a remote clinic often has no battery behind its clock and no network; dates of its slides then need a person's look.
    """
    return now >= _OLDEST_PLAUSIBLE and service.keeps


class TimeService:
    """Whether one (timesyncd, chrony, ntpd) keeps the machine's clock; asked at most every half minute.

    Only the first asking is waited for: where systemd must be asked it takes up to seconds, and the count would stand still meanwhile.
    """

    def __init__(self) -> None:
        self._asked_s: float | None = None
        self._keeps = False

    @property
    def keeps(self) -> bool:
        now_s = time.monotonic()
        if self._asked_s is None:
            self._asked_s = now_s
            self._ask()
        elif now_s - self._asked_s > _ASKED_FOR_S:
            self._asked_s = now_s
            threading.Thread(target=self._ask, daemon=True, name="time-service").start()
        return self._keeps

    def _ask(self) -> None:
        kernel = _kernel_says()
        self._keeps = kernel if kernel is not None else _SYNCHRONISED.exists() or _timedated_says()


service = TimeService()


class _Timex(ctypes.Structure):
    """The head of `struct timex` (adjtimex(2)), and room for the rest of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


def _ask_kernel() -> _Timex | None:
    """What every time service tells the kernel; None where it may not be asked (the unit's filter of system calls) or is no Linux."""
    asked = _Timex()  # modes 0: nothing is set
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(asked))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else asked


def _kernel_says() -> bool | None:
    """Whether a time service keeps the clock; None where the kernel does not tell."""
    told = _ask_kernel()
    return None if told is None else not told.status & _UNSYNCHRONISED


def clock_offset_ms() -> float | None:
    """What the kernel still has to correct the clock by; None where nothing disciplines it, or the system forbids the question."""
    told = _ask_kernel()
    if told is None or told.status & _UNSYNCHRONISED:
        return None
    return round(float(told.offset) / (1e6 if told.status & _NANOSECONDS else 1e3), 3)


def _timedated_says() -> bool:
    """The same, asked for us by systemd."""
    command = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=2.0, check=False).stdout.strip() == "yes"
    except (OSError, subprocess.SubprocessError):
        return False

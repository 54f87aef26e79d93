"""Writes to the record in order, and keeps what could not be written until it can be: nothing counted is dropped.

What is written is the store's business; retrying while the disk is full, and what the person reads then, is this file's.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from device.clock import Clock
from device.errors import StoreError

log = logging.getLogger(__name__)

_RETRY_S = 2.0


@dataclass(frozen=True)
class JournalStatus:
    """waiting: writes not yet on disk. reason: one line with the next step; empty while the disk keeps up."""

    waiting: int = 0
    reason: str = ""


class Journal:
    """An ordered queue of writes. `add` tries at once; a write that fails stays at the head and is tried again every 2 s.

    min_free_mb: below this much free space the status warns before the disk is full; free_mb asks the disk.
    """

    def __init__(self, path: Path, clock: Clock, free_mb: Callable[[Path], float], min_free_mb: int) -> None:
        self._path, self._clock, self.free_mb, self._min_free_mb = path, clock, free_mb, min_free_mb
        self._writes: deque[tuple[str, Callable[[], None]]] = deque()
        self.beside: Callable[[], str] = str
        """What is wrong with what is kept beside the record, in one line; told where the record itself is well."""
        self._reason = ""
        self._retry_at_s = 0.0
        self._look_at_s = float("-inf")
        self._low = ""

    def add(self, what: str, act: Callable[[], None]) -> None:
        """Put a write at the end of the queue; `what` names it in the log."""
        self._writes.append((what, act))
        if len(self._writes) == 1 or self._clock.monotonic_s() >= self._retry_at_s:
            self.flush()

    def tick(self) -> None:
        """Called with every frame: tries again when it is time to."""
        if self._writes and self._clock.monotonic_s() >= self._retry_at_s:
            self.flush()

    def flush(self) -> bool:
        """Write what waits, oldest first; True when nothing is left."""
        while self._writes:
            what, act = self._writes[0]
            try:
                act()
            except StoreError as error:
                if str(error) != self._reason:
                    log.error("not saved (%s, %d waiting): %s", what, len(self._writes), error)
                self._reason = str(error)
                self._retry_at_s = self._clock.monotonic_s() + _RETRY_S
                return False
            self._writes.popleft()
        if self._reason:
            log.warning("the record is written again; nothing was lost")
        self._reason = ""
        return True

    @property
    def status(self) -> JournalStatus:
        """What waits and why, or a warning that space runs short."""
        if self._writes:
            return JournalStatus(len(self._writes), self._reason)
        now = self._clock.monotonic_s()
        if now >= self._look_at_s + _RETRY_S:
            self._look_at_s = now
            free = self.free_mb(self._path)
            self._low = f"only {free:.0f} MB free beside {self._path}; make room soon" if free < self._min_free_mb else ""
        return JournalStatus(0, self._low or self.beside())

"""Writes to the record in order, and keeps what could not be written until it can be: nothing counted is dropped.

What is written is the store's business; retrying while the disk is full, and what the person reads then, is this file's.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from device.clock import Clock
from device.errors import StoreError
from device.store.faults import UnwritableError

log = logging.getLogger(__name__)

_RETRY_S = 2.0
_TRIES = 3
"""So often a write is tried that fails by what it holds, not by the disk; then it is put aside, and those behind it go on."""
_LAST_TRIES_EVERY_S = 0.5


@dataclass(frozen=True)
class JournalStatus:
    """waiting: writes not yet on disk. reason: one line with the next step; empty while the disk keeps up.

    lost: writes of this run that could not be made and were put aside. fails: the record or its disk does not answer at present.
    put_aside: all that was put aside in the record and waits for a person. damaged: the slide that was just found so.
    """

    waiting: int = 0
    reason: str = ""
    lost: int = 0
    fails: bool = False
    put_aside: int = 0
    damaged: str = ""


@dataclass(frozen=True)
class Write:
    """One write. what: its name in the log; act: makes it; after: what follows when it is made."""

    what: str
    act: Callable[[], object]
    after: Callable[[], object]


class Journal:
    """An ordered queue of writes. `add` tries at once; a write that fails stays at the head and is tried again every 2 s.

    A write that the record will never take (a value out of range, a fault of the program) is tried three times, then handed to `aside`
    and left out, so that it does not keep the others. min_free_mb: below this much free space the status warns before the disk is full;
    free_mb asks the disk.
    """

    def __init__(self, path: Path, clock: Clock, free_mb: Callable[[Path], float], min_free_mb: int) -> None:
        self._path, self._clock, self.free_mb, self._min_free_mb = path, clock, free_mb, min_free_mb
        self._writes: deque[Write] = deque()
        self.beside: Callable[[], str] = str
        """What is wrong with what is kept beside the record, in one line; told where the record itself is well."""
        self.fault: Callable[[], str] = str
        """Why nothing at all can be written now (the record is not open yet), in one line; "" otherwise."""
        self.put_aside: Callable[[], int] = int
        """How much lies in quarantine."""
        self.aside: Callable[[Write, str], object] = lambda write, why: None
        """Told of a write that is left out, and why."""
        self.lost = 0
        self.damaged = ""
        self._reason = self._low = ""
        self._told: set[str] = set()  # faults of this outage that were logged
        self._tries = 0  # of the write at the head
        self._retry_at_s = 0.0
        self._look_at_s = float("-inf")
        self._disk_fails = False
        self._put_aside = 0

    def add(self, what: str, act: Callable[[], object], after: Callable[[], object] = lambda: None) -> None:
        """Put a write at the end of the queue; `what` names it in the log, `after` is called when it is made."""
        self._writes.append(Write(what, act, after))
        if len(self._writes) == 1 or self._clock.monotonic_s() >= self._retry_at_s:
            self.flush()

    def tick(self) -> None:
        """Called with every frame: tries again when it is time to."""
        if self._writes and self._clock.monotonic_s() >= self._retry_at_s:
            self.flush()

    def flush(self) -> bool:
        """Write what waits, oldest first; True when nothing is left."""
        while self._writes:
            write = self._writes[0]
            try:
                write.act()
            except Exception as error:
                if isinstance(error, StoreError) and not isinstance(error, UnwritableError):
                    return self._wait(write, str(error))
                self._tries += 1
                words = str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"
                if self._tries < _TRIES:
                    return self._wait(write, f"{write.what} cannot be written: {words}")
                self._leave_out(write, words, error)
                continue
            self._done()
            try:
                write.after()
            except Exception:
                log.exception("%s is written; what follows it failed", write.what)
        if self._told:
            log.warning("the record is written again; %s", f"{self.lost} writes were put aside" if self.lost else "nothing was lost")
        self._told.clear()
        self._reason = ""
        return True

    def settle(self, patience_s: float) -> bool:
        """Write what waits, and go on trying for so long; True when nothing is left."""
        until = self._clock.monotonic_s() + patience_s
        while not self.flush():
            if self._clock.monotonic_s() >= until:
                return False
            self._clock.sleep(_LAST_TRIES_EVERY_S)
        return True

    @property
    def waiting(self) -> tuple[Write, ...]:
        """What is not on the disk yet, in order."""
        return tuple(self._writes)

    def _done(self) -> None:
        self._writes.popleft()
        self._tries = 0

    def _wait(self, write: Write, reason: str) -> bool:
        kind = re.sub(r"\d+", "#", reason)  # free megabytes and addresses change with every attempt
        if kind not in self._told:
            log.error("not saved (%s, %d waiting): %s", write.what, len(self._writes), reason)
            self._told.add(kind)
        self._reason = reason
        self._retry_at_s = self._clock.monotonic_s() + _RETRY_S
        return False

    def _leave_out(self, write: Write, words: str, error: Exception) -> None:
        self._done()
        self.lost += 1
        log.error("LOST: %s was tried %d times, cannot be written (%s) and is put aside", write.what, _TRIES, words, exc_info=error)
        try:
            self.aside(write, words)
        except Exception:
            log.exception("%s cannot even be put aside", write.what)

    @property
    def status(self) -> JournalStatus:
        """What waits and why, or a warning that space runs short."""
        if fault := self.fault():
            return JournalStatus(len(self._writes), fault, self.lost, fails=True)
        if self._writes:
            return JournalStatus(len(self._writes), self._reason, self.lost, fails=True)
        now = self._clock.monotonic_s()
        if now >= self._look_at_s + _RETRY_S:
            self._look_at_s = now
            self._look_at_disk()
            self._put_aside = self.put_aside()
        return JournalStatus(0, self._low or self.beside(), self.lost, self._disk_fails, self._put_aside, self.damaged)

    def _look_at_disk(self) -> None:
        try:
            free = self.free_mb(self._path)
        except StoreError as error:
            if not self._disk_fails:
                log.error("%s", error)
            self._disk_fails, self._low = True, str(error)
            return
        if self._disk_fails:
            log.warning("the disk of %s answers again", self._path)
        self._disk_fails = False
        self._low = f"only {free:.0f} MB free beside {self._path}; make room soon" if free < self._min_free_mb else ""

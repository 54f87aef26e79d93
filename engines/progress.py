"""How long work tells its caller what it does: messages, and progress. Printing and bars are the caller's own."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial


class Reporter:
    """Hears the messages and the progress of long work. This one ignores them; a subclass overrides what it wants to show.

    Example:
        class Printed(Reporter):
            def message(self, text: str) -> None:
                print(text)
    """

    def message(self, text: str) -> None:
        """One line for a person, such as an epoch's losses."""

    def warning(self, text: str) -> None:
        """One line about something that a person must know before they use the result."""
        self.message(text)

    def progress(self, task: str, done: int, total: int | None) -> None:
        """`done` of `total` steps of `task` are done; total None: nobody knows how many there will be."""

    def counter(self, task: str) -> Callable[[int, int], None]:
        """`progress` of one task, for functions that take a callback of (done, total)."""
        return partial(self.progress, task)


class ProgressLines:
    """Progress where no bar can be drawn (a log, a pipe): now and then a line, told by `due`.

    A line comes every `every_s` seconds, and at each tenth of the work if the last line is `apart_s` seconds old by then: so that work
    of a few seconds says nothing and work of hours is never silent for long. clock: seconds, ever growing.
    """

    def __init__(self, every_s: float = 30.0, apart_s: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.every_s, self.apart_s, self._clock = every_s, apart_s, clock
        self.begin()

    def begin(self) -> None:
        """Another task begins now."""
        self._began = self._told = self._clock()
        self._tenth = 0

    def due(self, task: str, done: int, total: int | None) -> str | None:
        """The line that must be said now that `done` of `total` steps are done; None where it is not time yet."""
        now = self._clock()
        tenth = 10 * done // total if total else 0
        waited = now - self._told
        if waited < self.every_s and not (tenth > self._tenth and waited >= self.apart_s):
            return None
        self._told, self._tenth = now, tenth
        if not total:
            return f"{task}: {done:,}"
        left = (now - self._began) * (total - done) / done if done else None
        return f"{task}: {done:,} of {total:,} ({100 * done // total} %){'' if not left else f', about {_duration(left)} left'}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


SILENT = Reporter()
"""Ignores everything."""

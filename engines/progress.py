"""How long work tells its caller what it does: messages, and progress. Printing and bars are the caller's own."""

from __future__ import annotations

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


SILENT = Reporter()
"""Ignores everything."""

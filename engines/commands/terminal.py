"""What the commands show on a terminal in one form: progress bars and tables. What stands in them is each command's own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from engines.progress import ProgressLines, Reporter


def progress_bar(quiet: bool = False) -> Progress:
    """A bar on stderr with the task's words, how many of how many, and the time left; it leaves nothing behind."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True, quiet=quiet), transient=True)


class Terminal(Reporter):
    """Messages on stdout as they come, and progress on stderr.

    Progress is a bar, gone when its task is done or another has begun; where stderr is no terminal, it is a plain line now and then.
    """

    def __init__(self, lines: ProgressLines | None = None) -> None:
        self.console = Console()
        self._bar = progress_bar()
        self._lines = lines or ProgressLines()
        self._task: TaskID | None = None
        self._done = 0

    def message(self, text: str) -> None:
        self.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def warning(self, text: str) -> None:
        self.console.print(f"[bold yellow]Mind:[/] {escape(text)}", highlight=False, soft_wrap=True)

    def progress(self, task: str, done: int, total: int | None) -> None:
        drawn = self._bar.console.is_terminal
        if self._task is None or done < self._done:
            self._end_task()
            self._lines.begin()
            self._task = self._bar.add_task(task, total=total)
            if drawn:
                self._bar.start()
        self._done = done
        if not drawn:
            if (line := self._lines.due(task, done, total)) is not None:
                say_line(line)
            return
        self._bar.update(self._task, description=task, completed=done, total=total)

    def _end_task(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_task()
        if self._bar.live.is_started:
            self._bar.stop()


def say_line(line: str) -> None:
    """One line of progress on stderr, at once, without colour."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def table_of(title: str, first: str, headings: Sequence[str], **style: Any) -> Table:
    """A table of names and numbers: the first column to the left, the others to the right. style: what differs from rich's own."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, **style)
    table.add_column(first, no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table

"""What the commands show on a terminal in one form: progress bars and tables. What stands in them is each command's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from engines.training.loop import Progress as Report


def progress_bar(transient: bool = True, quiet: bool = False) -> Progress:
    """A bar on stderr with the task's words, how many of how many, and the time left. transient: it leaves nothing behind."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True, quiet=quiet), transient=transient)


@contextmanager
def one_task(words: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of one task; what it gives is called with how many are done and how many there are."""
    with progress_bar() as bar:
        task = bar.add_task(words, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def follow(bar: Progress, task: TaskID) -> Callable[[Report], None]:
    """What a `Trainer.fit` reports to: epoch, losses and speed on the bar."""

    def report(now: Report) -> None:
        parts = "  ".join(f"{name} {value:.4f}" for name, value in now.losses.items())
        words = f"epoch {now.epoch}/{now.epochs}  {parts}  {now.images_per_s:.1f} pictures/s"
        bar.update(task, description=words, completed=now.batch, total=now.batches)

    return report


def table_of(title: str, first: str, headings: Sequence[str], **style: Any) -> Table:
    """A table of names and numbers: the first column to the left, the others to the right. style: what differs from rich's own."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, **style)
    table.add_column(first, no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table

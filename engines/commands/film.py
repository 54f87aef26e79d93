"""`attridet film`: rendered fields written as a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from engines.data.film import write_dataset


def run(out: Path, **options: Any) -> None:
    """Renders with a progress bar; options as in `engines.data.film.write_dataset`. Raises DataError."""
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("rendering", total=None)
        write_dataset(out, **options, progress=lambda done, total: bar.update(task, completed=done, total=total))
    Console().print(f"written: {out}", soft_wrap=True)

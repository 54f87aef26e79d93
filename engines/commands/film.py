"""`attridet film`: rendered fields written as a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from engines.commands.terminal import one_task
from engines.film import write_dataset


def run(out: Path, **options: Any) -> None:
    """Renders with a progress bar; options as in `engines.film.write_dataset`. Raises DataError."""
    with one_task("rendering") as progress:
        write_dataset(out, **options, progress=progress)
    Console().print(f"written: {out}", soft_wrap=True)

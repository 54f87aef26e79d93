"""What `attridet experiment` understands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engines.cli.options import Names


def experiment(
    plan: Annotated[Path, typer.Argument(help="YAML file of runs, seeds and measures, as in docs/experiments.")],
    data: Annotated[Path, typer.Option("--data", help="Folder that holds the data sets which the plan names.")],
    out: Annotated[Path, typer.Option(help="Folder for runs, scores and the table; what is there already is not done again.")],
    at_once: Annotated[int, typer.Option(min=1, help="Runs side by side, each with one processor thread.")] = 2,
    only: Annotated[Names, typer.Option(help="Only runs of these names (and those they start from).")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Train, adapt and score all runs of a plan, and write the table that compares them."""
    from engines.commands.experiment import run

    run(plan, data, out, at_once=at_once, only=tuple(only or ()), device=device)

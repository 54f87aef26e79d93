"""What `attridet data check`, `split`, `export` and `plot` understand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engines.cli.options import Names, OptionalPath

app = typer.Typer(
    help="Look after a data set: find its faults, split it by patient, change its label format, draw what is in it.",
    no_args_is_help=True,
)

Root = Annotated[Path, typer.Argument(metavar="DIR", help="A subset (Images/SPLIT and labels) or a folder of several (H_100X_C1 ...).")]
Out = Annotated[Path, typer.Option(help="New folder to write, in the published layout.")]


@app.command()
def check(
    root: Root,
    json: Annotated[OptionalPath, typer.Option("--json", help="Also write counts and every fault here, for machines.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Print every fault and note, not only the first of each kind.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Pictures that are read at once.")] = 2,
) -> None:
    """Count what is there and name every fault with file and line. Exit code 0: clean, 1: faults, 2: no data set."""
    from engines.commands.data_check import run

    if not run(root, json, every=every, threads=threads):
        raise typer.Exit(1)


@app.command()
def split(
    root: Root,
    out: Out,
    val: Annotated[float, typer.Option(min=0.01, max=0.9, help="Share of val.")] = 0.2,
    test: Annotated[float, typer.Option(min=0, max=0.9, help="Share of a new test; 0: none.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Which of the good divisions.")] = 0,
    pooled: Annotated[
        Names, typer.Option("--from", metavar="SPLIT", help="Split to divide; repeat for several; default: all but test.")
    ] = None,
    images: Annotated[str, typer.Option(help="link (hard links, no room taken) or copy.")] = "link",
) -> None:
    """Divide by patient, no patient on two sides, each class shared out; by picture, and said so, where names give no patient."""
    from engines.commands.data import run_split

    run_split(root, out, val=val, test=test, seed=seed, pooled=tuple(pooled or ()), images=images)


@app.command()
def export(
    root: Root,
    to: Annotated[str, typer.Option(help="json, txt5, txt11 or txt12.")],
    out: Out,
    images: Annotated[str, typer.Option(help="link (hard links, no room taken), copy, or none: labels alone.")] = "link",
) -> None:
    """Write the labels in another format; what that format cannot hold is named."""
    from engines.commands.data import run_export

    run_export(root, to, out, images=images)


@app.command()
def plot(
    root: Root,
    out: Annotated[Path, typer.Option(help="Picture to write: PNG, SVG or PDF.")],
    splits: Annotated[Names, typer.Option("--split", metavar="SPLIT", help="Only this split; repeat for several.")] = None,
) -> None:
    """Draw the cells of each class and the values of each attribute, as the paper's Fig. 2 does."""
    from engines.commands.data import run_plot

    run_plot(root, out, splits=tuple(splits or ()))

"""What `attridet frames` understands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, List  # noqa: UP035  # typer reads the annotations at run time, on 3.10 too

import typer

from engines.cli.options import Names, OptionalPath


def frames(
    folders: Annotated[
        List[Path],  # noqa: UP006  # typer on 3.10
        typer.Argument(metavar="DIR...", help="Folders of pictures, such as `leukoscope run --record DIR` leaves them."),
    ],
    out: Annotated[Path, typer.Option(help="The list to write (JSON); `attridet quantize --frames` takes it.")],
    count: Annotated[int, typer.Option(min=1, help="How many frames to choose.")] = 128,
    fewest: Annotated[int, typer.Option(min=1, help="Refuse fewer different frames than these.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Draws the first frame; the others follow from it.")] = 0,
    exclude_split: Annotated[
        Names,
        typer.Option(
            metavar="DATA:SPLIT",
            help="A split that judges, in the published layout: its patients are left out, its own pictures refused. Repeatable.",
        ),
    ] = None,
    exclude_slide: Annotated[
        Names,
        typer.Option(metavar="ID", help="A recorded slide whose frames are left out, as its id stands in their names. Repeatable."),
    ] = None,
    page: Annotated[
        OptionalPath, typer.Option(metavar="PNG", help="Draw the set: every frame, and how they cover the candidates.")
    ] = None,
) -> None:
    """Choose a calibration set: frames that cover light, focus, density and cells of this microscope, listed with their hashes."""
    from engines.commands.frames import Request, run

    run(Request(tuple(folders), out, count, fewest, seed, tuple(exclude_split or ()), tuple(exclude_slide or ()), page))

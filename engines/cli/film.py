"""What `attridet film` understands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engines.cli.options import Names, Numbers


def film(
    out: Annotated[Path, typer.Argument(help="Folder to write, in the published layout.")],
    train: Annotated[int, typer.Option(min=0, help="Fields of the split train.")] = 400,
    val: Annotated[int, typer.Option(min=0, help="Fields of the split val.")] = 80,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    size: Annotated[int, typer.Option(min=64, help="Side of a field in px.")] = 640,
    domain: Annotated[
        Names, typer.Option(help="H or L microscope, C1 or C2 camera, as L_C2; repeat for several; default: all.")
    ] = None,
    objective: Annotated[Numbers, typer.Option(help="10, 40 or 100; repeat for several; default: 40 and 100.")] = None,
    case: Annotated[
        Names, typer.Option(help="Kind of slide: normal, ALL, AML, APML, CLL, CML, or mixed for types in even shares; repeat.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Render fields of blood film with their truth. They are drawings: a figure on them says nothing about patients."""
    from engines.commands.film import run

    chosen = {name: value for name, value in (("domains", domain), ("objectives", objective), ("cases", case)) if value}
    run(out, fields_train=train, fields_val=val, seed=seed, size_px=(size, size), workers=workers, **chosen)

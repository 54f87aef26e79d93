"""What `attridet transfer` understands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from engines.cli.options import OptionalNumber, OptionalPath

OptionalText = Optional[str]  # noqa: UP045  # typer on 3.10


def transfer(
    source: Annotated[Path, typer.Option("--from", help="Pictures with labels: the published layout, or a plain folder.")],
    target: Annotated[Path, typer.Option("--to", help="Pictures of the same fields that are to bear these labels.")],
    out: Annotated[Path, typer.Option("--out", help="New folder: Images, labels, report, status.csv, manual.csv.")],
    via: Annotated[
        OptionalPath, typer.Option(help="Pictures between the two, such as 40x between 100x and 10x, for pairs that fail directly.")
    ] = None,
    pairs: Annotated[
        OptionalPath,
        typer.Option(help="CSV with the columns source,target. Without it names pair: patient_field_... on both sides."),
    ] = None,
    every_pair: Annotated[bool, typer.Option("--every-pair", help="Try every source with every target.")] = False,
    from_split: Annotated[OptionalText, typer.Option(help="Only this split of --from.")] = None,
    to_split: Annotated[OptionalText, typer.Option(help="Only this split of --to.")] = None,
    scale: Annotated[
        OptionalNumber, typer.Option(min=0.01, max=100, help="Target px of a source px; default: the median of the pairs.")
    ] = None,
    rotation: Annotated[float, typer.Option(min=-180, max=180, help="How far the target is turned, in degrees.")] = 0.0,
    any_rotation: Annotated[bool, typer.Option("--any-rotation", help="Take pairs however they are turned.")] = False,
    label_check: Annotated[bool, typer.Option(help="Refuse labels that do not lie on stained nuclei.")] = True,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the pictures instead of linking them.")] = False,
    grey_out: Annotated[
        bool, typer.Option("--grey-out", help="Paint grey what no source has labelled, so that no trainer learns it.")
    ] = False,
    pictures: Annotated[int, typer.Option(min=0, help="Draw at most so many pairs.")] = 60,
) -> None:
    """Carry labels to other pictures of the same fields (another objective, microscope or camera), or say why not."""
    from engines.commands.transfer import Request, run

    turned = None if any_rotation else rotation
    run(
        Request(source, target, out, via, pairs, every_pair, from_split, to_split, scale, turned, label_check, copy, grey_out, pictures)
    )

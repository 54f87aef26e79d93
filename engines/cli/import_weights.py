"""What `attridet import-weights` understands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engines.cli.options import OptionalPath


def import_weights(
    file: Annotated[Path, typer.Argument(help="A published YOLOv5 checkpoint, n to x, or AttriDet's detector (.pt).")],
    out: Annotated[Path, typer.Option(help="The .safetensors to write: for train --initial, or export.")],
    attribute_cnn: Annotated[
        OptionalPath, typer.Argument(help="AttriDet's attribute CNN (last_weights.pth).", show_default=False)
    ] = None,
    json: Annotated[OptionalPath, typer.Option("--json", help="Also write the account of every entry here.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random start of what is not taken.")] = 0,
    covered_only: Annotated[
        bool, typer.Option("--covered-only", help="Without the attributes that the CNN does not tell: for use without training.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a file that is there.")] = False,
) -> None:
    """Take over somebody else's weights without running anything of theirs, and say what fits and what does not."""
    from engines.commands.import_weights import Request, run

    run(Request(file, attribute_cnn, out, json, seed, covered_only, replace))

"""What `attridet evaluate` understands."""

from __future__ import annotations

from typing import Annotated

import typer

from engines.cli.options import Data, OptionalPath


def evaluate(
    bundle: Annotated[str, typer.Argument(help="Engine folder, or zoo:NAME for one that ships.")],
    data: Data,
    split: Annotated[str, typer.Option(help="Which split of the folder.")] = "val",
    json: Annotated[OptionalPath, typer.Option("--json", help="Also write every number here.")] = None,
    runtime: Annotated[str, typer.Option(help="What runs the graphs.")] = "onnx",
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 2,
) -> None:
    """Score a bundle on labelled pictures: AP by COCO's and by YOLOv5's rule, the working point, attributes."""
    from engines.commands.evaluate import run

    run(bundle, data, split, json, runtime=runtime, threads=threads)

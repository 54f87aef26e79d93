"""What `attridet export` understands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engines.cli.options import OptionalPath


def export(
    checkpoint: Annotated[Path, typer.Argument(help="Weights: .pt or .safetensors of a training run.")],
    out: Annotated[Path, typer.Argument(help="Engine folder to write.")],
    images: Annotated[Path, typer.Option(help="Folder of fields on which the graphs must equal torch.")],
    golden: Annotated[
        OptionalPath, typer.Option(help="The golden picture (default: the first of --images). It ships with the bundle.")
    ] = None,
    card: Annotated[OptionalPath, typer.Option(help="YAML: name, version, licence, training (data, seed, command), metrics.")] = None,
    readme: Annotated[OptionalPath, typer.Option(help="Model card to lay beside it as README.md.")] = None,
    size: Annotated[int, typer.Option("--input", min=32, help="Side of the network's input in px, a multiple of 32.")] = 640,
    confidence: Annotated[float, typer.Option(min=0.001, max=0.999)] = 0.25,
    iou: Annotated[float, typer.Option(min=0.01, max=0.99)] = 0.45,
    scale_up: Annotated[bool, typer.Option(help="Enlarge pictures that are smaller than the input.")] = True,
    keep_weights: Annotated[bool, typer.Option("--keep-weights", help="Lay the weights beside the graphs.")] = False,
    plain_scores: Annotated[
        bool, typer.Option("--plain-scores", help="Leave the variances of an adapted network out of its scores (and out of the graph).")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an engine folder that is there.")] = False,
) -> None:
    """Turn weights into an engine folder: two ONNX graphs, verified against torch, with manifest and golden picture."""
    from engines.commands.export import Request, run

    run(Request(checkpoint, out, images, golden, card, readme, size, confidence, iou, scale_up, keep_weights, replace, plain_scores))

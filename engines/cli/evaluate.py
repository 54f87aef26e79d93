"""What `attridet evaluate` understands."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from engines.cli.options import Data, OptionalNumber, OptionalPath

_Side = Optional[int]  # noqa: UP045  # typer on 3.10
_Switch = Optional[bool]  # noqa: UP045  # typer on 3.10
_Word = Optional[str]  # noqa: UP045  # typer on 3.10


def evaluate(
    model: Annotated[str, typer.Argument(help="Engine folder, zoo:NAME, or a file of weights (.pt, .safetensors).")],
    data: Data,
    split: Annotated[str, typer.Option(help="Which split of the folder.")] = "val",
    json: Annotated[OptionalPath, typer.Option("--json", help="Also write every number here.")] = None,
    csv: Annotated[OptionalPath, typer.Option("--csv", help="Also write types, attributes, films, intervals into this folder.")] = None,
    page: Annotated[OptionalPath, typer.Option("--page", help="Also write a page with pictures into this folder.")] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Draws for the 95 % intervals; 0 for none.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of these draws.")] = 0,
    confidence: Annotated[OptionalNumber, typer.Option(help="Working point; else the bundle's, or 0.25.")] = None,
    max_boxes: Annotated[
        _Side, typer.Option(min=1, help="Boxes a picture; else the bundle's, or 300. More raise those of AP too.")
    ] = None,
    input_px: Annotated[_Side, typer.Option("--input", help="Side of the network's input, px; for weights. [default: 640]")] = None,
    scale_up: Annotated[_Switch, typer.Option("--scale-up", help="Enlarge small pictures to the input; for weights.")] = None,
    device: Annotated[_Word, typer.Option(help="cpu or cuda; for weights. [default: cpu]")] = None,
    runtime: Annotated[str, typer.Option(help="What runs a bundle's graphs.")] = "onnx",
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 2,
) -> None:
    """Score a model on labelled pictures: AP by COCO's and YOLOv5's rule, films, attributes, and how sure all of it is."""
    from engines.commands.evaluate import Request, run

    point = confidence, max_boxes
    run(Request(model, data, split, json, csv, page, resamples, seed, *point, input_px, scale_up or None, device, runtime, threads))

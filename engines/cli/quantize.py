"""What `attridet quantize` understands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, List  # noqa: UP035  # typer reads the annotations at run time, on 3.10 too

import typer

from engines.cli.options import Names, OptionalPath


def quantize(
    bundle: Annotated[str, typer.Argument(help="The float engine: a folder or zoo:NAME.")],
    out: Annotated[Path, typer.Argument(help="Engine folder to write.")],
    frames: Annotated[
        List[Path],  # noqa: UP006  # typer on 3.10
        typer.Option(
            help="Frames of this microscope: a list that `attridet frames` wrote, or a folder (repeat for several) to choose from."
        ),
    ],
    data: Annotated[str, typer.Option(metavar="DIR[:SPLIT]", help="Labelled pictures for the gate, with attributes; SPLIT: val.")],
    count: Annotated[int, typer.Option(min=1, help="Frames to choose where folders are given.")] = 128,
    method: Annotated[str, typer.Option(help="Scales from all values but the outermost (percentile), or all (minmax).")] = "percentile",
    runtime: Annotated[str, typer.Option(help="What runs the INT8 engine in the gate: auto, onnx, openvino.")] = "auto",
    in_float: Annotated[Names, typer.Option("--float", metavar="BLOCK", help="Keep this block in float; repeat for several.")] = None,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Measure each block alone also where the gate passes at once.")
    ] = False,
    half: Annotated[bool, typer.Option("--half", help="FP16 for what is not INT8: for TensorRT.")] = False,
    map_points: Annotated[float, typer.Option(min=0, help="Points of mAP50-95 (COCO's rule) that may be lost.")] = 1.0,
    f1_points: Annotated[float, typer.Option(min=0, help="Points of the attributes' mean F1 that may be lost.")] = 1.0,
    shift_px: Annotated[float, typer.Option(min=0, help="How far boxes may move, median, in px of the picture.")] = 1.0,
    page: Annotated[OptionalPath, typer.Option("--page", help="Also write the gate's page with pictures into this folder.")] = None,
    readme: Annotated[OptionalPath, typer.Option(help="Model card to lay beside it as README.md.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an engine folder that is there.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 2,
) -> None:
    """Turn a float engine into INT8 (explicit Q/DQ), calibrated on frames of one microscope and judged by the gate.

    Blocks that cost too much go back to float until the gate passes; exit code 1 if it never does.
    """
    from engines.commands.quantize import Request, run
    from engines.manifest import GateLimits

    limits = GateLimits(map_points=map_points, f1_points=f1_points, shift_px=shift_px)
    request = Request(
        bundle=bundle,
        out=out,
        frames=tuple(frames),
        data=data,
        count=count,
        method=method,
        runtime=runtime,
        float_blocks=tuple(in_float or ()),
        sensitivity=sensitivity,
        half=half,
        limits=limits,
        page=page,
        readme=readme,
        replace=replace,
        threads=threads,
    )
    if not run(request):
        raise typer.Exit(1)

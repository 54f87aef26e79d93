"""What `attridet gate` understands."""

from __future__ import annotations

from typing import Annotated

import typer

from engines.cli.options import OptionalPath


def gate(
    candidate: Annotated[str, typer.Argument(help="Engine folder (or zoo:NAME) to be judged; the verdict is kept in its manifest.")],
    reference: Annotated[str, typer.Option(help="The float bundle that it was made from: a folder or zoo:NAME.")],
    data: Annotated[str, typer.Option(metavar="DIR[:SPLIT]", help="Labelled pictures that state attributes; SPLIT: val unless named.")],
    runtime: Annotated[str, typer.Option(help="What runs the candidate: auto, onnx, openvino. The reference runs on onnx.")] = "auto",
    page: Annotated[OptionalPath, typer.Option("--page", help="Also write a page with pictures into this folder.")] = None,
    map_points: Annotated[float, typer.Option(min=0, help="Points of mAP50-95 (COCO's rule) that may be lost.")] = 1.0,
    f1_points: Annotated[float, typer.Option(min=0, help="Points of the attributes' mean F1 that may be lost.")] = 1.0,
    shift_px: Annotated[float, typer.Option(min=0, help="How far boxes may move, median, in px of the picture.")] = 1.0,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 2,
) -> None:
    """Compare an INT8 engine with its float reference; exit code 0 if it loses little enough, 1 if not."""
    from engines.commands.gate import Request, run

    if not run(Request(candidate, reference, data, runtime, page, map_points, f1_points, shift_px, threads)).passed:
        raise typer.Exit(1)

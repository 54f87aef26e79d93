"""What `attridet bench` understands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engines.cli.options import Names, OptionalNumber, OptionalPath


def bench(
    engine: Annotated[str, typer.Argument(help="Engine folder, or zoo:NAME.")],
    runtime: Annotated[str, typer.Option(help="What runs it: auto, onnx, openvino, tensorrt, tensorrt_rtx.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, max=64, help="Processor threads, for everything that is measured.")] = 2,
    frames: Annotated[str, typer.Option(help="A folder of pictures, or `rendered`: fields of drawn film, 1920 x 1080.")] = "rendered",
    count: Annotated[int, typer.Option(min=1, max=500, help="Pictures; all are held in memory, 6 MB each at 1920 x 1080.")] = 24,
    rounds: Annotated[int, typer.Option(min=1, help="In each, everything looks at all pictures once.")] = 7,
    confidence: Annotated[OptionalNumber, typer.Option(help="Working point; else the bundle's.")] = None,
    plans: Annotated[OptionalPath, typer.Option(help="Folder of this device's plans; for TensorRT.")] = None,
    peer: Annotated[Names, typer.Option(help="Measure another's program beside it: ultralytics.")] = None,
    peer_python: Annotated[OptionalPath, typer.Option(help="Python of the environment in which that is installed.")] = None,
    json: Annotated[OptionalPath, typer.Option("--json", help="Also write every number here.")] = None,
    plot: Annotated[OptionalPath, typer.Option(help="Also draw it (PNG).")] = None,
    page: Annotated[OptionalPath, typer.Option(help="Also put it into this Markdown page, as the section --section.")] = None,
    section: Annotated[str, typer.Option(help="Name of that section; other sections are kept.")] = "engine",
) -> None:
    """Measure an engine on this machine: each stage, the whole path, the graphs alone, memory, energy; beside others' programs."""
    from engines.bench.measure import Settings
    from engines.commands.bench import Request, run

    settings = Settings(engine, runtime, threads, rounds, confidence, Path(plans) if plans else None)
    run(Request(settings, frames, count, tuple(peer or ()), peer_python, json, plot, page, section))

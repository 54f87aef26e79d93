"""What a measurement of an engine is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from engines.options import Option, Request


@dataclass(frozen=True, kw_only=True)
class BenchRequest(Request):
    """The options of `bench`. frames: `rendered` or a folder. page: a Markdown file that gets the section `section`."""

    engine: Annotated[str, Option("Engine folder, or zoo:NAME.", argument=True)]
    runtime: Annotated[str, Option("What runs it: auto, onnx, openvino, tensorrt, tensorrt_rtx.")] = "auto"
    precision: Annotated[str, Option("In what it computes what is not in 8 bits: auto (float32), float32, bfloat16, float16.")] = "auto"
    beside: Annotated[
        tuple[str, ...],
        Option("Another bundle or precision of ours beside it, on the same runtime; repeatable.", metavar="ENGINE[@PRECISION]"),
    ] = ()
    threads: Annotated[int, Option("Processor threads, for everything that is measured.", low=1, high=64)] = 2
    frames: Annotated[str, Option("A folder of pictures, or `rendered`: fields of drawn film, 1920 x 1080.")] = "rendered"
    count: Annotated[int, Option("Pictures; all are held in memory, 6 MB each at 1920 x 1080.", low=1, high=500)] = 24
    rounds: Annotated[int, Option("In each, everything looks at all pictures once.", low=1)] = 7
    confidence: Annotated[float | None, Option("Working point; else the bundle's.")] = None
    plans: Annotated[Path | None, Option("Folder of this device's plans; for TensorRT.")] = None
    peer: Annotated[tuple[str, ...], Option("Measure another's program beside it: ultralytics.")] = ()
    peer_python: Annotated[Path | None, Option("Python of the environment in which that is installed.")] = None
    json: Annotated[Path | None, Option("Also write every number here.")] = None
    plot: Annotated[Path | None, Option("Also draw it (PNG).")] = None
    page: Annotated[Path | None, Option("Also put it into this Markdown page, as the section --section.")] = None
    section: Annotated[str, Option("Name of that section; other sections are kept.")] = "engine"

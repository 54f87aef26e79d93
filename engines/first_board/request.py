"""What the day with a board is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from engines.options import Option, Request


@dataclass(frozen=True, kw_only=True)
class FirstBoardRequest(Request):
    """The options of `first-board`."""

    out: Annotated[Path, Option("Folder for what is found, new or empty; OUT.tar.gz beside it is what to send.", argument=True)]
    without_gpu: Annotated[bool, Option("On a machine without a GPU: what a processor can do, and the rest named as not done.")] = False
    runtime: Annotated[str, Option("Which TensorRT.", choices=("tensorrt", "tensorrt_rtx"))] = "tensorrt"
    bundle: Annotated[tuple[str, ...], Option("Engine folder or zoo:NAME; repeat; without it all shipped ones.")] = ()
    reference: Annotated[str, Option("Float bundle that they are compared with, on ONNX Runtime.")] = "zoo:attridet-n"
    data: Annotated[str | None, Option("Labelled pictures for the gate instead of rendered film.", metavar="DIR[:SPLIT]")] = None
    fields: Annotated[int, Option("Fields that the gate looks at.", low=1)] = 50
    frames: Annotated[int, Option("Frames for latency and memory.", low=1)] = 10_000
    config: Annotated[Path, Option("Appliance's configuration, for `leukoscope doctor`.")] = Path("/etc/leukoscope/device.yaml")
    tests: Annotated[Path, Option("Folder of the tests that need a GPU, in the source tree.")] = Path("tests/gpu")
    threads: Annotated[int, Option("Processor threads.", low=1)] = 2

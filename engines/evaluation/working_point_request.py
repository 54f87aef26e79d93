"""What the choice of a working point is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from engines.options import Option, Request


@dataclass(frozen=True, kw_only=True)
class WorkingPointRequest(Request):
    """The options of `working-point`."""

    bundle: Annotated[str, Option("Float engine folder, or zoo:NAME. It is left as it is.", argument=True)]
    out: Annotated[Path, Option("Engine folder to write: the same engine at the chosen working point.", argument=True)]
    data: Annotated[str, Option("Labelled pictures to choose on; SPLIT: val unless named (test without one).", metavar="DIR[:SPLIT]")]
    frame: Annotated[str | None, Option("Lay each picture into a frame of the appliance's camera, px.", metavar="WxH")] = None
    blast_cost: Annotated[float, Option("What a blast not told as one costs, in other cells told as blasts.", low=0.1, high=100)] = 5.0
    cell_cost: Annotated[float, Option("What another white cell lost costs, in white cells told on nothing.", low=0.1, high=100)] = 1.0
    right: Annotated[float, Option("Share that must be right of the cells named.", low=0.5, high=0.99)] = 0.85
    replace: Annotated[bool, Option("Replace an engine folder that is there.")] = False
    threads: Annotated[int, Option("Processor threads.", low=1)] = 2

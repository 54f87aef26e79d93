"""What the choice of a working point is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from engines.options import Option, Request

_PANEL = "Working point"


@dataclass(frozen=True, kw_only=True)
class Weighing(Request):
    """By what a working point is weighed: what each mistake costs, and into which frame the pictures are laid."""

    frame: Annotated[str | None, Option("Lay each picture into a frame of the appliance's camera, px.", _PANEL, metavar="WxH")] = None
    blast_cost: Annotated[
        float, Option("What a blast not told as one costs, in other cells told as blasts.", _PANEL, low=0.1, high=100)
    ] = 5.0
    cell_cost: Annotated[
        float, Option("What another white cell lost costs, in white cells told on nothing.", _PANEL, low=0.1, high=100)
    ] = 1.0
    right: Annotated[float, Option("Share that must be right of the cells named.", _PANEL, low=0.5, high=0.99)] = 0.85
    threads: Annotated[int, Option("Processor threads of the choice.", _PANEL, low=1)] = 2


@dataclass(frozen=True, kw_only=True)
class WorkingPointRequest(Weighing):
    """The options of `working-point`."""

    bundle: Annotated[str, Option("Float engine folder, or zoo:NAME. It is left as it is.", argument=True)]
    out: Annotated[Path, Option("Engine folder to write: the same engine at the chosen working point.", argument=True)]
    data: Annotated[str, Option("Labelled pictures to choose on; SPLIT: val unless named (test without one).", metavar="DIR[:SPLIT]")]
    replace: Annotated[bool, Option("Replace an engine folder that is there.")] = False

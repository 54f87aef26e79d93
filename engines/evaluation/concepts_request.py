"""What `attridet concepts` is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from engines.options import Option, Request


@dataclass(frozen=True, kw_only=True)
class ConceptsRequest(Request):
    """The options of `concepts`."""

    model: Annotated[Path, Option("Checkpoint (.pt) or weights (.safetensors) of the family cbm.", argument=True)]
    picture: Annotated[Path, Option("A picture.", argument=True)]
    say: Annotated[
        tuple[str, ...],
        Option("What a person corrects, such as nucleolus=prominent; repeat for several.", metavar="ATTRIBUTE=VALUE"),
    ] = ()
    cell: Annotated[int | None, Option("Of which cell that is said, by its number in the table; of all without it.", low=1)] = None
    confidence: Annotated[float, Option("Detections score more than this.", low=0.001, high=0.999)] = 0.25
    side_px: Annotated[int, Option("Side of the network's input.", name="--input", metavar="PX", low=64)] = 640
    out: Annotated[Path | None, Option("Draw the cells with their types and numbers into this PNG.", metavar="FILE")] = None

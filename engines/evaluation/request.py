"""What an evaluation is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from engines.options import PIXEL_ASPECT, TAXONOMY, Option, Request


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest(Request):
    """The options of `evaluate`. side_px, scale_up, device: of a file of weights only, since a bundle has them in it."""

    model: Annotated[str, Option("Engine folder, zoo:NAME, or a file of weights (.pt, .safetensors).", argument=True)]
    data: Annotated[Path, Option("Folder in the published layout: Images/SPLIT, json_labels or txt_labels.")]
    split: Annotated[str, Option("Which split of the folder.")] = "val"
    taxonomy: Annotated[Path | None, TAXONOMY] = None
    pixel_aspect: Annotated[tuple[str, ...], PIXEL_ASPECT] = ()
    json: Annotated[Path | None, Option("Also write every number here.")] = None
    csv: Annotated[Path | None, Option("Also write types, attributes, films, intervals into this folder.")] = None
    page: Annotated[Path | None, Option("Also write a page with pictures into this folder.")] = None
    resamples: Annotated[int, Option("Draws for the 95 % intervals; 0 for none.", low=0)] = 1000
    seed: Annotated[int, Option("Of these draws.", low=0)] = 0
    confidence: Annotated[float | None, Option("Working point; else the bundle's, or 0.25.")] = None
    max_boxes: Annotated[int | None, Option("Boxes a picture; else the bundle's, or 300. More than 300 hold for AP too.", low=1)] = None
    side_px: Annotated[int | None, Option("Side of the network's input, px; for weights. [default: 640]", name="--input")] = None
    scale_up: Annotated[bool | None, Option("Enlarge small pictures to the input; for weights.")] = None
    device: Annotated[str | None, Option("cpu or cuda; for weights. [default: cpu]")] = None
    runtime: Annotated[str, Option("What runs a bundle's graphs.")] = "onnx"
    threads: Annotated[int, Option("Processor threads.", low=1)] = 2

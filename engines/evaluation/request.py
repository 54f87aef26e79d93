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
    split: Annotated[str | None, Option("Which split of the folder. [default: val, or test where there is no val, as published]")] = (
        None
    )
    taxonomy: Annotated[Path | None, TAXONOMY] = None
    pixel_aspect: Annotated[tuple[str, ...], PIXEL_ASPECT] = ()
    json: Annotated[Path | None, Option("Also write every number here.")] = None
    csv: Annotated[Path | None, Option("Also write types, attributes, films, told, intervals into this folder.")] = None
    page: Annotated[Path | None, Option("Also write a page with pictures into this folder.")] = None
    resamples: Annotated[int, Option("Draws for the 95 % intervals; 0 for none.", low=0)] = 1000
    seed: Annotated[int, Option("Of these draws.", low=0)] = 0
    frame: Annotated[str | None, Option("Lay each picture into a frame of the appliance's camera, px.", metavar="WxH")] = None
    confidence: Annotated[float | None, Option("Working point; else the bundle's, or what export would give weights, 0.25.")] = None
    identify_threshold: Annotated[
        float, Option("Score from which a cell is named where no naming layer names it (the appliance's).", low=0.01, high=0.99)
    ] = 0.4
    max_boxes: Annotated[int | None, Option("Boxes a picture; else the bundle's, or 300. More than 300 hold for AP too.", low=1)] = None
    side_px: Annotated[int | None, Option("Side of the network's input, px; for weights. [default: 640]", name="--input")] = None
    scale_up: Annotated[bool | None, Option("Enlarge small pictures to the input; for weights.")] = None
    device: Annotated[str | None, Option("cpu or cuda; for weights. [default: cpu]")] = None
    runtime: Annotated[str, Option("What runs a bundle's graphs.")] = "onnx"
    threads: Annotated[int, Option("Processor threads.", low=1)] = 2

"""What choosing a calibration set and quantising with it are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from engines.gate.request import JudgedRequest
from engines.options import PIXEL_ASPECT, Option, Request


@dataclass(frozen=True, kw_only=True)
class FramesRequest(Request):
    """The options of `choose_frames`."""

    folders: Annotated[
        tuple[Path, ...],
        Option("Folders of pictures, such as `leukoscope run --record DIR` leaves them.", metavar="DIR...", argument=True),
    ]
    out: Annotated[Path, Option("The list to write (JSON); `attridet quantize --frames` takes it.")]
    pixel_aspect: Annotated[tuple[str, ...], PIXEL_ASPECT] = ()
    count: Annotated[int, Option("How many frames to choose.", low=1)] = 128
    fewest: Annotated[int, Option("Refuse fewer different frames than these.", low=1)] = 16
    seed: Annotated[int, Option("Draws the first frame; the others follow from it.", low=0)] = 0
    exclude_split: Annotated[
        tuple[str, ...],
        Option(
            "A split that judges, in the published layout: its patients are left out, its own pictures refused. Repeatable.",
            metavar="DATA:SPLIT",
        ),
    ] = ()
    exclude_slide: Annotated[
        tuple[str, ...],
        Option("A recorded slide whose frames are left out, as its id stands in their names. Repeatable.", metavar="ID"),
    ] = ()
    page: Annotated[Path | None, Option("Draw the set: every frame, and how they cover the candidates.", metavar="PNG")] = None


@dataclass(frozen=True, kw_only=True)
class QuantizeRequest(JudgedRequest):
    """The options of `quantize`."""

    bundle: Annotated[str, Option("The float engine: a folder or zoo:NAME.", argument=True)]
    out: Annotated[Path, Option("Engine folder to write.", argument=True)]
    frames: Annotated[
        tuple[Path, ...],
        Option("Frames of this microscope: a list that `attridet frames` wrote, or a folder (repeat for several) to choose from."),
    ]
    count: Annotated[int, Option("Frames to choose where folders are given.", low=1)] = 128
    method: Annotated[
        str,
        Option("Scales from all values but the outermost (percentile), or all (minmax).", choices=("percentile", "minmax")),
    ] = "percentile"
    float_blocks: Annotated[
        tuple[str, ...], Option("Keep this block in float; repeat for several.", name="--float", metavar="BLOCK")
    ] = ()
    finetune: Annotated[
        int,
        Option(
            "Fine-tune for so many steps with 8-bit rounding in the way, the float network as teacher, so that more blocks pass.", low=0
        ),
    ] = 0
    tune_data: Annotated[
        tuple[str, ...],
        Option(
            "Labelled pictures that --finetune learns on; SPLIT: train unless named. Repeatable; without any, the calibration frames.",
            metavar="DIR[:SPLIT]",
        ),
    ] = ()
    sensitivity: Annotated[bool, Option("Measure each block alone also where the gate passes at once.")] = False
    half: Annotated[bool, Option("FP16 for what is not INT8: for TensorRT.")] = False
    readme: Annotated[Path | None, Option("Model card to lay beside it as README.md.")] = None
    replace: Annotated[bool, Option("Replace an engine folder that is there.")] = False


@dataclass(frozen=True, kw_only=True)
class HalveRequest(JudgedRequest):
    """The options of `halve`."""

    bundle: Annotated[str, Option("The float engine: a folder or zoo:NAME.", argument=True)]
    out: Annotated[Path, Option("Engine folder to write.", argument=True)]
    runtime: Annotated[
        str,
        Option("What judges: ONNX Runtime, rounding as a GPU does. On a board: attridet gate --runtime tensorrt.", choices=("onnx",)),
    ] = "onnx"
    float_blocks: Annotated[
        tuple[str, ...], Option("Keep this block in float32; repeat for several.", name="--float", metavar="BLOCK")
    ] = ()
    readme: Annotated[Path | None, Option("Model card to lay beside it as README.md.")] = None
    replace: Annotated[bool, Option("Replace an engine folder that is there.")] = False

"""What an export is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from engines.evaluation.working_point_request import Weighing
from engines.options import PIXEL_ASPECT, Option, Request


@dataclass(frozen=True, kw_only=True)
class ExportRequest(Weighing):
    """The options of `export`. side_px: of the network's square input. The taxonomy is that of the weights.

    What `Weighing` asks holds for the working point that is chosen on `data`; without `data` nothing is chosen.
    """

    checkpoint: Annotated[Path, Option("Weights: .pt or .safetensors of a training run.", argument=True)]
    out: Annotated[Path, Option("Engine folder to write.", argument=True)]
    images: Annotated[Path, Option("Folder of fields on which the graphs must equal torch.")]
    golden: Annotated[
        Path | None,
        Option("The golden picture (default: the first of --images), or auto: cells of rendered film that are far from any tie."),
    ] = None
    pixel_aspect: Annotated[tuple[str, ...], PIXEL_ASPECT] = ()
    card: Annotated[Path | None, Option("YAML: name, version, licence, training (data, seed, command), metrics.")] = None
    readme: Annotated[Path | None, Option("Model card to lay beside it as README.md.")] = None
    side_px: Annotated[int, Option("Side of the network's input in px, a multiple of 32.", name="--input", low=32)] = 640
    data: Annotated[
        Path | None,
        Option(
            "Labelled pictures on which the working point is chosen, as attridet working-point does.", "Working point", metavar="DIR"
        ),
    ] = None
    split: Annotated[str | None, Option("Split of --data (default: val, or test without one).", "Working point")] = None
    confidence: Annotated[float, Option("Confidence, where none is chosen on --data.", low=0.001, high=0.999)] = 0.25
    iou: Annotated[
        float,
        Option("Overlap above which the lesser of two boxes is dropped (default: the family's; fcos .6).", low=0.01, high=0.99),
    ] = 0.45
    max_boxes: Annotated[int, Option("Boxes that the engine returns of one picture at most.", low=1)] = 300
    scale_up: Annotated[bool, Option("Enlarge pictures that are smaller than the input.", off="--no-scale-up")] = True
    keep_weights: Annotated[bool, Option("Lay the weights beside the graphs.")] = False
    layer: Annotated[Path | None, Option("Naming layer of the second look to ship, fitted to this cells.onnx.")] = None
    open_cells: Annotated[Path | None, Option("The open cells that a site's layer is mixed with, to ship beside it.")] = None
    second_look_weights: Annotated[
        Path | None, Option("Weights of the second look's encoder (default: those of the detector).", metavar="FILE")
    ] = None
    plain_scores: Annotated[bool, Option("Leave the variances of an adapted network out of its scores (and out of the graph).")] = False
    replace: Annotated[bool, Option("Replace an engine folder that is there.")] = False


@dataclass(frozen=True, kw_only=True)
class SecondLookRequest(Request):
    """The options of `second-look`. Without `layer` and `open_cells` a second look that is there keeps its own."""

    bundle: Annotated[str, Option("Engine folder, or zoo:NAME. It is left as it is.", argument=True)]
    out: Annotated[Path, Option("Engine folder to write: the same detector, with the second look.", argument=True)]
    layer: Annotated[Path | None, Option("Naming layer to ship, fitted to this bundle's cells.onnx (attridet learn).")] = None
    open_cells: Annotated[Path | None, Option("The open cells that a site's layer is mixed with, to ship beside it.")] = None
    weights: Annotated[
        Path | None, Option("Weights of the encoder (default: the cells.onnx that is there, else the bundle's own weights).")
    ] = None
    images: Annotated[Path | None, Option("Folder of fields on which the graph must equal torch (default: the golden picture).")] = None
    version: Annotated[str | None, Option("Version of the new bundle (default: as it was).")] = None
    readme: Annotated[Path | None, Option("Model card to lay beside it as README.md (default: the one that is there).")] = None
    replace: Annotated[bool, Option("Replace an engine folder that is there.")] = False

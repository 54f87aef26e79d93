"""What a comparison with the float engine is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from engines.appliance import PLANS
from engines.errors import DataError
from engines.files import check_folder
from engines.options import PIXEL_ASPECT, Option, Request

if TYPE_CHECKING:
    from engines.bundle import Bundle
    from engines.manifest import GateFloors, GateLimits


@dataclass(frozen=True, kw_only=True)
class JudgedRequest(Request):
    """Options of what ends with the gate: the pictures that judge, what may be lost, and a page."""

    data: Annotated[
        str,
        Option("Labelled pictures that state attributes; SPLIT: val unless named, test where there is no val.", metavar="DIR[:SPLIT]"),
    ]
    pixel_aspect: Annotated[tuple[str, ...], PIXEL_ASPECT] = ()
    runtime: Annotated[str, Option("What runs the engine that is judged: auto, onnx, openvino. The float reference runs on onnx.")] = (
        "auto"
    )
    page: Annotated[Path | None, Option("Also write the gate's page with pictures into this folder.")] = None
    map_points: Annotated[float, Option("Points of mAP50-95 (COCO's rule) that may be lost.", low=0)] = 1.0
    f1_points: Annotated[float, Option("Points of the attributes' mean F1 that may be lost.", low=0)] = 1.0
    youden_points: Annotated[float, Option("Points of Youden's J of blasts that may be lost.", low=0)] = 2.0
    shift_px: Annotated[float, Option("How far boxes may move, median, in px of the picture.", low=0)] = 1.0
    least_found: Annotated[float, Option("Share of the cells that the reference must find, else amber.", low=0, high=1)] = 0.5
    least_sensitivity: Annotated[float, Option("Share of the blasts that it must tell as a blast, else amber.", low=0, high=1)] = 0.5
    least_youden: Annotated[float, Option("Youden's J of blasts that it must reach, else amber.", low=0, high=1)] = 0.3
    threads: Annotated[int, Option("Processor threads.", low=1)] = 2

    @property
    def limits(self) -> GateLimits:
        from engines.manifest import GateLimits

        return GateLimits(
            map_points=self.map_points, f1_points=self.f1_points, youden_points=self.youden_points, shift_px=self.shift_px
        )

    @property
    def floors(self) -> GateFloors:
        from engines.manifest import GateFloors

        return GateFloors(found=self.least_found, sensitivity=self.least_sensitivity, youden=self.least_youden)

    def check_page(self, bundle: Bundle) -> None:
        """DataError for a page that could not be written."""
        check_folder(self.page)
        if self.page is not None and self.page.resolve().is_relative_to(bundle.path.resolve()):
            raise DataError(f"{self.page}: lies in the bundle, which holds no folders. Name a folder beside it.")


@dataclass(frozen=True, kw_only=True)
class GateRequest(JudgedRequest):
    """The options of `gate`."""

    candidate: Annotated[str, Option("Engine folder (or zoo:NAME) to be judged; the verdict is kept in its manifest.", argument=True)]
    reference: Annotated[str, Option("The float bundle that it was made from: a folder or zoo:NAME.")]
    runtime: Annotated[
        str, Option("What runs the candidate: auto, onnx, openvino, or by this device's plans tensorrt, tensorrt_rtx.")
    ] = "auto"
    plans: Annotated[Path, Option("Folder of this device's plans (`attridet build`), for tensorrt.")] = PLANS


def folder_and_split(text: str) -> tuple[Path, str]:
    """Folder and split from "DIR" or "DIR:SPLIT"; where none is named val, or test where there is no val."""
    from engines.data.layout import judging_split  # reads pictures' kinds, which --help does not need

    folder, _, split = text.rpartition(":")
    return (Path(folder), split) if folder and split and not Path(text).is_dir() else (Path(text), judging_split(Path(text)))

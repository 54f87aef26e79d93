"""The seam to every display: the Protocol `Display` and the `ScreenView`, everything that one picture of the screen shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from typing_extensions import Self

from device.camera.base import CameraStatus, Frame
from device.display.inputs import Input
from device.display.pages import COUNT_PAGE, Page
from device.slide.model import Field, Place, Slide
from device.slide.tally import Differential
from engines.detections import Detections
from engines.runtime.base import EngineInfo


@dataclass(frozen=True)
class PartState:
    """State of one part for the row of lamps: level is "ok", "busy", "warn" or "fail"; text has at most about 40 characters."""

    name: str  # "Camera", "Engine", "Broker", "Record"
    level: str
    text: str


@dataclass(frozen=True, eq=False)
class ScreenView:
    """All that the screen shows at one moment; drawing reads this and nothing else."""

    frame: Frame | None
    detections: Detections | None
    identified: tuple[bool, ...]  # one for each detection: certain enough to be named, where no second look names the cells
    engine: EngineInfo
    camera: CameraStatus
    slide: Slide | None
    differential: Differential | None
    target_cells: int
    focus: float  # 0 (blurred) to 1 (sharp for this slide)
    focus_text: str  # "sharp", "turn the fine focus", …
    resting: bool  # the stage rests
    field_counted: bool  # the field now seen has been counted
    parts: tuple[PartState, ...]
    calibration_label: str
    message: str = ""  # one line for the technician: what just happened or what to do
    message_level: str = "ok"
    description: Sequence[str] = field(default_factory=tuple)  # film-level words so far
    page: Page = COUNT_PAGE  # what is shown besides, or instead of, the count
    focus_peak: float = 0.0  # the best of this rest, on the scale of `focus`; 0 while the stage moves
    sharp: bool = True  # the focus is good enough for cells to be named
    held: str = ""  # why nothing of the field now seen is counted, in words
    shift_px: tuple[float, float] = (0.0, 0.0)  # how far the counted field now lies from where it was counted, in px of the frame
    place: Place | None = None  # where on the film the frame lies; with `slide.film_map` a map can be drawn
    sight: Field | None = None  # the counted cells in view, with boxes in px of this frame; None: those of the field counted last


class Display(Protocol):
    """Shows views and hands back what was done at it. Opened by `with`; used by the pipeline's thread only."""

    def show(self, view: ScreenView) -> None:
        """Draw now if it is time to; returns quickly. Raises DisplayError when the screen went away (the count goes on)."""

    def inputs(self) -> Sequence[Input]:
        """What was done since the last call: keys, presses, drags; empty for displays that nobody can touch."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class NullDisplay:
    """No display: the count goes on without anybody watching."""

    def show(self, view: ScreenView) -> None:
        """Nothing to do."""

    def inputs(self) -> Sequence[Input]:
        """Always empty."""
        return ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to close."""

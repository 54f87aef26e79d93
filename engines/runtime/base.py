"""The seam between the daemon and whatever runs the network: the Protocol `Engine` and what it says about itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from typing_extensions import Self

from engines.detections import Detections, Image
from engines.naming import NamingInfo
from engines.taxonomy import Taxonomy


@dataclass(frozen=True)
class EngineInfo:
    """Provenance that travels with every number: shown, stored and sent."""

    name: str  # bundle name, e.g. "attridet-n"
    version: str  # bundle version from the manifest, e.g. "1.0.0"
    digest: str  # sha256 of the manifest, hex; the identity of model, thresholds and taxonomy together
    runtime: str  # "onnxruntime 1.23.2 CPU", ...
    precision: str  # "fp32", "int8"
    input_hw: tuple[int, int]  # network input, height and width in px
    taxonomy: Taxonomy
    score_threshold: float
    naming: NamingInfo | None = None  # the layer that names cells at the second look; None for a bundle without one
    gate_fault: str = ""  # why this engine should not count, in words that follow its name; empty for one that may
    unchecked: str = ""  # why nobody can tell whether it answers rightly here; empty where a golden picture can

    @property
    def label(self) -> str:
        """Short form for the screen: name, version, precision and the first 8 digits of the digest."""
        return f"{self.name} {self.version} {self.precision} {self.digest[:8]}"


@dataclass(frozen=True)
class Inference:
    """Detections of one frame and the milliseconds each stage took (keys: preprocess, detector, nms, attributes)."""

    detections: Detections
    timings_ms: dict[str, float] = field(default_factory=dict)


class Engine(Protocol):
    """Runs the network on one frame at a time. Owned by one thread; opened by `with`, closed at its end."""

    @property
    def info(self) -> EngineInfo: ...

    def infer(self, image: Image) -> Inference:
        """Detections on a BGR frame of any size. Raises `engines.errors.InferenceError` with the runtime's words."""
        ...

    def name_cells(self, image: Image, found: Detections, um_per_px: float | None = None) -> Detections:
        """The second look: `found` on the frame `image` (BGR, full resolution), named; as it came for an engine without a naming layer.

        Called when a field is counted, not on each frame. um_per_px: scale of the frame, None where it is unknown.
        Raises `engines.errors.InferenceError`.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

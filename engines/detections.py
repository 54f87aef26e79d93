"""What an engine says about one frame: boxes, types, scores and attribute probabilities, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Image = NDArray[np.uint8]
"""A BGR picture, (height, width, 3), as OpenCV reads it."""


@dataclass(frozen=True, eq=False)
class CellNames:
    """What the second look says of N cells.

    probabilities: (N, C) float32, calibrated, of the taxonomy's classes; a row sums to 1, the artefact included. types: (N,) int64, the
    class that may be told, -1 where none is sure; the artefact where the box holds no white cell. groups: N keys of
    `Taxonomy.told_groups`, "" where not even the group is sure; the group of a told type stands here too. distances: (N,) float32, how
    far the cell is from all that the naming layer knows: beyond 1 it is unlike them; 0 where the layer cannot tell.
    """

    probabilities: Float32
    types: Int64
    groups: tuple[str, ...]
    distances: Float32

    def select(self, keep: NDArray[np.bool_] | Int64) -> CellNames:
        """The rows that a mask or index array names."""
        groups = tuple(np.array(self.groups, object)[keep].tolist())
        return CellNames(self.probabilities[keep], self.types[keep], groups, self.distances[keep])


@dataclass(frozen=True, eq=False)
class Detections:
    """N detections of one frame, sorted by falling score.

    boxes_px: (N, 4) float32, x1 y1 x2 y2 in pixels of the *frame* (not of the network's input), clipped to it.
    scores: (N,) float32, objectness times class probability, 0 to 1.
    classes: (N,) int64, index into the taxonomy's classes.
    attributes: (N, A) float32, probabilities; each attribute's group sums to 1 (A = taxonomy.n_logits). NaN rows: not computed.
    limit_met: more cells were found than the engine returns of one frame (its `max_detections`): N is "at least N".
    non_finite: boxes and attribute rows of this frame that were no numbers; the boxes were left out, the attributes are unknown.
    names: what the second look says, None before it; then `classes` are each cell's most probable ones, `scores` stay the detector's.
    """

    boxes_px: Float32
    scores: Float32
    classes: Int64
    attributes: Float32
    limit_met: bool = False
    names: CellNames | None = None
    non_finite: int = 0

    def __post_init__(self) -> None:
        n = len(self.boxes_px)
        if self.boxes_px.shape != (n, 4) or len(self.scores) != n or len(self.classes) != n or len(self.attributes) != n:
            raise ValueError(
                f"detections disagree in length: boxes {self.boxes_px.shape}, scores {self.scores.shape}, "
                f"classes {self.classes.shape}, attributes {self.attributes.shape}"
            )

    def __len__(self) -> int:
        return len(self.boxes_px)

    def select(self, keep: NDArray[np.bool_] | Int64) -> Detections:
        """The rows that a mask or index array names."""
        names = None if self.names is None else self.names.select(keep)
        rows = self.boxes_px[keep], self.scores[keep], self.classes[keep], self.attributes[keep]
        return Detections(*rows, self.limit_met, names, self.non_finite)

    @classmethod
    def empty(cls, n_logits: int) -> Detections:
        """No detection, with an attribute vector of `n_logits`."""
        return cls(
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.int64),
            np.zeros((0, n_logits), np.float32),
        )

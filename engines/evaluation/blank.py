"""An evaluation of one grey picture with a cell of each type, all of them found: for the names of its figures, not for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engines.data.leukemiaattri import LabelledImage
from engines.decode import Thresholds
from engines.detections import Float32, Image
from engines.evaluation.folder import evaluate_pictures
from engines.evaluation.result import Evaluation
from engines.runtime.base import EngineInfo
from engines.runtime.engine import NetworkEngine
from engines.taxonomy import Taxonomy

_CELL_PX, _GAP_PX = 16, 32


class _Grey(LabelledImage):
    def read(self) -> Image:
        return np.full((*self.size_hw, 3), 128, np.uint8)


class _Labels:
    """Graphs that say what is labelled. boxes_px: (N, 4), of type 0 to N - 1, in px of the input."""

    regions = 4

    def __init__(self, boxes_px: Float32, taxonomy: Taxonomy) -> None:
        centre, size = (boxes_px[:, :2] + boxes_px[:, 2:]) / 2, boxes_px[:, 2:] - boxes_px[:, :2]
        types = np.eye(len(boxes_px), len(taxonomy.classes))
        self._rows = np.concatenate([centre, size, np.ones((len(boxes_px), 1)), types], 1).astype(np.float32)
        self._logits = taxonomy.n_logits

    def open(self) -> None: ...

    def close(self) -> None: ...

    def detect(self, picture: Image, confidence: float = 0.0) -> Float32:
        return self._rows

    def describe(self, rois: Float32) -> Float32:
        return np.full((self.regions, self._logits), 0.5, np.float32)

    def look(self, tiles: Image) -> Float32:
        raise NotImplementedError("it has no second look")


def blank_evaluation(taxonomy: Taxonomy) -> Evaluation:
    """The evaluation; its plain form has every name that one of a network of this taxonomy has, intervals and looks left out."""
    kinds = np.arange(len(taxonomy.classes))
    side_px = -(-len(kinds) * _GAP_PX // 32) * 32
    left = _GAP_PX * kinds.astype(np.float32)
    boxes_px = np.stack([left, left, left + _CELL_PX, left + _CELL_PX], 1)
    first_value = np.zeros((len(kinds), len(taxonomy.attributes)), np.int64)
    picture = _Grey(Path("blank"), (side_px, side_px), boxes_px, kinds.astype(np.int64), first_value)
    info = EngineInfo("blank", "0", "0" * 64, "none", "fp32", (side_px, side_px), taxonomy, 0.25)
    with NetworkEngine(_Labels(boxes_px, taxonomy), info, False, Thresholds()) as engine:
        return evaluate_pictures(engine, [picture], "blank", "blank", resamples=0)

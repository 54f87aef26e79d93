"""Whether two runtimes see the same: their detections on the same pictures, paired. Truth plays no part: see `engines.gate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engines.decode import box_iou
from engines.detections import Detections
from engines.runtime.engine import nearest_pairs

MIN_IOU = 0.9
"""Boxes of two runtimes that overlap by as much are the same box."""


@dataclass(frozen=True)
class Agreement:
    """Boxes of both answers over all pictures, how many of them have an equal in the other, and how far equals differ at most.

    corner_px: largest distance of a corner, px of the picture. score: largest difference of scores. Both 0 without a pair.
    """

    boxes: int
    matched: int
    corner_px: float
    score: float

    @property
    def share(self) -> float:
        """Boxes with an equal, of all; 1 where there is no box at all."""
        return self.matched / self.boxes if self.boxes else 1.0


def agreement(first: Sequence[Detections], second: Sequence[Detections], confidence: float, margin: float = 0.0) -> Agreement:
    """Pairs the detections of each picture: same class, IoU of at least `MIN_IOU`, best overlap first, each once.

    A detection without an equal is left out where its score is within `margin` of the threshold `confidence`: the other runtime may
    have it just below.
    """
    boxes = matched = 0
    corner_px = score = 0.0
    for one, other in zip(first, second, strict=True):
        iou = np.where(one.classes[:, None] == other.classes[None], box_iou(one.boxes_px, other.boxes_px), 0.0)
        pairs = nearest_pairs(-iou, -MIN_IOU)
        matched += 2 * len(pairs[0])
        boxes += 2 * len(pairs[0])
        for detections, paired in zip((one, other), pairs, strict=True):
            # Written so that a NaN counts.
            boxes += int((~(np.delete(detections.scores, paired) <= confidence + margin)).sum())
        if len(pairs[0]):
            mine, partner = one.select(pairs[0]), other.select(pairs[1])
            corner_px = max(corner_px, float(np.abs(mine.boxes_px - partner.boxes_px).max()))
            score = max(score, float(np.abs(mine.scores - partner.scores).max()))
    return Agreement(boxes, matched, corner_px, score)

"""Whether two runtimes see the same: their detections on the same pictures, paired. Truth plays no part: see `engines.gate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.decode import box_iou
from engines.detections import Detections

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
        pairs = _pairs(one, other)
        alone = [np.setdiff1d(np.arange(len(detections)), pairs[:, side]) for side, detections in enumerate((one, other))]
        matched += 2 * len(pairs)
        boxes += 2 * len(pairs)
        for detections, rest in zip((one, other), alone, strict=True):
            # Written so that a NaN counts.
            boxes += int((~(detections.scores[rest] <= confidence + margin)).sum())
        if len(pairs):
            mine, partner = one.select(pairs[:, 0]), other.select(pairs[:, 1])
            corner_px = max(corner_px, float(np.abs(mine.boxes_px - partner.boxes_px).max()))
            score = max(score, float(np.abs(mine.scores - partner.scores).max()))
    return Agreement(boxes, matched, corner_px, score)


def _pairs(one: Detections, other: Detections) -> NDArray[np.int64]:
    """(P, 2) indices into both."""
    iou = np.where(one.classes[:, None] == other.classes[None], box_iou(one.boxes_px, other.boxes_px), 0.0)
    rows, columns = np.nonzero(iou >= MIN_IOU)
    found: dict[int, int] = {}
    for at in np.argsort(-iou[rows, columns], kind="stable"):
        row, column = int(rows[at]), int(columns[at])
        if row not in found and column not in found.values():
            found[row] = column
    return np.array(sorted(found.items()), np.int64).reshape(-1, 2)

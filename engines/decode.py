"""From the network's rows to detections: non-maximum suppression and the regions for the attribute graph, in numpy.

The rows are already decoded to input pixels inside the graph (spec 1.3); thresholds come from the bundle's manifest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engines.detections import Detections, Float32, Int64
from engines.preprocess import Letterbox

CLASS_OFFSET_PX = 7680
"""Boxes of different classes are moved apart by this before suppression, so that they never meet (spec 1.9)."""
ROUNDING = 0.01
"""By how much a probability may leave 0 to 1 and still be one: in 8 bits it comes in steps of 1/255."""
MAX_CANDIDATES = 30_000
"""Best-scoring candidates that enter suppression (spec 1.9)."""
REGION_CAPACITY = 64
"""Regions that one run of the attribute graph takes."""


@dataclass(frozen=True)
class Thresholds:
    """What becomes a detection.

    confidence: objectness and score must exceed it. iou: a box that overlaps a better one by more is dropped.
    max_detections: boxes kept a frame. agnostic: boxes of different classes suppress each other, because one cell has
    one type. multi_label: a row may give one candidate for each class above `confidence` (the rule for AP).
    """

    confidence: float = 0.25
    iou: float = 0.45
    max_detections: int = 300
    agnostic: bool = True
    multi_label: bool = False


AP_THRESHOLDS = Thresholds(confidence=0.001, iou=0.6, max_detections=300, agnostic=False, multi_label=True)
"""What average precision is measured with (spec 1.9, "Val")."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """N boxes that survived suppression, by falling score, in pixels of the network's *input*.

    boxes_px: (N, 4) float32 x1 y1 x2 y2, not clipped. scores: (N,) float32. classes: (N,) int64. limit_met: at least one more box
    would have survived but for `Thresholds.max_detections`. rows: (N,) which of the network's rows each was. non_finite: rows that were
    left out since they are no numbers, or no probabilities.
    """

    boxes_px: Float32
    scores: Float32
    classes: Int64
    limit_met: bool = False
    rows: Int64 | None = None
    non_finite: int = 0

    def __len__(self) -> int:
        return len(self.boxes_px)

    def select(self, keep: NDArray[np.bool_] | Int64) -> Candidates:
        """The candidates that a mask or index array names."""
        rows = None if self.rows is None else self.rows[keep]
        return Candidates(self.boxes_px[keep], self.scores[keep], self.classes[keep], self.limit_met, rows, self.non_finite)


def box_iou(boxes: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union (IoU) of every bounding box with every other, (N, M) float64; 0 where both are empty.

    Both inputs hold x1 y1 x2 y2 in any one unit.
    """
    a, b = (np.asarray(some, np.float64).reshape(-1, 4) for some in (boxes, others))
    overlap = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    intersection = overlap.clip(0).prod(2)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(1), (b[:, 2:] - b[:, :2]).prod(1)
    union = area_a[:, None] + area_b[None] - intersection
    iou: NDArray[np.float64] = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return iou


def candidates(rows: Float32, thresholds: Thresholds, classes: Collection[int] | None = None) -> Candidates:
    """Non-maximum suppression of one image's rows, as YOLOv5 v7.0 does it but without its time limit (spec 1.9).

    rows: (N, 5 + classes) float32: x y w h in input px, objectness, class probabilities. `classes` keeps only these.
    The score is objectness times class probability. Ties keep the order of the rows.
    """
    # Most of 25,200 rows are background: dropping them first leaves a few hundred to work on. (A mask would be twice as slow.)
    objectness = rows[:, 4]
    likely = np.flatnonzero(objectness > thresholds.confidence)
    non_finite = int(np.count_nonzero(np.isnan(objectness)))  # of these nothing else is asked
    rows = rows[likely]
    # One NaN would suppress every box that comes after it.
    shares = rows[:, 4:]
    meant = np.isfinite(rows[:, :4]).all(1) & ((shares >= -ROUNDING) & (shares <= 1 + ROUNDING)).all(1)
    if not meant.all():
        non_finite += int(np.count_nonzero(~meant))
        likely, rows = likely[meant], rows[meant]
    scores = np.minimum(rows[:, 5:] * rows[:, 4:5], 1)
    if thresholds.multi_label and scores.shape[1] > 1:
        index, label = np.nonzero(scores > thresholds.confidence)
        score = scores[index, label]
    else:
        label = scores.argmax(1)
        score = scores[np.arange(len(scores)), label]
        index = np.flatnonzero(score > thresholds.confidence)
        label, score = label[index], score[index]
    if classes is not None:
        wanted = np.isin(label, list(classes))
        index, label, score = index[wanted], label[wanted], score[wanted]
    order = np.argsort(-score, kind="stable")[:MAX_CANDIDATES]
    index, label, score = index[order], label[order], score[order]
    centre, half = rows[index, :2], rows[index, 2:4] / 2
    boxes_px = np.concatenate((centre - half, centre + half), 1).astype(np.float32, copy=False)
    # In double precision the offset costs no accuracy, so the result is that of suppressing each class by itself.
    moved = boxes_px.astype(np.float64)
    if not thresholds.agnostic:
        moved += label[:, None] * float(CLASS_OFFSET_PX)
    keep, limit_met = suppress(moved, thresholds.iou, thresholds.max_detections)
    return Candidates(boxes_px[keep], score[keep], label[keep].astype(np.int64), limit_met, likely[index[keep]], non_finite)


def detections(found: Candidates, letterbox: Letterbox, n_logits: int, attributes: Float32 | None = None) -> Detections:
    """The candidates as detections of the frame: boxes in frame px, clipped; attributes NaN where none are given.

    A box of which less than a pixel's width or height lies in the frame (it was found in the border) is no detection.
    """
    if attributes is None:
        attributes = np.full((len(found), n_logits), np.nan, np.float32)
    boxes_px = letterbox.to_frame(found.boxes_px)
    made = Detections(boxes_px, found.scores, found.classes, attributes, found.limit_met, non_finite=found.non_finite)
    return made.select(inside_frame(boxes_px))


def inside_frame(boxes_px: Float32) -> Int64:
    """Indices of the boxes (N, 4), in frame px and clipped, of which a pixel's width and height or more lies in the frame."""
    return np.flatnonzero((boxes_px[:, 2:] - boxes_px[:, :2]).min(1, initial=np.inf) >= 1)


def region_batches(boxes_px: Float32, capacity: int = REGION_CAPACITY) -> Iterator[tuple[Float32, int]]:
    """Boxes as regions for the attribute graph: (capacity, 4) float32 padded with zeros, and how many of them count.

    A frame with more boxes than `capacity` gives several batches; none is dropped. No box gives no batch, nor does capacity 0: a
    network that tells no attributes.
    """
    for start in range(0, len(boxes_px), capacity) if capacity else ():
        part = boxes_px[start : start + capacity]
        regions = np.zeros((capacity, 4), np.float32)
        regions[: len(part)] = part
        yield regions, len(part)


def suppress(boxes: NDArray[np.float64], iou_threshold: float, limit: int) -> tuple[Int64, bool]:
    """Indices of the boxes (sorted by falling score) that no better kept box overlaps by more than the threshold.

    And whether the limit ended the search: at least one more box would have been kept.
    """
    low, high = boxes.T[:2].copy(), boxes.T[2:].copy()
    areas = (high[0] - low[0]) * (high[1] - low[1])
    alive = np.arange(len(boxes))
    keep: list[int] = []
    while len(alive) and len(keep) < limit:
        best, alive = alive[0], alive[1:]
        keep.append(int(best))
        sides = np.minimum(high[:, best, None], high[:, alive]) - np.maximum(low[:, best, None], low[:, alive])
        width, height = np.maximum(sides, 0)
        intersection = width * height
        # Written as a product, so that two empty boxes (union 0) do not suppress each other by a division.
        alive = alive[intersection <= iou_threshold * (areas[best] + areas[alive] - intersection)]
    return np.array(keep, np.int64), bool(len(alive))

"""Average precision by three rules, also of many weighted samples of the pictures at once, as intervals need.

COCO's, YOLOv5 v7.0's and Ultralytics' of today (8.4), which is neither of the two. Matching is done once; a weight is how often a
picture was drawn: 1 gives the score itself, 2 what the picture shown twice would give. Tests hold each rule to 1e-9 of its own program
(tests/records/average_precision). What papers report of them is made of it in `engines.evaluation.detection`.

Regions to ignore, in all rules as COCO treats a crowd: a detection that is not right, and of whose area a share of at least the IoU
threshold lies in one region, is neither right nor wrong. One region takes any number of detections of any type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.detections import Float32, Float64, Int64

IOU_THRESHOLDS: NDArray[np.float64] = np.linspace(0.5, 0.95, 10)
"""What a match must reach: .5, .55 ... .95."""
COCO_BOXES = 100
"""Detections of one class on one picture that COCO's rule looks at."""
Bool = NDArray[np.bool_]
_YOLO_THRESHOLDS = IOU_THRESHOLDS.astype(np.float32)
_GRID: Float64 = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, eq=False)
class Judged:
    """One picture's detections beside its truth, boxes x1 y1 x2 y2 in px of the picture.

    boxes_px (N, 4), scores (N,), classes (N,): by falling score, as suppression gives them. truth_boxes_px (M, 4), truth_classes (M,).
    ignored_px (K, 4): regions to ignore.
    """

    boxes_px: Float32
    scores: Float32
    classes: Int64
    truth_boxes_px: Float32
    truth_classes: Int64
    ignored_px: Float32 = field(default_factory=lambda: np.zeros((0, 4), np.float32))

    @property
    def n_truths(self) -> int:
        return len(self.truth_classes)


Matches = tuple[Int64, Bool, Bool]
"""Which detections count, (K,) by falling score; which of them are right, and which neither right nor wrong, each (K, 10)."""


def ignored_share(boxes_px: Float32, ignored_px: Float32) -> Float64:
    """Share of each box's area in the region to ignore that holds most of it, (N,); boxes (N, 4), regions (K, 4), in one unit."""
    intersection, area, _ = _coco_overlaps(boxes_px, ignored_px)
    share: Float64 = ratio(intersection, area[:, None]).max(1, initial=0)
    return share


def match_yolo(judged: Judged) -> Matches:
    """YOLOv5 v7.0's matching (spec 1.10); every detection counts.

    Each detection takes the truth of its class that it overlaps most (of equal ones the last); of those that take the same truth, the
    first (highest score) is right, at every threshold its IoU reaches.
    """
    right = np.zeros((len(judged.scores), len(IOU_THRESHOLDS)), bool)
    if right.size and judged.n_truths:
        iou = _yolo_iou(judged)
        best = iou.shape[1] - 1 - iou[:, ::-1].argmax(1)
        best_iou = iou.max(1)
        for column, threshold in enumerate(_YOLO_THRESHOLDS):
            reaching = np.flatnonzero(best_iou >= threshold)
            _, first = np.unique(best[reaching], return_index=True)
            right[reaching[first], column] = True
    return np.arange(len(right)), right, _ignored(judged, right)


def match_ultralytics(judged: Judged) -> Matches:
    """Ultralytics' matching of today; every detection counts.

    By falling score each takes the truth of its class that it overlaps most of those still free (of equal ones the first).
    """
    right = np.zeros((len(judged.scores), len(IOU_THRESHOLDS)), bool)
    if right.size and judged.n_truths:
        iou = _yolo_iou(judged)
        near = np.flatnonzero(iou.max(1) >= _YOLO_THRESHOLDS[0])  # the others are wrong at every threshold
        for column, threshold in enumerate(_YOLO_THRESHOLDS):
            left = iou[near].copy()
            for place, row in zip(near, left, strict=True):
                best = int(row.argmax())
                if row[best] >= threshold:
                    right[place, column] = True
                    left[:, best] = -1
    return np.arange(len(right)), right, _ignored(judged, right)


def _yolo_iou(judged: Judged) -> Float32:
    """IoU of each detection with each truth, (N, M), -1 of another class; in 32 bits with 1e-7 beside the union, as both programs do.

    So boxes that reach a threshold just so, and equal overlaps, fall as theirs do.
    """
    boxes, truths = judged.boxes_px.astype(np.float32), judged.truth_boxes_px.astype(np.float32)
    overlap = np.minimum(boxes[:, None, 2:], truths[None, :, 2:]) - np.maximum(boxes[:, None, :2], truths[None, :, :2])
    intersection = overlap.clip(0).prod(2)
    areas, truth_areas = ((some[:, 2:] - some[:, :2]).prod(1) for some in (boxes, truths))
    iou: Float32 = intersection / (truth_areas[None] + areas[:, None] - intersection + np.float32(1e-7))
    iou[judged.classes[:, None] != judged.truth_classes[None]] = -1
    return iou


def match_coco(judged: Judged, boxes: int = COCO_BOXES) -> Matches:
    """COCO's matching: of each class the best `boxes` count, each takes the free truth of its class that it overlaps most."""
    right = np.zeros((len(judged.scores), len(IOU_THRESHOLDS)), bool)
    order, counts = np.argsort(-judged.scores, kind="stable"), np.zeros(len(right), bool)
    for cls in np.unique(judged.classes):
        mine = order[judged.classes[order] == cls][:boxes]
        # A box of negative area lies outside COCO's range of areas: it is neither right nor wrong.
        mine = mine[(judged.boxes_px[mine, 2:] - judged.boxes_px[mine, :2]).astype(np.float64).prod(1) >= 0]
        counts[mine] = True
        intersection, area, truth_area = _coco_overlaps(judged.boxes_px[mine], judged.truth_boxes_px[judged.truth_classes == cls])
        iou = ratio(intersection, area[:, None] + truth_area - intersection)
        near = np.flatnonzero(iou.max(1, initial=0) >= IOU_THRESHOLDS[0])  # the others are wrong at every threshold
        for column, threshold in enumerate(IOU_THRESHOLDS):
            left = iou[near].copy()
            for place, row in zip(mine[near], left, strict=True):
                # Of equal overlaps the last truth is taken, as the reference does.
                best = len(row) - 1 - int(row[::-1].argmax())
                if row[best] >= threshold:
                    right[place, column] = True
                    left[:, best] = -1
    kept = order[counts[order]]
    return kept, right[kept], _ignored(judged, right)[kept]


def _ignored(judged: Judged, right: Bool) -> Bool:
    return ~right & (ignored_share(judged.boxes_px, judged.ignored_px)[:, None] >= IOU_THRESHOLDS)


def _coco_overlaps(boxes: Float32, others: Float32) -> tuple[Float64, Float64, Float64]:
    """Intersections (N, M) and areas (N,), (M,) as COCO computes them, from corner and size, so that boundary cases fall alike."""
    (x, y, w, h), (ox, oy, ow, oh) = (
        (b[:, 0], b[:, 1], b[:, 2] - b[:, 0], b[:, 3] - b[:, 1]) for b in (boxes.astype(np.float64), others.astype(np.float64))
    )
    width = np.minimum((x + w)[:, None], ox + ow) - np.maximum(x[:, None], ox)
    height = np.minimum((y + h)[:, None], oy + oh) - np.maximum(y[:, None], oy)
    return width.clip(0) * height.clip(0), w * h, ow * oh


@dataclass(frozen=True)
class Rule:
    """How detections are matched, and how the area under a curve is taken."""

    match: Callable[[Judged], Matches]
    area: Callable[[_Curve], Float64]


@dataclass(frozen=True, eq=False)
class Ranking:
    """Detections of several pictures, matched by `rule`, by falling score.

    scores, classes: (N,). picture: (N,) the place of each one's picture. right, ignored: (N, 10) bool, at each of `IOU_THRESHOLDS`.
    truth_classes, truth_picture: (M,), of every labelled cell.
    """

    rule: Rule
    scores: Float32
    classes: Int64
    picture: Int64
    right: Bool
    ignored: Bool
    truth_classes: Int64
    truth_picture: Int64

    @classmethod
    def of(cls, images: Sequence[Judged], rule: Rule) -> Ranking:
        """Of the pictures, each matched by itself."""
        matched = [rule.match(j) for j in images]
        none = np.zeros((0, len(IOU_THRESHOLDS)), bool)
        scores = _joined(np.float32, (j.scores[k] for j, (k, _, _) in zip(images, matched, strict=True)))
        order = np.argsort(-scores, kind="stable")
        return cls(
            rule,
            scores[order],
            _joined(np.int64, (j.classes[k] for j, (k, _, _) in zip(images, matched, strict=True)))[order],
            np.repeat(np.arange(len(images)), [len(k) for k, _, _ in matched])[order],
            np.concatenate([none, *(right for _, right, _ in matched)])[order],
            np.concatenate([none, *(ignored for _, _, ignored in matched)])[order],
            _joined(np.int64, (j.truth_classes for j in images)),
            np.repeat(np.arange(len(images)), [j.n_truths for j in images]),
        )

    def average_precision(self, unit_of: Int64 | None = None, weights: Float64 | None = None) -> tuple[Int64, Float64]:
        """Classes that the labels hold, (C,), and their AP in each sample at each threshold, (C, R, 10); NaN where it holds no truth.

        unit_of: (P,) which unit (patient) each picture belongs to, 0 to U - 1. weights: (R, U) how often each was drawn, whole numbers.
        Without them: R = 1, every picture once.
        """
        weights = np.ones((1, 1)) if weights is None else weights
        unit, truth_unit = (p * 0 if unit_of is None else unit_of[p] for p in (self.picture, self.truth_picture))
        classes = np.unique(self.truth_classes)
        ap = np.empty((len(classes), len(weights), len(IOU_THRESHOLDS)))
        for row, cls in enumerate(classes):
            truths = weights @ np.bincount(truth_unit[self.truth_classes == cls], minlength=weights.shape[1])
            mine = self.classes == cls
            for column in range(len(IOU_THRESHOLDS)):
                counted = mine & ~self.ignored[:, column]
                ap[row, :, column] = self.rule.area(_Curve.of(self.right[counted, column], unit[counted], truths, weights))
            ap[row, truths == 0] = np.nan
        return classes, ap


@dataclass(frozen=True, eq=False)
class _Curve:
    """Samples' curves at one threshold: at each of T right detections its weight, the right ones so far and all so far, each (R, T).

    truths, found: (R,) truths and detections in each sample.
    """

    weight: Float64
    right: Float64
    told: Float64
    truths: Float64
    found: Float64

    @classmethod
    def of(cls, right: Bool, unit: Int64, truths: Float64, weights: Float64) -> _Curve:
        """right, unit: (N,) of the detections that count, by falling score. Precision can only peak where one is right."""
        at, units = np.flatnonzero(right), weights.shape[1]
        # Row s counts the detections of each unit after the right detection s - 1, up to and with s; the sums run down the rows.
        flat = np.searchsorted(at, np.arange(len(right))) * units + unit
        steps = np.bincount(flat, minlength=(len(at) + 1) * units).reshape(len(at) + 1, units).cumsum(0)
        told, weight = weights @ steps.T.astype(np.float64), weights[:, unit[at]]
        return cls(weight, weight.cumsum(1), told[:, :-1], truths, told[:, -1])

    @property
    def recall(self) -> Float64:
        return ratio(self.right, self.truths[:, None])

    @property
    def envelope(self) -> Float64:
        precision = ratio(self.right, self.told)
        peak: Float64 = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        return peak


def _coco_area(curve: _Curve) -> Float64:
    """Mean over 101 recalls of the envelope at the first place that reaches it; 0 where none does."""
    first = _first_at(curve.recall, "right")
    envelope = np.pad(curve.envelope, ((0, 0), (0, 1)))
    area: Float64 = np.take_along_axis(envelope, first, 1).mean(1)
    return area


def _yolo_area(curve: _Curve, to_zero: bool) -> Float64:
    """Trapezoids over 101 recalls of the envelope, interpolated linearly from (0, 1) on.

    to_zero: to (1, 0), in a straight line from the last recall; else it is 0 from the last recall on.
    """
    n = len(curve.weight)
    recall, envelope = curve.recall, curve.envelope
    end_recall = recall[:, -1] if recall.shape[1] else np.zeros(n)
    end_precision = ratio(curve.right[:, -1] if recall.shape[1] else np.zeros(n), curve.found)
    # Between two right detections the curve falls to the envelope of the last wrong one before the next, and rises from there in the
    # first of the copies of the next one. Before the first detection of all stands the rule's own (0, 1).
    before = curve.right - curve.weight
    wrong_before = curve.told - curve.weight
    trough = np.where(wrong_before > 0, np.maximum(ratio(before, wrong_before), envelope), 1.0)
    start = ratio(before, curve.truths[:, None])
    rise = ratio(np.ones(n), curve.truths)[:, None]
    first = _first_at(recall, "left")
    padded = [np.concatenate((a, b[:, None]), 1) for a, b in ((start, end_recall), (trough, end_precision), (envelope, np.zeros(n)))]
    x0, y0, y1 = (np.take_along_axis(a, first, 1) for a in padded)
    beyond = first == recall.shape[1]
    run = np.where(beyond, 1 - end_recall[:, None], rise)
    share = np.clip(ratio(_GRID[None] - x0, run), 0, 1)
    y = y0 + (y1 - y0) * share
    y[:, -1] = np.where(end_recall == 1, 0, y[:, -1])
    if not to_zero:
        y[beyond] = 0
    area: Float64 = ((y[:, 1:] + y[:, :-1]) / 2 * np.diff(_GRID)).sum(1)
    area[curve.found == 0] = 0
    return area


def _first_at(recall: Float64, side: str) -> Int64:
    """For each of the 101 recalls the first place whose recall exceeds it ("left") or reaches it ("right"), T where none does.

    recall: (R, T), rising along each row; the answer (R, 101).
    """
    rows, width = recall.shape
    # Counted the other way round: how many grid points lie below each place; the places before a grid point are then a running sum.
    reached = np.searchsorted(_GRID, recall, side="left" if side == "left" else "right")
    flat = reached + (len(_GRID) + 1) * np.arange(rows)[:, None]
    count = np.bincount(flat.ravel(), minlength=rows * (len(_GRID) + 1)).reshape(rows, -1)
    first: Int64 = count.cumsum(1)[:, : len(_GRID)].astype(np.int64)
    return np.minimum(first, width)


def ratio(a: Float64, b: Float64, otherwise: float = 0) -> Float64:
    """a / b, `otherwise` where b is not above 0."""
    quotient: Float64 = np.divide(a, b, out=np.full(np.broadcast_shapes(a.shape, b.shape), otherwise, np.float64), where=b > 0)
    return quotient


def _joined(dtype: type, parts: Iterable[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts])


YOLOV5 = Rule(match_yolo, partial(_yolo_area, to_zero=True))
"""YOLOv5's up to v7.0 and so of the papers that train by it, AttriDet's among them."""
ULTRALYTICS = Rule(match_ultralytics, partial(_yolo_area, to_zero=False))
"""What `yolo val` of Ultralytics 8.4 prints, of whichever network."""


def coco(boxes: int = COCO_BOXES) -> Rule:
    """COCO's rule, looking at the best `boxes` detections of a class on a picture."""
    return Rule(partial(match_coco, boxes=boxes), _coco_area)

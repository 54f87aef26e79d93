"""Average precision of weighted samples of pictures, many at once: what a bootstrap needs. Matching is done once; a sample weighs it.

A weight is how often a picture was drawn; 2 gives exactly what the picture shown twice would give. With all weights 1 the results
are those of `engines.evaluation.detection` (tests hold COCO's to 1e-6 of faster-coco-eval and YOLOv5's to 1e-9).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engines.detections import Int64
from engines.evaluation.detection import IOU_THRESHOLDS, Bool, Float64, Judged, match

MAX_DETECTIONS = 100
"""Detections of one class on one picture that COCO's rule looks at."""
_GRID: Float64 = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, eq=False)
class RankedClass:
    """Detections of one class over all pictures, by falling score, as both areas need them.

    cls: class code. truths: (U,) labelled cells in each unit (patient or picture). total: (U,) detections in each. steps: (S, U)
    detections of each unit among the best, counted at each of S places of the ranking. For each of the 10 thresholds, `places` says
    at which steps a right detection stands, and `units` in which unit.
    """

    cls: int
    truths: Float64
    total: Float64
    steps: Float64
    places: tuple[Int64, ...]
    units: tuple[Int64, ...]


Matching = Callable[[Judged], tuple[Int64, Bool]]
"""Which detections count, (K,) by falling score, and which of them are right at which threshold, (K, 10)."""


def by_yolo(judged: Judged) -> tuple[Int64, Bool]:
    """YOLOv5's matching (spec 1.10); every detection counts."""
    return np.arange(len(judged.scores)), match(judged)


def by_coco(judged: Judged) -> tuple[Int64, Bool]:
    """COCO's matching: of each class the best 100, each takes the free truth of its class that it overlaps most."""
    kept, rows = [np.zeros(0, np.int64)], [np.zeros((0, len(IOU_THRESHOLDS)), bool)]
    for cls in np.unique(judged.classes):
        mine = np.flatnonzero(judged.classes == cls)
        mine = mine[np.argsort(-judged.scores[mine], kind="stable")][:MAX_DETECTIONS]
        # A box of negative area lies outside COCO's range of areas: it is neither right nor wrong.
        sides = judged.boxes_px[mine, 2:] - judged.boxes_px[mine, :2]
        mine = mine[sides.astype(np.float64).prod(1) >= 0]
        truths = judged.truth_boxes_px[judged.truth_classes == cls]
        correct = np.zeros((len(mine), len(IOU_THRESHOLDS)), bool)
        if len(truths):
            iou = _coco_iou(judged.boxes_px[mine].astype(np.float64), truths.astype(np.float64))
            near = np.flatnonzero(iou.max(1) >= IOU_THRESHOLDS[0])  # the others are wrong at every threshold
            for column, threshold in enumerate(IOU_THRESHOLDS):
                left = iou[near].copy()
                for place, row in zip(near, left, strict=True):
                    # Of equal overlaps the last truth is taken, as the reference does.
                    best = len(row) - 1 - int(row[::-1].argmax())
                    if row[best] >= min(threshold, 1 - 1e-10):
                        correct[place, column] = True
                        left[:, best] = -1
        kept.append(mine)
        rows.append(correct)
    order = np.argsort(-judged.scores[np.concatenate(kept)], kind="stable")
    return np.concatenate(kept)[order], np.concatenate(rows)[order]


def rank(images: Sequence[Judged], units: Int64, n_units: int, matching: Matching) -> list[RankedClass]:
    """One entry for each class that the labels hold, rising. units: (P,) which unit each picture belongs to, 0 to n_units - 1."""
    matched = [matching(j) for j in images]
    correct = np.concatenate([np.zeros((0, len(IOU_THRESHOLDS)), bool), *(c for _, c in matched)])
    scores = np.concatenate([np.zeros(0, np.float32), *(j.scores[k] for j, (k, _) in zip(images, matched, strict=True))])
    classes = np.concatenate([np.zeros(0, np.int64), *(j.classes[k] for j, (k, _) in zip(images, matched, strict=True))])
    unit = np.repeat(units, [len(k) for k, _ in matched]).astype(np.int64)
    truth_classes = np.concatenate([np.zeros(0, np.int64), *(j.truth_classes for j in images)])
    truth_unit = np.repeat(units, [j.n_truths for j in images]).astype(np.int64)
    order = np.argsort(-scores, kind="stable")
    correct, classes, unit = correct[order], classes[order], unit[order]
    ranked = []
    for cls in np.unique(truth_classes):
        mine = classes == cls
        right, of = correct[mine], unit[mine]
        at = np.flatnonzero(right.any(1))  # precision can only peak where a detection is right at some threshold
        # Row s counts the detections from just after step s - 1 up to and with step s, by unit; the sums run down the rows.
        segment = np.searchsorted(at, np.arange(len(of)))
        steps = np.zeros((len(at) + 1, n_units))
        np.add.at(steps, (segment, of), 1)
        ranked.append(
            RankedClass(
                cls=int(cls),
                truths=np.bincount(truth_unit[truth_classes == cls], minlength=n_units).astype(np.float64),
                total=np.bincount(of, minlength=n_units).astype(np.float64),
                steps=steps.cumsum(0)[:-1],
                places=tuple(np.flatnonzero(right[at, t]) for t in range(len(IOU_THRESHOLDS))),
                units=tuple(of[at[right[at, t]]] for t in range(len(IOU_THRESHOLDS))),
            )
        )
    return ranked


def yolo_ap_of(ranked: RankedClass, weights: Float64) -> Float64:
    """AP by YOLOv5's rule of each sample, (R, 10); NaN where a sample holds no truth. weights: (R, U) whole numbers."""
    return _ap(ranked, weights, _yolo_area)


def coco_ap_of(ranked: RankedClass, weights: Float64) -> Float64:
    """AP by COCO's rule of each sample, (R, 10); NaN where a sample holds no truth. weights: (R, U) whole numbers."""
    return _ap(ranked, weights, _coco_area)


def sample_weights(n_units: int, resamples: int, seed: int) -> Float64:
    """How often each unit was drawn, (R, U): U draws with replacement for each sample."""
    drawn = np.random.default_rng(seed).integers(0, n_units, (resamples, n_units))
    flat = drawn + n_units * np.arange(resamples)[:, None]
    return np.bincount(flat.ravel(), minlength=resamples * n_units).reshape(resamples, n_units).astype(np.float64)


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

    @property
    def recall(self) -> Float64:
        return _over(self.right, self.truths[:, None])

    @property
    def envelope(self) -> Float64:
        precision = _over(self.right, self.told)
        peak: Float64 = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        return peak


def _ap(ranked: RankedClass, weights: Float64, area: Callable[[_Curve], Float64]) -> Float64:
    truths, found, told = weights @ ranked.truths, weights @ ranked.total, weights @ ranked.steps.T
    out = np.empty((len(weights), len(IOU_THRESHOLDS)))
    for column, (places, units) in enumerate(zip(ranked.places, ranked.units, strict=True)):
        weight = weights[:, units]
        out[:, column] = area(_Curve(weight, weight.cumsum(1), told[:, places], truths, found))
    out[truths == 0] = np.nan
    return out


def _coco_area(curve: _Curve) -> Float64:
    """Mean over 101 recalls of the envelope at the first place that reaches it; 0 where none does."""
    first = _first_at(curve.recall, "right")
    envelope = np.pad(curve.envelope, ((0, 0), (0, 1)))
    area: Float64 = np.take_along_axis(envelope, first, 1).mean(1)
    return area


def _yolo_area(curve: _Curve) -> Float64:
    """Trapezoids over 101 recalls of the envelope, interpolated linearly between (0, 1) and (1, 0)."""
    n = len(curve.weight)
    recall, envelope = curve.recall, curve.envelope
    end_recall = recall[:, -1] if recall.shape[1] else np.zeros(n)
    end_precision = _over(curve.right[:, -1] if recall.shape[1] else np.zeros(n), curve.found)
    # Between two right detections the curve falls to the envelope of the last wrong one before the next, and rises from there in the
    # first of the copies of the next one. Before the first detection of all stands the rule's own (0, 1).
    before = curve.right - curve.weight
    wrong_before = curve.told - curve.weight
    trough = np.where(wrong_before > 0, np.maximum(_over(before, wrong_before), envelope), 1.0)
    start = _over(before, curve.truths[:, None])
    rise = _over(np.ones(n), curve.truths)[:, None]
    first = _first_at(recall, "left")
    padded = [np.concatenate((a, b[:, None]), 1) for a, b in ((start, end_recall), (trough, end_precision), (envelope, np.zeros(n)))]
    x0, y0, y1 = (np.take_along_axis(a, first, 1) for a in padded)
    beyond = first == recall.shape[1]
    run = np.where(beyond, 1 - end_recall[:, None], rise)
    share = np.clip(_over(_GRID[None] - x0, run), 0, 1)
    y = y0 + (y1 - y0) * share
    y[:, -1] = np.where(end_recall == 1, 0, y[:, -1])
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


def _over(a: Float64, b: Float64) -> Float64:
    """a / b, 0 where b is 0."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    quotient: Float64 = np.divide(a, b, out=np.zeros(shape), where=np.broadcast_to(b, shape) > 0)
    return quotient


def _coco_iou(boxes: Float64, truths: Float64) -> Float64:
    """Intersection over union as COCO computes it, from corner and size, so that boundary cases fall alike."""
    (x, y, w, h), (tx, ty, tw, th) = ((b[:, 0], b[:, 1], b[:, 2] - b[:, 0], b[:, 3] - b[:, 1]) for b in (boxes, truths))
    width = np.minimum((x + w)[:, None], tx + tw) - np.maximum(x[:, None], tx)
    height = np.minimum((y + h)[:, None], ty + th) - np.maximum(y[:, None], ty)
    intersection = width.clip(0) * height.clip(0)
    union = (w * h)[:, None] + tw * th - intersection
    return _over(intersection, union)

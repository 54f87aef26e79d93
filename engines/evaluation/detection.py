"""Average precision by two rules: YOLOv5's, which papers of its family quote, and COCO's, which the others quote.

The two differ on identical boxes (spec 1.10), so a number without its rule says little; the house always reports both. COCO's rule on
a weighted sample of pictures, for intervals, is in `engines.evaluation.resample`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.decode import AP_THRESHOLDS, box_iou
from engines.detections import Float32, Int64
from engines.errors import RuntimeUnavailableError
from engines.taxonomy import Taxonomy

IOU_THRESHOLDS: NDArray[np.float64] = np.linspace(0.5, 0.95, 10)
"""What a match must reach: .5, .55 ... .95."""
_EPS = 1e-16
Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judged:
    """One picture's detections beside its truth, boxes x1 y1 x2 y2 in px of the picture.

    boxes_px (N, 4), scores (N,), classes (N,): by falling score, as suppression gives them. truth_boxes_px (M, 4), truth_classes (M,).
    """

    boxes_px: Float32
    scores: Float32
    classes: Int64
    truth_boxes_px: Float32
    truth_classes: Int64

    @property
    def n_truths(self) -> int:
        return len(self.truth_classes)


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """AP of each class that the labels hold. classes: (C,) int64, rising. ap: (C, 10), at each of `IOU_THRESHOLDS`."""

    classes: Int64
    ap: Float64

    @property
    def ap50(self) -> Float64:
        """AP at IoU .5 of each class, (C,)."""
        return self.ap[:, 0]

    @property
    def ap5095(self) -> Float64:
        """Mean AP over IoU .5 to .95 of each class, (C,)."""
        at: Float64 = self.ap.mean(1)
        return at

    def of(self, classes: Sequence[int]) -> AveragePrecision:
        """The part of it that concerns `classes`; those that the labels do not hold are left out."""
        wanted = np.isin(self.classes, list(classes))
        return AveragePrecision(self.classes[wanted], self.ap[wanted])

    @property
    def map50(self) -> float:
        """Mean AP at IoU .5 over the classes present; NaN without any."""
        return float(self.ap[:, 0].mean()) if len(self.ap) else float("nan")

    @property
    def map5095(self) -> float:
        """Mean AP over IoU .5 to .95 and the classes present; NaN without any."""
        return float(self.ap.mean()) if len(self.ap) else float("nan")


@dataclass(frozen=True, eq=False)
class Curves:
    """What a confidence threshold trades at IoU .5, a row for each class that the labels hold.

    grid: (1000,) from 0 to 1: the confidences of `precision`, `recall` and `f1`, each (C, 1000), and the recalls of `envelope`
    (C, 1000), the highest precision at that recall or a larger one.
    """

    grid: Float64
    precision: Float64
    recall: Float64
    f1: Float64
    envelope: Float64


@dataclass(frozen=True, eq=False)
class YoloResult(AveragePrecision):
    """By YOLOv5's rule, with precision, recall and F1 of each class at the one confidence where the mean F1 is highest.

    true_positives and false_positives: (C,) counts there, rounded, as the reference derives them. `curves` are at IoU .5.
    """

    truths: Int64
    precision: Float64
    recall: Float64
    f1: Float64
    true_positives: Float64
    false_positives: Float64
    best_confidence: float
    curves: Curves


@dataclass(frozen=True)
class BothRules:
    """AP of the same detections by both rules."""

    yolo: AveragePrecision
    coco: AveragePrecision

    def of(self, classes: Sequence[int]) -> BothRules:
        """The part of it that concerns `classes`."""
        return BothRules(self.yolo.of(classes), self.coco.of(classes))


FREQUENT_CELLS = 5
"""Labelled cells from which a type counts as frequent: AP over fewer is hardly a number."""


def frequent_types(yolo: YoloResult, taxonomy: Taxonomy, least: int = FREQUENT_CELLS) -> list[int]:
    """Codes of the types of white cell (not the artefact) with at least `least` labelled cells."""
    return [int(c) for c, n in zip(yolo.classes, yolo.truths, strict=True) if n >= least and not taxonomy.is_artefact(int(c))]


def white_cells(judged: Judged, taxonomy: Taxonomy) -> Judged:
    """The picture with every type of white cell as class 0: white cell against background.

    Artefacts are left out on both sides, so a white cell told on one is wrong. Detections of several types on one cell suppress each
    other as those of one type did before (IoU 0.6, the better score stays).
    """
    artefacts = [i for i in range(len(taxonomy.classes)) if taxonomy.is_artefact(i)]
    told, labelled = (~np.isin(c, artefacts) for c in (judged.classes, judged.truth_classes))
    boxes_px, scores = judged.boxes_px[told], judged.scores[told]
    order = np.argsort(-scores, kind="stable")
    overlapping = box_iou(boxes_px, boxes_px) > AP_THRESHOLDS.iou
    alive, keep = np.ones(len(order), bool), []
    for index in order:
        if alive[index]:
            keep.append(index)
            alive &= ~overlapping[index]
    kept = np.array(keep, np.int64)
    truth_boxes_px = judged.truth_boxes_px[labelled]
    return Judged(boxes_px[kept], scores[kept], np.zeros(len(kept), np.int64), truth_boxes_px, np.zeros(len(truth_boxes_px), np.int64))


def match(judged: Judged) -> Bool:
    """Which detections are right at which threshold, (N, 10) bool, by YOLOv5's rule (spec 1.10).

    Each detection takes the truth of its class that it overlaps most; of those that take the same truth, the first (highest score)
    is right, at every threshold its IoU reaches.
    """
    correct = np.zeros((len(judged.scores), len(IOU_THRESHOLDS)), bool)
    if not judged.n_truths or not len(judged.scores):
        return correct
    iou = box_iou(judged.boxes_px, judged.truth_boxes_px)
    iou[judged.classes[:, None] != judged.truth_classes[None]] = -1
    best, best_iou = iou.argmax(1), iou.max(1)
    for column, threshold in enumerate(IOU_THRESHOLDS):
        reaching = np.flatnonzero(best_iou >= threshold)
        _, first = np.unique(best[reaching], return_index=True)
        correct[reaching[first], column] = True
    return correct


def yolo_ap(images: Sequence[Judged]) -> YoloResult:
    """AP, precision, recall and F1 by YOLOv5's rule: envelope, linear interpolation at 101 recalls, trapezoid (spec 1.10).

    Perfect detections give .995, not 1: the curve ends in (1, 0).
    """
    correct = np.concatenate([np.zeros((0, len(IOU_THRESHOLDS)), bool), *(match(j) for j in images)])
    scores = np.concatenate([np.zeros(0, np.float32), *(j.scores for j in images)])
    found_classes = np.concatenate([np.zeros(0, np.int64), *(j.classes for j in images)])
    order = np.argsort(-scores, kind="stable")
    correct, scores, found_classes = correct[order], scores[order], found_classes[order]
    classes, truths = np.unique(_classes(images), return_counts=True)
    grid = np.linspace(0, 1, 1000)
    ap = np.zeros((len(classes), len(IOU_THRESHOLDS)))
    precision_at, recall_at, envelope = (np.zeros((len(classes), len(grid))) for _ in range(3))
    for row, (cls, total) in enumerate(zip(classes, truths, strict=True)):
        mine = found_classes == cls
        if not mine.any():
            continue
        right = correct[mine].cumsum(0)
        wrong = (~correct[mine]).cumsum(0)
        recall, precision = right / (total + _EPS), right / (right + wrong)
        recall_at[row] = np.interp(-grid, -scores[mine], recall[:, 0], left=0)
        precision_at[row] = np.interp(-grid, -scores[mine], precision[:, 0], left=1)
        ap[row] = [yolo_area(recall[:, t], precision[:, t]) for t in range(len(IOU_THRESHOLDS))]
        envelope[row] = np.interp(grid, *_envelope(recall[:, 0], precision[:, 0]))
    f1_at = 2 * precision_at * recall_at / (precision_at + recall_at + _EPS)
    best = int(_smooth(f1_at.mean(0), 0.1).argmax()) if len(classes) else 0
    precision, recall = precision_at[:, best], recall_at[:, best]
    true_positives = (recall * truths).round()
    return YoloResult(
        classes=classes,
        ap=ap,
        truths=truths.astype(np.int64),
        precision=precision,
        recall=recall,
        f1=f1_at[:, best],
        true_positives=true_positives,
        false_positives=(true_positives / (precision + _EPS) - true_positives).round(),
        best_confidence=float(grid[best]),
        curves=Curves(grid, precision_at, recall_at, f1_at, envelope),
    )


def yolo_area(recall: Float64, precision: Float64) -> float:
    """Area under one precision-recall curve by YOLOv5's rule; both (n,), recall rising."""
    x = np.linspace(0, 1, 101)
    y = np.interp(x, *_envelope(recall, precision))
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum())


def _envelope(recall: Float64, precision: Float64) -> tuple[Float64, Float64]:
    """Recall and the highest precision from there on, between the rule's ends (0, 1) and (1, 0)."""
    recall = np.concatenate(([0.0], recall, [1.0]))
    precision = np.concatenate(([1.0], precision, [0.0]))
    return recall, np.maximum.accumulate(precision[::-1])[::-1]


def coco_ap(images: Sequence[Judged]) -> AveragePrecision:
    """AP by COCO's rule (101-point step, 100 detections a picture), computed by faster-coco-eval.

    Raises RuntimeUnavailableError where that is not installed.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"COCO's rule needs faster-coco-eval ({error}). Run: pip install 'leukoscope[evaluate]'"
        ) from error
    classes = np.unique(_classes(images))
    if not len(classes):
        return AveragePrecision(classes, np.zeros((0, len(IOU_THRESHOLDS))))
    truths = [
        {"image_id": i, "category_id": int(c), "bbox": _xywh(b), "area": _area(b), "iscrowd": 0}
        for i, j in enumerate(images, 1)
        for b, c in zip(j.truth_boxes_px, j.truth_classes, strict=True)
    ]
    found = [
        {"image_id": i, "category_id": int(c), "bbox": _xywh(b), "score": float(s)}
        for i, j in enumerate(images, 1)
        for b, c, s in zip(j.boxes_px, j.classes, j.scores, strict=True)
    ]
    every_class = sorted(set(classes.tolist()).union(*(j.classes.tolist() for j in images)))
    truth = COCO(
        {
            "info": {},
            "images": [{"id": i} for i in range(1, len(images) + 1)],
            "annotations": [{"id": i, **t} for i, t in enumerate(truths, 1)],
            "categories": [{"id": c, "name": str(c)} for c in every_class],
        }
    )
    judge = COCOeval_faster(truth, truth.loadRes(found), "bbox", print_function=_silent)
    judge.params.iouThrs = IOU_THRESHOLDS
    judge.evaluate()
    judge.accumulate()
    # (threshold, recall, class, area, detections): every area, 100 detections; -1 where a class has no truth.
    precision = np.asarray(judge.eval["precision"])[:, :, :, 0, -1]
    columns = [list(judge.params.catIds).index(int(c)) for c in classes]
    return AveragePrecision(classes, precision[:, :, columns].mean(1).T)


def _smooth(curve: Float64, share: float) -> Float64:
    """Box filter over `share` of the curve, the ends held."""
    width = round(len(curve) * share * 2) // 2 + 1
    pad = np.ones(width // 2)
    padded = np.concatenate((pad * curve[0], curve, pad * curve[-1]))
    return np.convolve(padded, np.ones(width) / width, "valid")


def _classes(images: Sequence[Judged]) -> Int64:
    """Classes of all truths, one after another."""
    return np.concatenate([np.zeros(0, np.int64), *(j.truth_classes for j in images)])


def _xywh(box: Float32) -> list[float]:
    x1, y1, x2, y2 = (float(v) for v in box)
    return [x1, y1, x2 - x1, y2 - y1]


def _area(box: Float32) -> float:
    return float(box[2] - box[0]) * float(box[3] - box[1])


def _silent(*words: object) -> None:
    """The library reports its progress; the table that the user gets is ours."""

"""What is reported of detections by three rules: COCO's, YOLOv5 v7.0's, which papers of its family quote, and Ultralytics' of today.

They differ on identical boxes (spec 1.10), so a number without its rule says little; the house always reports all three. The arithmetic
is in `engines.evaluation.average_precision`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engines.decode import AP_THRESHOLDS, suppress
from engines.detections import Float64, Int64
from engines.evaluation.average_precision import COCO_BOXES, ULTRALYTICS, YOLOV5, Judged, Ranking, coco
from engines.taxonomy import Taxonomy

_EPS = 1e-16
RULE_NAMES = {"coco": "COCO", "yolov5": "YOLOv5 v7.0", "ultralytics": "Ultralytics 8.4"}
"""By the keys of the JSON, whose rule it is; the version says which of that program's."""


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

    grid: (1000,) from 0 to 1: the confidences of `f1` (C, 1000), and the recalls of `envelope` (C, 1000), the highest precision at that
    recall or a larger one.
    """

    grid: Float64
    f1: Float64
    envelope: Float64


@dataclass(frozen=True, eq=False)
class YoloResult(AveragePrecision):
    """By YOLOv5 v7.0's rule, with precision, recall and F1 of each class at the one confidence where the mean F1 is highest.

    `curves` are at IoU .5.
    """

    truths: Int64
    precision: Float64
    recall: Float64
    f1: Float64
    best_confidence: float
    curves: Curves


@dataclass(frozen=True)
class ByRule:
    """AP of the same detections by each rule."""

    coco: AveragePrecision
    yolo: AveragePrecision
    ultralytics: AveragePrecision

    @classmethod
    def score(cls, images: Sequence[Judged], coco_boxes: int = COCO_BOXES) -> ByRule:
        """coco_boxes: detections of a class on a picture that COCO's rule looks at."""
        return cls(coco_ap(images, coco_boxes), yolo_ap(images), ultralytics_ap(images))

    def of(self, classes: Sequence[int]) -> ByRule:
        """The part of it that concerns `classes`."""
        return ByRule(*(ap.of(classes) for ap in self.each.values()))

    @property
    def each(self) -> dict[str, AveragePrecision]:
        """By the keys of `RULE_NAMES`, in that order."""
        return {"coco": self.coco, "yolov5": self.yolo, "ultralytics": self.ultralytics}

    @property
    def means(self) -> list[float]:
        """AP50-95 and AP50 by each rule in turn."""
        return [mean for ap in self.each.values() for mean in (ap.map5095, ap.map50)]


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
    kept = order[suppress(boxes_px[order].astype(np.float64), AP_THRESHOLDS.iou, len(order))[0]]
    truth_boxes_px = judged.truth_boxes_px[labelled]
    one, none = np.zeros(len(kept), np.int64), np.zeros(len(truth_boxes_px), np.int64)
    return Judged(boxes_px[kept], scores[kept], one, truth_boxes_px, none, judged.ignored_px)


def yolo_ap(images: Sequence[Judged]) -> YoloResult:
    """AP, precision, recall and F1 by YOLOv5 v7.0's rule: envelope, linear interpolation at 101 recalls, trapezoid (spec 1.10).

    Perfect detections give .995, not 1: the curve ends in (1, 0). What lies in a region to ignore at IoU .5 is in neither count.
    """
    ranking = Ranking.of(images, YOLOV5)
    classes, ap = ranking.average_precision()
    truths = np.array([(ranking.truth_classes == cls).sum() for cls in classes], np.int64)
    grid = np.linspace(0, 1, 1000)
    precision_at, recall_at, envelope = (np.zeros((len(classes), len(grid))) for _ in range(3))
    for row, cls in enumerate(classes):
        mine = (ranking.classes == cls) & ~ranking.ignored[:, 0]
        if not mine.any():
            continue
        right = ranking.right[mine, 0].cumsum()
        recall, precision = right / (truths[row] + _EPS), right / np.arange(1, len(right) + 1)
        recall_at[row] = np.interp(-grid, -ranking.scores[mine], recall, left=0)
        precision_at[row] = np.interp(-grid, -ranking.scores[mine], precision, left=1)
        # Between the rule's ends, (0, 1) and (1, 0).
        peak = np.maximum.accumulate(np.concatenate(([1.0], precision, [0.0]))[::-1])[::-1]
        envelope[row] = np.interp(grid, np.concatenate(([0.0], recall, [1.0])), peak)
    f1_at = 2 * precision_at * recall_at / (precision_at + recall_at + _EPS)
    best = int(_smooth(f1_at.mean(0), 0.1).argmax()) if len(classes) else 0
    precision, recall = precision_at[:, best], recall_at[:, best]
    return YoloResult(
        classes=classes,
        ap=ap[:, 0],
        truths=truths,
        precision=precision,
        recall=recall,
        f1=f1_at[:, best],
        best_confidence=float(grid[best]),
        curves=Curves(grid, f1_at, envelope),
    )


def coco_ap(images: Sequence[Judged], boxes: int = COCO_BOXES) -> AveragePrecision:
    """AP by COCO's rule: a step over 101 recalls, the best `boxes` detections of a class on a picture."""
    classes, ap = Ranking.of(images, coco(boxes)).average_precision()
    return AveragePrecision(classes, ap[:, 0])


def ultralytics_ap(images: Sequence[Judged]) -> AveragePrecision:
    """AP by the rule of Ultralytics 8.4: matched by falling score; the curve ends at the last recall and does not run to (1, 0)."""
    classes, ap = Ranking.of(images, ULTRALYTICS).average_precision()
    return AveragePrecision(classes, ap[:, 0])


def _smooth(curve: Float64, share: float) -> Float64:
    """Box filter over `share` of the curve, the ends held."""
    width = round(len(curve) * share * 2) // 2 + 1
    return np.convolve(np.pad(curve, width // 2, mode="edge"), np.ones(width) / width, "valid")

"""What a gate found, in words and rows: the same on the terminal and on the page."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engines.evaluation.attributes import mean_scores
from engines.evaluation.detection import FREQUENT_CELLS
from engines.evaluation.result import Evaluation
from engines.gate.measure import GateResult


@dataclass(frozen=True)
class Row:
    """One quantity of both engines, as read by people. allowed: empty where the gate sets no limit, and `within` is None then."""

    name: str
    reference: str
    candidate: str
    lost: str
    allowed: str = ""
    within: bool | None = None


def rows(result: GateResult) -> list[Row]:
    """The three that the gate limits, then what stands beside them. Scores are points, 0 to 100."""
    one, other, limits = result.reference, result.candidate, result.limits
    lost = result.map_loss_points, result.f1_loss_points
    shown = [
        Row("mAP50-95, COCO", points(one.map_points), points(other.map_points), *_limited(lost[0], limits.map_points)),
        Row("attributes: mean F1", points(one.f1_points), points(other.f1_points), *_limited(lost[1], limits.f1_points)),
        Row("boxes moved, median px", "", "", *_limited(result.shift_px, limits.shift_px)),
    ]
    for (name, mine), (_, its) in zip(_unlimited_scores(one.evaluation), _unlimited_scores(other.evaluation), strict=True):
        shown.append(Row(name, points(100 * mine), points(100 * its), points(100 * (mine - its))))
    return shown


def verdict(result: GateResult) -> str:
    """One or two sentences: passed or not, and by what."""
    if not result.passed:
        return f"Not passed: {result.fault}."
    moved = f"boxes move by {result.shift_px:.2f} px (median)"
    return f"Passed: {change(result.map_loss_points, 'mAP50-95')}, {change(result.f1_loss_points, 'attribute F1')}, {moved}."


def change(lost: float, what: str) -> str:
    """A loss in points as words; a negative one is a gain."""
    if abs(lost) < 0.005:
        return f"{what} stays as it was"
    return f"{what} {'falls' if lost > 0 else 'rises'} by {abs(lost):.2f} points"


def sentence(words: str) -> str:
    """The words with a capital at their beginning, but for mAP, which has its own."""
    return words if words.startswith("mAP") else words[:1].upper() + words[1:]


def points(value: float) -> str:
    """Two decimals, "-" for none."""
    if math.isnan(value):
        return "-"
    words = f"{value:.2f}"
    return "0.00" if words == "-0.00" else words


def _limited(lost: float, limit: float) -> tuple[str, str, bool]:
    return points(lost), f"{limit:g}", lost <= limit


def _unlimited_scores(told: Evaluation) -> list[tuple[str, float]]:
    point = told.working_point
    return [
        ("mAP50, COCO", told.coco.map50),
        ("mAP50-95, YOLOv5", told.yolo.map5095),
        ("mAP50, YOLOv5", told.yolo.map50),
        (f"mAP50-95, COCO, types of {FREQUENT_CELLS}+ cells", told.frequent.coco.map5095),
        ("white cell or not: AP50-95, COCO", told.wbc.coco.map5095),
        ("cells found", point.recall),
        ("detections that are a cell", point.precision),
        ("right type, of those found", point.type_accuracy),
        ("blasts told as a blast, of those labelled", told.blasts.sensitivity),
        ("less others told as a blast: Youden's J", told.blasts.youden),
        ("attributes: balanced accuracy", mean_scores(told.attributes)["balanced_accuracy"]),
    ]

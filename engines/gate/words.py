"""What a gate found, in words and rows: the same on the terminal and on the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """The four that the gate limits, then what stands beside them. Scores are points, 0 to 100."""
    one, other, limits = result.reference, result.candidate, result.limits
    lost, youden = (result.map_loss_points, result.f1_loss_points), result.losses.youden_points
    shown = [
        Row("mAP50-95, COCO", points(one.map_points), points(other.map_points), *_limited(lost[0], limits.map_points)),
        Row("attributes: mean F1", points(one.f1_points), points(other.f1_points), *_limited(lost[1], limits.f1_points)),
        Row(
            "blasts: Youden's J",
            points(one.youden_points),
            points(other.youden_points),
            *(("-", "", None) if math.isnan(youden) else _limited(youden, limits.youden_points)),
        ),
        Row("boxes moved, median px", "", "", *_limited(result.shift_px, limits.shift_px)),
    ]
    for (name, mine), (_, its) in zip(_unlimited_scores(one.evaluation), _unlimited_scores(other.evaluation), strict=True):
        shown.append(Row(name, points(100 * mine), points(100 * its), points(100 * (mine - its))))
    return shown


def floor_rows(result: GateResult) -> list[tuple[str, str, str, bool]]:
    """What the reference itself must reach: words, its score, the floor, and whether it is reached; what was not tried is not."""
    scores, floors = result.reference.scores, result.floors
    asked = (
        ("labelled cells found", scores.found, floors.found, _percent),
        ("blasts told as a blast", scores.sensitivity, floors.sensitivity, _percent),
        ("Youden's J of blasts", scores.youden, floors.youden, "{:.2f}".format),
    )
    return [
        (name, "not tried" if score is None else words(score), words(least), score is not None and score >= least)
        for name, score, least, words in asked
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def verdict(result: GateResult) -> str:
    """One or two sentences: passed or not, by what, and what the reference is worth."""
    if not result.passed:
        return f"Not passed: {result.fault}."
    if result.cautions:
        return f"Passes against its reference; the reference {_and(result.cautions)}."
    return f"Passed: {kept(result)}."


def kept(result: GateResult) -> str:
    """What became of the scores, in words."""
    lost = [change(result.map_loss_points, "mAP50-95"), change(result.f1_loss_points, "attribute F1")]
    if not math.isnan(result.losses.youden_points):
        lost.append(change(result.losses.youden_points, "Youden's J of blasts"))
    return f"{', '.join(lost)}, boxes move by {result.shift_px:.2f} px (median)"


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


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
        ("mAP50-95, YOLOv5 v7.0", told.yolo.map5095),
        ("mAP50, YOLOv5 v7.0", told.yolo.map50),
        (f"mAP50-95, COCO, types of {FREQUENT_CELLS}+ cells", told.frequent.coco.map5095),
        ("white cell or not: AP50-95, COCO", told.wbc.coco.map5095),
        ("cells found", point.recall),
        ("detections that are a cell", point.precision),
        ("right type, of those found", point.type_accuracy),
        ("detector: blasts told as a blast", told.blasts.sensitivity),
        ("attributes: balanced accuracy", mean_scores(told.attributes)["balanced_accuracy"]),
    ]

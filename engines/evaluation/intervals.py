"""How sure the scores are: intervals over patients, or over pictures where the names give no patients.

Every score is computed anew on halves of the units (`engines.evaluation.halves`); shares have exact intervals with the units as
clusters. Cells of one patient resemble each other, so pictures drawn one by one would make a score look surer than it is. How often the
intervals hold the truth is counted on simulated patients (tests/support/simulated_patients.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from engines.detections import Float64, Int64
from engines.evaluation.attributes import confusion
from engines.evaluation.average_precision import COCO_BOXES, ULTRALYTICS, YOLOV5, Judged, Ranking, coco, ratio
from engines.evaluation.detection import FREQUENT_CELLS
from engines.evaluation.films import FilmScore
from engines.evaluation.halves import half_interval, half_samples
from engines.evaluation.picture import PictureResult
from engines.evaluation.shares import clustered_interval
from engines.intervals import exact_limits
from engines.taxonomy import Taxonomy

_ratio = partial(ratio, otherwise=np.nan)
RESAMPLES = 1000
LEVEL = 0.95
FEW_UNITS = 10
"""With fewer patients an interval says little about other patients."""
IN_WORDS = {
    "coco_map50": "mAP50, COCO's rule",
    "coco_map5095": "mAP50-95, COCO's rule",
    "yolov5_map50": "mAP50, YOLOv5 v7.0's rule",
    "yolov5_map5095": "mAP50-95, YOLOv5 v7.0's rule",
    "ultralytics_map50": "mAP50, Ultralytics 8.4's rule",
    "ultralytics_map5095": "mAP50-95, Ultralytics 8.4's rule",
    "frequent_coco_map50": f"types with {FREQUENT_CELLS} cells or more: mAP50, COCO",
    "frequent_coco_map5095": f"types with {FREQUENT_CELLS} cells or more: mAP50-95, COCO",
    "frequent_yolov5_map50": f"types with {FREQUENT_CELLS} cells or more: mAP50, YOLOv5 v7.0",
    "frequent_yolov5_map5095": f"types with {FREQUENT_CELLS} cells or more: mAP50-95, YOLOv5 v7.0",
    "wbc_coco_ap50": "white cell against background: AP50, COCO",
    "wbc_coco_ap5095": "white cell against background: AP50-95, COCO",
    "wbc_yolov5_ap50": "white cell against background: AP50, YOLOv5 v7.0",
    "wbc_yolov5_ap5095": "white cell against background: AP50-95, YOLOv5 v7.0",
    "recall": "labelled cells found",
    "precision": "detections that are a labelled cell",
    "type_accuracy": "right type, of the cells found",
    "attribute_accuracy": "attributes: accuracy, mean",
    "attribute_balanced_accuracy": "attributes: balanced accuracy, mean",
    "attribute_f1": "attributes: F1, mean",
    "film_most_frequent_right": "films with the most frequent type right",
    "film_total_variation": "differential: total variation, mean of films",
}
"""Scores that have intervals, in the order of reading, and what they are called."""


@dataclass(frozen=True)
class Interval:
    """One score: its `value` on all pictures and the `low` and `high` end of its interval. resamples: halves that give a number.

    method: "halves" (`engines.evaluation.halves`) or "exact" (of a share, `engines.evaluation.shares`; no halves).
    """

    value: float
    low: float
    high: float
    resamples: int
    method: str = "halves"


@dataclass(frozen=True)
class Intervals:
    """Intervals at `level` of the scores `each` (names as in the JSON), over `units` of the kind `unit` ("patient" or "picture")."""

    unit: str
    units: int
    resamples: int
    seed: int
    level: float
    each: dict[str, Interval]

    @property
    def rule(self) -> str:
        """In words, how they were made."""
        return (
            f"{self.level:.0%} over {self.units} {self.unit}s as clusters: shares by the exact interval of Korn and Graubard, "
            f"other scores from {self.resamples} halves of the {self.unit}s (Student's t, moved by what halves score otherwise), "
            f"seed {self.seed}"
        )

    @property
    def caution(self) -> str:
        """What must be said with them; empty where nothing must."""
        return caution(self.unit, self.units)


def caution(unit: str, units: int) -> str:
    """What must be said with intervals over so many units ("patient" or "picture"); empty where nothing must."""
    if unit == "picture":
        return "The names give no patients, so pictures are the units: the intervals leave out how patients differ and are too narrow."
    if units == 1:
        return "Only 1 patient: the intervals say nothing about other patients."
    if units < FEW_UNITS:
        return (
            f"Only {units} patients: how patients differ is hardly known, and the intervals are as wide as so few make them. "
            "Types that none of them has are in no score."
        )
    return ""


def intervals_of(
    results: Sequence[PictureResult],
    white: Sequence[Judged],
    units: Sequence[str],
    films: Sequence[FilmScore] | None,
    frequent: Sequence[int],
    taxonomy: Taxonomy,
    resamples: int = RESAMPLES,
    seed: int = 0,
    coco_boxes: int = COCO_BOXES,
) -> Intervals:
    """Intervals of mAP by each rule (by two also of `frequent` types and white cells alone), working point, attributes and films.

    white: each picture as `white_cells` makes it. units: for each picture the patient that it is of, or a name of its own. films: each
    unit's score as `score_films` gives them; None where units are pictures. frequent: codes of the frequent types on all pictures.
    coco_boxes: detections of a class and picture that COCO's rule looks at.
    """
    names = [film.film for film in films] if films is not None else list(dict.fromkeys(units))
    place = {name: i for i, name in enumerate(names)}
    unit_of = np.array([place[name] for name in units], np.int64)
    halves = half_samples(len(names), resamples, seed)
    each = detection([s.judged for s in results], white, coco_boxes, unit_of, halves, frequent)
    each |= _attributes(results, unit_of, halves, taxonomy)
    if films is not None:
        each |= _films(films, halves)
    each = {name: interval for name, interval in each.items() if not np.isnan(interval.value)}
    each |= _shares(results, unit_of, len(names)) | _films_right(films or ())
    return Intervals("picture" if films is None else "patient", len(names), resamples, seed, LEVEL, each)


def on_halves(values: Float64, halves: Float64, holds: Int64 | None = None, top: float = 1.0) -> Interval:
    """values: (1 + R,) the score on everything, then on each half, or (K, 1 + R) of the types whose mean it is; the rest as
    `half_interval`."""
    value, low, high, used = half_interval(np.atleast_2d(values), halves, LEVEL, holds, top)
    return Interval(value, low, high, used)


def and_everything(halves: Float64) -> Float64:
    """The weights on which a score is computed: everything, then each half; (1 + R, U)."""
    return np.concatenate((np.ones((1, halves.shape[1])), halves))


def detection(
    judged: Sequence[Judged], white: Sequence[Judged], coco_boxes: int, unit_of: Int64, halves: Float64, frequent: Sequence[int]
) -> dict[str, Interval]:
    """Intervals of AP by each rule. unit_of: (P,) the unit of each picture; halves: as `half_samples`; the rest as `intervals_of`."""
    scores: dict[str, Interval] = {}
    weights = and_everything(halves)
    for name, rule in (("coco", coco(coco_boxes)), ("yolov5", YOLOV5), ("ultralytics", ULTRALYTICS)):
        ranking = Ranking.of(judged, rule)
        classes, ap = ranking.average_precision(unit_of, weights)
        truth_unit = unit_of[ranking.truth_picture]
        holds = np.array([len(np.unique(truth_unit[ranking.truth_classes == c])) for c in classes], np.int64)
        scores |= _means(f"{name}_map", ap, halves, holds)
        if name != "ultralytics":
            often = np.isin(classes, frequent)
            scores |= _means(f"frequent_{name}_map", ap[often], halves, holds[often])
            _, ap = Ranking.of(white, rule).average_precision(unit_of, weights)
            scores |= _means(f"wbc_{name}_ap", ap, halves, None)
    return scores


def _means(name: str, ap: Float64, halves: Float64, holds: Int64 | None) -> dict[str, Interval]:
    """Of AP50 and of AP50-95, means over the classes. ap: (C, 1 + R, 10)."""
    return {f"{name}50": on_halves(ap[:, :, 0], halves, holds), f"{name}5095": on_halves(ap.mean(2), halves, holds)}


def _shares(results: Sequence[PictureResult], unit_of: Int64, units: int) -> dict[str, Interval]:
    """Of the working point: exact intervals over the units as clusters."""
    counts = np.zeros((4, units))
    for unit, s in zip(unit_of, results, strict=True):
        found = int((s.shown.partner >= 0).sum())
        counts[:, unit] += (len(s.shown.classes), len(s.shown.truth_classes), found, s.shown.right)
    shares = {"recall": (counts[2], counts[1]), "precision": (counts[2], counts[0]), "type_accuracy": (counts[3], counts[2])}
    return {
        name: Interval(float(of.sum() / total.sum()), *clustered_interval(of, total, LEVEL), 0, "exact")
        for name, (of, total) in shares.items()
        if total.sum()
    }


def _attributes(results: Sequence[PictureResult], unit_of: Int64, halves: Float64, taxonomy: Taxonomy) -> dict[str, Interval]:
    """Means over the attributes that the labels state of accuracy, balanced accuracy and F1."""
    parts, weights = [], and_everything(halves)
    for column, group in enumerate(taxonomy.groups):
        values = group.stop - group.start
        by_unit = np.zeros((weights.shape[1], values, values))
        for unit, s in zip(unit_of, results, strict=True):
            by_unit[unit] += confusion(s.labels[:, column], s.probabilities[:, group])
        parts.append(_attribute(np.tensordot(weights, by_unit, 1)))
    stacked = np.stack(parts)
    names = ("accuracy", "balanced_accuracy", "f1")
    return {f"attribute_{name}": on_halves(stacked[:, i], halves) for i, name in enumerate(names)}


def _attribute(counts: Float64) -> Float64:
    """Accuracy, balanced accuracy and F1 as `engines.evaluation.attributes` defines them, (3, R), of confusions (R, V, V)."""
    labelled, told = counts.sum(2), counts.sum(1)
    right = np.diagonal(counts, axis1=1, axis2=2)
    held = labelled > 0
    f1 = np.where(held, ratio(2 * right, labelled + told), np.nan)
    accuracy = _ratio(right.sum(1), labelled.sum(1))
    balanced = _mean(_ratio(right, labelled), 1)
    # Of two values the second is the positive one; without such a cell its F1 is 0, without any cell there is none.
    positive = np.where(held[:, 1], f1[:, 1], np.where(held[:, 0], 0.0, np.nan))
    return np.stack((accuracy, balanced, positive if counts.shape[1] == 2 else _mean(f1, 1)))


def _films(films: Sequence[FilmScore], halves: Float64) -> dict[str, Interval]:
    variation, weights = np.array([film.total_variation for film in films]), and_everything(halves)
    mean = _ratio(weights @ np.nan_to_num(variation), weights @ ~np.isnan(variation))
    return {"film_total_variation": on_halves(mean, halves)}


def _films_right(films: Sequence[FilmScore]) -> dict[str, Interval]:
    """The exact interval of a share of films, which are independent of each other."""
    right = [film.most_right for film in films if film.most_right is not None]
    share = sum(right) / len(right) if right else np.nan
    return {"film_most_frequent_right": Interval(share, *exact_limits(share, len(right), LEVEL), 0, "exact")} if right else {}


def _mean(values: Float64, axis: int) -> Float64:
    """Mean over `axis` of what is not NaN; NaN where all is."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(axis), known.sum(axis).astype(np.float64))

"""Intervals: every score in them is the one reported, units are patients where names give them, and what they say is said."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from truthful import TruthfulGraphs, truthful_engine, write_split

from engines.evaluation.attributes import mean_scores
from engines.evaluation.average_precision import Judged
from engines.evaluation.folder import evaluate_folder, score
from engines.evaluation.intervals import IN_WORDS, caution
from engines.evaluation.picture import Example, PictureResult
from engines.evaluation.result import Evaluation
from engines.taxonomy import LEUKEMIA_ATTRI

SHARES = {"recall", "precision", "type_accuracy", "film_most_frequent_right"}
NAMES = [f"{patient}_{field}_{field}_400_ALL.png" for patient in (4, 28, 33) for field in (1, 2, 3)]


def results_of(pictures: int, seed: int = 0, names: list[str] | None = None, detections: int = 12) -> list[PictureResult]:
    """Pictures seen by a mediocre engine: five types, boxes off, a third of the attributes wrong, some unknown."""
    rng = np.random.default_rng(seed)
    seen = []
    for number in range(pictures):
        cells = int(rng.integers(1, 6))
        corner = np.stack((100.0 * np.arange(cells), rng.uniform(0, 300, cells)), 1)
        truth = np.concatenate((corner, corner + 60), 1).astype(np.float32)
        kinds = rng.choice([0, 1, 3, 7, 12], cells)
        extra = np.concatenate((c := rng.uniform(0, 500, (detections, 2)), c + 50), 1)
        boxes = np.concatenate((truth + rng.normal(0, 4, truth.shape), extra)).astype(np.float32)
        told = np.concatenate((np.where(rng.random(cells) < 0.7, kinds, 3), rng.choice([1, 3, 7], detections)))
        scores = np.concatenate((rng.uniform(0.2, 1, cells), rng.uniform(0.01, 0.5, detections))).astype(np.float32)
        order = np.argsort(-scores)
        partner = np.array([int(np.flatnonzero(order == i)[0]) if rng.random() < 0.8 else -1 for i in range(cells)], np.int64)
        labels = rng.integers(0, 2, (cells, 7))
        labels[rng.random((cells, 7)) < 0.2] = -1
        logits = rng.normal(0, 1, (cells, 15))
        for column, group in enumerate(LEUKEMIA_ATTRI.groups):
            logits[np.arange(cells), group.start + labels[:, column].clip(0)] += 1.2
        probabilities = np.concatenate(
            [np.exp(logits[:, g]) / np.exp(logits[:, g]).sum(1, keepdims=True) for g in LEUKEMIA_ATTRI.groups], 1
        ).astype(np.float32)
        probabilities[partner < 0] = np.nan
        path = Path(names[number] if names else f"{number}.png")
        shown = Example(boxes[order], scores[order], told[order], truth, kinds, path=path, partner=partner)
        none = np.zeros((0, 6), np.int64)
        judged = Judged(boxes[order], scores[order], told[order], truth, kinds)
        seen.append(PictureResult(judged, shown, labels, probabilities, none, none, {"detector": 1.0}))
    return seen


def reported(result: Evaluation) -> dict[str, float]:
    """The scores that have intervals, as the evaluation itself reports them."""
    mean, point = mean_scores(result.attributes), result.working_point
    scores = {"recall": point.recall, "precision": point.precision, "type_accuracy": point.type_accuracy}
    for rule in ("coco", "yolov5"):
        of = {"coco": result.coco, "yolov5": result.yolo}[rule]
        often, white = (getattr(both, rule.removesuffix("v5")) for both in (result.frequent, result.wbc))
        scores |= {f"{rule}_map50": of.map50, f"{rule}_map5095": of.map5095}
        scores |= {f"frequent_{rule}_map50": often.map50, f"frequent_{rule}_map5095": often.map5095}
        scores |= {f"wbc_{rule}_ap50": white.map50, f"wbc_{rule}_ap5095": white.map5095}
    scores |= {"ultralytics_map50": result.ultralytics.map50, "ultralytics_map5095": result.ultralytics.map5095}
    scores |= {f"attribute_{name}": mean[name] for name in ("accuracy", "balanced_accuracy", "f1")}
    if result.patients_known:
        right, judged = result.films_right
        scores |= {"film_most_frequent_right": right / judged, "film_total_variation": result.mean_total_variation}
    return scores


@pytest.mark.parametrize("names", [None, NAMES])
def test_every_value_is_the_one_reported_and_lies_in_its_interval(names: list[str] | None) -> None:
    result = score(truthful_engine(), results_of(9, names=names), "film", "val", resamples=200, seed=1)
    assert result.intervals is not None
    each, expected = result.intervals.each, reported(result)
    assert set(each) == set(expected) <= set(IN_WORDS)
    for name, value in expected.items():
        assert each[name].value == pytest.approx(value, abs=1e-9), name
        assert each[name].low < each[name].value < each[name].high or each[name].method == "exact", name
        assert (each[name].method, each[name].resamples) == (("exact", 0) if name in SHARES else ("halves", 200))


def test_units_are_patients_where_every_name_gives_one() -> None:
    known = score(truthful_engine(), results_of(9, names=NAMES), "film", "val", resamples=50)
    assert known.patients_known and [f.film for f in known.films] == ["4", "28", "33"]
    assert known.intervals is not None and (known.intervals.unit, known.intervals.units) == ("patient", 3)
    assert "Only 3 patients" in known.intervals.caution and "over 3 patients as clusters" in known.intervals.rule
    assert caution("patient", 9) and not caution("patient", 10) and "nothing about other" in caution("patient", 1)
    mixed = score(truthful_engine(), results_of(9, names=[*NAMES[:-1], "BA_1.png"]), "film", "val", resamples=50)
    assert mixed.intervals is not None and (mixed.intervals.unit, mixed.intervals.units) == ("picture", 9)
    assert "names give no patients" in mixed.intervals.caution and "one film" in mixed.film_note


def test_two_patients_say_little_and_it_is_said() -> None:
    result = score(truthful_engine(), results_of(6, names=NAMES[:6]), "film", "val", resamples=50)
    assert result.intervals is not None and "Only 2 patients" in result.intervals.caution
    assert "Only 2 patients" in result.to_dict()["intervals"]["caution"]


def test_a_patients_pictures_go_together() -> None:
    """Eight copies of three pictures: as many pictures as patients look surer than the three that they are."""
    three = results_of(3, seed=5)
    copies = [replace(s, shown=replace(s.shown, path=Path(f"{p}_{k}_1_400_ALL.png"))) for p, s in enumerate(three) for k in range(8)]
    loose = [replace(s, shown=replace(s.shown, path=Path(f"{i}.png"))) for i, s in enumerate(copies)]
    wide, narrow = (score(truthful_engine(), s, "film", "val", resamples=200).intervals for s in (copies, loose))
    assert wide is not None and narrow is not None
    spread = [i.each["yolov5_map50"].high - i.each["yolov5_map50"].low for i in (wide, narrow)]
    assert spread[0] > 2 * spread[1]


def test_the_seed_decides_the_draws_and_none_can_be_left_out() -> None:
    seen = results_of(8)
    first, again, other = (score(truthful_engine(), seen, "film", "val", resamples=60, seed=seed).intervals for seed in (3, 3, 4))
    assert first == again and first != other
    without = score(truthful_engine(), seen, "film", "val", resamples=0)
    assert without.intervals is None and without.to_dict()["intervals"] is None


def test_labels_without_attributes_have_no_interval_of_attributes(tmp_path: Path) -> None:
    write_split(tmp_path / "film", attributes=False)
    with truthful_engine(TruthfulGraphs(misses=1)) as engine:
        intervals = evaluate_folder(engine, tmp_path / "film", "val", resamples=20).intervals
    assert intervals is not None and "attribute_f1" not in intervals.each and "wbc_coco_ap50" in intervals.each
    assert not any(math.isnan(i.low) for i in intervals.each.values())

"""Attribute scores: our rule on hand-counted cases and by another route, the published rule against the reference's numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from engines.evaluation.attributes import (
    average_precision,
    mean_scores,
    pair_with_truth,
    published_pairs,
    published_scores,
    score_attributes,
)
from engines.taxonomy import LEUKEMIA_ATTRI, Attribute, Taxonomy

ONE = Taxonomy(("None", "Cell"), (Attribute("shape", "Shape", ("regular", "irregular")),))
SIZE = Taxonomy(("None", "Cell"), (Attribute("size", "Size", ("small", "medium", "large")),))


@pytest.mark.shared
def test_the_published_rule_is_the_references(parity: Path) -> None:
    arrays = dict(np.load(parity / "misc/misc.npz"))
    expected = json.loads((parity / "misc/misc.json").read_text())
    labels, told = [], []
    for i in range(10):
        boxes, truth = arrays[f"attr_eval.img{i}.det"][:, :4], arrays[f"attr_eval.img{i}.labels"][:, 1:]
        pairs = published_pairs(boxes, truth)
        np.testing.assert_array_equal(pairs, arrays[f"attr_eval.img{i}.official_match"])
        codes = arrays[f"attr_eval.img{i}.label_attr"]
        labels.append(np.where(codes == 2, -1, codes))
        told.append(arrays[f"attr_eval.img{i}.det_attr"][pairs])
    rows, scores = published_scores(np.concatenate(labels), np.concatenate(told))
    assert rows == expected["attr_eval_rows"]
    reference = expected["attr_eval_official"]
    assert np.mean([s.f1 for s in scores]) == pytest.approx(reference.pop("mean_f1"), abs=1e-6)
    for score, name in zip(scores, reference, strict=True):
        for key in ("accuracy", "precision", "recall", "f1"):
            assert getattr(score, key) == pytest.approx(reference[name][key], abs=1e-6), (name, key)


def two(p: list[float]) -> np.ndarray:
    return np.array([[1 - v, v] for v in p], np.float32)


def test_a_two_valued_attribute_by_hand() -> None:
    labels = np.array([[1], [1], [1], [0], [-1], [0]])
    score = score_attributes(labels, two([0.9, 0.8, 0.2, 0.6, 0.9, 0.1]), ONE)["shape"]
    assert score.n == 5 and score.coverage == 1
    assert score.accuracy == pytest.approx(3 / 5)
    assert score.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert (score.precision, score.recall, score.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert score.ap == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert score.chance_accuracy == pytest.approx(3 / 5)
    assert score.chance_f1 == pytest.approx(2 * 0.6 / 1.6)


def test_the_best_constant_answer_scores_chance() -> None:
    labels = np.array([[1]] * 7 + [[0]] * 3)
    score = score_attributes(labels, two([0.9] * 10), ONE)["shape"]
    assert score.f1 == pytest.approx(score.chance_f1) and score.accuracy == pytest.approx(score.chance_accuracy)
    assert score.balanced_accuracy == 0.5 and score.ap == pytest.approx(0.7)
    sizes = np.array([[0]] * 2 + [[1]] * 5 + [[2]] * 3)
    medium = np.tile(np.array([[0.1, 0.8, 0.1]], np.float32), (10, 1))
    score = score_attributes(sizes, medium, SIZE)["size"]
    assert score.f1 == pytest.approx(score.chance_f1) and score.accuracy == pytest.approx(score.chance_accuracy)


def test_a_three_valued_attribute_is_the_mean_over_values_present() -> None:
    labels = np.array([[0], [0], [2], [2]])
    given = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.1, 0.2, 0.7]], np.float32)
    score = score_attributes(labels, given, SIZE)["size"]
    assert score.accuracy == 0.75 and score.balanced_accuracy == 0.75
    assert score.precision == 1 and score.recall == 0.75
    assert score.f1 == pytest.approx((2 / 3 + 1) / 2)


def test_cells_that_were_not_found_cost_coverage_only() -> None:
    given = two([0.9, 0.1, 0.9])
    given[1] = np.nan
    score = score_attributes(np.array([[1], [1], [0]]), given, ONE)["shape"]
    assert score.n == 2 and score.coverage == pytest.approx(2 / 3) and score.accuracy == 0.5


def test_an_attribute_that_no_label_states_has_no_number_and_is_not_in_the_mean() -> None:
    labels = np.full((3, 7), -1)
    labels[:, 2] = [0, 1, 1]
    given = np.zeros((3, 15), np.float32)
    given[:, LEUKEMIA_ATTRI.groups[2]] = two([0.1, 0.9, 0.9])
    scores = score_attributes(labels, given, LEUKEMIA_ATTRI)
    assert scores["cell_size"].n == 0 and math.isnan(scores["cell_size"].f1) and math.isnan(scores["cell_size"].coverage)
    assert mean_scores(scores)["f1"] == scores["nuclear_shape"].f1 == 1
    assert math.isnan(mean_scores(score_attributes(np.full((3, 7), -1), given, LEUKEMIA_ATTRI))["f1"])


def test_average_precision_tells_equal_scores_together() -> None:
    positive = np.array([True, False, True, False])
    assert average_precision(positive, np.ones(4)) == 0.5
    assert average_precision(positive, np.array([4.0, 1, 3, 2])) == 1
    assert average_precision(~positive, np.array([4.0, 1, 3, 2])) == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert average_precision(np.zeros(4, bool), np.ones(4)) == 0


def test_pairing_is_one_to_one_and_has_a_floor() -> None:
    truth = np.array([[0, 0, 10, 10], [2, 0, 12, 10], [50, 50, 60, 60]], np.float32)
    found = np.array([[1.5, 0, 11.5, 10], [55, 55, 65, 65]], np.float32)
    assert pair_with_truth(found, truth).tolist() == [-1, 0, -1]
    assert published_pairs(found, truth).tolist() == [0, 0, 1]
    none = np.zeros((0, 4), np.float32)
    assert pair_with_truth(none, truth).tolist() == [-1] * 3 and published_pairs(none, truth).tolist() == [-1] * 3
    assert pair_with_truth(found, none).tolist() == []

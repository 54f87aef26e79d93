"""Films judged as a whole: the most frequent type, the differential's error, and which pictures make a film."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engines.evaluation.average_precision import Judged
from engines.evaluation.detection import frequent_types, white_cells, yolo_ap
from engines.evaluation.films import ALL_PICTURES, FilmScore, films_of, largest_difference, most, score_films
from engines.taxonomy import LEUKEMIA_ATTRI


def film(labelled: dict[int, int], told: dict[int, int]) -> FilmScore:
    sides = [np.bincount([c for c, n in side.items() for _ in range(n)], minlength=14).astype(np.int64) for side in (labelled, told)]
    return FilmScore("4", 1, *sides)


def test_a_differential_by_hand() -> None:
    score = film({1: 6, 3: 4}, {1: 4, 3: 4, 7: 1, 8: 1})
    assert score.difference_pp[[1, 3, 7, 8]] == pytest.approx([-20, 0, 10, 10])
    assert score.l1 == pytest.approx(0.4) and score.total_variation == pytest.approx(0.2)
    assert score.share_pp([1, 2]) == pytest.approx((60, 40))
    assert largest_difference(score, LEUKEMIA_ATTRI.classes) == "Myeloblast -20.0"


@pytest.mark.parametrize(
    ("labelled", "told", "right"),
    [
        ({1: 3, 3: 2}, {1: 9, 3: 1}, True),
        ({1: 3, 3: 2}, {1: 1, 3: 9}, False),
        ({1: 3, 3: 3}, {3: 9}, True),  # either of two equal ones will do
        ({1: 3, 3: 2}, {1: 4, 3: 4}, False),  # undecided is not right
        ({1: 3}, {}, False),
        ({}, {1: 3}, None),
    ],
)
def test_the_most_frequent_type(labelled: dict[int, int], told: dict[int, int], right: bool | None) -> None:
    assert film(labelled, told).most_right is right


def test_without_cells_there_is_no_difference() -> None:
    score = film({1: 3}, {})
    assert math.isnan(score.total_variation) and largest_difference(score, LEUKEMIA_ATTRI.classes) == "-"
    assert most((), LEUKEMIA_ATTRI.classes) == "none" and most((1, 3), LEUKEMIA_ATTRI.classes) == "Myeloblast = Neutrophil"
    assert most((1, 2, 3, 4), LEUKEMIA_ATTRI.classes) == "4 types equal"


def test_films_are_patients_where_every_name_gives_one() -> None:
    assert films_of(["4_1_2_400_ALL.jpg", "28_7_1000_CML.png"]) == (["4", "28"], True)
    assert films_of(["4_1_2_400_ALL.jpg", "BA_1.jpg"]) == ([ALL_PICTURES] * 2, False)
    assert films_of([]) == ([], False)


def test_artefacts_are_in_neither_side_and_films_in_the_order_of_numbers() -> None:
    labelled = [np.array([1, 1, 0]), np.array([3]), np.array([0])]
    told = [np.array([1, 0, 0]), np.array([3, 3]), np.array([], np.int64)]
    scores = score_films(["28", "4", "28"], labelled, told, LEUKEMIA_ATTRI)
    assert [(s.film, s.pictures, int(s.labelled.sum()), int(s.told.sum())) for s in scores] == [("4", 1, 1, 2), ("28", 2, 2, 1)]


CELLS = np.array([[0, 0, 20, 20], [50, 0, 80, 30], [100, 0, 120, 20]], np.float32)


def test_white_cell_against_background() -> None:
    near = CELLS[:1] + 1
    picture = Judged(
        np.concatenate((CELLS, near)), np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.array([2, 0, 1, 7]), CELLS, np.array([1, 3, 0])
    )
    merged = white_cells(picture, LEUKEMIA_ATTRI)
    # The artefact told on a neutrophil is left out, the lymphocyte lies on the better lymphoblast, a blast told on an artefact stays.
    np.testing.assert_array_equal(merged.boxes_px, CELLS[[0, 2]])
    assert merged.scores.tolist() == pytest.approx([0.9, 0.7]) and merged.classes.tolist() == [0, 0]
    np.testing.assert_array_equal(merged.truth_boxes_px, CELLS[:2])
    assert merged.truth_classes.tolist() == [0, 0]
    # Right, then wrong, of two cells: 1 up to recall .49, then from (.5, .5) down to (1, 0).
    assert yolo_ap([merged]).map50 == pytest.approx(0.49 + 0.0075 + 0.125) and yolo_ap([picture]).map50 == 0


def test_frequent_types_have_five_cells_and_are_white_cells() -> None:
    codes = np.array([0] * 9 + [1] * 5 + [3] * 4)
    boxes = np.tile(CELLS[:1], (len(codes), 1))
    result = yolo_ap([Judged(boxes[:0], np.zeros(0, np.float32), codes[:0], boxes, codes)])
    assert frequent_types(result, LEUKEMIA_ATTRI) == [1]
    assert frequent_types(result, LEUKEMIA_ATTRI, least=4) == [1, 3]
    assert result.of([1]).classes.tolist() == [1] and math.isnan(result.of([7]).map50)

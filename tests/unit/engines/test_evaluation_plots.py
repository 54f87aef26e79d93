"""The pictures of an evaluation: each is drawn from plain arrays, also where there is little to draw, and shows what it was given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from truthful import truthful_engine

from engines.errors import DataError
from engines.evaluation.average_precision import Judged
from engines.evaluation.examples import choose, example_pair, short
from engines.evaluation.films import FilmScore
from engines.evaluation.folder import score
from engines.evaluation.picture import Example, PictureResult
from engines.evaluation.plots import confusion, differentials, figures, precision_recall, rendered, training_curves
from engines.evaluation.result import Evaluation
from engines.taxonomy import LEUKEMIA_ATTRI

NAMES = LEUKEMIA_ATTRI.classes
BOXES = np.array([[10, 20, 50, 60], [70, 20, 110, 60]], np.float32)


def example(path: Path, told: tuple[int, ...], labelled: tuple[int, ...] = (1, 3)) -> Example:
    partner = np.array([i if i < len(told) else -1 for i in range(len(labelled))], np.int64)
    scores = np.linspace(0.9, 0.5, len(told)).astype(np.float32)
    found, truth = (np.array(told, np.int64), BOXES[: len(labelled)]), np.array(labelled, np.int64)
    return Example(BOXES[: len(told)], scores, *found, truth, path=path, partner=partner)


def evaluation_of(examples: tuple[Example, ...], labelled: bool = True) -> Evaluation:
    """The evaluation of these pictures, with counts and a film of its own in it; without labels it is of one blank picture."""
    none = np.zeros((0, 6), np.int64)
    results = [
        PictureResult(
            Judged(e.boxes_px, e.scores, e.classes, e.truth_boxes_px, e.truth_classes),
            *(e, np.zeros((0, 7), np.int64), np.zeros((0, 15), np.float32), none, none, {"detector": 1.0}),
        )
        for e in (examples if labelled else [example(Path("blank.png"), (), ())])
    ]
    made = score(truthful_engine(), results, "film", "val", resamples=0)
    if not labelled:
        return replace(made, examples=(), films=())
    counts = np.zeros((15, 15), np.int64)
    counts[1, 1], counts[3, 4], counts[14, 0], counts[3, 14] = 5, 2, 1, 3
    sizes = {**made.attribute_confusions, "cell_size": np.array([[4, 1, 0], [0, 7, 2], [0, 0, 3]])}
    film = np.zeros((2, 14), np.int64)
    film[0, 1:4], film[1, 2:5] = (5, 2, 1), (4, 4, 2)
    scores = (FilmScore("4", 3, *film),)
    return replace(made, confusion=counts, attribute_confusions=sizes, films=scores, patients_known=True)


@pytest.fixture
def fields(tmp_path: Path) -> tuple[Example, ...]:
    found = []
    for i, told in enumerate([(1, 3), (1, 4), (), (1,)]):
        path = tmp_path / f"{i}.png"
        cv2.imwrite(str(path), np.full((80, 120, 3), 200, np.uint8))
        found.append(example(path, told))
    return tuple(found)


def test_all_pictures_are_drawn_and_can_be_read(fields: tuple[Example, ...]) -> None:
    made = rendered(evaluation_of(fields))
    assert list(made) == ["precision-recall", "f1-confidence", "confusion", "attributes", "differential", "examples"]
    for name, (suffix, content) in made.items():
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None and image.std() > 3 and suffix == ("jpg" if name == "examples" else "png")


def test_without_any_labelled_cell_nothing_fails() -> None:
    drawn = figures(evaluation_of((), labelled=False))
    assert list(drawn) == ["precision-recall", "f1-confidence", "confusion"]
    assert "no labelled cell" in texts(drawn["precision-recall"])


def texts(figure: object) -> str:
    from matplotlib.text import Text

    return "\n".join(t.get_text() for t in figure.findobj(Text))  # type: ignore[attr-defined]  # a matplotlib figure


def test_the_confusion_shows_its_counts_and_names_what_it_leaves_out(fields: tuple[Example, ...]) -> None:
    words = texts(confusion(evaluation_of(fields).confusion, NAMES, "label"))
    assert "Neutrophil (5)" in words and "background (1)" in words and "label" in words
    assert "Neither labelled nor told: Lymphoblast" in words and "Myeloblast (5)" in words


def test_each_curve_bears_its_ap(fields: tuple[Example, ...]) -> None:
    yolo = evaluation_of(fields).yolo
    assert yolo.classes.tolist() == [1, 3]
    words = texts(precision_recall(["Myeloblast", "Neutrophil"], yolo.ap50, yolo.curves.grid, yolo.curves.envelope, "label"))
    assert f"Myeloblast  {yolo.ap50[0]:.3f}" in words and f"mean  {yolo.map50:.3f}" in words and "YOLOv5 v7.0's rule" in words


def test_the_curves_are_those_of_the_rule(fields: tuple[Example, ...]) -> None:
    yolo = evaluation_of(fields).yolo
    at = int(np.abs(yolo.curves.grid - yolo.best_confidence).argmin())
    np.testing.assert_allclose(yolo.curves.f1[:, at], yolo.f1)
    assert (np.diff(yolo.curves.envelope) <= 1e-12).all() and yolo.curves.envelope[0, 0] == 1
    # Three of four myeloblasts are found, without an error: precision 1 up to there, then the straight line to (1, 0).
    assert yolo.curves.envelope[0, 749] == 1 and 0 < yolo.curves.envelope[0, 875] < 1


def test_many_films_take_several_pictures(fields: tuple[Example, ...]) -> None:
    film = evaluation_of(fields).films[0]
    many = tuple(replace(film, film=str(i)) for i in range(25))
    drawn = figures(replace(evaluation_of(fields), films=many, examples=()))
    assert [n for n in drawn if n.startswith("differential")] == ["differential", "differential-2", "differential-3"]
    assert "Patient 24" in texts(drawn["differential-3"])
    with pytest.raises(ValueError, match="13 films"):
        differentials({f.film: f for f in many[:13]}, NAMES, "label")


def test_training_curves_keep_gaps() -> None:
    figure = training_curves({"loss": {"box": ([1, 2, 3], [3.0, float("nan"), 1.0])}, "mAP": {"val": ([1], [0.2])}}, "run")
    assert {"loss", "mAP"} <= set(texts(figure).split("\n"))


def test_best_typical_and_worst_are_what_they_say(fields: tuple[Example, ...]) -> None:
    chosen = choose(fields, each=1)
    assert [(word, e.agreement) for word, e in chosen] == [("best", 1.0), ("typical", 2 / 3), ("worst", 0.0)]
    assert len(choose(fields)) == 4 and len({id(e) for _, e in choose(fields)}) == 4
    assert choose(()) == [] and [w for w, _ in choose(fields[:1])] == ["best"]


def test_equals_are_varied(tmp_path: Path) -> None:
    pictures = [example(tmp_path / f"{i}.png", (kind,), (kind,)) for i, kind in enumerate([1] * 5 + [3] * 5)]
    best = [e.truth_classes[0] for word, e in choose(pictures, each=2) if word == "best"]
    assert sorted(best) == [1, 3]


def test_a_picture_that_went_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png: cannot be read"):
        example_pair(example(tmp_path / "gone.png", (1,)), NAMES)


def test_names_are_cut_to_fit() -> None:
    assert [short(n) for n in ("Myeloblast", "Abnormal promyelocyte", "Atypical lymphocyte")] == [
        "Myeloblast",
        "Abn. promyeloc.",
        "Aty. lymphocyte",
    ]
    assert all(len(short(n)) <= 15 for n in NAMES)

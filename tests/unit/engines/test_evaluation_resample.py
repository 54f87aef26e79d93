"""AP of weighted samples: with weights 1 the library's and the reference's number, with others that of pictures shown so often."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engines.evaluation.detection import AveragePrecision, Judged, coco_ap, yolo_ap
from engines.evaluation.resample import Matching, by_coco, by_yolo, coco_ap_of, rank, sample_weights, yolo_ap_of

Rule = tuple[Callable[..., AveragePrecision], Matching, Callable[..., np.ndarray]]
RULES: dict[str, Rule] = {"coco": (coco_ap, by_coco, coco_ap_of), "yolov5": (yolo_ap, by_yolo, yolo_ap_of)}
TOLERANCE = {"coco": 1e-6, "yolov5": 1e-9}


def drawn(seed: int, pictures: int = 14, classes: int = 4) -> list[Judged]:
    """Pictures with cells found well, badly, twice, of another type and not at all.

    Some bear no cells, some no detections, and some boxes are turned round.
    """
    rng = np.random.default_rng(seed)
    images = []
    for number in range(pictures):
        cells = 0 if number == 3 else int(rng.integers(0, 7))
        corner = rng.uniform(0, 500, (cells, 2))
        truth = np.concatenate((corner, corner + rng.uniform(20, 60, (cells, 2))), 1).astype(np.float32)
        kinds = rng.integers(0, classes, cells)
        found, of = [np.zeros((0, 4))], [np.zeros(0, np.int64)]
        if number != 5:
            for shake in (1.5, 6.0, 25.0):
                take = rng.random(cells) < 0.7
                found.append(truth[take] + rng.normal(0, shake, (int(take.sum()), 4)))
                of.append(np.where(rng.random(int(take.sum())) < 0.8, kinds[take], rng.integers(0, classes + 1, int(take.sum()))))
            corner = rng.uniform(0, 500, (8, 2))
            found.append(np.concatenate((corner, corner + 40), 1))
            of.append(rng.integers(0, classes + 1, 8))
        boxes, codes = np.concatenate(found).astype(np.float32), np.concatenate(of)
        scores = np.sort(rng.uniform(0.01, 1, len(boxes)).astype(np.float32))[::-1].copy()
        images.append(Judged(boxes, scores, codes, truth, kinds))
    return images


def ap_of(rule: str, images: list[Judged], weights: np.ndarray, units: np.ndarray | None = None) -> dict[int, np.ndarray]:
    """Class -> (R, 10)."""
    _, matching, area = RULES[rule]
    of = np.arange(len(images)) if units is None else units
    return {one.cls: area(one, weights) for one in rank(images, of, weights.shape[1], matching)}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(4))
def test_every_picture_once_is_the_rule_itself(rule: str, seed: int) -> None:
    images = drawn(seed)
    expected = RULES[rule][0](images)
    found = ap_of(rule, images, np.ones((1, len(images))))
    assert list(found) == expected.classes.tolist()
    np.testing.assert_allclose(np.concatenate(list(found.values())), expected.ap, rtol=0, atol=TOLERANCE[rule])


@pytest.mark.parametrize("rule", RULES)
def test_a_weight_is_how_often_a_picture_is_shown(rule: str) -> None:
    images = drawn(9)
    weights = sample_weights(len(images), 12, seed=4)
    found = ap_of(rule, images, weights)
    for row, often in enumerate(weights.astype(int)):
        expected = RULES[rule][0]([image for image, n in zip(images, often, strict=True) for _ in range(n)])
        for cls, ap in found.items():
            if cls in expected.classes:
                np.testing.assert_allclose(ap[row], expected.ap[expected.classes == cls][0], rtol=0, atol=TOLERANCE[rule])
            else:
                assert np.isnan(ap[row]).all()


@pytest.mark.parametrize("rule", RULES)
def test_patients_are_drawn_with_all_their_pictures(rule: str) -> None:
    images = drawn(2, pictures=9)
    units = np.array([0, 1, 2] * 3)
    found = ap_of(rule, images, np.array([[2.0, 0.0, 1.0]]), units)
    expected = RULES[rule][0]([image for unit, n in ((0, 2), (2, 1)) for _ in range(n) for image in images[unit::3]])
    for row, cls in enumerate(expected.classes):
        np.testing.assert_allclose(found[int(cls)][0], expected.ap[row], rtol=0, atol=TOLERANCE[rule])


@pytest.mark.shared
@pytest.mark.parametrize("rule", RULES)
def test_on_the_references_boxes(rule: str, parity: Path) -> None:
    arrays = dict(np.load(parity / "ap/ap.npz"))
    images = []
    for i in range(12):
        found, truth = arrays[f"img{i}.det"], arrays[f"img{i}.labels"]
        images.append(Judged(found[:, :4], found[:, 4], found[:, 5].astype(np.int64), truth[:, 1:], truth[:, 0].astype(np.int64)))
    ap = np.concatenate(list(ap_of(rule, images, np.ones((1, 12))).values()))
    names = ("pycoco_map50", "pycoco_map5095") if rule == "coco" else ("map50", "map5095")
    assert ap[:, 0].mean() == pytest.approx(float(arrays[names[0]]), abs=1e-9)
    assert ap.mean() == pytest.approx(float(arrays[names[1]]), abs=1e-9)


BOX = np.array([[0, 0, 20, 20]], np.float32)
NONE, NO_CODES = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
FOUND = Judged(BOX, np.array([0.9], np.float32), np.array([1]), BOX, np.array([1]))
MISSED = Judged(NONE, np.zeros(0, np.float32), NO_CODES, BOX, np.array([1]))
INVENTED = Judged(BOX, np.array([0.95], np.float32), np.array([1]), NONE, NO_CODES)


@pytest.mark.parametrize("rule", RULES)
def test_samples_without_detections_or_truths(rule: str) -> None:
    ap = ap_of(rule, [FOUND, MISSED, INVENTED], np.array([[0.0, 1, 0], [0, 0, 1], [0, 1, 1], [1, 0, 0]]))[1]
    assert (ap[0] == 0).all() and np.isnan(ap[1]).all() and (ap[2] == 0).all()
    np.testing.assert_allclose(ap[3], {"coco": 1.0, "yolov5": 0.995}[rule])


def test_coco_looks_at_a_hundred_detections_of_a_class() -> None:
    many = np.repeat(BOX, 130, 0) + np.arange(130, dtype=np.float32)[:, None] * 50
    scores = np.linspace(0.9, 0.1, 130, dtype=np.float32)
    image = Judged(many, scores, np.ones(130, np.int64), many, np.ones(130, np.int64))
    kept, correct = by_coco(image)
    assert len(kept) == 100 and correct.all()
    np.testing.assert_allclose(ap_of("coco", [image], np.ones((1, 1)))[1][0], coco_ap([image]).ap[0], atol=1e-6)


def test_draws_are_those_of_the_seed() -> None:
    weights = sample_weights(7, 50, seed=3)
    assert (weights.sum(1) == 7).all() and weights.std() > 0
    np.testing.assert_array_equal(weights, sample_weights(7, 50, seed=3))
    assert (weights != sample_weights(7, 50, seed=4)).any()

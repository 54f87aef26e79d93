"""AP of weighted samples: with weights 1 the library's and the reference's number, with others that of pictures shown so often.

Regions to ignore: COCO's rule is the library's with a crowd of every class; YOLOv5's is worked out by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from faster_coco import faster_coco_ap

from engines.evaluation.average_precision import (
    IOU_THRESHOLDS,
    ULTRALYTICS,
    YOLOV5,
    Judged,
    Matches,
    Ranking,
    Rule,
    coco,
    ignored_share,
    match_coco,
    match_ultralytics,
    match_yolo,
)
from engines.evaluation.detection import ultralytics_ap, yolo_ap

RULES: dict[str, Rule] = {"coco": coco(), "yolov5": YOLOV5, "ultralytics": ULTRALYTICS}
TOLERANCE = {"coco": 1e-6, "yolov5": 1e-9, "ultralytics": 1e-9}


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


def with_regions(images: list[Judged], seed: int = 3) -> list[Judged]:
    """The pictures with regions to ignore: around some cells, around some false detections, and anywhere."""
    rng = np.random.default_rng(seed)
    marked = []
    for image in images:
        boxes = [image.truth_boxes_px[:1] + np.float32([-9, -9, 40, 9]), image.boxes_px[::4] + np.float32([-4, -4, 4, 4])]
        corner = rng.uniform(0, 450, (2, 2))
        regions = np.concatenate([*boxes, np.concatenate((corner, corner + 120), 1)]).astype(np.float32)
        marked.append(replace(image, ignored_px=regions))
    return marked


def ap_of(rule: str, images: list[Judged], weights: np.ndarray, units: np.ndarray | None = None) -> dict[int, np.ndarray]:
    """Class -> (R, 10)."""
    classes, ap = Ranking.of(images, RULES[rule]).average_precision(np.arange(len(images)) if units is None else units, weights)
    return dict(zip(classes.tolist(), ap, strict=True))


def rule_itself(rule: str, images: list[Judged]) -> dict[int, np.ndarray]:
    """Class -> (10,): COCO's by the library, the others' with every picture shown once."""
    if rule == "coco":
        return dict(zip(*faster_coco_ap(images), strict=True))
    result = yolo_ap(images) if rule == "yolov5" else ultralytics_ap(images)
    return dict(zip(result.classes.tolist(), result.ap, strict=True))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(4))
def test_every_picture_once_is_the_rule_itself(rule: str, seed: int) -> None:
    images = drawn(seed)
    found, expected = ap_of(rule, images, np.ones((1, len(images)))), rule_itself(rule, images)
    assert list(found) == list(expected)
    for cls, ap in found.items():
        np.testing.assert_allclose(ap[0], expected[cls], rtol=0, atol=TOLERANCE[rule])


@pytest.mark.parametrize("rule", RULES)
def test_a_weight_is_how_often_a_picture_is_shown(rule: str) -> None:
    images = with_regions(drawn(9))
    weights = np.random.default_rng(4).multinomial(len(images), [1 / len(images)] * len(images), 12).astype(float)
    found = ap_of(rule, images, weights)
    for row, often in enumerate(weights.astype(int)):
        expected = rule_itself(rule, [image for image, n in zip(images, often, strict=True) for _ in range(n)])
        for cls, ap in found.items():
            if cls in expected:
                np.testing.assert_allclose(ap[row], expected[cls], rtol=0, atol=TOLERANCE[rule])
            else:
                assert np.isnan(ap[row]).all()


@pytest.mark.parametrize("rule", RULES)
def test_patients_are_drawn_with_all_their_pictures(rule: str) -> None:
    images = drawn(2, pictures=9)
    units = np.array([0, 1, 2] * 3)
    found = ap_of(rule, images, np.array([[2.0, 0.0, 1.0]]), units)
    expected = rule_itself(rule, [image for unit, n in ((0, 2), (2, 1)) for _ in range(n) for image in images[unit::3]])
    for cls, ap in expected.items():
        np.testing.assert_allclose(found[cls][0], ap, rtol=0, atol=TOLERANCE[rule])


@pytest.mark.shared
@pytest.mark.parametrize("rule", ["coco", "yolov5"])
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
    np.testing.assert_allclose(ap[3], {"coco": 1.0, "yolov5": 0.995, "ultralytics": 0.995}[rule])


def test_coco_looks_at_a_hundred_detections_of_a_class() -> None:
    many = np.repeat(BOX, 130, 0) + np.arange(130, dtype=np.float32)[:, None] * 50
    scores = np.linspace(0.9, 0.1, 130, dtype=np.float32)
    image = Judged(many, scores, np.ones(130, np.int64), many, np.ones(130, np.int64))
    kept, right, _ = match_coco(image)
    assert len(kept) == 100 and right.all()
    np.testing.assert_allclose(ap_of("coco", [image], np.ones((1, 1)))[1][0], faster_coco_ap([image])[1][0], atol=1e-6)
    classes, raised = Ranking.of([image], coco(120)).average_precision()
    np.testing.assert_allclose(raised[0], faster_coco_ap([image], 120)[1], atol=1e-6)
    assert classes.tolist() == [1] and raised[0, 0, 0] > 0.91


@pytest.mark.parametrize("seed", range(6))
def test_regions_to_ignore_are_the_crowds_of_the_library(seed: int) -> None:
    images = with_regions(drawn(seed), seed)
    expected, without = dict(zip(*faster_coco_ap(images), strict=True)), dict(zip(*faster_coco_ap(drawn(seed)), strict=True))
    found = ap_of("coco", images, np.ones((1, len(images))))
    for cls, ap in found.items():
        np.testing.assert_allclose(ap[0], expected[cls], rtol=0, atol=1e-6)
    assert any(np.abs(expected[c] - without[c]).max() > 0.01 for c in found), "the regions must change something"


@pytest.mark.parametrize("match", [match_yolo, match_coco, match_ultralytics])
def test_a_region_takes_any_number_of_detections_but_no_cell(match: Callable[[Judged], Matches]) -> None:
    region = np.array([[100, 100, 200, 200]], np.float32)
    cell = np.array([[110, 110, 130, 130]], np.float32)
    # On the cell; inside, of another type; 60 % inside; 40 % inside; elsewhere; on the cell again.
    boxes = np.array([cell[0], [150, 150, 170, 170], [188, 150, 208, 170], [192, 150, 212, 170], [300, 300, 320, 320], cell[0]])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], np.float32)
    judged = Judged(boxes.astype(np.float32), scores, np.array([1, 2, 1, 1, 1, 1]), cell, np.array([1]), region)
    np.testing.assert_allclose(ignored_share(judged.boxes_px, region), [1, 1, 0.6, 0.4, 0, 1])
    _, right, ignored = match(judged)
    assert right[:, 0].tolist() == [True, False, False, False, False, False]
    assert ignored[:, 0].tolist() == [False, True, True, False, False, True]
    assert ignored[:, 3].tolist() == [False, True, False, False, False, True], "at IoU .65 a share of .6 is too little"
    assert len(IOU_THRESHOLDS) == 10 and not (right & ignored).any()


def test_yolos_rule_leaves_out_what_lies_in_a_region() -> None:
    """Two cells, the sure detection wrong: without the region AP falls, with it AP is that without the detection."""
    cells = np.array([[0, 0, 20, 20], [50, 50, 70, 70]], np.float32)
    boxes = np.concatenate((np.array([[205, 205, 225, 225]], np.float32), cells))
    wrong_first = Judged(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.ones(3, np.int64), cells, np.ones(2, np.int64))
    marked = replace(wrong_first, ignored_px=np.array([[200, 200, 300, 300]], np.float32))
    without = yolo_ap([replace(wrong_first, boxes_px=cells, scores=wrong_first.scores[1:], classes=np.ones(2, np.int64))])
    assert yolo_ap([wrong_first]).map50 < 0.7 and without.map50 == pytest.approx(0.995)
    with_region = yolo_ap([marked])
    np.testing.assert_array_equal(with_region.ap, without.ap)
    np.testing.assert_array_equal(with_region.curves.f1, without.curves.f1)
    assert with_region.precision.tolist() == [1]

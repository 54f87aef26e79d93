"""Average precision against the reference's numbers by both rules, and the classical checks of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.evaluation.average_precision import IOU_THRESHOLDS, Judged, match_yolo
from engines.evaluation.detection import coco_ap, yolo_ap


def judged(
    boxes: list[list[float]], scores: list[float], classes: list[int], truth_boxes: list[list[float]], truth_classes: list[int]
) -> Judged:
    return Judged(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(classes, np.int64),
        np.array(truth_boxes, np.float32).reshape(-1, 4),
        np.array(truth_classes, np.int64),
    )


@pytest.fixture(scope="module")
def reference(parity: Path) -> tuple[dict[str, np.ndarray], list[Judged]]:
    arrays = dict(np.load(parity / "ap/ap.npz"))
    images = []
    for i in range(12):
        found, truth = arrays[f"img{i}.det"], arrays[f"img{i}.labels"]
        images.append(Judged(found[:, :4], found[:, 4], found[:, 5].astype(np.int64), truth[:, 1:], truth[:, 0].astype(np.int64)))
    return arrays, images


@pytest.mark.shared
def test_matching_is_the_references(reference: tuple[dict[str, np.ndarray], list[Judged]]) -> None:
    arrays, images = reference
    np.testing.assert_allclose(IOU_THRESHOLDS, arrays["iouv"], atol=1e-7)
    for i, image in enumerate(images):
        np.testing.assert_array_equal(match_yolo(image)[1], arrays[f"img{i}.correct"], err_msg=f"image {i}")


@pytest.mark.shared
def test_the_yolo_rule_is_the_references(reference: tuple[dict[str, np.ndarray], list[Judged]]) -> None:
    arrays, images = reference
    result = yolo_ap(images)
    np.testing.assert_array_equal(result.classes, arrays["classes"])
    np.testing.assert_allclose(result.ap, arrays["ap"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(result.precision, arrays["p"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(result.recall, arrays["r"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(result.f1, arrays["f1"], rtol=0, atol=1e-9)
    right = (result.recall * result.truths).round()
    np.testing.assert_array_equal(right, arrays["tp"])
    np.testing.assert_array_equal((right / (result.precision + 1e-16) - right).round(), arrays["fp"])
    assert result.map50 == pytest.approx(float(arrays["map50"]), abs=1e-9)
    assert result.map5095 == pytest.approx(float(arrays["map5095"]), abs=1e-9)
    assert 0.1 * result.map50 + 0.9 * result.map5095 == pytest.approx(float(arrays["fitness"][0]), abs=1e-9)


@pytest.mark.shared
@pytest.mark.parametrize("curve", range(4))
def test_the_area_is_the_references(parity: Path, curve: int) -> None:
    arrays = np.load(parity / "ap/ap.npz")
    steps = np.diff(arrays[f"curve{curve}.recall"], prepend=0)
    truths, right = round(1 / steps[steps > 0][0]), steps > 0
    cells = np.array([[0, 100 * i, 50, 100 * i + 50] for i in range(truths)], np.float32)
    boxes = np.full((len(right), 4), 5000, np.float32)
    boxes[right] = cells[: right.sum()]
    scores = np.linspace(0.9, 0.1, len(right), dtype=np.float32)
    image = Judged(boxes, scores, np.ones(len(right), np.int64), cells, np.ones(truths, np.int64))
    assert yolo_ap([image]).map50 == pytest.approx(float(arrays[f"curve{curve}.ap"]), abs=1e-9)


@pytest.mark.shared
def test_cocos_rule_is_pycocotools(reference: tuple[dict[str, np.ndarray], list[Judged]]) -> None:
    arrays, images = reference
    result = coco_ap(images)
    np.testing.assert_array_equal(result.classes, arrays["classes"])
    assert result.map50 == pytest.approx(float(arrays["pycoco_map50"]), abs=1e-9)
    assert result.map5095 == pytest.approx(float(arrays["pycoco_map5095"]), abs=1e-9)


BOXES = [[0.0, 0, 10, 10], [20, 20, 40, 40], [50, 50, 90, 90]]


def test_perfect_detections_give_995_and_1() -> None:
    perfect = [judged(BOXES, [0.9, 0.8, 0.7], [1, 1, 4], BOXES, [1, 1, 4])]
    assert yolo_ap(perfect).map5095 == pytest.approx(0.995)
    assert coco_ap(perfect).map5095 == pytest.approx(1.0)


def test_only_classes_that_the_labels_hold_count() -> None:
    images = [judged(BOXES, [0.9, 0.8, 0.7], [1, 1, 9], BOXES[:2], [1, 1])]
    for result in (yolo_ap(images), coco_ap(images)):
        assert result.classes.tolist() == [1]
        assert result.map50 > 0.99


def test_a_class_that_is_never_found_pulls_the_mean_down() -> None:
    images = [judged(BOXES[:1], [0.9], [1], BOXES[:2], [1, 2])]
    assert yolo_ap(images).ap[:, 0].tolist() == pytest.approx([0.995, 0])
    assert coco_ap(images).map50 == pytest.approx(0.5)


def test_of_two_boxes_on_one_cell_the_first_is_right() -> None:
    image = judged([BOXES[0], BOXES[0]], [0.9, 0.8], [1, 1], BOXES[:1], [1])
    assert match_yolo(image)[1][:, 0].tolist() == [True, False]
    assert (1 / yolo_ap([image]).precision - 1).round().tolist() == [0]  # at the best confidence the second is left out


def test_another_type_is_no_match() -> None:
    assert not match_yolo(judged(BOXES[:1], [0.9], [2], BOXES[:1], [1]))[1].any()


@pytest.mark.parametrize(
    "images",
    [
        [judged([], [], [], BOXES, [1, 1, 2])],
        [judged([], [], [], BOXES, [1, 1, 2]), judged([], [], [], [], [])],
    ],
)
def test_nothing_found_is_zero(images: list[Judged]) -> None:
    assert yolo_ap(images).map5095 == 0 and coco_ap(images).map5095 == 0


@pytest.mark.parametrize("images", [[], [judged([], [], [], [], [])], [judged(BOXES[:1], [0.9], [1], [], [])]])
def test_nothing_labelled_is_no_number(images: list[Judged]) -> None:
    for result in (yolo_ap(images), coco_ap(images)):
        assert np.isnan(result.map50) and np.isnan(result.map5095) and not len(result.classes)

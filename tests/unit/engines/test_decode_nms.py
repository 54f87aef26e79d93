"""Suppression against the reference's boxes, and the rules the appliance adds: one cell one type, nothing dropped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.decode import AP_THRESHOLDS, Candidates, Thresholds, box_iou, candidates, detections, region_batches
from engines.detections import Detections
from engines.preprocess import letterbox_geometry

NMS = Path(__file__).parents[4] / "shared/parity/nms"
CASES: list[dict[str, Any]] = json.loads((NMS / "cases.json").read_text()) if NMS.is_dir() else []
needs_reference = pytest.mark.skipif(not NMS.is_dir(), reason="needs the reference numbers in ../shared/parity")


def rows_of(boxes_xywh: list[list[float]], objectness: list[float], scores: list[list[float]]) -> np.ndarray:
    return np.concatenate((np.array(boxes_xywh), np.array(objectness)[:, None], np.array(scores)), 1, dtype=np.float32)


@pytest.mark.shared
@needs_reference
@pytest.mark.parametrize("image", [0, 1])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c["id"])
def test_boxes_are_the_references(case: dict[str, Any], image: int) -> None:
    arrays = np.load(NMS / "nms.npz")
    thresholds = Thresholds(
        confidence=case["conf_thres"],
        iou=case["iou_thres"],
        max_detections=case["max_det"],
        agnostic=case.get("agnostic", False),
        multi_label=case.get("multi_label", False),
    )
    found = candidates(arrays[f"{case['id']}.pred"][image], thresholds, case.get("classes"))
    expected = arrays[f"{case['id']}.out{image}"]
    assert len(found) == len(expected)
    np.testing.assert_array_equal(found.classes, expected[:, 5].astype(int))
    np.testing.assert_allclose(found.boxes_px, expected[:, :4], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected[:, 4], rtol=0, atol=1e-6)
    assert found.boxes_px.dtype == found.scores.dtype == np.float32 and found.classes.dtype == np.int64


def test_one_cell_has_one_type_unless_asked_otherwise() -> None:
    rows = rows_of([[50, 50, 20, 20], [51, 50, 20, 20]], [0.9, 0.9], [[0.9, 0.1], [0.1, 0.8]])
    one = candidates(rows, Thresholds())
    assert one.classes.tolist() == [0]
    assert candidates(rows, Thresholds(agnostic=False)).classes.tolist() == [0, 1]


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("at", "value"), [(0, NAN), (2, INF), (3, -INF), (4, NAN), (4, INF), (4, 1.5), (5, NAN), (5, INF), (6, -INF), (6, 7.0), (5, -0.5)]
)
@pytest.mark.parametrize("thresholds", [Thresholds(), AP_THRESHOLDS])
def test_a_row_that_is_no_number_is_left_out_and_suppresses_nobody(at: int, value: float, thresholds: Thresholds) -> None:
    rows = rows_of([[50, 50, 20, 20], [50, 51, 20, 20], [150, 50, 20, 20]], [0.95, 0.9, 0.9], [[0.9, 0.1]] * 3)
    whole = candidates(rows[1:], thresholds)
    rows[0, at] = value
    found = candidates(rows, thresholds)
    assert found.non_finite == 1 and whole.non_finite == 0
    np.testing.assert_array_equal(found.boxes_px, whole.boxes_px)
    np.testing.assert_array_equal(found.scores, whole.scores)
    assert found.select(np.array([0])).non_finite == 1
    letterbox = letterbox_geometry((640, 640), (640, 640), False)
    assert detections(found, letterbox, 2).non_finite == 1


def test_a_score_is_never_above_one() -> None:
    found = candidates(rows_of([[50, 50, 20, 20]], [1.004], [[1.004, 0.0]]), Thresholds())
    assert found.scores.tolist() == [1.0] and found.non_finite == 0


def test_a_row_with_weak_objectness_is_no_candidate_whatever_its_class() -> None:
    rows = rows_of([[50, 50, 20, 20]], [0.2], [[1.0, 0.0]])
    assert len(candidates(rows, Thresholds(confidence=0.25))) == 0
    assert len(candidates(rows, Thresholds(confidence=0.15))) == 1


@pytest.mark.parametrize("thresholds", [Thresholds(), AP_THRESHOLDS])
def test_no_rows_no_boxes(thresholds: Thresholds) -> None:
    found = candidates(np.zeros((10, 7), np.float32), thresholds)
    assert len(found) == 0 and found.boxes_px.shape == (0, 4) and found.classes.dtype == np.int64


def test_two_empty_boxes_do_not_suppress_each_other_by_a_division() -> None:
    rows = rows_of([[5, 5, 0, 0], [5, 5, 0, 0]], [0.9, 0.8], [[1.0], [1.0]])
    assert len(candidates(rows, Thresholds())) == 2


def test_iou_of_known_boxes() -> None:
    iou = box_iou(np.array([[0, 0, 2, 2], [0, 0, 0, 0]]), np.array([[1, 0, 3, 2], [0, 0, 2, 2], [0, 0, 0, 0]]))
    np.testing.assert_allclose(iou, [[1 / 3, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize(("count", "batches"), [(0, 0), (1, 1), (64, 1), (65, 2), (130, 3)])
def test_every_box_reaches_the_attribute_graph(count: int, batches: int) -> None:
    boxes = np.arange(count * 4, dtype=np.float32).reshape(-1, 4)
    parts = list(region_batches(boxes, 64))
    assert len(parts) == batches and all(regions.shape == (64, 4) for regions, _ in parts)
    seen = np.concatenate([regions[:n] for regions, n in parts]) if parts else boxes
    np.testing.assert_array_equal(seen, boxes)
    assert all(not regions[n:].any() for regions, n in parts)


def test_detections_lie_in_the_frame() -> None:
    geometry = letterbox_geometry((480, 640), (320, 320), True)
    found = Candidates(np.array([[-20, 30, 50, 90]], np.float32), np.array([0.7], np.float32), np.array([3], np.int64))
    out = detections(found, geometry, 15)
    np.testing.assert_allclose(out.boxes_px, [[0, 0, 100, 100]])
    assert np.isnan(out.attributes).all() and out.attributes.shape == (1, 15)


def test_a_met_limit_is_said_only_where_a_cell_was_left_out() -> None:
    apart = rows_of([[40 * i + 20, 50, 20, 20] for i in range(4)], [0.9] * 4, [[0.9]] * 4)
    doubled = np.concatenate((apart[:3], apart[:3] * np.float32([1, 1, 1, 1, 0.9, 1])))
    assert candidates(apart, Thresholds(max_detections=3)).limit_met
    assert not candidates(apart, Thresholds(max_detections=4)).limit_met
    assert not candidates(doubled, Thresholds(max_detections=3)).limit_met, "what suppression drops is no cell left out"
    geometry = letterbox_geometry((50, 160), (160, 160), True)
    found = detections(candidates(apart, Thresholds(max_detections=3)), geometry, 15)
    assert found.limit_met and found.select(found.scores > 2).limit_met and not Detections.empty(15).limit_met

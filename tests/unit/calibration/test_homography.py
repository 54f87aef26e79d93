"""The geometry of annotation transfer: against the reference numbers, against closed forms, and regions that add up."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.transfer import homography as hg
from engines.decode import box_iou

CASES = ("identity", "scale_0.4_rot5", "scale_0.1_rot-8", "projective")


@pytest.mark.shared
@pytest.mark.parametrize("case", CASES)
def test_boxes_go_where_the_reference_sends_them(parity: Path, case: str) -> None:
    truth = np.load(parity / "homography/transfer.npz")
    width, height = (int(v) for v in truth[f"{case}.target_wh"])
    found = hg.project_boxes(truth[f"{case}.H"], truth["boxes_xyxy"], (width, height))
    np.testing.assert_allclose(found.corners, truth[f"{case}.corners"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.aabb, truth[f"{case}.aabb"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.clipped, truth[f"{case}.aabb_clipped"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.visible, truth[f"{case}.visible_fraction"], rtol=0, atol=1e-6)


def turned(scale: float, degrees: float, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[c, -s, x], [s, c, y], [0, 0, 1.0]])


@given(scale=st.floats(0.05, 20), degrees=st.floats(-179, 179), mirrored=st.booleans())
def test_scale_and_rotation_are_read_back(scale: float, degrees: float, mirrored: bool) -> None:
    h = turned(scale, degrees, 30, -20)
    if mirrored:
        h = h @ np.diag([-1.0, 1.0, 1.0])
    shape = hg.shape_of(h * 3.7, (640, 480))  # a map has no length of its own
    assert shape.scale == pytest.approx(scale)
    assert shape.rotation_deg == pytest.approx(degrees, abs=1e-6)
    assert shape.mirrored is mirrored
    assert shape.side_ratio == pytest.approx(1)
    assert shape.perspective == pytest.approx(0)
    assert shape.convex


def test_a_folded_field_is_not_convex() -> None:
    beyond = np.array([[1, 0, 0], [0, 1, 0], [-0.004, 0, 1.0]])  # the line at infinity crosses the field
    assert not hg.shape_of(beyond, (640, 480)).convex
    assert not hg.shape_of(np.full((3, 3), np.nan), (640, 480)).convex


def test_a_stretched_field_tells_its_side_ratio() -> None:
    assert hg.shape_of(np.diag([1.0, 1.6, 1.0]), (640, 480)).side_ratio == pytest.approx(1.6)


def test_the_half_pixel_of_a_resize() -> None:
    """A dot keeps its place under cv2.resize as `resized` says, not as plain multiplication would."""
    image = np.zeros((200, 300), np.float32)
    cv2.circle(image, (110, 70), 12, 1.0, -1)
    small = cv2.resize(image, None, fx=0.1, fy=0.1, interpolation=cv2.INTER_AREA)
    ys, xs = np.mgrid[: small.shape[0], : small.shape[1]]
    centre = (float((xs * small).sum() / small.sum()), float((ys * small).sum() / small.sum()))
    np.testing.assert_allclose(hg.map_points(hg.resized(0.1), (110, 70)), centre, atol=0.01)
    assert abs(110 * 0.1 - centre[0]) > 0.4


def test_box_edges_count_from_the_outer_edge() -> None:
    """The whole picture stays the whole picture when it is resized."""
    h = hg.for_box_edges(hg.resized(0.25))
    found = hg.project_boxes(h, [[0, 0, 640, 480]], (160, 120))
    np.testing.assert_allclose(found.aabb, [[0, 0, 160, 120]], atol=1e-9)
    assert found.visible[0] == pytest.approx(1)


@given(scale=st.floats(0.2, 1.5), degrees=st.floats(-40, 40), x=st.floats(-300, 600), y=st.floats(-300, 400), second=st.booleans())
def test_inside_and_outside_make_the_picture(scale: float, degrees: float, x: float, y: float, second: bool) -> None:
    size = (640, 480)
    fields = [hg.map_points(turned(scale, degrees, x, y), hg.rectangle(size))]
    if second:
        fields.append(hg.map_points(turned(0.5, 10, 100, 50), hg.rectangle(size)))
    pieces = hg.outside(hg.rectangle(size), fields)
    canvas = np.zeros((480 * 4, 640 * 4), np.uint8)
    for field in fields:
        cv2.fillPoly(canvas, [np.round(field * 4).astype(np.int32)], 1)
    uncovered = float((canvas == 0).sum()) / 16
    assert sum(map(hg.polygon_area, pieces)) == pytest.approx(uncovered, abs=0.01 * 640 * 480)
    for field in fields:
        for piece in pieces:
            assert hg.polygon_area(hg.clip_polygon(piece, field)) < 1.0


def test_a_chain_is_one_map_after_the_other() -> None:
    a, b = turned(0.4, 5, 30, 20), np.array([[0.3, 0.01, 4], [0, 0.3, 2], [1e-5, 0, 1.0]])
    points = np.array([[10.0, 20.0], [500.0, 300.0]])
    np.testing.assert_allclose(hg.map_points(hg.compose([a, b]), points), hg.map_points(b, hg.map_points(a, points)), atol=1e-9)


def test_overlap() -> None:
    found = box_iou([[0, 0, 10, 10], [0, 0, 0, 0]], [[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]])
    np.testing.assert_allclose(found, [[1, 1 / 3, 0], [0, 0, 0]])

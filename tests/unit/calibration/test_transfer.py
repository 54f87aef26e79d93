"""Labels carried by a map: what is kept, marked and lost, cells seen twice, regions that nobody labelled."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from calibration.transfer import homography as hg
from calibration.transfer.carry import (
    CUT_BY_SOURCE,
    CUT_BY_TARGET,
    SMALL,
    UNLIKE,
    Carried,
    Merged,
    agreement,
    carry,
    ignore_regions,
    merge,
)
from calibration.transfer.features import Features, detect
from calibration.transfer.registration import Fit

SIZE = (400, 300)


def texture(seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return cv2.GaussianBlur(draw.integers(0, 255, (SIZE[1], SIZE[0]), np.uint8), (0, 0), 3)


@pytest.fixture(scope="module")
def field() -> Features:
    return detect(texture(1))


def shifted_fit(dx: float, dy: float) -> Fit:
    return Fit(hg.shifted(dx, dy), 100, 90)


def moved(dx: int, dy: int, seed: int = 1) -> Features:
    """The same field, its picture moved by whole px; what comes in is another field's."""
    image = texture(99)
    source = texture(seed)
    x0, y0, x1, y1 = max(dx, 0), max(dy, 0), min(SIZE[0], SIZE[0] + dx), min(SIZE[1], SIZE[1] + dy)
    image[y0:y1, x0:x1] = source[y0 - dy : y1 - dy, x0 - dx : x1 - dx]
    return detect(image)


def test_boxes_keep_their_order_and_are_marked(field: Features) -> None:
    boxes = [
        (100, 100, 140, 150),  # plainly inside
        (10, 120, 50, 160),  # three quarters inside after the move
        (0, 200, 60, 240),  # cut by both edges
        (5, 10, 30, 60),  # gone
        (360, 100, 400, 150),  # cut by the source's edge, inside the target
        (200, 200, 206, 220),  # small
        (300, 50, 303, 60),  # too small
    ]
    found = carry(shifted_fit(-20, 0), boxes, field, moved(-20, 0))
    assert found.rows.tolist() == [0, 1, 2, 4, 5]
    np.testing.assert_allclose(found.boxes[0], (80, 100, 120, 150), atol=1e-9)
    np.testing.assert_allclose(found.boxes[1], (0, 120, 30, 160), atol=1e-9)
    assert found.visible[1] == pytest.approx(0.75)
    assert found.flags == ((), (CUT_BY_TARGET,), (CUT_BY_TARGET,), (CUT_BY_SOURCE,), (SMALL,))
    assert [row for row, _ in found.lost] == [3, 6]
    assert "40%" in found.lost[0][1]
    assert "3.0 px" in found.lost[1][1]
    np.testing.assert_allclose(found.lost_boxes, [(0, 10, 10, 60), (280, 50, 283, 60)], atol=1e-9)
    assert (found.confidence > 0.9).all()


def test_confidence_says_where_the_target_differs(field: Features) -> None:
    image = texture(1)
    image[50:150, 50:150] = texture(5)[50:150, 50:150]
    found = carry(shifted_fit(0, 0), [(70, 70, 120, 120), (250, 150, 300, 200)], field, detect(image))
    assert found.flags == ((UNLIKE,), ())
    assert found.confidence[0] < 0.4
    assert found.confidence[1] > 0.99


def test_box_edges_and_pixel_middles_are_not_the_same(field: Features) -> None:
    """By the map of a resize, a box that fills the source fills the target, and no half pixel is lost."""
    quarter = detect(cv2.resize(texture(1), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA))
    found = carry(Fit(hg.resized(0.25), 100, 90), [(40, 40, 80, 80), (0, 0, *SIZE)], field, quarter)
    np.testing.assert_allclose(found.boxes, [(10, 10, 20, 20), (0, 0, 100, 75)], atol=1e-9)


def test_a_fit_without_a_map_carries_nothing(field: Features) -> None:
    with pytest.raises(ValueError, match="no map"):
        carry(Fit(None, 12, 3), [(0, 0, 10, 10)], field, field)


def carried(boxes: list[tuple[float, ...]], flags: tuple[tuple[str, ...], ...] | None = None) -> Carried:
    n = len(boxes)
    array = np.array(boxes, np.float64).reshape(-1, 4)
    everything = hg.rectangle(SIZE)
    return Carried(array, np.arange(n), np.ones(n), np.ones(n), flags or ((),) * n, (), np.zeros((0, 4)), everything)


def test_a_cell_in_two_fields_is_one_label_of_the_better_field() -> None:
    first, second = carried([(10, 10, 50, 50), (100, 100, 140, 140)]), carried([(12, 11, 52, 51), (300, 200, 340, 240)])
    assert merge([first, second], [30, 80]) == [Merged(0, 1), Merged(1, 0, ((0, 0),)), Merged(1, 1)]
    assert merge([first, second], [80, 30]) == [Merged(0, 0, ((1, 0),)), Merged(0, 1), Merged(1, 1)]


def test_boxes_of_one_field_are_never_merged() -> None:
    """Two cells that touch, labelled apart by a person, stay two, also when another field shows them."""
    two = [(10.0, 10, 50, 50), (12.0, 12, 52, 52)]
    assert merge([carried(two)], [50]) == [Merged(0, 0), Merged(0, 1)]
    found = merge([carried(two), carried(two)], [50, 40])
    assert [(m.source, m.row) for m in found] == [(0, 0), (0, 1)]
    assert sorted(d for m in found for d in m.doubles) == [(1, 0), (1, 1)]


def test_a_whole_cell_goes_before_one_cut_by_its_field() -> None:
    cut = carried([(10, 10, 30, 50)], ((CUT_BY_SOURCE,),))
    whole = carried([(10, 10, 50, 50)])
    assert merge([cut, whole], [500, 20]) == [Merged(1, 0, ((0, 0),))]


def test_overlaps_below_the_limit_stay_two() -> None:
    found = merge([carried([(0, 0, 40, 40)]), carried([(0, 12, 40, 52)])], [50, 40])  # IoU 0.54
    assert len(found) == 2


def test_what_no_field_shows_is_ignored_not_background(field: Features) -> None:
    left = carry(shifted_fit(-200, 0), [], field, moved(-200, 0))
    right = carry(shifted_fit(250, 0), [(140, 100, 160, 120), (130, 10, 190, 40)], field, moved(250, 0))
    regions = ignore_regions(SIZE, [left])
    assert sum(map(hg.polygon_area, regions)) == pytest.approx(200 * 300)
    regions = ignore_regions(SIZE, [left, right])
    lost = (400 - 390) * 20 + (400 - 380) * 30  # both cells half outside or more
    assert [row for row, _ in right.lost] == [1]
    assert sum(map(hg.polygon_area, regions)) == pytest.approx(50 * 300 + lost - (400 - 390) * 20)
    assert ignore_regions(SIZE, [carried([])]) == []
    assert sum(map(hg.polygon_area, ignore_regions(SIZE, []))) == pytest.approx(400 * 300)


def test_agreement_with_labels_that_were_there() -> None:
    found = agreement([(0, 0, 10, 10), (50, 50, 60, 60)], [(1, 0, 11, 10), (0, 0, 10, 9), (90, 90, 99, 99)])
    assert (found.matched, found.only_carried, found.only_there) == (1, 1, 2)
    assert found.pairs == ((0, 1),)
    assert found.mean_iou == pytest.approx(0.9)
    assert agreement([], [(0, 0, 1, 1)]).only_there == 1
    assert np.isnan(agreement([], []).mean_iou)

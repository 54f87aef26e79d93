"""The place of each frame on the film: followed, lost, found again, joined, resumed; on rendered film moved under a window."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest

from device.slide.keyframes import Keyframe, KeyframeError
from device.slide.motion import FieldPicture
from device.slide.registration import Fix, Registration
from engines.detections import Image
from tests.support.panned_film import SIZE, Window, film_plane

TOLERANCE_PX = 8  # of 640: two px of the small picture; half a cell is 28


@pytest.fixture(scope="module")
def plane() -> Image:
    return film_plane()


@pytest.fixture
def window(plane: Image) -> Window:
    return Window(plane)


def way(*stops: tuple[int, int], step_px: int = 60) -> list[tuple[int, int]]:
    """Corners from stop to stop in steps of so many px; each stop twice."""
    corners = [stops[0]]
    for (x0, y0), (x1, y1) in pairwise(stops):
        n = max(1, round(np.hypot(x1 - x0, y1 - y0) / step_px))
        corners += [(x0 + (x1 - x0) * k // n, y0 + (y1 - y0) * k // n) for k in range(1, n + 1)]
        corners.append(corners[-1])
    return corners


def follow(registration: Registration, window: Window, corners: Iterable[tuple[int, int]]) -> list[Fix]:
    """A frame at each corner; it rests where it equals the corner before."""
    fixes, before = [], None
    for corner in corners:
        fixes.append(registration.observe(window.picture(*corner), corner == before))
        before = corner
    return fixes


def rest(registration: Registration, window: Window, x: int, y: int, **look: float) -> Fix:
    return registration.observe(window.picture(x, y, **look), True)  # type: ignore[arg-type]


def off(fix: Fix, true: tuple[int, int], origin: tuple[int, int]) -> float:
    assert fix.place is not None
    return float(np.hypot(fix.place.x_px - (true[0] - origin[0]), fix.place.y_px - (true[1] - origin[1])))


def test_a_tour_is_followed_on_one_chart_in_px_of_the_frame(window: Window) -> None:
    registration = Registration(SIZE[0])
    stops = (200, 200), (1400, 260), (1500, 900), (300, 1000), (200, 200)
    corners = [stops[0], *way(*stops)]
    fixes = follow(registration, window, corners)
    first = next(n for n, fix in enumerate(fixes) if fix.place)
    assert {fix.place.chart for fix in fixes[first:] if fix.place} == {1}
    assert all(fix.place for fix in fixes[first:])
    assert max(off(f, c, stops[0]) for f, c in zip(fixes[first:], corners[first:], strict=True)) < TOLERANCE_PX
    assert fixes[-1].state == "tracking" and fixes[-1].sure > 0


def test_a_leap_is_a_new_chart_and_a_leap_back_is_found_again(window: Window) -> None:
    registration = Registration(SIZE[0])
    assert rest(registration, window, 100, 100).state == "new chart"
    elsewhere = rest(registration, window, 2000, 1400)
    assert elsewhere.state == "new chart" and elsewhere.place and elsewhere.place.chart == 2
    back = rest(registration, window, 300, 200)
    assert back.state == "found again" and back.place and back.place.chart == 1
    assert off(back, (300, 200), (100, 100)) < TOLERANCE_PX


def test_in_motion_without_anything_known_the_place_is_lost(window: Window) -> None:
    registration = Registration(SIZE[0])
    rest(registration, window, 100, 100)
    moving = registration.observe(window.picture(2000, 1400), False)
    assert moving.state == "lost" and moving.place is None and moving.sure < 0


def test_two_charts_become_one_when_the_ground_between_them_is_seen(window: Window) -> None:
    registration = Registration(SIZE[0])
    first = rest(registration, window, 100, 100).place
    rest(registration, window, 1300, 100)
    fixes = follow(registration, window, way((1300, 100), (900, 100), (500, 100)))
    merges = [merge for fix in fixes for merge in fix.merged]
    assert len(merges) == 1 and {merges[0].old_chart, merges[0].into_chart} == {1, 2}
    last = fixes[-1].place
    assert last and first
    moved = first if first.chart == last.chart else None
    shift = (0.0, 0.0) if moved else (merges[0].dx_px, merges[0].dy_px)
    assert np.hypot(last.x_px - (first.x_px + shift[0]) - 400, last.y_px - (first.y_px + shift[1])) < TOLERANCE_PX


def test_after_a_restart_visited_ground_is_found_and_new_ground_joins_by_itself(window: Window) -> None:
    before = Registration(SIZE[0])
    follow(before, window, [(200, 200), *way((200, 200), (600, 200), (1000, 200), (1400, 200))])
    stored = before.keyframes()
    assert all(len(keyframe.picture) < 4000 for keyframe in stored)
    after = Registration(SIZE[0])
    after.restore(stored)
    assert after.keyframes() == stored
    new = rest(after, window, 1400, 1200)
    assert new.place and new.place.chart == 2
    fixes = follow(after, window, way((1400, 1200), (1400, 700), (1400, 300)))
    assert [(m.old_chart, m.into_chart) for fix in fixes for m in fix.merged] == [(2, 1)]
    assert off(fixes[-1], (1400, 300), (200, 200)) < TOLERANCE_PX


def test_stored_bytes_that_are_no_keyframe_are_refused_and_nothing_is_known() -> None:
    registration = Registration(SIZE[0])
    with pytest.raises(KeyframeError, match="keyframe"):
        registration.restore([Keyframe(1, 1, 0.0, 0.0, b"no picture")])
    assert registration.keyframes() == ()


def test_overlap_is_the_share_in_common(window: Window) -> None:
    registration = Registration(SIZE[0])
    here, there = rest(registration, window, 100, 100).place, rest(registration, window, 420, 190).place
    assert here and there
    assert registration.overlap(here, there) == pytest.approx(0.5 * 0.75, abs=0.01)
    elsewhere = rest(registration, window, 2200, 1500).place
    assert elsewhere and registration.overlap(here, elsewhere) == 0.0


def test_another_camera_mode_is_another_chart(window: Window) -> None:
    registration = Registration(SIZE[0])
    rest(registration, window, 100, 100)
    smaller = FieldPicture.of(np.ascontiguousarray(window.frame(100, 100)[::2, ::2]))
    fix = registration.observe(smaller, True)
    assert fix.state == "new chart" and fix.place and fix.place.chart == 2
    back = rest(registration, window, 100, 100)
    assert back.state == "found again" and back.place and back.place.chart == 1


def test_a_blank_frame_has_no_place_and_the_film_after_it_is_found(window: Window) -> None:
    registration = Registration(SIZE[0])
    rest(registration, window, 100, 100)
    blank = FieldPicture.of(np.full((SIZE[1], SIZE[0], 3), 120, np.uint8))
    assert registration.observe(blank, True).place is None
    fix = rest(registration, window, 140, 100)
    assert fix.place and fix.place.chart == 1 and off(fix, (140, 100), (100, 100)) < TOLERANCE_PX


def test_forget_begins_anew(window: Window) -> None:
    registration = Registration(SIZE[0])
    rest(registration, window, 100, 100)
    registration.forget()
    fix = rest(registration, window, 100, 100)
    assert fix.state == "new chart" and fix.place and fix.place.chart == 1 and len(registration.keyframes()) == 1

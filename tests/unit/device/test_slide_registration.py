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
from tests.support.panned_film import SIZE, Window, dust_spots, film_plane

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


def test_a_place_that_smear_leaves_in_doubt_is_withheld_until_a_keyframe_confirms_it(window: Window) -> None:
    registration = Registration(SIZE[0])
    follow(registration, window, [(200, 300), *way((200, 300), (500, 300), (800, 300))])
    flick = [registration.observe(window.picture(x, 300, smear_px=smear), False) for x, smear in ((750, 200), (400, 260), (230, 180))]
    assert flick[1].place is None and flick[1].state == "lost"
    home = rest(registration, window, 210, 310)
    assert home.state == "found again" and off(home, (210, 310), (200, 300)) < TOLERANCE_PX


def test_lamp_and_dust_change_nothing(plane: Image) -> None:
    dusty = Window(plane, dust_spots())
    registration = Registration(SIZE[0])
    corners = [(200, 200), *way((200, 200), (1400, 260), (1500, 900), (300, 1000), (200, 200))]
    fixes, before = [], None
    for number, corner in enumerate(corners):
        look = {"light": 0.6, "gamma": 1.3} if number > len(corners) // 3 else {}
        fixes.append(registration.observe(dusty.picture(*corner, **look), corner == before))
        before = corner
    assert {fix.place.chart for fix in fixes if fix.place} == {1} and sum(fix.place is None for fix in fixes) <= 1
    assert max(off(f, c, corners[0]) for f, c in zip(fixes, corners, strict=True) if f.place) < TOLERANCE_PX


@pytest.mark.parametrize("flat", [False, True])
def test_dust_over_empty_film_does_not_hold_the_place_still(plane: Image, flat: bool) -> None:
    """A gap of a field and a half in the film: what lies beyond is never placed as if the stage had stood still."""
    torn = plane.copy()
    torn[:, 1200:2200] = np.median(plane.reshape(-1, 3), axis=0)
    dust = dust_spots()
    dusty = Window(torn, dust)
    registration = Registration(SIZE[0])
    origin: dict[int, float] = {}
    for leg in range(0, 2400, 600):
        for x in (*range(leg, leg + 600, 60), leg + 600, leg + 600, leg + 600):
            picture = FieldPicture.of(dusty.frame(min(x, 2500), 300), dust if flat else None)
            place = registration.observe(picture, x == leg + 600).place
            if place is not None:
                assert abs(x - place.x_px - origin.setdefault(place.chart, x - place.x_px)) < 27, x
    assert len(origin) == 2, "one chart before the gap and one after"


def test_a_flat_field_takes_the_dust_away() -> None:
    empty, dust = np.full((*SIZE[::-1], 3), 200, np.uint8), dust_spots()
    seen = (empty * dust[..., None]).astype(np.uint8)
    assert FieldPicture.of(seen).contrast > 2 and FieldPicture.of(seen, dust).contrast < 1
    assert FieldPicture.of(seen, dust[::2, ::2]).blank


def test_a_place_that_its_keyframe_contradicts_is_given_up(window: Window) -> None:
    """A map that is wrong at one place: the frames are not forced onto it in silence."""
    elsewhere, before = Registration(SIZE[0]), Registration(SIZE[0])
    rest(before, window, 200, 300)
    rest(elsewhere, window, 2000, 1500)
    (here,), (other,) = before.keyframes(), elsewhere.keyframes()
    resumed = Registration(SIZE[0])
    resumed.restore([here, Keyframe(2, 1, 500.0, 0.0, other.picture)])
    assert rest(resumed, window, 200, 300).state == "found again"
    fixes = follow(resumed, window, way((200, 300), (900, 300)))
    fixes += [rest(resumed, window, 900, 300) for _ in range(6)]
    assert "lost" in {fix.state for fix in fixes} and fixes[-1].place and fixes[-1].place.chart == 2


def test_what_changed_is_handed_out_once(window: Window) -> None:
    registration = Registration(SIZE[0])
    follow(registration, window, [(200, 200), *way((200, 200), (600, 200))])
    assert registration.changed_keyframes() == registration.keyframes()
    assert registration.changed_keyframes() == ()
    follow(registration, window, way((600, 200), (1000, 200)))
    assert {k.number for k in registration.changed_keyframes()} == {registration.keyframes()[-1].number}


def test_a_keyframe_out_of_focus_gives_way_to_a_sharp_one(window: Window) -> None:
    registration = Registration(SIZE[0])
    rest(registration, window, 300, 300, blur_px=9.0)
    blurred = registration.keyframes()[0]
    rest(registration, window, 300, 300, blur_px=4.0)
    rest(registration, window, 300, 300)
    (sharp,) = registration.keyframes()
    assert sharp.number == blurred.number and sharp.picture != blurred.picture

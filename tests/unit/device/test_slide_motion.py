"""Rest and new fields, on rendered film moved under a window and on real stored pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.slide.motion import ALIKE, WIDTH_PX, FieldPicture, Motion, RestDetector, displacement, nudge
from engines.detections import Image
from engines.film import Film, Microscope

SIZE = (640, 360)  # the window, width and height
HOME = (700, 400)


class Stage:
    """A window over one large rendered picture: pans by pixels, with noise, flicker and defocus of its own in every frame."""

    def __init__(self, plane: Image) -> None:
        self.plane = plane
        self.rng = np.random.default_rng(3)

    def frame(self, x: int, y: int, blur_px: float = 0.0, light: float = 1.0, noise: float = 3.0) -> Image:
        part = self.plane[y : y + SIZE[1], x : x + SIZE[0]].astype(np.float32)
        assert part.shape[:2] == (SIZE[1], SIZE[0])
        if blur_px:
            part = cv2.GaussianBlur(part, (0, 0), blur_px)
        return np.clip(part * light + self.rng.normal(0, noise, part.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def plane() -> Image:
    """About 180 x 90 um of film at 100x; the microscope's own shading is left out because the window moves over it."""
    return Film(seed=11, case="AML").view((600.0, 600.0), Microscope("L", "C2", 100), (2400, 1200))[0]


@pytest.fixture
def stage(plane: Image) -> Stage:
    return Stage(plane)


def new_fields(detector: RestDetector, frames: Iterable[Image]) -> list[int]:
    """Numbers of the frames at which a field was new; each is marked as counted, as the session does."""
    counted = []
    for number, image in enumerate(frames):
        if detector.observe(image).new_field:
            detector.mark()
            counted.append(number)
    return counted


def test_rest_needs_so_many_frames_alike(stage: Stage) -> None:
    detector = RestDetector(4, 0.15)
    assert [detector.observe(stage.frame(*HOME)).resting for _ in range(6)] == [False, False, False, True, True, True]


def test_a_resting_field_is_new_once_under_noise_flicker_and_vibration(stage: Stage) -> None:
    rng = np.random.default_rng(1)
    frames = []
    for _ in range(60):
        dx, dy = rng.integers(-1, 2, 2)
        frames.append(stage.frame(HOME[0] + dx, HOME[1] + dy, light=rng.uniform(0.85, 1.1), noise=8.0))
    assert new_fields(RestDetector(2, 0.15), frames) == [1]


@pytest.mark.parametrize("step_px", [8, 40, 150, 600])
def test_nothing_is_counted_while_the_stage_moves(stage: Stage, step_px: int) -> None:
    detector = RestDetector(2, 0.15)
    motions = [detector.observe(stage.frame(x, 300)) for x in range(100, 1700, step_px)]
    assert not any(m.resting or m.new_field for m in motions)


def test_each_stop_of_a_tour_is_one_new_field(stage: Stage) -> None:
    frames: list[Image] = []
    stops = [(100, 100), (800, 100), (1500, 100), (1500, 600), (800, 600), (100, 600)]
    for stop, (x, y) in enumerate(stops):
        if stop:
            px, py = stops[stop - 1]
            frames += [stage.frame(px + (x - px) * i // 5, py + (y - py) * i // 5) for i in range(1, 5)]
        frames += [stage.frame(x, y) for _ in range(4)]
    assert len(new_fields(RestDetector(2, 0.15), frames)) == len(stops)


@pytest.mark.parametrize(("share", "counted"), [(0.0, 1), (0.05, 1), (0.12, 1), (0.18, 2), (0.5, 2), (1.0, 2)])
def test_coming_to_rest_elsewhere_is_new_from_the_share_on(stage: Stage, share: float, counted: int) -> None:
    """A pan that goes out and comes back to rest at `share` of the width from where it began."""
    end = HOME[0] + round(share * SIZE[0])
    path = [HOME[0]] * 3 + [HOME[0] + 200, HOME[0] + 420, HOME[0] + 500, HOME[0] + 300] + [end] * 3
    assert len(new_fields(RestDetector(2, 0.15), [stage.frame(x, HOME[1]) for x in path])) == counted


def test_slow_drift_becomes_a_new_field_only_after_the_share(stage: Stage) -> None:
    """1 px a frame is within the tolerance of neighbouring frames; it shows against the first frame of the rest."""
    counted = new_fields(RestDetector(3, 0.15), [stage.frame(HOME[0] + i, HOME[1]) for i in range(120)])
    moved = [number / SIZE[0] for number in counted]
    assert moved[0] < 0.02
    assert len(moved) == 2
    assert moved[1] - moved[0] >= 0.15 - 1 / WIDTH_PX


def test_a_slow_pan_is_motion_though_neighbouring_frames_are_alike(stage: Stage) -> None:
    detector = RestDetector(3, 0.15)
    assert not any(detector.observe(stage.frame(HOME[0] + 3 * i, HOME[1])).resting for i in range(40))


def test_turning_the_focus_is_neither_motion_nor_a_new_field(stage: Stage) -> None:
    """Slowly from far out of focus (11 px of 640) to sharp, and in one step to and fro."""
    slow = [stage.frame(*HOME, blur_px=b) for b in (11, 11, 9, 7.5, 6, 4.5, 3, 2, 1, 0, 0, 2, 4, 6, 8, 10, 11)]
    detector = RestDetector(2, 0.15)
    assert new_fields(detector, slow) == [1]
    assert detector.observe(stage.frame(*HOME, blur_px=11)).resting
    for far in (6, 30):
        sudden = [stage.frame(*HOME, blur_px=b) for b in (0, 0, 0, far, far, far, 0, 0, 0)]
        assert new_fields(RestDetector(2, 0.15), sudden) == [1]
        assert new_fields(RestDetector(2, 0.15), sudden[3:]) == [1]  # counted far out of focus, then sharp in one step


def test_rendered_optics_defocus_noise_and_jpeg(plane: Image) -> None:
    """The film's own optics instead of this file's: through focus in steps of 3 um and back on one field, then the neighbour."""
    film, scope = Film(seed=11, case="AML"), Microscope("H", "C1", 100)
    here, there = (600.0, 600.0), (650.0, 600.0)
    path = [(here, 3.0), (here, 3.0), (here, 0.0), (here, 0.0), (here, 3.0), (here, 2.0), (there, 2.0), (there, 2.0)]
    frames = [film.view(centre, scope, SIZE, defocus, noise_seed=i)[0] for i, (centre, defocus) in enumerate(path)]
    assert new_fields(RestDetector(2, 0.15), frames) == [1, 7]


def test_a_dark_picture_is_no_field_and_no_excuse_to_count_again(stage: Stage) -> None:
    detector = RestDetector(2, 0.15)
    dark = [np.clip(np.random.default_rng(i).normal(12, 3, (SIZE[1], SIZE[0], 3)), 0, 255).astype(np.uint8) for i in range(4)]
    frames = [stage.frame(*HOME)] * 3 + dark + [stage.frame(*HOME)] * 3
    assert new_fields(detector, frames) == [1]
    motion = [detector.observe(d) for d in dark][-1]
    assert motion == Motion(resting=True, blank=True, new_field=False, counted=False, shift=None)


def test_another_size_of_picture_is_another_field(stage: Stage) -> None:
    small = stage.frame(*HOME)
    tall = np.ascontiguousarray(small[:, :400])
    assert new_fields(RestDetector(2, 0.15), [small] * 3 + [tall] * 3) == [1, 4]


def test_undone_field_waits_for_the_stage_to_move(stage: Stage) -> None:
    detector = RestDetector(2, 0.15)
    assert new_fields(detector, [stage.frame(*HOME) for _ in range(4)]) == [1]
    detector.unmark(None)
    still = [stage.frame(*HOME, blur_px=b) for b in (0, 0, 1, 3, 1, 0)] + [stage.frame(HOME[0] + 30, HOME[1]) for _ in range(4)]
    assert new_fields(detector, still) == []
    away = [stage.frame(HOME[0] + dx, HOME[1]) for dx in (150, 300, 500, 300, 150)]
    assert new_fields(detector, away) == []
    assert new_fields(detector, [stage.frame(*HOME) for _ in range(4)]) == [1]


def test_knocks_at_the_bench_do_not_bring_an_undone_field_back(stage: Stage) -> None:
    """Single frames of something else entirely, each followed by the same field again."""
    detector = RestDetector(2, 0.15)
    new_fields(detector, [stage.frame(*HOME)] * 3)
    detector.unmark(None)
    knocks = [stage.frame(*place) for _ in range(5) for place in ((1700, 800), HOME)]
    assert new_fields(detector, knocks + [stage.frame(*HOME)] * 3) == []


def test_undone_field_and_the_one_before(stage: Stage) -> None:
    """After the undo of the second field, the first counts as counted when the stage goes back to it; the second may come again."""
    first, second = (100, 100), (1000, 500)
    detector = RestDetector(2, 0.15)
    assert new_fields(detector, [stage.frame(*first)] * 3) == [1]
    mark = detector.reference
    assert new_fields(detector, [stage.frame(*second)] * 3) == [1]
    detector.unmark(mark)
    assert new_fields(detector, [stage.frame(*second)] * 3) == []
    assert new_fields(detector, [stage.frame(*first)] * 3) == []
    assert new_fields(detector, [stage.frame(*second)] * 3) == [1]


def test_undo_while_the_stage_is_already_moving(stage: Stage) -> None:
    detector = RestDetector(2, 0.15)
    new_fields(detector, [stage.frame(100, 100)] * 3 + [stage.frame(500, 300)])
    detector.unmark(None)
    assert new_fields(detector, [stage.frame(1000, 500)] * 3) == [1]


def test_forget_makes_the_present_field_new_at_once(stage: Stage) -> None:
    detector = RestDetector(2, 0.15)
    new_fields(detector, [stage.frame(*HOME)] * 3)
    detector.forget()
    assert detector.observe(stage.frame(*HOME)).new_field


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 1.0])
def test_any_allowed_share_counts_a_resting_field_once(stage: Stage, share: float) -> None:
    assert new_fields(RestDetector(2, share), [stage.frame(*HOME) for _ in range(6)]) == [1]


def test_displacement_is_measured_in_both_directions(stage: Stage) -> None:
    first = FieldPicture.of(stage.frame(*HOME))
    for dx, dy in ((64, 0), (-64, 32), (20, -48), (-200, 100)):
        # The window moves by (dx, dy), so the film moves the other way in the picture.
        shift = displacement(first, FieldPicture.of(stage.frame(HOME[0] + dx, HOME[1] + dy)), 0.4)
        assert shift.likeness > ALIKE
        assert shift.x_share == pytest.approx(-dx / SIZE[0], abs=1 / WIDTH_PX)
        assert shift.y_share == pytest.approx(-dy / SIZE[0], abs=1 / WIDTH_PX)


def test_displacement_scores_are_the_plain_correlation_of_the_common_part() -> None:
    """Against the definition, term by term, at the best shift."""
    rng = np.random.default_rng(0)
    a, b = (FieldPicture(rng.normal(size=(40, WIDTH_PX)).astype(np.float32), 1.0) for _ in range(2))
    shift = displacement(a, b, 0.1)
    dx, dy = round(shift.x_share * WIDTH_PX), round(shift.y_share * WIDTH_PX)
    ya, xa, yb, xb = max(0, -dy), max(0, -dx), max(0, dy), max(0, dx)
    height, width = 40 - abs(dy), WIDTH_PX - abs(dx)
    part_a, part_b = a.band[ya : ya + height, xa : xa + width], b.band[yb : yb + height, xb : xb + width]
    plain = float((part_a * part_b).sum() / np.sqrt((part_a**2).sum() * (part_b**2).sum()))
    assert shift.likeness == pytest.approx(plain, abs=1e-6)


@pytest.mark.parametrize("dx", [-9, -4, 0, 2, 6])
def test_nudge_sees_fractions_of_a_small_pixel(stage: Stage, dx: int) -> None:
    shift = nudge(FieldPicture.of(stage.frame(*HOME)), FieldPicture.of(stage.frame(HOME[0] + dx, HOME[1])))
    assert shift.x_share == pytest.approx(-dx / SIZE[0], abs=0.15 / WIDTH_PX)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "pattern"),
    [("lld_100x", "*.png"), ("lld_40x/Images/val", "*.jpg"), ("bccd/Images/val", "*.jpg"), ("pbc/Images/val", "*.jpg")],
)
def test_every_stored_picture_held_for_three_frames_is_one_field(shared_data: Path, folder: str, pattern: str) -> None:
    paths = sorted((shared_data / folder).glob(pattern))[:40]
    pictures = [cv2.imread(str(path)) for path in paths]
    assert len(pictures) >= 20
    frames = [np.asarray(picture, np.uint8) for picture in pictures for _ in range(3)]
    assert new_fields(RestDetector(2, 0.15), frames) == [3 * i + 1 for i in range(len(paths))]


@pytest.mark.shared
def test_real_film_through_focus_is_one_field(shared_data: Path) -> None:
    rng = np.random.default_rng(5)
    for path in sorted((shared_data / "lld_100x").glob("*.png"))[:6]:
        picture = np.asarray(cv2.imread(str(path)), np.float32)
        frames = []
        for sigma in (7, 7, 5, 3, 1, 0.3, 0.3, 1, 4, 7, 0.3, 0.3):
            blurred = cv2.GaussianBlur(picture, (0, 0), sigma) * rng.uniform(0.9, 1.1)
            frames.append(np.clip(blurred + rng.normal(0, 6, blurred.shape), 0, 255).astype(np.uint8))
        assert new_fields(RestDetector(2, 0.15), frames) == [1], path.name

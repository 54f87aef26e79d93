"""Rest and motion, on rendered film moved under a window and on real stored pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.slide.motion import WIDTH_PX, FieldPicture, Motion, RestDetector, nudge
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


def rests(detector: RestDetector, frames: Iterable[Image]) -> list[int]:
    """Numbers of the frames at which a rest began that shows something."""
    began, resting = [], False
    for number, image in enumerate(frames):
        motion = detector.observe(image)
        if motion.resting and not motion.blank and not resting:
            began.append(number)
        resting = motion.resting and not motion.blank
    return began


def test_rest_needs_so_many_frames_alike(stage: Stage) -> None:
    detector = RestDetector(4)
    assert [detector.observe(stage.frame(*HOME)).resting for _ in range(6)] == [False, False, False, True, True, True]


def test_a_rest_goes_on_under_noise_flicker_and_vibration(stage: Stage) -> None:
    rng = np.random.default_rng(1)
    frames = []
    for _ in range(60):
        dx, dy = rng.integers(-1, 2, 2)
        frames.append(stage.frame(HOME[0] + dx, HOME[1] + dy, light=rng.uniform(0.85, 1.1), noise=8.0))
    assert rests(RestDetector(2), frames) == [1]


@pytest.mark.parametrize("step_px", [8, 40, 150, 600])
def test_a_stage_that_moves_does_not_rest(stage: Stage, step_px: int) -> None:
    detector = RestDetector(2)
    motions = [detector.observe(stage.frame(x, 300)) for x in range(100, 1700, step_px)]
    assert not any(m.resting for m in motions)


def test_each_stop_of_a_tour_is_one_rest(stage: Stage) -> None:
    frames: list[Image] = []
    stops = [(100, 100), (800, 100), (1500, 100), (1500, 600), (800, 600), (100, 600)]
    for stop, (x, y) in enumerate(stops):
        if stop:
            px, py = stops[stop - 1]
            frames += [stage.frame(px + (x - px) * i // 5, py + (y - py) * i // 5) for i in range(1, 5)]
        frames += [stage.frame(x, y) for _ in range(4)]
    assert rests(RestDetector(2), frames) == [8 * stop + 1 for stop in range(len(stops))]


def test_slow_drift_ends_a_rest_that_began_elsewhere(stage: Stage) -> None:
    """1 px a frame is within the tolerance of neighbouring frames; it shows against the first frame of the rest."""
    detector = RestDetector(3)
    motions = [detector.observe(stage.frame(HOME[0] + i, HOME[1])) for i in range(40)]
    assert motions[2].resting and not all(motion.resting for motion in motions[2:12])


def test_a_slow_pan_is_motion_though_neighbouring_frames_are_alike(stage: Stage) -> None:
    detector = RestDetector(3)
    assert not any(detector.observe(stage.frame(HOME[0] + 3 * i, HOME[1])).resting for i in range(40))


def test_turning_the_focus_is_no_motion(stage: Stage) -> None:
    """Slowly from far out of focus (11 px of 640) to sharp and back; and in one step, after which the stage rests again at once."""
    slow = [stage.frame(*HOME, blur_px=b) for b in (11, 11, 9, 7.5, 6, 4.5, 3, 2, 1, 0, 0, 2, 4, 6, 8, 10, 11)]
    detector = RestDetector(2)
    assert rests(detector, slow) == [1]
    assert detector.observe(stage.frame(*HOME, blur_px=11)).resting
    for far in (6, 30):
        sudden = [stage.frame(*HOME, blur_px=b) for b in (0, 0, 0, far, far, far, 0, 0, 0)]
        assert set(rests(RestDetector(2), sudden)) <= {1, 4, 7}


def test_rendered_optics_defocus_noise_and_jpeg(plane: Image) -> None:
    """The film's own optics instead of this file's: through focus in steps of 3 um and back on one field, then the neighbour."""
    film, scope = Film(seed=11, case="AML"), Microscope("H", "C1", 100)
    here, there = (600.0, 600.0), (650.0, 600.0)
    path = [(here, 3.0), (here, 3.0), (here, 0.0), (here, 0.0), (here, 3.0), (here, 2.0), (there, 2.0), (there, 2.0)]
    frames = [film.view(centre, scope, SIZE, defocus, noise_seed=i)[0] for i, (centre, defocus) in enumerate(path)]
    assert rests(RestDetector(2), frames) == [1, 7]


def test_a_dark_picture_rests_and_is_blank(stage: Stage) -> None:
    detector = RestDetector(2)
    dark = [np.clip(np.random.default_rng(i).normal(12, 3, (SIZE[1], SIZE[0], 3)), 0, 255).astype(np.uint8) for i in range(4)]
    assert rests(detector, [stage.frame(*HOME)] * 3 + dark + [stage.frame(*HOME)] * 3) == [1, 8]
    assert [detector.observe(image) for image in dark][-1] == Motion(resting=True, blank=True)


def test_another_size_of_picture_is_another_rest(stage: Stage) -> None:
    small = stage.frame(*HOME)
    tall = np.ascontiguousarray(small[:, :400])
    assert rests(RestDetector(2), [small] * 3 + [tall] * 3) == [1, 4]


@pytest.mark.parametrize("dx", [-9, -4, 0, 2, 6])
def test_nudge_sees_fractions_of_a_small_pixel(stage: Stage, dx: int) -> None:
    shift = nudge(FieldPicture.of(stage.frame(*HOME)), FieldPicture.of(stage.frame(HOME[0] + dx, HOME[1])))
    assert shift.x_share == pytest.approx(-dx / SIZE[0], abs=0.15 / WIDTH_PX)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "pattern"),
    [("lld_100x", "*.png"), ("lld_40x/Images/val", "*.jpg"), ("bccd/Images/val", "*.jpg"), ("pbc/Images/val", "*.jpg")],
)
def test_every_stored_picture_held_for_three_frames_is_one_rest(shared_data: Path, folder: str, pattern: str) -> None:
    paths = sorted((shared_data / folder).glob(pattern))[:40]
    pictures = [cv2.imread(str(path)) for path in paths]
    assert len(pictures) >= 20
    frames = [np.asarray(picture, np.uint8) for picture in pictures for _ in range(3)]
    assert rests(RestDetector(2), frames) == [3 * i + 1 for i in range(len(paths))]


@pytest.mark.shared
def test_real_film_through_focus_is_one_rest(shared_data: Path) -> None:
    rng = np.random.default_rng(5)
    for path in sorted((shared_data / "lld_100x").glob("*.png"))[:6]:
        picture = np.asarray(cv2.imread(str(path)), np.float32)
        frames = []
        for sigma in (7, 7, 5, 3, 1, 0.3, 0.3, 1, 4, 7, 0.3, 0.3):
            blurred = cv2.GaussianBlur(picture, (0, 0), sigma) * rng.uniform(0.9, 1.1)
            frames.append(np.clip(blurred + rng.normal(0, 6, blurred.shape), 0, 255).astype(np.uint8))
        assert rests(RestDetector(2), frames) == [1], path.name

"""What helps at the stage: thick and thin places, the wrong objective, another slide; on rendered film, and on real fields."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.profile import CalibrationProfile, ObjectiveScale, load_profile
from device.camera.base import Frame
from device.clock import SystemClock
from device.display.inputs import Input, Kind
from device.display.pages import COUNT_PAGE, AskPage
from device.guidance.area import Area, Thickness, area_of
from device.guidance.guide import Guide
from device.guidance.watches import RED_CELL_LIMITS_UM, ObjectiveWatch, SlideWatch
from device.slide.commands import Command
from device.slide.counting import Observation
from engines.detections import Image
from engines.film import Film, Microscope
from engines.red_cells import Cover

CASES = ("normal", "AML", "CLL", "mixed", "ALL", "CML", "APML")
COVERS = {Thickness.THIN: 0.1, Thickness.GOOD: 0.4, Thickness.THICK: 1.2}
SIZE = (640, 360)
RESTS, MOVES = Observation(resting=True, field_counted=False, blank=False), Observation(False, False, False)
BLANK = Observation(resting=True, field_counted=False, blank=True)
CLOCK = SystemClock()


def profile(measured: bool = True, **scales: float) -> CalibrationProfile:
    objectives = {10: 0.75, 40: 0.1875, 100: 0.075} | {int(key[1:]): value for key, value in scales.items()}
    made = {key: ObjectiveScale(um_per_px=value, width_px=1920) for key, value in objectives.items()}
    return CalibrationProfile(name="bench", version="1", camera="C2", measured=measured, objectives=made)


def seen(seed: int, objective: int, cover: float | None = None, at_um: float = 600.0) -> Image:
    scope = Microscope("L", "C2", objective, width_px=SIZE[0])
    film = Film(seed, CASES[seed % len(CASES)], (1500, 1500), red_cover=cover)
    return film.view((at_um, at_um), scope, SIZE, noise_seed=1)[0]


def frame(image: Image) -> Frame:
    return Frame(image, 0, CLOCK.monotonic_s(), CLOCK.now(), "rendered")


@pytest.fixture(scope="module")
def three_covers() -> list[tuple[Thickness, Area | None]]:
    """21 fields of 7 films with three covers, at 100x and 40x."""
    told = []
    for thickness, share in COVERS.items():
        for seed in range(30, 37):
            objective = 40 if seed % 2 else 100
            scale = profile().um_per_px(objective, SIZE[0])
            told.append((thickness, area_of(seen(seed, objective, share), scale)))
    return told


def test_three_covers_are_told_apart(three_covers: list[tuple[Thickness, Area | None]]) -> None:
    right = [area is not None and area.thickness is thickness for thickness, area in three_covers]
    assert np.mean(right) >= 0.95


def test_more_cells_cover_more_and_touch_more(three_covers: list[tuple[Thickness, Area | None]]) -> None:
    covers = {t: [area.cover for thickness, area in three_covers if thickness is t and area is not None] for t in Thickness}
    thin, good = covers[Thickness.THIN], covers[Thickness.GOOD]
    assert np.median([c.share for c in thin]) < 0.25
    assert 0.3 < np.median([c.share for c in good]) < 0.7
    assert np.median([c.touching for c in thin]) < 0.7 < np.median([c.touching for c in good])
    assert np.median([c.between for c in covers[Thickness.THICK]]) > 2 * max(c.between for c in good)


@pytest.mark.parametrize("picture", ["glass", "noise", "dark"])
def test_where_there_is_no_film_nothing_is_said(picture: str) -> None:
    rng = np.random.default_rng(0)
    level = {"glass": 220, "noise": 180, "dark": 0}[picture]
    sigma = {"glass": 0, "noise": 3, "dark": 0}[picture]
    image = np.clip(rng.normal(level, sigma or 1e-9, (360, 640, 3)), 0, 255).astype(np.uint8)
    assert area_of(image, 0.225) is None


def test_the_scale_may_be_unknown(three_covers: object) -> None:
    area = area_of(seen(31, 100, 0.4), None)
    assert area is not None
    assert area.thickness is Thickness.GOOD


@pytest.fixture(scope="module")
def thirty_slides() -> list[tuple[int, Image]]:
    """One field each of thirty rendered slides as they come, at 100x and 40x."""
    return [(40 if seed % 2 else 100, seen(seed, 40 if seed % 2 else 100)) for seed in range(100, 130)]


def watched(scale_of: CalibrationProfile, said: int, images: list[Image]) -> ObjectiveWatch:
    watch = ObjectiveWatch(scale_of, said)
    for image in images:
        area = area_of(image, scale_of.um_per_px(said, image.shape[1]))
        if area is not None:
            watch.observe(area, image.shape[1])
    return watch


def test_thirty_slides_with_the_right_objective_raise_no_question(thirty_slides: list[tuple[int, Image]]) -> None:
    sizes = []
    for objective, image in thirty_slides:
        area = area_of(image, profile().um_per_px(objective, SIZE[0]))
        if area is not None and area.red_cell_px is not None:
            sizes.append(area.red_cell_px * (profile().um_per_px(objective, SIZE[0]) or 0))
        assert watched(profile(), objective, [image] * 3).doubt is None
    assert len(sizes) >= 15
    assert RED_CELL_LIMITS_UM[0] < min(sizes) <= max(sizes) < RED_CELL_LIMITS_UM[1]


@pytest.mark.parametrize(("really", "said"), [(40, 100), (100, 40)])
@pytest.mark.parametrize("measured", [True, False])
def test_the_wrong_objective_is_asked_about(thirty_slides: list[tuple[int, Image]], really: int, said: int, measured: bool) -> None:
    images = [image for objective, image in thirty_slides if objective == really]
    watch = watched(profile(measured), said, images)
    assert watch.doubt is not None
    assert watch.doubt.likely == really


def test_two_fields_ask_nothing_and_a_right_one_between_begins_anew() -> None:
    cover = Cover(0.4, 0.8, 0.05, (0.2, 0.4, 0.3))
    right, wrong = (Area(Thickness.GOOD, cover, px) for px in (96.0, 38.0))
    watch = ObjectiveWatch(profile(), 100)
    for area in (wrong, wrong, right, wrong, wrong):
        watch.observe(area, 1920)
    assert watch.doubt is None
    watch.observe(wrong, 1920)
    assert watch.doubt is not None
    assert watch.doubt.red_cell_um == pytest.approx(2.85)
    watch.accept()
    for area in (wrong,) * 5:
        watch.observe(area, 1920)
    assert watch.doubt is None  # a person said so
    for area in (Area(Thickness.GOOD, cover, 240.0),) * 3:
        watch.observe(area, 1920)
    assert watch.doubt is not None  # and this is something else again


def test_a_profile_without_this_objective_says_nothing() -> None:
    watch = ObjectiveWatch(load_profile("zzcat-5mp").model_copy(update={"objectives": {}}), 100)
    watch.observe(Area(Thickness.GOOD, Cover(0.4, 0.8, 0.05, (0.2, 0.4, 0.3)), 10.0), 1920)
    assert watch.doubt is None


def fields_of(seed: int, count: int) -> Iterator[Area]:
    scale = profile().um_per_px(40, SIZE[0])
    for i in range(count):
        area = area_of(seen(seed, 40, 0.4, 400.0 + 150 * i), scale)
        assert area is not None
        yield area


def test_another_slide_after_the_film_was_out_of_sight_is_asked_about() -> None:
    first, other = list(fields_of(50, 6)), list(fields_of(52, 2))
    watch = SlideWatch()
    for area in first[:4]:
        watch.observe(area)
    watch.left()
    for area in first[4:]:  # the same film again
        watch.observe(area)
    assert not watch.doubt
    watch.observe(other[0])  # without having been out of sight: one odd field
    watch.left()
    for area in other:
        watch.observe(area)
    assert watch.doubt
    watch.accept()
    assert not watch.doubt
    watch.reset()
    watch.left()
    watch.observe(first[0])
    assert not watch.doubt  # the first field of a slide


def test_the_guide_holds_the_count_until_it_is_answered() -> None:
    images = [seen(seed, 40, 0.4) for seed in (101, 103, 105)]
    guide = Guide(profile(), 100, stored=True)
    for n, image in enumerate(images):
        guide.look(frame(image), 2.0 * n, MOVES)
        held = guide.look(frame(image), 2.0 * n + 1, RESTS)
    question = guide.page(COUNT_PAGE)
    assert isinstance(question, AskPage)
    assert question.title == "Is the 40x in? The profile says 100x."
    assert held == "not counted: see the question"
    other = AskPage("Another question", typed="1")
    assert guide.page(other) is other  # what is being typed is not taken for an answer
    one, letter = Input(Kind.KEY, "1", "1"), Input(Kind.KEY, "U", "u")
    assert guide.take([one], other) == ([one], [])
    left, wishes = guide.take([letter, one], COUNT_PAGE)
    assert left == [letter]
    assert [(wish.command, wish.reason) for wish in wishes] == [(Command.ANSWER, "1")]
    assert guide.answer("3") is None
    answer = guide.answer("2")
    assert answer is not None
    assert answer.doubtful
    assert answer.kept["check"] == "objective"
    assert answer.kept["likely"] == 40
    assert guide.question is None
    assert guide.answer("1") is None


def test_the_guide_asks_after_a_blank_spell() -> None:
    guide = Guide(profile(), 40, stored=True)
    for n, seed in enumerate((50, 50, 52, 52)):
        image = seen(seed, 40, 0.4, 400.0 + 150 * (n % 2))
        guide.look(frame(image), 2.0 * n, BLANK if n == 2 else MOVES)
        guide.look(frame(image), 2.0 * n + 1, RESTS)
    assert guide.question is not None
    assert guide.question.title == "Is this another slide?"
    answer = guide.answer("2")
    assert answer is not None
    assert answer.finish


@pytest.mark.shared
def test_real_fields_of_a_known_scale_raise_no_question(shared_data: Path) -> None:
    """Diseased red cells of Chula, whose scale is taken from every second field by the usual 7.2 um."""
    paths = sorted((shared_data / "chula_rbc/Images/train").glob("*.jpg"))[:40]
    assert len(paths) >= 20
    sizes = []
    for path in paths:
        area = area_of(np.asarray(cv2.imread(str(path)), np.uint8), 0.1)
        if area is not None and area.red_cell_px is not None:
            sizes.append(area.red_cell_px)
    assert len(sizes) >= 20
    scale = 7.2 / float(np.median(sizes[::2]))
    outside = [px * scale for px in sizes[1::2] if not RED_CELL_LIMITS_UM[0] <= px * scale <= RED_CELL_LIMITS_UM[1]]
    assert len(outside) <= 0.2 * len(sizes[1::2])  # diseases of red cells: single fields may be outside, three in a row are asked about

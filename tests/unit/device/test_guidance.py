"""What helps at the stage: thick and thin places, the wrong objective, another slide; on rendered film, and on real fields.

Few and small fields: how often it is right on many is measured by docs/experiments/guidance.py.
"""

from __future__ import annotations

from functools import lru_cache
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
from engines.red_cells import Cover, cell_level, diameter_px

CASES = ("normal", "AML", "CLL", "mixed", "ALL", "CML", "APML")
COVERS = {Thickness.THIN: 0.1, Thickness.GOOD: 0.4, Thickness.THICK: 1.2}
WIDTH_PX = 640  # of whole frames; the pictures below are parts of them
SIZES = {10: (128, 96), 40: (240, 180), 100: (480, 300)}
RESTS, MOVES = Observation(resting=True, field_counted=False, blank=False), Observation(False, False, False)
BLANK = Observation(resting=True, field_counted=False, blank=True)
CLOCK = SystemClock()


def profile(measured: bool = True, **scales: float) -> CalibrationProfile:
    objectives = {10: 0.75, 40: 0.1875, 100: 0.075} | {int(key[1:]): value for key, value in scales.items()}
    made = {key: ObjectiveScale(um_per_px=value, width_px=1920) for key, value in objectives.items()}
    return CalibrationProfile(name="bench", version="1", camera="C2", measured=measured, objectives=made)


@lru_cache(64)
def seen(seed: int, objective: int, cover: float | None = None, at_um: float = 300.0) -> Image:
    scope = Microscope("L", "C2", objective, width_px=WIDTH_PX)
    film = Film(seed, CASES[seed % len(CASES)], (800, 800), red_cover=cover)
    return film.view((at_um, 300.0), scope, SIZES[objective], noise_seed=1)[0]


def area_seen(seed: int, objective: int, said: int | None = None, cover: float | None = None) -> Area | None:
    return area_of(seen(seed, objective, cover), profile().um_per_px(said or objective, WIDTH_PX))


def whole(part: Image) -> Image:
    """A frame of the usual width at the same scale: the part, mirrored at its sides."""
    down, right = 360 - part.shape[0], WIDTH_PX - part.shape[1]
    return np.asarray(cv2.copyMakeBorder(part, 0, down, 0, right, cv2.BORDER_REFLECT), np.uint8)


def frame(image: Image) -> Frame:
    return Frame(image, 0, CLOCK.monotonic_s(), CLOCK.now(), "rendered")


@pytest.fixture(scope="module")
def three_covers() -> list[tuple[Thickness, Area | None]]:
    """12 fields of 4 films with three covers."""
    return [(t, area_seen(seed, 100, cover=share)) for t, share in COVERS.items() for seed in range(32, 36)]


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


SLIDES = {100: (100, 101, 102, 104), 40: (103, 109, 111)}


def watched(scale_of: CalibrationProfile, said: int, really: int) -> ObjectiveWatch:
    watch = ObjectiveWatch(scale_of, said)
    for seed in SLIDES[really] * 2:
        area = area_seen(seed, really, said)
        assert area is not None
        watch.observe(area, WIDTH_PX)
    return watch


@pytest.mark.parametrize("objective", [40, 100])
def test_the_right_objective_raises_no_question(objective: int) -> None:
    sizes = []
    for seed in SLIDES[objective]:
        area = area_seen(seed, objective)
        assert area is not None
        if area.red_cell_px is not None:
            sizes.append(area.red_cell_px * (profile().um_per_px(objective, WIDTH_PX) or 0))
    assert len(sizes) >= 3
    assert RED_CELL_LIMITS_UM[0] < min(sizes) <= max(sizes) < RED_CELL_LIMITS_UM[1]
    assert watched(profile(), objective, objective).doubt is None


@pytest.mark.parametrize(("really", "said"), [(40, 100), (100, 40)])
@pytest.mark.parametrize("measured", [True, False])
def test_the_wrong_objective_is_asked_about(really: int, said: int, measured: bool) -> None:
    watch = watched(profile(measured), said, really)
    assert watch.doubt is not None
    assert watch.doubt.likely == really


def test_the_10x_under_a_100x_profile_is_asked_about_though_it_shows_no_single_cells() -> None:
    area, watch = area_seen(100, 10, said=100), ObjectiveWatch(profile(), 100)
    assert area is not None
    assert area.red_cell_px is None
    for _ in range(3):
        watch.observe(area, WIDTH_PX)
    assert watch.doubt is not None


def drawn(cell_px: int, red: int, nuclei: int, blur: float = 1.5) -> Image:
    """Red cells of that green level on plasma of 178, and so many white cells with nuclei of 60, none touching."""
    image = np.full((360, 640), 178, np.uint8)
    for n, (y, x) in enumerate((y, x) for y in range(40, 340, 70) for x in range(40, 620, 70)):
        cv2.circle(image, (x, y), cell_px if n < nuclei else cell_px // 2, 60 if n < nuclei else red, -1)
    return np.asarray(np.repeat(cv2.GaussianBlur(image, (0, 0), blur)[..., None], 3, axis=2), np.uint8)


def test_red_cells_are_found_where_many_nuclei_stand_beside_pale_ones() -> None:
    """Otsu's level alone divides nuclei from all else: the stain, and the size of red cells, were those of white cells."""
    image = drawn(30, red=138, nuclei=10)
    assert cv2.threshold(image[..., 1], 0, 255, cv2.THRESH_OTSU)[0] < 130
    assert 138 < cell_level(image[..., 1]) < 178
    assert diameter_px(image) == pytest.approx(30, rel=0.07)


def test_blurred_edges_of_dark_red_cells_are_not_taken_for_cells() -> None:
    image = drawn(30, red=95, nuclei=0, blur=3.0)
    assert cell_level(image[..., 1]) == pytest.approx(cv2.threshold(image[..., 1], 0, 255, cv2.THRESH_OTSU)[0], abs=2)


COVER = Cover(0.4, 0.8, 0.05, (0.2, 0.4, 0.3))


def plain(px: float | None, cells: int = 20, strength: float = 1.0, grain: float | None = None) -> Area:
    cover = COVER._replace(bgr_density=(0.2, 0.4 * strength, 0.3 * strength))
    return Area(Thickness.GOOD, cover, px, cells, grain)


def test_two_fields_ask_nothing_and_a_right_one_between_begins_anew() -> None:
    right, wrong = plain(96.0), plain(38.0)
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
    for area in (plain(240.0),) * 3:
        watch.observe(area, 1920)
    assert watch.doubt is not None  # and this is something else again


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ([plain(200.0), plain(38.0), plain(200.0), plain(38.0), plain(200.0)], "odd fields that do not agree"),
        ([plain(200.0, cells=5)] * 3, "too few cells in all: five round white cells a field may stand alone"),
        ([plain(None, cells=2)] * 9, "too few single red cells"),
        ([plain(None, cells=0, grain=130.0)] * 9, "all cells touch: their grain is long"),
    ],
)
def test_too_little_asks_nothing(fields: list[Area], why: str) -> None:
    watch = ObjectiveWatch(profile(), 100)
    for area in fields:
        watch.observe(area, 1920)
    assert watch.doubt is None, why


def test_a_profile_without_this_objective_says_nothing() -> None:
    watch = ObjectiveWatch(load_profile("zzcat-5mp").model_copy(update={"objectives": {}}), 100)
    for _ in range(4):
        watch.observe(plain(10.0), 1920)
    assert watch.doubt is None


def followed(before: list[Area], after: list[Area], out_of_sight: bool = True) -> SlideWatch:
    watch = SlideWatch()
    for area in before:
        watch.observe(area)
    if out_of_sight:
        watch.left()
    for area in after:
        watch.observe(area)
    return watch


SAME, STAIN, OTHER = plain(96.0), plain(96.0, strength=1.6), plain(84.0, strength=1.6)


def test_another_slide_after_the_film_was_out_of_sight_is_asked_about() -> None:
    watch = followed([SAME] * 4, [OTHER] * 3)
    assert watch.doubt
    watch.accept()
    assert not watch.doubt
    assert not watch.other_stain
    watch.observe(OTHER)
    assert not watch.doubt  # a person has said so
    watch.reset()
    watch.left()
    for _ in range(4):
        watch.observe(SAME)
    assert not watch.doubt  # the first fields of a slide


def test_another_stain_alone_is_said_and_not_asked() -> None:
    watch = followed([SAME] * 4, [STAIN] * 3)
    assert watch.other_stain
    assert not watch.doubt
    for _ in range(6):
        watch.observe(STAIN)
    assert not watch.other_stain  # said long enough


def test_no_other_slide_is_seen_in_less() -> None:
    for watch in (
        followed([SAME] * 4, [OTHER] * 2),  # two fields are not enough
        followed([SAME] * 2, [OTHER] * 4),  # nor two before
        followed([SAME] * 4, [OTHER] * 4, out_of_sight=False),
        followed([SAME] * 4, [plain(84.0)] * 4),  # nor the size alone
        followed([SAME] * 4, [OTHER, SAME, SAME]),  # one odd field
    ):
        assert not watch.doubt
        assert not watch.other_stain


def test_a_rendered_film_stays_itself_and_another_has_another_stain() -> None:
    mine = [area_of(seen(31, 100, 0.4, at), profile().um_per_px(100, WIDTH_PX)) for at in (200.0, 300.0, 400.0)]
    other = area_seen(30, 100, cover=0.4)
    fields = [area for area in (*mine, other) if area is not None]
    assert len(fields) == 4
    assert not followed(fields[:3], fields[2::-1]).other_stain
    assert followed(fields[:3], [fields[3]] * 3).other_stain


def test_the_guide_holds_the_count_until_it_is_answered() -> None:
    images = [whole(seen(seed, 40)) for seed in SLIDES[40]]
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


def test_of_stored_pictures_another_scale_is_said_and_nothing_waits() -> None:
    guide = Guide(profile(), 100, stored=True, asks=False)
    held = ""
    for n, image in enumerate(whole(seen(seed, 40)) for seed in SLIDES[40]):
        guide.look(frame(image), 2.0 * n, MOVES)
        held = guide.look(frame(image), 2.0 * n + 1, RESTS)
    assert held == ""
    assert guide.page(COUNT_PAGE) is COUNT_PAGE
    assert any("the pictures' scale is another" in sentence for sentence in guide.late_advice())


@pytest.mark.parametrize("larger", [1.0, 1.2])
def test_the_guide_asks_after_a_blank_spell(larger: float) -> None:
    """Another stain alone is said; red cells that are larger besides are asked about."""
    guide = Guide(profile(measured=False), 100, stored=True)
    first, other = seen(31, 100, 0.4), seen(30, 100, 0.4)
    other = np.asarray(cv2.resize(other, None, fx=larger, fy=larger)[:300, :480], np.uint8)
    for n, image in enumerate([first] * 3 + [other] * 3):
        guide.look(frame(whole(image)), 2.0 * n, BLANK if n == 3 else MOVES)
        held = guide.look(frame(whole(image)), 2.0 * n + 1, RESTS)
    words = "The stain differs from before the film was out of sight: is it the same slide?"
    if larger == 1.0:
        assert (guide.question, held, words in list(guide.late_advice())) == (None, "", True)
        return
    assert words not in list(guide.late_advice())
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

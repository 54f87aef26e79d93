"""The optics of a microscope: blank field, micrometer, versions of a profile, and frames corrected by them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from calibration.optics.blank import Blank, OpticsError, measure_blank
from calibration.optics.correction import Correction
from calibration.optics.micrometer import Scale, measure_ruling, scale_from
from calibration.optics.versions import Versions, read_flat
from calibration.profile import ProfileError, load_profile
from engines.detections import Image
from engines.film import Film, Microscope
from engines.film.optics import CLEAR, capture

SIZE = (640, 360)
CAST = np.array([0.72, 0.9, 1.0])


def lit(level: float = 215.0, cast: np.ndarray = CAST, vignette: float = 0.25, seed: int = 0, noise: float = 2.0) -> Image:
    """A blank field with a colour cast, darker towards one corner, with noise."""
    height, width = SIZE[1], SIZE[0]
    y, x = np.mgrid[0:height, 0:width]
    far = ((x - 0.4 * width) ** 2 + (y - 0.45 * height) ** 2) / (0.6 * width) ** 2
    light = level * (1 - vignette * far)[..., None] * cast
    return np.clip(np.random.default_rng(seed).normal(light, noise), 0, 255).astype(np.uint8)


def ruling(period: float, degrees: float = 0.0, grid: bool = False, seed: int = 0, noise: float = 4.0, thick: float = 0.15) -> Image:
    """A stage micrometer: dark lines, every fifth and tenth longer, or a grid."""
    rng = np.random.default_rng(seed)
    height, width = 540, 960
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    u, v = x * c + y * s + rng.uniform(0, period), y * c - x * s + rng.uniform(0, period)

    def lines(across: np.ndarray) -> np.ndarray:
        away = np.abs((across / period + 0.5) % 1 - 0.5) * period
        return 1 / (1 + np.exp((away - thick * period / 2) / 1.2))

    grey = 200 - 120 * lines(u)
    if grid:
        grey = np.minimum(grey, 200 - 120 * lines(v))
    else:
        number = np.round(u / period).astype(int)
        reach = np.where(number % 10 == 0, 0.48, np.where(number % 5 == 0, 0.38, 0.28)) * height
        grey = np.where(np.abs(y - height / 2) < reach, grey, 200)
    colour = grey[..., None] * np.array([0.8, 0.95, 1.0]) * (1 - 0.1 * ((x - width / 2) / width) ** 2)[..., None]
    return np.clip(rng.normal(colour, noise), 0, 255).astype(np.uint8)


# ---- blank field


def test_a_cast_and_a_vignette_are_measured_and_undone() -> None:
    blank = measure_blank([lit(seed=n) for n in range(6)])
    gains = np.array(blank.white_balance)
    assert gains == pytest.approx(CAST.max() / CAST, rel=0.01)
    corrected = Correction(blank.white_balance, blank.flat).apply(lit(seed=99)).astype(float)
    channels = corrected.mean(axis=(0, 1))
    assert np.ptp(channels) < 1.5
    coarse = cv2.resize(corrected, (32, 18), interpolation=cv2.INTER_AREA)
    assert np.ptp(cv2.resize(lit(seed=99).astype(float), (32, 18), interpolation=cv2.INTER_AREA)[..., 2]) > 40
    assert np.ptp(coarse[..., 2]) < 8


def test_a_rendered_blank_field_with_dust_is_taken() -> None:
    scope = Microscope("L", "C2", 100, unit=3, width_px=SIZE[0])
    frames = [capture(np.full((SIZE[1], SIZE[0], 3), CLEAR, np.uint8), scope, noise_seed=n) for n in range(5)]
    blank = measure_blank(frames)
    corrected = Correction(blank.white_balance, blank.flat).apply(frames[0])
    assert np.ptp(corrected.reshape(-1, 3).mean(axis=0)) < 2.5


def test_dust_that_moves_with_the_glass_drops_out() -> None:
    frames = []
    for n in range(7):
        frame = lit(seed=n)
        cv2.circle(frame, (60 + 70 * n, 180), 5, (60, 60, 60), -1)
        frames.append(frame)
    blank, clean = measure_blank(frames), measure_blank([lit(seed=n) for n in range(7)])
    assert np.abs(blank.flat - clean.flat).max() < 0.02


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([lit()] * 3, "at least 4"),
        ([lit(level=60, seed=n) for n in range(4)], "too dark"),
        ([np.full((360, 640, 3), 255, np.uint8)] * 4, "too bright"),
        ([lit(level=250, cast=np.ones(3), vignette=0.0, seed=n, noise=4) for n in range(4)], "too bright"),
        ([lit(level=150 + 12 * n, seed=n) for n in range(4)], "light changes"),
        ([lit(seed=n) for n in range(3)] + [lit()[:180]], "different sizes"),
        ([lit(vignette=0.95, seed=n) for n in range(4)], "dark"),
        ([lit(cast=np.array([0.2, 0.9, 1.0]), seed=n, noise=1) for n in range(4)], "blue is"),
    ],
)
def test_what_cannot_be_a_blank_field_is_refused_in_words(frames: list[Image], words: str) -> None:
    with pytest.raises(OpticsError, match=words):
        measure_blank(frames)


@pytest.mark.parametrize("cover", [0.02, 0.1, 0.5])
def test_film_is_no_blank_field_however_thin(cover: float) -> None:
    film = Film(11, "normal", (800, 800), red_cover=cover)
    scope = Microscope("L", "C2", 100, width_px=SIZE[0])
    frames = [film.view((200.0 + 100 * n, 400.0), scope, SIZE, noise_seed=n)[0] for n in range(4)]
    with pytest.raises(OpticsError, match="not blank"):
        measure_blank(frames)


def test_exposure_is_advised() -> None:
    assert "turn the lamp up" in measure_blank([lit(level=140, seed=n) for n in range(4)]).advice
    assert measure_blank([lit(level=215, seed=n) for n in range(4)]).advice == ""


# ---- correction


def test_correction_multiplies_each_place_and_channel() -> None:
    flat = np.ones((4, 8, 3), np.float32)
    flat[:, 4:] = 0.8
    image = np.full((40, 80, 3), 100, np.uint8)
    out = Correction((1.5, 1.0, 1.2), flat).apply(image).astype(float)
    assert out[:, :30].mean(axis=(0, 1)) == pytest.approx([150, 100, 120], abs=1.0)
    assert out[:, 55:].mean(axis=(0, 1)) == pytest.approx([187.5, 125, 150], abs=1.0)
    assert (image == 100).all()  # a frame belongs to whoever gave it
    assert Correction((3.0, 1.0, 1.0), None).apply(image)[0, 0, 0] == 255  # clipped, not wrapped round


def test_correction_follows_the_size_of_the_frame() -> None:
    correction = Correction((1.0, 1.0, 1.0), np.full((9, 16, 3), 0.5, np.float32))
    for height, width in ((90, 160), (45, 80)):
        assert correction.apply(np.full((height, width, 3), 60, np.uint8)).mean() == pytest.approx(120, abs=0.6)


# ---- micrometer


@pytest.mark.parametrize("degrees", [0.0, 3.0, -12.0])
@pytest.mark.parametrize("grid", [False, True])
@pytest.mark.parametrize("period", [12.7, 80.4, 190.0])
def test_a_ruling_is_measured_to_half_a_per_cent(period: float, grid: bool, degrees: float) -> None:
    found = measure_ruling(ruling(period, degrees, grid), True)
    assert found.period_px == pytest.approx(period, rel=0.005)


def test_many_rulings_are_measured_or_refused_and_never_taken_for_a_multiple() -> None:
    rng = np.random.default_rng(5)
    measured = 0
    for seed in range(24):
        period, degrees, thick = float(rng.uniform(12, 200)), float(rng.uniform(-8, 8)), float(rng.uniform(0.06, 0.4))
        try:
            found = measure_ruling(ruling(period, degrees, bool(seed % 2), seed, float(rng.uniform(1, 10)), thick), True)
        except OpticsError:
            continue
        assert found.period_px == pytest.approx(period, rel=0.005)
        measured += 1
    assert measured >= 22


def test_upright_and_level_lines_give_one_scale() -> None:
    upright = ruling(62.5)
    level = np.ascontiguousarray(np.rot90(ruling(62.5, seed=1)))[:540, :540]
    scale = scale_from([upright[:540, :540], level], 10.0, 0.16)
    assert scale.um_per_px == pytest.approx(0.16, rel=0.005)
    assert (scale.width_px, scale.directions) == (540, "across and down")
    assert scale_from([upright], 10.0).directions == "across"


def test_pixels_that_are_not_square_are_refused() -> None:
    squeezed = cv2.resize(ruling(80.0, grid=True), (540, 540), interpolation=cv2.INTER_AREA)
    with pytest.raises(OpticsError, match="not square"):
        scale_from([np.asarray(squeezed, np.uint8)], 10.0)


def test_another_objective_or_step_is_refused() -> None:
    with pytest.raises(OpticsError, match="right objective"):
        scale_from([ruling(62.5)], 100.0, 0.16)


@pytest.mark.parametrize("what", ["noise", "film", "glass", "two lines", "bent"])
def test_what_is_no_ruling_is_refused(what: str) -> None:
    image = np.full((540, 960, 3), 200, np.uint8)
    if what == "noise":
        image = np.random.default_rng(0).integers(0, 255, (540, 960, 3)).astype(np.uint8)
    elif what == "film":
        image = Film(11, "normal", (800, 800)).view((400, 400), Microscope("L", "C2", 40, width_px=960), (960, 540), noise_seed=1)[0]
    elif what == "two lines":
        image[:, 300:310] = image[:, 600:610] = 40
    elif what == "bent":
        x = np.arange(960)
        image[:] = (200 - 120 * (np.sin(2 * np.pi * (x / 40 + (x / 260) ** 2)) > 0.7))[None, :, None]
    with pytest.raises(OpticsError):
        measure_ruling(image, True)


# ---- versions


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    return Versions.read(tmp_path, "zzcat-5mp")


def again(versions: Versions) -> Versions:
    return Versions.read(versions.folder.parent, versions.reference)


@pytest.fixture(scope="module")
def blank() -> Blank:
    return measure_blank([lit(seed=n) for n in range(4)])


def test_nothing_measured_is_the_base(versions: Versions) -> None:
    assert versions.profile == load_profile("zzcat-5mp")
    assert versions.correction(100) is None
    with pytest.raises(ProfileError, match="nothing to take back"):
        versions.back()


def test_what_is_measured_is_a_new_version_that_can_be_taken_back(versions: Versions, blank: Blank) -> None:
    changed, said = versions.with_scale(100, Scale(0.0762, 1920, "across and down"))
    assert "0.0762" in said
    changed, _ = again(changed).with_blank(100, blank)
    now = again(changed)
    assert now.profile.um_per_px(100, 1920) == pytest.approx(0.0762)
    assert now.profile.label(100) == "zzcat-5mp 1-m2 100x"
    assert now.profile.label(40) == "zzcat-5mp 1-m2 40x (nominal)"
    assert now.profile.schema_version == 2
    correction = now.correction(100)
    assert correction is not None
    assert np.ptp(correction.apply(lit(seed=50)).reshape(-1, 3).mean(axis=0)) < 1.5
    assert now.correction(40) is None
    assert again(now.back()[0]).profile.label(100) == "zzcat-5mp 1-m1 100x"
    assert again(now).correction(100) is None
    assert again(again(now).back()[0]).profile == load_profile("zzcat-5mp")
    used, _ = again(now).use("2")
    assert again(used).profile.version == "1-m2"
    assert again(again(used).use("base")[0]).profile.version == "1"
    assert [change.did for change in again(now).changes] == ["measured", "measured", "back", "back", "use", "use"]
    third, _ = again(now).with_scale(40, Scale(0.19, 1920, "across"))
    assert again(third).in_use == "profile-3.yaml"  # an old file is never written again


def test_the_flat_field_survives_its_file(versions: Versions, blank: Blank) -> None:
    changed, _ = versions.with_blank(100, blank)
    optics = changed.profile.objectives[100].optics
    assert optics is not None
    assert optics.flat_field is not None
    assert read_flat(changed.folder / optics.flat_field) == pytest.approx(blank.flat, abs=1e-4)


def test_faults_name_the_file_and_the_next_step(versions: Versions, blank: Blank) -> None:
    with pytest.raises(ProfileError, match=r"no version '7'.*base"):
        versions.use("7")
    changed, _ = versions.with_blank(100, blank)
    (changed.folder / "flat-1-100x.png").write_bytes(b"no picture")
    with pytest.raises(ProfileError, match=r"flat-1-100x.png.*anew"):
        again(changed).correction(100)
    (changed.folder / "history.json").write_text("{")
    with pytest.raises(ProfileError, match=r"history.json.*calibrate anew"):
        again(changed)


def test_a_flat_field_elsewhere_is_not_read(tmp_path: Path) -> None:
    text = yaml.safe_load(Path(load_profile.__globals__["profile_path"]("hd1500t")).read_text())
    text["objectives"][100]["optics"] = {"white_balance": [1, 1, 1], "glass_bgr": [200, 200, 200], "flat_field": "../../other.png"}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(text | {"schema_version": 2}))
    with pytest.raises(ProfileError, match="flat_field"):
        load_profile(str(path))

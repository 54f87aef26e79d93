"""The film as a place: the same from every view, order and process; no crowding of leukocytes; densities as promised."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.film import CASES, Film, Microscope, slide
from engines.film.morphology import ATTRIBUTES

SCOPE = Microscope("L", "C2", 100)
SIZE = (200, 150)
SMALL_UM = (600.0, 450.0)


def digest(seed: int) -> str:
    image, truth = Film(seed, "AML", SMALL_UM).view((200.0, 150.0), SCOPE, SIZE, noise_seed=5)
    return hashlib.sha256(image.tobytes() + truth.boxes_px.tobytes() + truth.cell_ids.tobytes()).hexdigest()


def test_a_view_is_the_same_in_another_process(repository: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_film_plane as t; print(t.digest(31))"
    other = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest(31)


def test_another_seed_is_another_film() -> None:
    ids = [Film(seed, "AML", SMALL_UM).cells_in((0.0, 0.0, *SMALL_UM)) for seed in (31, 32)]
    assert len(ids[0]) != len(ids[1]) or not np.allclose(ids[0].boxes_px, ids[1].boxes_px)


def test_the_order_of_views_does_not_matter() -> None:
    places = [(150.0, 120.0), (160.0, 125.0), (200.0, 120.0)]
    forth, back = Film(3, "CML", SMALL_UM), Film(3, "CML", SMALL_UM)
    first = [forth.view(p, SCOPE, SIZE)[0] for p in places]
    second = [back.view(p, SCOPE, SIZE)[0] for p in reversed(places)][::-1]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_overlapping_fields_show_the_same_film_and_cells() -> None:
    film = Film(9, "CML", SMALL_UM)
    p = SCOPE.um_per_px
    step = 60
    x0, y0, x1, y1 = film.cells_in((150.0, 100.0, 300.0, 250.0)).boxes_px[0]  # a field with a cell in its middle
    x, y = float(x0 + x1) / 2, float(y0 + y1) / 2
    left_image, left = film.view((x - step / 2 * p, y), SCOPE, (360, 240))
    right_image, right = film.view((x + step / 2 * p, y), SCOPE, (360, 240))
    # the lamp's unevenness stays with the microscope, so grey levels may differ a little, structure may not
    a = left_image[20:-20, step + 20 : -20].astype(np.float32)
    b = right_image[20:-20, 20 : -step - 20].astype(np.float32)
    light = cv2.GaussianBlur(a, (0, 0), 20) / cv2.GaussianBlur(b, (0, 0), 20)
    assert np.abs(a - b * light).mean() < 1.0
    assert np.percentile(np.abs(a - b * light), 99) < 4
    both = np.intersect1d(left.cell_ids, right.cell_ids)
    assert len(both) >= 1
    for cell in both:
        k, n = (int(np.flatnonzero(t.cell_ids == cell)[0]) for t in (left, right))
        assert left.classes[k] == right.classes[n]
        np.testing.assert_array_equal(left.attributes[k], right.attributes[n])
        if left.visible[k] > 0.999 and right.visible[n] > 0.999:
            np.testing.assert_allclose(left.boxes_px[k] - [step, 0, step, 0], right.boxes_px[n], atol=0.01)


def test_film_before_optics_is_equal_to_the_bit_across_tiles() -> None:
    film = Film(4, "AML", SMALL_UM)
    edge = slide.TILE_PX
    whole = film.clear(edge - 90, edge - 70, (180, 140), SCOPE.um_per_px)
    part = film.clear(edge - 20, edge - 30, (60, 50), SCOPE.um_per_px)
    np.testing.assert_array_equal(whole[40:90, 70:130], part)


def test_objectives_show_the_same_cells_at_their_scale() -> None:
    film = Film(6, "AML", SMALL_UM)
    centre = (300.0, 200.0)
    _, near = film.view(centre, SCOPE, (500, 400))
    _, far = film.view(centre, Microscope("L", "C2", 40), (200, 160))
    np.testing.assert_array_equal(near.cell_ids, far.cell_ids)
    np.testing.assert_allclose(near.boxes_px / 2.5, far.boxes_px, atol=0.8)


def test_truth_of_an_area_needs_no_painting_and_agrees_with_the_view() -> None:
    film = Film(8, "ALL", SMALL_UM)
    p = SCOPE.um_per_px
    _, truth = film.view((240.0, 180.0), SCOPE, (500, 400))
    i0, j0 = round(240.0 / p - 250), round(180.0 / p - 200)
    area = Film(8, "ALL", SMALL_UM).cells_in((i0 * p, j0 * p, (i0 + 500) * p, (j0 + 400) * p))
    np.testing.assert_array_equal(area.cell_ids, truth.cell_ids)
    np.testing.assert_allclose((area.boxes_px - [i0 * p, j0 * p] * 2) / p, truth.boxes_px, atol=0.01)
    np.testing.assert_array_equal(area.visible, truth.visible)


@pytest.mark.parametrize("case", CASES)
def test_density_types_and_labels_of_a_case(case: str) -> None:
    film = Film(21, case, (1440.0, 1280.0))
    truth = film.cells_in((0.0, 0.0, 1440.0, 1280.0))
    a_field = len(truth) * (1920 * 1080 * SCOPE.um_per_px**2) / (1440.0 * 1280.0)
    assert (0.5 < a_field < 1.6) if case == "normal" else (3.0 < a_field < 8.0)
    assert len(np.unique(truth.cell_ids)) == len(truth)
    artefact = truth.classes == 0
    assert (truth.attributes[artefact] == -1).all()
    for column, (_, words) in enumerate(ATTRIBUTES):
        values = truth.attributes[~artefact, column]
        assert values.min() >= 0
        assert values.max() < len(words)
    leading = {"AML": 1, "ALL": 2, "APML": 9, "CLL": 7, "CML": 3, "normal": 3}
    if case == "mixed":
        assert set(truth.classes.tolist()) == set(range(14))
    else:
        assert np.bincount(truth.classes).argmax() == leading[case]


def test_leukocytes_do_not_lie_on_each_other() -> None:
    film = Film(22, "CLL", (800.0, 640.0))
    cells = film.plane.leukocytes((0.0, 0.0, 800.0, 640.0))
    xy = np.array([c.centre_um for c in cells])
    reach = np.array([c.reach_um for c in cells])
    apart = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
    np.fill_diagonal(apart, np.inf)
    assert (apart >= 0.979 * (reach[:, None] + reach[None])).all()


def test_memory_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slide, "CACHE_BYTES", 2 * 2**20)
    film = Film(5, "normal", SMALL_UM)
    for x in (100.0, 200.0, 100.0):
        image, _ = film.view((x, 200.0), SCOPE, SIZE)
        assert film.cached_bytes <= 2 * 2**20
    monkeypatch.undo()
    np.testing.assert_array_equal(image, Film(5, "normal", SMALL_UM).view((100.0, 200.0), SCOPE, SIZE)[0])


def test_beyond_the_film_is_empty_glass() -> None:
    image, truth = Film(5, "AML", SMALL_UM).view((-200.0, -200.0), Microscope("H", "C2", 100), SIZE)
    assert len(truth) == 0
    assert truth.boxes_px.shape == (0, 4)
    assert truth.attributes.shape == (0, 7)
    assert image.std(axis=(0, 1)).max() < 4


def test_an_unknown_case_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"no case 'flu'; cases are AML"):
        Film(1, "flu")

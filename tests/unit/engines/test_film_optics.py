"""Microscope and camera of the rendered film: scale, focus, domains, and that nothing but numpy and cv2 is loaded for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from film_sheet import cell_sheet, main

from engines.film import Film, Microscope

SIZE = (320, 240)


@pytest.fixture(scope="module")
def film() -> Film:
    return Film(12, "CML", (500.0, 400.0))


def sharpness(image: np.ndarray) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.CV_64F).var())


@pytest.mark.parametrize("camera", ["C1", "C2"])
def test_a_neutrophil_spans_150_to_200_px_at_100x(camera: str) -> None:
    near, middle, far = (Microscope("L", camera, objective).um_per_px for objective in (100, 40, 10))
    assert 150 < 13 / near < 200
    assert middle == pytest.approx(near * 2.5)
    assert far == pytest.approx(near * 10)
    assert Microscope("L", camera, 100, width_px=640).um_per_px == pytest.approx(near * 3)


def test_focus_is_best_at_zero_and_falls_both_ways(film: Film) -> None:
    scope = Microscope("H", "C2", 100)
    values = [sharpness(film.view((200.0, 150.0), scope, SIZE, dz)[0]) for dz in (0.0, 0.4, 1.0, 2.0, -1.0)]
    assert values[0] > values[1] > values[2] > values[3]
    assert values[4] == pytest.approx(values[2])


def test_noise_is_drawn_by_its_seed_only(film: Film) -> None:
    scope = Microscope("L", "C1", 100)
    one, same, other = (film.view((200.0, 150.0), scope, SIZE, noise_seed=s)[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert 0.3 < np.abs(one.astype(int) - other).mean() < 8


def test_the_low_cost_microscope_is_worse_than_the_high_cost_one(film: Film) -> None:
    high, low = (film.view((200.0, 150.0), Microscope(d, "C2", 100), (400, 300))[0] for d in "HL")
    assert sharpness(low) < 0.6 * sharpness(high)
    assert low.mean() < high.mean()


def test_units_of_one_make_differ_and_repeat(film: Film) -> None:
    zero, three, again = (film.view((200.0, 150.0), Microscope("L", "C2", 100, unit=u), SIZE)[0] for u in (0, 3, 3))
    np.testing.assert_array_equal(three, again)
    assert np.abs(zero.astype(int).mean(axis=(0, 1)) - three.mean(axis=(0, 1))).max() > 0.5


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (("X", "C1", 100), "no microscope 'X'"),
        (("L", "C3", 100), "camera 'C3'"),
        (("L", "C1", 60), "no objective 60"),
        (("L", "C1", 40, 0, 10), "width_px 10"),
    ],
)
def test_impossible_instruments_are_refused(parts: tuple[str, str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Microscope(*parts)


def test_the_film_needs_neither_torch_nor_scipy(repository: Path) -> None:
    code = "import sys, engines.film; print([n for n in ('torch', 'scipy', 'matplotlib', 'onnxruntime') if n in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_sheet_of_cells_has_a_row_for_each_class() -> None:
    sheet = cell_sheet(each=1, side_px=120, um_per_px=0.2)
    assert sheet.shape == (14 * 120, 120, 3)
    assert all(sheet[k * 120 : (k + 1) * 120].std() > 8 for k in range(14))


def test_the_sheet_maker_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert main(["--cells", str(tmp_path / "sheet.unknown"), "--each", "1"]) == 2
    assert "sheet.unknown" in capsys.readouterr().err

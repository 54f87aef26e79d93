"""Boxes on nuclei or beside them: real labels pass, moved or turned ones are seen and their shift is found."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.transfer.features import detect
from calibration.transfer.homography import for_box_edges, project_boxes
from calibration.transfer.registration import Expected, register
from engines.data.leukemiaattri import read_split
from engines.data.nuclei import check_labels, nuclear_stain
from engines.film import Film, Microscope

CELLS_4_29 = ((77, 0, 118, 68), (41, 444, 88, 530), (249, 582, 288, 640))
"""The three white cells of 4_29 at 100x, drawn by eye. The published labels of its 40x picture are not among the shared data."""


@pytest.mark.shared
def test_the_shifted_case_is_flagged_and_its_cause_found(shared_data: Path) -> None:
    """4_29_156_400_ALL: the 40x picture is turned by half a circle; boxes copied from 100x without the turn miss every cell."""
    high = cv2.imread(str(shared_data / "lld_100x/4_29_1000_ALL.png"))
    low = cv2.imread(str(shared_data / "lld_pairs/4_29_156_400_ALL.png"))
    assert high is not None
    assert low is not None
    assert check_labels(high, CELLS_4_29).sound
    copied = check_labels(low, CELLS_4_29)
    assert not copied.sound
    assert (copied.boxes, copied.on_nucleus, copied.on_nucleus_then) == (3, 0, 3)
    assert copied.turned == "turned by 180°"
    assert np.hypot(*copied.shift_px) < 16
    found = register(detect(high), detect(low), Expected(rotation_deg=180))
    assert found.fit.h is not None
    carried = project_boxes(for_box_edges(found.fit.h), CELLS_4_29, (640, 640)).clipped
    assert check_labels(low, carried).sound


@pytest.mark.shared
@pytest.mark.parametrize(("folder", "split"), [("lld_40x", "val"), ("bccd", "val")])
def test_real_labels_are_sound(shared_data: Path, folder: str, split: str) -> None:
    pictures = [p for p in read_split(shared_data / folder, split) if (p.classes != 0).any()][::3]
    assert len(pictures) > 20
    unsound = [p.path.name for p in pictures if not check_labels(p.read(), p.boxes_px[p.classes != 0]).sound]
    assert not unsound


@pytest.mark.shared
def test_real_labels_moved_are_not(shared_data: Path) -> None:
    """Of fields with three cells or more, moved by 80 and -70 px: all are seen, and the way back is found within 30 px in most."""
    pictures = [p for p in read_split(shared_data / "lld_40x", "val") if (p.classes != 0).sum() >= 3][:20]
    assert len(pictures) >= 10
    off = []
    for p in pictures:
        found = check_labels(p.read(), p.boxes_px[p.classes != 0] + np.array([80, -70, 80, -70]))
        assert not found.sound, p.path.name
        off.append(float(np.hypot(found.shift_px[0] + 80, found.shift_px[1] - 70)))
    assert np.median(off) < 20
    assert np.mean(np.array(off) < 30) >= 0.8


def test_rendered_cells_at_every_objective() -> None:
    """Two stain batches, both microscopes; boxes turned with the picture are put back by the turn that was made."""
    for seed, scope in ((7, Microscope("H", "C2", 100, width_px=1280)), (11, Microscope("L", "C2", 40, width_px=1280))):
        film = Film(seed=seed, case="AML", size_um=(500.0, 400.0))
        centre = film.cells_in((100.0, 100.0, 400.0, 300.0)).boxes_px[0]
        image, truth = film.view((float(centre[0]), float(centre[1])), scope, (800, 600), noise_seed=1)
        white = truth.boxes_px[truth.classes != 0]
        assert len(white)
        assert check_labels(image, white).sound
        turned = check_labels(cv2.rotate(image, cv2.ROTATE_180), white)
        if not turned.sound:
            assert turned.on_nucleus_then > turned.on_nucleus or "by eye" in turned.words


def drawn(cells: list[tuple[int, int]]) -> np.ndarray:
    """A bright field with grey-blue red cells everywhere and violet nuclei at `cells`."""
    image = np.full((400, 600, 3), (200, 215, 210), np.uint8)
    draw = np.random.default_rng(3)
    for _ in range(60):
        cv2.circle(image, (int(draw.integers(600)), int(draw.integers(400))), 14, (140, 110, 90), -1, cv2.LINE_AA)
    for x, y in cells:
        cv2.circle(image, (x, y), 17, (120, 35, 80), -1, cv2.LINE_AA)
    return image


PLACES = [(80, 60), (300, 100), (420, 310), (150, 250)]
BOXES = np.array([(x - 22, y - 22, x + 22, y + 22) for x, y in PLACES], np.float64)


def test_the_mask_is_the_nuclei() -> None:
    mask = nuclear_stain(drawn(PLACES))
    inner, outer = np.zeros(mask.shape, np.uint8), np.zeros(mask.shape, np.uint8)
    for place in PLACES:  # nuclei are 17 px in radius, with soft edges
        cv2.circle(inner, place, 14, 1, -1)
        cv2.circle(outer, place, 19, 1, -1)
    assert mask[inner > 0].all()
    assert not mask[outer == 0].any()
    assert not nuclear_stain(np.full((50, 60, 3), 200, np.uint8)).any()


def test_a_shift_is_found() -> None:
    image = drawn(PLACES)
    assert check_labels(image, BOXES).sound
    found = check_labels(image, BOXES + np.array([70, -40, 70, -40]))
    assert not found.sound
    assert found.turned == "not turned"
    np.testing.assert_allclose(found.shift_px, (-70, 40), atol=6)
    assert "4 would if moved by" in found.words


@pytest.mark.parametrize(
    ("change", "name"),
    [(cv2.ROTATE_180, "turned by 180°"), (1, "mirrored left to right"), (0, "mirrored top to bottom")],
)
def test_a_turn_is_found(change: int, name: str) -> None:
    image = drawn(PLACES)
    other = cv2.rotate(image, cv2.ROTATE_180) if change == cv2.ROTATE_180 and "turned" in name else cv2.flip(image, change)
    found = check_labels(other, BOXES)
    assert found.turned == name
    assert found.on_nucleus_then == 4
    np.testing.assert_allclose(found.shift_px, (0, 0), atol=6)


def test_boxes_that_nothing_would_help_are_said_to_want_an_eye() -> None:
    found = check_labels(drawn([]), BOXES)
    assert found.boxes == 4
    assert not found.sound
    assert "by eye" in found.words or "misplaced" in found.words


def test_no_boxes_no_fault() -> None:
    assert check_labels(drawn(PLACES), np.zeros((0, 4))).sound
    assert check_labels(drawn(PLACES), [(5, 5, 5, 20)]).boxes == 0

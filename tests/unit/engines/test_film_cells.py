"""What a label says is what is drawn: boxes hold their cell, and each of the seven attributes changes the drawing measurably."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from engines.film import morphology as m
from engines.film.cells import Leukocyte, build, make_leukocyte
from engines.film.leukocytes import nucleus_of, paint
from engines.film.stain import BATCHES, stain_of
from engines.film.texture import Array

UM_PER_PX = 0.15
CENTRE = (12.3, 11.8)
SEEDS = range(5)
STAIN = stain_of(1, "warm")


def cell(code: int, seed: int, **labels: int) -> Leukocyte:
    """A cell of plain labels (medium, coarse, round, no nucleolus, abundant, slight, no vacuoles) but for those named."""
    order = ("size", "chromatin", "shape", "nucleolus", "cytoplasm", "basophilia", "vacuoles")
    plain = {"size": 1, "chromatin": 1, "shape": 0, "nucleolus": 0, "cytoplasm": 1, "basophilia": 0, "vacuoles": 0} | labels
    return build((seed, 40), code, tuple(plain[k] for k in order), CENTRE)


def drawn(item: Leukocyte) -> tuple[Array, Array, Array]:
    """Density (h, w, 3) of a cell, distance to its body's edge and to its nucleus's edge at each pixel, in um."""
    sprite = paint(item, STAIN, UM_PER_PX)
    h, w = sprite.density.shape[:2]
    x = (sprite.i0 + np.arange(w) + 0.5) * UM_PER_PX - CENTRE[0]
    y = (sprite.j0 + np.arange(h) + 0.5) * UM_PER_PX - CENTRE[1]
    gx, gy = (g.astype(np.float32) for g in np.meshgrid(x, y))
    body = item.outline.distance(gx, gy)
    return sprite.density, body, np.maximum(nucleus_of(item).distance(gx, gy), body + 0.3)


def both(code: int, label: str, measure: object, **others: int) -> tuple[list[float], list[float]]:
    """A measure over the seeds with the label at 0 and at 1."""
    assert callable(measure)
    return tuple([float(measure(cell(code, s, **others, **{label: v}))) for s in SEEDS] for v in (0, 1))  # type: ignore[return-value]


@pytest.mark.parametrize("code", range(1, 14))
def test_the_box_holds_the_cell_and_no_more(code: int) -> None:
    item = cell(code, 3)
    sprite = paint(item, STAIN, UM_PER_PX)
    strong = sprite.density.sum(axis=2) > 0.12
    ys, xs = np.nonzero(strong)
    found = np.array([xs.min() + sprite.i0, ys.min() + sprite.j0, xs.max() + 1 + sprite.i0, ys.max() + 1 + sprite.j0]) * UM_PER_PX
    np.testing.assert_allclose(found, item.box_um, atol=0.5)


def test_the_darkest_part_lies_in_the_box_of_an_artefact() -> None:
    for seed in range(12):
        item = make_leukocyte(seed, 1, CENTRE, m.Case({m.NONE: 1.0}, 1.0, (0.0, 0.0)))
        sprite = paint(item, STAIN, UM_PER_PX)
        mass = sprite.density.sum(axis=2).clip(0)
        x0, y0, x1, y1 = (round(v / UM_PER_PX) for v in item.box_um)
        inside = mass[y0 - sprite.j0 : y1 - sprite.j0, x0 - sprite.i0 : x1 - sprite.i0].sum()
        assert inside > 0.85 * mass.sum(), item.form
        assert inside > 20, item.form


@pytest.mark.parametrize("code", range(1, 14))
def test_cell_size_is_the_size_of_the_box(code: int) -> None:
    sides = []
    for size in range(3):
        boxes = [cell(code, s, size=size).box_um for s in SEEDS]
        sides.append([((b[2] - b[0]) * (b[3] - b[1])) ** 0.5 for b in boxes])
    assert max(sides[0]) < min(sides[1])
    assert max(sides[1]) < min(sides[2])


@pytest.mark.parametrize("code", [m.MYELOBLAST, m.LYMPHOCYTE, m.NEUTROPHIL, m.MONOCYTE])
def test_cytoplasm_is_the_nucleus_to_cell_ratio(code: int) -> None:
    def share(item: Leukocyte) -> float:
        _, body, nucleus = drawn(item)
        return float((nucleus < 0).sum() / (body < 0).sum())

    scanty, abundant = both(code, "cytoplasm", share)
    assert min(scanty) > 0.6
    assert max(abundant) < 0.58


@pytest.mark.parametrize("code", [m.MYELOBLAST, m.LYMPHOBLAST, m.MONOCYTE, m.PROMYELOCYTE])
def test_coarse_chromatin_is_darker_and_more_uneven(code: int) -> None:
    def inner(item: Leukocyte) -> Array:
        density, _, nucleus = drawn(item)
        return np.asarray(density[nucleus < -0.7][:, 1])

    spread = both(code, "chromatin", lambda c: inner(c).std())
    depth = both(code, "chromatin", lambda c: inner(c).mean())
    assert np.mean(spread[1]) > 1.25 * np.mean(spread[0])
    assert np.mean(depth[1]) > 1.15 * np.mean(depth[0])


@pytest.mark.parametrize("code", range(1, 14))
def test_an_irregular_nucleus_fills_its_hull_less(code: int) -> None:
    def solidity(item: Leukocyte) -> float:
        _, _, nucleus = drawn(item)
        mask = (nucleus < 0).astype(np.uint8)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        hull = cv2.convexHull(np.concatenate(contours))
        return float(mask.sum() / cv2.contourArea(hull))

    regular, irregular = both(code, "shape", solidity)
    assert min(regular) > 0.95
    assert np.mean(irregular) < np.mean(regular) - 0.02


@pytest.mark.parametrize("code", [m.MYELOBLAST, m.LYMPHOBLAST, m.MONOBLAST, m.PROMONOCYTE, m.PROMYELOCYTE])
def test_prominent_nucleoli_are_pale_patches_in_the_nucleus(code: int) -> None:
    def palest(item: Leukocyte) -> float:
        density, _, nucleus = drawn(item)
        patch = cv2.blur(density[..., 1], (7, 7))  # about 1 um, the size of a nucleolus
        inner = nucleus < -1.2
        return float((np.median(patch[inner]) - patch[inner].min()) / np.median(patch[inner]))

    absent, prominent = both(code, "nucleolus", palest, chromatin=0, cytoplasm=0)
    assert np.mean(prominent) > np.mean(absent) + 0.08


@pytest.mark.parametrize("code", [m.MYELOBLAST, m.LYMPHOCYTE, m.MONOCYTE, m.ATYPICAL])
def test_basophilia_is_the_blue_of_the_cytoplasm(code: int) -> None:
    def red_lost(item: Leukocyte) -> float:
        density, body, nucleus = drawn(item)
        return float(density[(body < -0.5) & (nucleus > 0.5)][:, 2].mean())

    slight, moderate = both(code, "basophilia", red_lost)
    assert min(moderate) > 1.5 * max(slight)


@pytest.mark.parametrize("code", [m.MONOCYTE, m.MYELOBLAST, m.NEUTROPHIL, m.ATYPICAL])
def test_prominent_vacuoles_are_clear_holes_in_the_cytoplasm(code: int) -> None:
    def holes(item: Leukocyte) -> float:
        density, body, nucleus = drawn(item)
        green = cv2.blur(density[..., 1], (3, 3))
        cytoplasm = (body < -0.6) & (nucleus > 0.35)
        return float((green[cytoplasm] < 0.45 * np.median(green[cytoplasm])).sum() * UM_PER_PX**2)

    absent, prominent = both(code, "vacuoles", holes)
    assert max(absent) < 0.35
    assert np.mean(prominent) > 1.0
    assert np.mean(prominent) > 5 * np.mean(absent)


def test_types_differ_where_the_labels_do_not() -> None:
    """Eosinophil, basophil, neutrophil and promyelocyte with the same labels are told apart by their granules' colour."""
    mean = {}
    for code in (m.NEUTROPHIL, m.EOSINOPHIL, m.BASOPHIL, m.PROMYELOCYTE):
        density, body, nucleus = drawn(cell(code, 2, shape=1))
        mean[code] = density[(body < -0.5) & (nucleus > 0.3)].mean(axis=0)
    assert mean[m.EOSINOPHIL][1] > 1.6 * mean[m.NEUTROPHIL][1]  # more green lost: redder
    assert mean[m.BASOPHIL].sum() > 1.8 * mean[m.NEUTROPHIL].sum()
    assert mean[m.EOSINOPHIL][0] / mean[m.EOSINOPHIL][2] > 1.2 * mean[m.BASOPHIL][0] / mean[m.BASOPHIL][2]


def test_one_cell_looks_the_same_at_two_pixel_sizes() -> None:
    item = cell(m.NEUTROPHIL, 4, shape=1)
    fine, coarse = paint(item, STAIN, 0.075), paint(item, STAIN, 0.15)
    assert fine.i0 - 2 * coarse.i0 in (0, 1)
    di, dj = fine.i0 - 2 * coarse.i0, fine.j0 - 2 * coarse.j0
    padded = np.pad(fine.density, ((dj, 2), (di, 2), (0, 0)))
    h, w = coarse.density.shape[:2]
    small = padded[: 2 * h, : 2 * w].reshape(h, 2, w, 2, 3).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), coarse.density.ravel())[0, 1] > 0.985


def test_labels_are_drawn_as_their_priors_say() -> None:
    rng = np.random.default_rng(0)
    for code, kind in m.KINDS.items():
        labels = np.array([m.draw_attributes(rng, code) for _ in range(400)])
        np.testing.assert_allclose((labels[:, 1:] == 1).mean(axis=0), kind.attributes, atol=0.09)
        np.testing.assert_allclose(np.bincount(labels[:, 0], minlength=3) / 400, kind.size, atol=0.09)


def test_every_batch_of_stain_can_be_asked_for() -> None:
    for name in BATCHES:
        assert stain_of(3, name).name == name
    assert len({stain_of(s).name for s in range(40)}) == len(BATCHES)

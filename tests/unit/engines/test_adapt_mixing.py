"""ConfMix and DACA: schedule, head, loss and mixing against the reference's numbers, and what must hold of any mixing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from engines.adapt import confmix, daca
from engines.adapt.pseudo import NOTHING, Found, delta, divide, targets
from engines.adapt.quadrant import Quadrant
from engines.adapt.recolour import recolour
from engines.families.attridet.losses import DetectionLoss, gaussian_box
from engines.families.hyper import LOW
from engines.network import YOLOv5

MIRRORED = {0: 2, 1: 3, 2: 0, 3: 1}


def rows(table: np.ndarray[Any, Any]) -> Found:
    """Boxes of a fixture's rows: picture, class, centre x, centre y, width, height in px, score."""
    table = table.reshape(-1, 7)
    half = table[:, 4:6] / 2
    return Found(
        np.concatenate([table[:, 2:4] - half, table[:, 2:4] + half], axis=1),
        table[:, 1].astype(np.int64),
        table[:, 6].astype(np.float32),
    )


@pytest.mark.parametrize("quadrant", list(Quadrant))
def test_of_a_region_to_ignore_what_was_pasted_over_is_gone(quadrant: Quadrant) -> None:
    """A region around the middle: painted into a raster, the parts are the region without the quadrant."""
    hw = (96, 128)
    region = np.array([[0.25, 0.375, 0.75, 0.875]], np.float32)
    painted = np.zeros(hw, int)
    for x1, y1, x2, y2 in (confmix.left_regions(region, quadrant, hw) * np.float32([128, 96, 128, 96])).round().astype(int):
        painted[y1:y2, x1:x2] += 1
    expected = np.zeros(hw, int)
    expected[36:84, 32:96] = 1
    expected[quadrant.slices(hw)] = 0
    np.testing.assert_array_equal(painted, expected)
    assert len(confmix.left_regions(region[:0], quadrant, hw)) == 0


@pytest.fixture(scope="module")
def reference(parity: Path) -> dict[str, Any]:
    return dict(np.load(parity / "confmix" / "confmix.npz"))


@pytest.mark.shared
def test_the_schedule_is_the_reference_s(reference: dict[str, Any]) -> None:
    assert np.allclose([delta(r) for r in reference["delta.r"]], reference["delta"], atol=1e-12)


@pytest.mark.shared
def test_the_detection_layer_with_variances(parity: Path, reference: dict[str, Any]) -> None:
    model = YOLOv5("n", 14, variances=True)
    model.load_state_dict(load_file(parity / "confmix" / "confmix_yolov5n_nc14_state.safetensors"))
    with torch.no_grad():
        levels, _ = model.eval().forward_levels(torch.from_numpy(reference["head.image"]))
        for i, level in enumerate(levels):
            assert np.allclose(level[..., :19], reference[f"head.raw{i}"], atol=1e-4)
            assert np.allclose(level[..., 19:], reference[f"head.var{i}"], atol=1e-4)
        for share, name in ((0.0, "pred_delta0.0"), (0.4, "pred_delta0.4"), (1.0, "pred_delta1.0"), (0.0, "pred_plain")):
            found = model.decode(levels, share).numpy()
            assert np.abs(found[..., :4] - reference[f"head.{name}"][..., :4]).max() < 2e-2
            assert np.abs(found[..., 4:] - reference[f"head.{name}"][..., 4:]).max() < 1e-4


@pytest.mark.shared
def test_the_gaussian_loss_and_its_gradients(parity: Path, reference: dict[str, Any]) -> None:
    gains = json.loads((parity / "confmix" / "meta.json").read_text())["gloss"]["gains"]
    levels = [torch.cat([torch.from_numpy(reference[f"gloss.{k}{i}"]) for k in "pv"], -1).requires_grad_() for i in range(3)]
    loss = DetectionLoss(
        YOLOv5("n", 14, variances=True), replace(LOW, box=gains["box"], cls=gains["cls"] * 80 / 14, obj=gains["obj"]), imgsz=640
    )
    total, parts = loss(levels, torch.from_numpy(reference["gloss.targets"]))
    total.backward()
    assert float(total.detach()) == pytest.approx(float(reference["gloss.total"]), rel=1e-5)
    assert np.allclose([float(p) for p in parts], reference["gloss.items"], rtol=1e-5)
    for i, level in enumerate(levels):
        assert level.grad is not None
        assert np.allclose(level.grad[..., :19], reference[f"gloss.grad_p{i}"], atol=1e-6)
        assert np.allclose(level.grad[..., 19:], reference[f"gloss.grad_v{i}"], atol=1e-6)


def test_a_sure_exact_box_costs_less_than_nothing() -> None:
    box = torch.tensor([[0.5, 0.5, 2.0, 2.0]])
    assert float(gaussian_box(box, box, torch.full((1, 4), -20.0))) == pytest.approx(1 - 1 / (0.3 * (2 * np.pi) ** 0.5), abs=1e-5)


@pytest.mark.shared
@pytest.mark.parametrize("number", range(4))
def test_mixing_is_the_corrected_reference_s(reference: dict[str, Any], number: int) -> None:
    source, target = rows(reference[f"mix{number}.src_dets"]), rows(reference[f"mix{number}.tgt_dets"])
    picture = reference[f"mix{number}.img_s"]
    hw = (picture.shape[2], picture.shape[3])
    quadrant = confmix.surest(target, hw)
    assert quadrant == number
    mixed, gamma = confmix.mix(source, target, Quadrant(number), hw)
    assert np.allclose(targets([mixed], hw), reference[f"mix{number}.corrected_targets"], atol=1e-5)
    assert gamma == pytest.approx(float(reference[f"mix{number}.gamma"]), abs=1e-6)
    pasted = picture.copy()
    where = (..., *Quadrant(number).slices(hw))
    pasted[where] = reference[f"mix{number}.img_t"][where]
    assert np.allclose(pasted / 255, reference[f"mix{number}.img_mix"], atol=1e-6)


@pytest.mark.shared
def test_mixing_with_nothing_found(reference: dict[str, Any]) -> None:
    assert confmix.surest(NOTHING, (64, 64)) is None
    for name, quadrant in (("none", 0), ("target_only", 3), ("source_only", 0)):
        source, target = (rows(reference[f"empty.{name}.{k}"]) for k in ("src", "tgt"))
        mixed, gamma = confmix.mix(source, target, Quadrant(quadrant), (64, 64))
        assert np.allclose(targets([mixed], (64, 64)), reference[f"empty.{name}.official_targets"], atol=1e-5)
        assert gamma == pytest.approx(float(reference[f"empty.{name}.gamma"]), abs=1e-6)


def flipped(found: Found, width: int) -> Found:
    return Found(found.boxes[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (width, 0, width, 0), found.classes, found.scores)


def some_boxes(rng: np.random.Generator, n: int, hw: tuple[int, int]) -> Found:
    centre, side = rng.uniform(0, 1, (n, 2)) * hw[::-1], rng.uniform(4, 90, (n, 2))
    return Found(
        np.concatenate([centre - side / 2, centre + side / 2], axis=1),
        rng.integers(0, 14, n),
        rng.uniform(0.25, 1, n).astype(np.float32),
    )


@given(st.integers(0, 10**6), st.integers(0, 9), st.integers(1, 9))
def test_mixing_commutes_with_a_flip(seed: int, n_source: int, n_target: int) -> None:
    rng, hw = np.random.default_rng(seed), (128, 160)
    source, target = some_boxes(rng, n_source, hw), some_boxes(rng, n_target, hw)
    quadrant = confmix.surest(target, hw)
    other = confmix.surest(flipped(target, hw[1]), hw)
    assert quadrant is not None and other is not None
    assert other == MIRRORED[quadrant]
    mixed, gamma = confmix.mix(source, target, quadrant, hw)
    again, gamma_again = confmix.mix(flipped(source, hw[1]), flipped(target, hw[1]), other, hw)
    assert np.allclose(flipped(mixed, hw[1]).boxes, again.boxes)
    assert gamma == gamma_again
    assert (mixed.boxes[:, 2:] >= mixed.boxes[:, :2]).all()


@given(st.integers(0, 10**6))
def test_no_box_of_the_source_lies_in_the_pasted_quadrant(seed: int) -> None:
    """But for corners of diagonal boxes: a box beside the quadrant ends at its border."""
    rng, hw = np.random.default_rng(seed), (128, 160)
    source, target = some_boxes(rng, 9, hw), some_boxes(rng, 3, hw)
    quadrant = confmix.surest(target, hw)
    assert quadrant is not None
    beside = source.select(confmix.quadrants(source, hw) != quadrant)
    mixed, _ = confmix.mix(source, NOTHING, quadrant, hw)
    rows_, columns = quadrant.slices(hw)
    of = confmix.quadrants(beside, hw)
    for box, home in zip(mixed.boxes, of, strict=True):
        overlap = min(box[2], columns.stop) - max(box[0], columns.start), min(box[3], rows_.stop) - max(box[1], rows_.start)
        diagonal = (home % 2 == 1) != quadrant.top and (home >= 2) != quadrant.right
        assert diagonal or min(overlap) <= 1e-9


def boxes_at(*cells: tuple[float, float, float]) -> Found:
    """Boxes of 20 px at centre x, centre y, with a score each."""
    x, y, scores = np.array(cells, np.float64).reshape(-1, 3).T
    return Found(np.stack([x - 10, y - 10, x + 10, y + 10], axis=1), np.zeros(len(x), np.int64), scores.astype(np.float32))


def test_a_weak_box_beside_a_sure_one_is_unsure_and_one_in_it_is_not() -> None:
    sure, unsure = divide(boxes_at((30, 30, 0.9), (34, 27, 0.3), (90, 30, 0.2), (41, 30, 0.4)), 0.7)
    assert sure.boxes.tolist() == [[20, 20, 40, 40]]
    assert np.allclose(unsure.scores, [0.2, 0.4])
    sure, unsure = divide(NOTHING, 0.7)
    assert len(sure) == len(unsure) == 0


@pytest.mark.parametrize("surest", [confmix.surest, daca.surest])
def test_a_quadrant_with_an_unsure_box_is_not_taken(surest: Any) -> None:
    hw = (128, 128)
    found = boxes_at((20, 20, 0.95), (100, 100, 0.8))
    assert surest(found, hw) == Quadrant.LEFT_TOP
    assert surest(found, hw, boxes_at((50, 50, 0.3))) == Quadrant.RIGHT_BOTTOM
    assert surest(found, hw, boxes_at((20, 100, 0.3))) == Quadrant.LEFT_TOP
    assert surest(found, hw, boxes_at((50, 50, 0.3), (70, 110, 0.2))) is None


def as_the_program_cuts(boxes: np.ndarray, corner: Quadrant, hw: tuple[int, int]) -> np.ndarray:
    """Boxes centred in `corner`, with the published program's rounding, which the reference numbers were made with.

    A box that leaves the quadrant towards the middle line gets a centre and sides in whole pixels, one that leaves at the far side is
    shrunk about its centre.
    """
    across, down = corner.slices(hw)[::-1]
    start = np.array([across.start, down.start], np.float64)
    size = np.array([across.stop, down.stop], np.float64) - start
    low, high = boxes[:, :2], boxes[:, 2:]
    inner_low = (low < start) & (start > 0)
    inner_high = (high > start + size) & (start == 0)
    clipped = inner_low | inner_high
    new_low, new_high = np.where(inner_low, start, low), np.where(inner_high, start + size, high)
    centre = np.where(clipped, np.floor((new_low + new_high) / 2), (low + high) / 2) - start
    side = np.where(clipped, np.floor(new_high - new_low), high - low)
    side = np.minimum(side, 2 * np.minimum(centre, size - centre))
    return np.concatenate([centre - side / 2, centre + side / 2], axis=1)


@pytest.mark.shared
@pytest.mark.parametrize("corner", ["topleft", "bottomleft", "bottomright", "topright"])
def test_daca_cuts_and_composes_as_the_reference(parity: Path, corner: str) -> None:
    reference = np.load(parity / "daca" / "daca.npz")
    found, picture = rows(reference[f"{corner}.dets"]), reference[f"{corner}.img"][0].transpose(1, 2, 0)
    number = daca.CORNERS[("topleft", "bottomleft", "bottomright", "topright").index(corner)]
    hw = picture.shape[:2]
    assert daca.surest(found, hw) == number
    tile = picture[number.slices(hw)]
    assert np.array_equal(tile, reference[f"{corner}.region"][0].transpose(1, 2, 0))
    exact = daca.cut(found, number, hw)
    centred = found.select(np.isin(found.scores, exact.scores))
    assert len(centred) == len(exact)
    local = replace(exact, boxes=as_the_program_cuts(centred.boxes, number, hw))
    wanted = rows(reference[f"{corner}.local_boxes"])
    assert np.allclose(local.boxes, wanted.boxes, atol=1e-4)
    canvas, boxes = daca.compose([(tile, local)] * 4, np.zeros_like(picture))
    assert np.array_equal(canvas.transpose(2, 0, 1), reference[f"{corner}.composite_identity"])
    assert np.allclose(targets([boxes], hw), reference[f"{corner}.composite_targets_identity"], atol=1e-4)


def test_daca_without_the_rounding_cuts_exactly() -> None:
    found = Found(np.array([[48.5, 61.2, 111.0, 81.5], [0, 0, 10, 10]]), np.array([5, 6]), np.array([0.9, 0.8], np.float32))
    assert np.allclose(daca.cut(found, Quadrant.RIGHT_BOTTOM, (128, 128)).boxes, [[0, 0, 47.0, 17.5]])
    assert daca.surest(NOTHING, (128, 128)) is None


@given(st.integers(0, 10**6))
def test_daca_s_augmentation_keeps_boxes_on_their_cells(seed: int) -> None:
    """A dark square stays inside its box through crop and flip; the picture keeps its size."""
    rng = np.random.default_rng(seed)
    tile = np.full((96, 128, 3), 220, np.uint8)
    x, y = int(rng.integers(0, 90)), int(rng.integers(0, 60))
    tile[y : y + 24, x : x + 24] = 20
    found = Found(np.array([[x, y, x + 24.0, y + 24.0]]), np.array([3]), np.array([0.7], np.float32))
    image, moved = daca.augmented(rng, tile, found)
    assert image.shape == tile.shape
    ys, xs = np.nonzero(image[..., 1] < 100)
    hull = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    assert np.abs(moved.boxes[0] - hull).max() <= 6


def test_recolouring_gives_a_picture_the_other_s_colours() -> None:
    rng = np.random.default_rng(0)
    warm = rng.normal((220, 180, 160), 8, (64, 64, 3)).clip(0, 255).astype(np.uint8)
    cold = rng.normal((170, 180, 210), 12, (48, 96, 3)).clip(0, 255).astype(np.uint8)
    before = np.abs(warm.mean((0, 1)) - cold.mean((0, 1))).max()
    assert np.abs(recolour(warm, cold).mean((0, 1)) - cold.mean((0, 1))).max() < 0.06 * before
    half = recolour(warm, cold, 0.5).mean((0, 1))
    assert np.abs(half - (warm.mean((0, 1)) + cold.mean((0, 1))) / 2).max() < 0.1 * before
    assert np.abs(recolour(warm, cold, 0.0).astype(int) - warm).max() <= 6  # there and back through 8-bit Lab
    flat = np.full_like(warm, 200)
    assert np.isfinite(recolour(flat, cold)).all()

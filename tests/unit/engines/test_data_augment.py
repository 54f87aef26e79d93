"""Augmentation: labels stay with their boxes, boxes with their cells, and draws depend on the generator alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.data import augment
from engines.data.augment import Sample


def spotted(width: int = 120, height: int = 80, seed: int = 0) -> Sample:
    """A grey picture with three rectangles, each of a colour of its own, as boxes; the label columns repeat the colour."""
    image = np.full((height, width, 3), 200, np.uint8)
    boxes, labels = [], []
    for number, (x, y, w, h) in enumerate([(5, 6, 20, 18), (60, 10, 30, 24), (30, 45, 26, 30)]):
        image[y : y + h, x : x + w] = 30 + 40 * number
        boxes.append((x, y, x + w, y + h))
        labels.append((number, 30 + 40 * number, -1))
    return Sample(image, np.array(boxes, np.float32), np.array(labels, np.int64))


def assert_boxes_cover_their_colour(sample: Sample, tolerance_px: float = 1.5) -> None:
    """Each box, cut out, shows its colour, and the colour fills it to the edges."""
    for box, label in zip(sample.boxes, sample.labels, strict=True):
        x1, y1, x2, y2 = box
        cut = sample.image[round(float(y1)) : round(float(y2)), round(float(x1)) : round(float(x2)), 0].astype(int)
        ys, xs = np.nonzero(abs(cut - label[1]) < 12)
        assert len(ys) > 0.8 * cut.size, label
        assert xs.min() <= tolerance_px and cut.shape[1] - 1 - xs.max() <= tolerance_px
        assert ys.min() <= tolerance_px and cut.shape[0] - 1 - ys.max() <= tolerance_px


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 4, 5])
def test_quarter_turns_move_boxes_with_the_picture(turns: int) -> None:
    turned = augment.quarter_turn(spotted(), turns)
    assert_boxes_cover_their_colour(turned, 0)
    assert turned.image.shape[:2] == ((80, 120) if turns % 2 == 0 else (120, 80))


@pytest.mark.parametrize("horizontal", [True, False])
def test_flips_move_boxes_and_are_their_own_inverse(horizontal: bool) -> None:
    sample = spotted()
    flipped = augment.flip(sample, horizontal)
    assert_boxes_cover_their_colour(flipped, 0)
    back = augment.flip(flipped, horizontal)
    np.testing.assert_array_equal(back.image, sample.image)
    np.testing.assert_allclose(back.boxes, sample.boxes)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0])
def test_squeezing_narrows_boxes_with_the_picture(factor: float) -> None:
    squeezed = augment.squeeze(spotted(), factor)
    assert_boxes_cover_their_colour(squeezed, 1)
    assert squeezed.image.shape[:2] == (80, round(120 * factor))


@pytest.mark.parametrize("seed", range(6))
def test_tiles_fill_their_size_and_keep_cells_in_their_boxes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    piece = augment.tile(rng, spotted(), 100, 90, cell_px=float(rng.uniform(10, 60)))
    assert piece.image.shape == (90, 100, 3)
    assert len(piece.boxes) == len(piece.labels)
    assert_boxes_cover_their_colour(piece, 2.5)


def test_patchwork_puts_each_tile_where_its_edges_say() -> None:
    rng = np.random.default_rng(3)
    columns, rows = [0, 70, 150], [0, 60, 140]
    pieces = [
        [augment.tile(rng, spotted(), columns[c + 1] - columns[c], rows[r + 1] - rows[r], 30.0) for c in range(2)] for r in range(2)
    ]
    whole = augment.patchwork(pieces, columns, rows)
    assert whole.image.shape == (140, 150, 3)
    assert len(whole.boxes) == sum(len(p.boxes) for line in pieces for p in line)
    assert_boxes_cover_their_colour(whole, 2.5)


@pytest.mark.parametrize("seed", range(5))
def test_mosaic_clips_to_what_is_shown(seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = augment.mosaic(rng, [spotted() for _ in range(4)], 100)
    assert whole.image.shape == (200, 200, 3)
    assert (whole.boxes >= 0).all() and (whole.boxes <= 200).all()
    for box, label in zip(whole.boxes, whole.labels, strict=True):
        x, y = (box[:2] + box[2:]) / 2
        assert abs(int(whole.image[int(y), int(x), 0]) - label[1]) < 5


@pytest.mark.parametrize("seed", range(5))
def test_warp_keeps_boxes_on_their_cells(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sample = spotted()
    matrix, scale = augment.jitter_matrix(rng, (80, 120), (160, 160), translate=0.1, scale=0.4)
    warped = augment.warp(sample, matrix, scale, (160, 160))
    assert len(warped.boxes)
    assert_boxes_cover_their_colour(warped, 3)


def test_windows_never_teach_a_sliver_of_a_cell_as_background() -> None:
    centred = Sample(np.zeros((100, 100, 3), np.uint8), np.array([[30, 30, 70, 70]], np.float32), np.array([[3, 1]], np.int64))
    for seed in range(40):
        cut = augment.random_window(np.random.default_rng(seed), centred)
        for box in cut.boxes:
            assert np.prod(box[2:] - box[:2]) >= 0.6 * 1600 - 1e-3


def test_hsv_of_gain_one_changes_nothing_much() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    same = augment.jitter_hsv(np.random.default_rng(0), image, 0, 0, 0)
    assert np.abs(same.astype(int) - image.astype(int)).max() <= 6  # rounding of 8-bit HSV


@pytest.mark.shared
def test_reference_numbers_of_box_candidates(parity: Path) -> None:
    numbers = np.load(parity / "misc" / "misc.npz")
    keep = augment.candidates(numbers["box_candidates.box1"].T, numbers["box_candidates.box2"].T)
    np.testing.assert_array_equal(keep, numbers["box_candidates.keep"])


@pytest.mark.shared
def test_reference_numbers_of_the_mosaic_crop_with_extra_columns(parity: Path) -> None:
    numbers = np.load(parity / "misc" / "misc.npz")
    targets = numbers["mosaic_crop.targets"]
    sample = Sample(
        numbers["mosaic_crop.im"],
        targets[:, 1:5].astype(np.float32),
        np.concatenate([targets[:, :1], targets[:, 5:]], axis=1).astype(np.int64),
    )
    out = tuple(int(v) for v in numbers["mosaic_crop.out_shape"][:2])
    matrix, scale = augment.jitter_matrix(np.random.default_rng(0), sample.image.shape[:2], (out[0], out[1]))
    cropped = augment.warp(sample, matrix, scale, (out[0], out[1]))
    expected = numbers["mosaic_crop.out_targets"]
    np.testing.assert_allclose(cropped.boxes, expected[:, 1:5], atol=1e-6)
    np.testing.assert_array_equal(cropped.labels[:, 0], expected[:, 0])
    np.testing.assert_array_equal(cropped.labels[:, 1:], expected[:, 5:])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "change",
    [
        lambda rng, s: augment.resize_longer_side(s, 90),
        lambda rng, s: augment.warp(s, *augment.jitter_matrix(rng, (80, 120), (64, 64), 20, 0.3, 0.4, 4, 1e-4), (64, 64)),
        lambda rng, s: augment.mosaic(rng, [s, s, s, s], 100),
        lambda rng, s: augment.tile(rng, s, 60, 50, 20.0),
        lambda rng, s: augment.patchwork([[s, s], [s, s]], [0, 120, 240], [0, 80, 160]),
        augment.random_window,
        lambda rng, s: augment.cut_square(rng, s, 70),
        lambda rng, s: augment.quarter_turn(s, int(rng.integers(1, 4))),
        lambda rng, s: augment.flip(s, bool(rng.integers(2))),
        lambda rng, s: augment.mixup(rng, s, s),
    ],
    ids=["resize", "warp", "mosaic", "tile", "patchwork", "window", "square", "turn", "flip", "mixup"],
)
def test_regions_to_ignore_go_where_boxes_go_and_are_kept_as_long_as_they_show(
    change: Callable[[np.random.Generator, Sample], Sample], seed: int
) -> None:
    """Each box is also a region: it lies where the box lies. A region of which a box would be dropped as too small is kept."""
    plain = spotted()
    marked = replace(plain, ignored=np.concatenate((plain.boxes, [[0, 0, 120, 80]])).astype(np.float32))
    before, after = (change(np.random.default_rng(seed), s) for s in (plain, marked))
    np.testing.assert_array_equal(after.image, before.image)
    np.testing.assert_array_equal(after.boxes, before.boxes)
    assert after.ignored.dtype == np.float32 and len(before.ignored) == 0
    rows = {tuple(row) for row in after.ignored.tolist()}
    assert rows > {tuple(b) for b in after.boxes.tolist()}, "the whole picture is a region too, and always shows"
    assert (after.ignored[:, 2:] > after.ignored[:, :2]).all()
    assert (after.ignored[:, 2:] <= np.float32([after.image.shape[1], after.image.shape[0]]) + 1e-3).all()

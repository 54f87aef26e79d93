"""Stains shaken: clear ground stays bright, cells of one picture part in colour, boxes and what lies beyond them stay as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engines.data.augment import Sample
from engines.data.stain_shake import DYES, drawn_change, shake_cells, shake_stain
from engines.families.hyper import FILM, SETS
from engines.film import Film, Microscope
from engines.training.dataset import TrainingSet


def of_density(*amounts: float) -> np.ndarray:
    """A colour (3,) uint8 BGR that the two dyes in these amounts leave."""
    dyes = DYES / np.linalg.norm(DYES, axis=1, keepdims=True)
    return np.clip(257 * np.exp(-(np.array(amounts) @ dyes))[::-1] - 1, 0, 255).round().astype(np.uint8)


def test_no_strength_changes_nothing_and_every_draw_is_the_seeds() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    assert (shake_stain(np.random.default_rng(1), image, 0.0) == image).all()
    one, same, other = (shake_stain(np.random.default_rng(seed), image, 0.3) for seed in (1, 1, 2))
    assert (one == same).all() and (one != other).any() and (one != image).mean() > 0.5


def test_a_dye_gets_stronger_or_weaker_and_clear_glass_stays_clear() -> None:
    nuclei, glass = of_density(1.2, 0.1), np.array([250, 250, 250], np.uint8)
    image = np.stack([nuclei, glass])[None]
    shaken = np.array([shake_stain(np.random.default_rng(seed), image, 0.25)[0] for seed in range(200)]).astype(float)
    depth = -np.log((shaken + 1) / 257).mean(2)
    spread = np.log(depth[:, 0]).std()
    assert 0.15 < spread < 0.35, "the log of the amount has about the deviation that was asked for"
    assert abs(np.log(depth[:, 0]).mean() - np.log(-np.log((nuclei + 1.0) / 257).mean())) < 0.08
    assert shaken[:, 1].min() > 215


def test_hues_turn() -> None:
    changes = [drawn_change(np.random.default_rng(seed), 0.25)[0] for seed in range(50)]
    nuclei = -np.log((of_density(1.2, 0.1).astype(float) + 1) / 257)
    ratio = np.array([(change @ nuclei)[0] / (change @ nuclei)[2] for change in changes])
    assert ratio.std() / ratio.mean() > 0.05


def test_two_cells_of_one_colour_part_and_the_ground_between_them_stays() -> None:
    image = np.full((100, 200, 3), 235, np.uint8)
    boxes = np.array([[10, 20, 70, 80], [120, 20, 180, 80]], np.float32)
    for x in (10, 120):
        image[20:80, x : x + 60] = of_density(1.0, 0.3)
    sample = Sample(image, boxes, np.zeros((2, 8), np.int64))
    apart = []
    for seed in range(20):
        shaken = shake_cells(np.random.default_rng(seed), sample, 0.25)
        assert (shaken.image[:, 84:106] == image[:, 84:106]).all() and shaken.boxes is boxes
        middles = [shaken.image[40:60, x + 20 : x + 40].astype(float).mean((0, 1)) for x in (10, 120)]
        apart.append(np.abs(middles[0] - middles[1]).max())
    assert np.median(apart) > 15
    assert (image[40, 30] == of_density(1.0, 0.3)).all(), "the picture that was given is not written into"
    edge = np.array([[-20, -20, 30, 30], [198, 98, 210, 110]], np.float32)
    shake_cells(np.random.default_rng(0), Sample(image, edge, np.zeros((2, 8), np.int64)), 0.25)


def test_no_set_shakes_stains_and_where_one_is_asked_to_colour_varies_more() -> None:
    assert not any(hyper.stain or hyper.stain_cells for hyper in SETS.values())
    image, truth = Film(3, "ALL").view((900.0, 700.0), Microscope("H", "C2", 100, width_px=900), (400, 400))
    labels = np.concatenate([truth.classes[:, None], truth.attributes], 1)

    def spread(hyper: object) -> float:
        data = TrainingSet([Sample(image, truth.boxes_px, labels)] * 2, 128, hyper, 0)  # type: ignore[arg-type]  # a set
        colours = []
        for epoch in range(12):
            data.set_epoch(epoch)
            colours.append(data[0][0].float().mean((1, 2)).numpy())
        return float(np.std(np.array(colours) / np.mean(colours, 1, keepdims=True), axis=0).mean())

    assert spread(replace(FILM, stain=0.25, stain_cells=0.25)) > 1.2 * spread(FILM)


@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_any_strength_leaves_a_picture(strength: float) -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    shaken = shake_stain(np.random.default_rng(5), image, strength)
    assert shaken.dtype == np.uint8 and shaken.shape == image.shape and shaken.std() > 1

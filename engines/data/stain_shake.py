"""Shaking the stain of a training picture: other strengths and hues of its dyes, over the picture and for each labelled cell by itself.

Colour is a shortcut where the cells of one type come from one laboratory's stain and the others from another's. Shaken over the whole
picture it can no longer tell pictures apart; shaken for each cell it can no longer tell cells of one picture apart (docs/training.md).
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.data.augment import Sample
from engines.detections import Float32, Image

DYES = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
"""Optical density of red, green, blue by haematoxylin (here azure, which stains nuclei alike) and eosin (Ruifrok and Johnston 2001)."""
_LEAST = 1 / 256
_LOG = (-np.log((np.arange(256) + 1) / 257)).astype(np.float32)
"""Density of each value of a channel."""


def _basis() -> NDArray[np.float64]:
    """Rows: the two dyes and what neither explains, of length 1, in blue, green, red."""
    dyes = DYES / np.linalg.norm(DYES, axis=1, keepdims=True)
    rest = np.cross(dyes[0], dyes[1])
    return np.stack([*dyes, rest / np.linalg.norm(rest)])[:, ::-1]


_BASIS = _basis()
_APART = np.linalg.inv(_BASIS)


def drawn_change(rng: np.random.Generator, strength: float) -> tuple[Float32, Float32]:
    """A random change of densities d (3,) to M d + shift: each dye and the rest stronger or weaker, each dye's hue turned a little.

    strength: standard deviation of the log of a dye's amount; hues turn by a third of it, all of the picture shifts by a tenth.
    """
    hues = _BASIS + rng.normal(0, strength / 3, (3, 3)) * np.array([[1.0], [1.0], [0.0]])
    hues = hues / np.linalg.norm(hues, axis=1, keepdims=True)
    amounts = np.exp(rng.normal(0, strength, 3))
    shift = rng.normal(0, strength / 10, 3) @ _BASIS
    return (_APART @ np.diag(amounts) @ hues).T.astype(np.float32), shift.astype(np.float32)


def _changed(image: Image, change: tuple[Float32, Float32]) -> Image:
    density = cv2.transform(cv2.LUT(image, _LOG), np.hstack([change[0], change[1][:, None]]))
    return np.asarray(np.clip(257 * np.exp(-density) - 1, 0, 255).round(), np.uint8)


def shake_stain(rng: np.random.Generator, image: Image, strength: float) -> Image:
    """The picture (H, W, 3), BGR uint8, in another stain; `strength` as of `drawn_change`."""
    return _changed(image, drawn_change(rng, strength))


def shake_cells(rng: np.random.Generator, sample: Sample, strength: float) -> Sample:
    """The sample with each labelled cell in a stain of its own; at the box's edge the change fades, so that no border is seen."""
    image = sample.image
    out = image.copy()
    for box in sample.boxes:
        change = drawn_change(rng, strength)
        centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
        low = np.floor(np.maximum(centre - 1.15 * half, 0)).astype(int)
        high = np.ceil(np.minimum(centre + 1.15 * half, image.shape[1::-1])).astype(int)
        if (high - low < 2).any():
            continue
        x = (np.arange(low[0], high[0]) + 0.5 - centre[0]) / half[0]
        y = (np.arange(low[1], high[1]) + 0.5 - centre[1]) / half[1]
        share = np.clip((1.15 - np.hypot(x[None], y[:, None])) / 0.25, 0, 1)[..., None].astype(np.float32)
        part = out[low[1] : high[1], low[0] : high[0]]
        part[:] = (part + share * (_changed(part, change).astype(np.float32) - part)).round().astype(np.uint8)
    return replace(sample, image=out)

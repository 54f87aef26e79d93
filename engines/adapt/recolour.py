"""Source pictures in the colours of target ones: means and deviations in CIE Lab moved from one to the other (Reinhard et al. 2001)."""

from __future__ import annotations

import cv2
import numpy as np

from engines.detections import Image


def recolour(picture: Image, model: Image, strength: float = 1.0) -> Image:
    """`picture` with the mean and standard deviation that `model` has in L, a and b; both (H, W, 3) uint8 RGB.

    strength: 0 leaves the picture, 1 moves it all the way. Deviations change by a factor of 3 at most, since a picture with hardly a
    cell says little about contrast.
    """
    own, other = (cv2.cvtColor(p, cv2.COLOR_RGB2LAB).astype(np.float32) for p in (picture, model))
    mean, deviation = own.mean((0, 1)), own.std((0, 1))
    wanted_mean, wanted_deviation = other.mean((0, 1)), other.std((0, 1))
    gain = np.clip(wanted_deviation / np.maximum(deviation, 1e-3), 1 / 3, 3)
    moved = (own - mean) * (1 + strength * (gain - 1)) + mean + strength * (wanted_mean - mean)
    changed: Image = cv2.cvtColor(moved.clip(0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)
    return changed

"""Endless ground without repeats, cheap enough for ten thousand fields: four planes of smooth noise whose periods share no factor."""

from __future__ import annotations

import cv2
import numpy as np

from device.slide.motion import FieldPicture
from engines.detections import Float32

SIZE = (160, 90)  # of the small picture
FRAME = (1920, 1080)
_PERIODS = (1009, 1013, 1019, 1021)


class Ground:
    """at(x, y): the small picture with its corner there, px of the small picture, any integers from 0."""

    def __init__(self, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        self._planes = [self._plane(rng, period) for period in _PERIODS]

    @staticmethod
    def _plane(rng: np.random.Generator, period: int) -> Float32:
        noise = rng.normal(0, 1, (period, period)).astype(np.float32)
        wrapped = np.pad(noise, ((0, SIZE[1]), (0, SIZE[0])), mode="wrap")
        smooth = cv2.GaussianBlur(wrapped, (0, 0), 2.0) - cv2.GaussianBlur(wrapped, (0, 0), 8.0)
        return np.asarray(60 * smooth, np.float32)

    def at(self, x: int, y: int) -> FieldPicture:
        band = np.zeros((SIZE[1], SIZE[0]), np.float32)
        for plane, period in zip(self._planes, _PERIODS, strict=True):
            top, left = y % period, x % period
            band += plane[top : top + SIZE[1], left : left + SIZE[0]]
        band -= band.mean()
        return FieldPicture(band, float(band.std()), FRAME)

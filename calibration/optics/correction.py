"""White balance and flat-field applied to frames, before anything looks at them."""

from __future__ import annotations

import cv2
import numpy as np

from engines.detections import Float32, Image

_LARGEST_GAIN = 6.0


class Correction:
    """Multiplies each channel of each place by its gain. Used by one thread; the map of gains is made for the size of the first frame.

    white_balance: gains of blue, green, red; flat: light as a share of the brightest, (h, w, 3) of any size, or None.
    """

    def __init__(self, white_balance: tuple[float, float, float], flat: Float32 | None) -> None:
        self._white_balance, self._flat = np.array(white_balance, np.float32), flat
        self._gains = np.zeros((0, 0, 3), np.uint8)
        self._scale = 1.0

    def apply(self, image: Image) -> Image:
        """A corrected copy of a BGR frame. About 1 ms of a 1080p frame."""
        if self._gains.shape != image.shape:
            self._make(image.shape[0], image.shape[1])
        return np.asarray(cv2.multiply(image, self._gains, scale=self._scale), np.uint8)

    def _make(self, height: int, width: int) -> None:
        """Gains in 8 bits, of the finest step that holds the largest, and dithered lest steps show as rings on bare glass."""
        gains = np.broadcast_to(self._white_balance, (height, width, 3)).astype(np.float32)
        if self._flat is not None:
            gains = gains / cv2.resize(self._flat, (width, height), interpolation=cv2.INTER_CUBIC)
        gains = np.clip(gains, 0.0, _LARGEST_GAIN)
        per_unit = 255.0 / float(gains.max())
        noise = np.random.default_rng(0).random((height, width, 1), dtype=np.float32)
        self._gains = np.clip(np.floor(gains * per_unit + noise), 0, 255).astype(np.uint8)
        self._scale = 1.0 / per_unit

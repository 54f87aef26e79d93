"""RoiAlign in numpy, for runtimes whose own is slow: the numbers of the ONNX operator, averaged and not aligned.

Bilinear interpolation is separable, and so is its rule at the border; a region's output is therefore A_y · crop · A_xᵀ with two small
matrices that hold the averaged weights (as in `engines.network.roi_align`, there with gradients). He et al., Mask R-CNN, 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.detections import Float32


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """A map (1, H, W, C), float32, or in steps of 8 bits, uint8: a number then means (number - zero) times step."""

    numbers: Float32 | NDArray[np.uint8]
    step: float = 1.0
    zero: float = 0.0


def roi_align(features: FeatureMap, box_px: Float32, scale: float, out: Float32) -> None:
    """Pools one region of a map into `out` by averaged bilinear samples, as many a bin as it has cells (adaptive).

    box_px: (4,) x1 y1 x2 y2 in input px, multiplied by `scale`; at least one cell wide and high. out:
    (h, w, C) float32, overwritten. Samples outside [-1, size] give 0, others are clamped to the map.
    """
    (_, height, width, channels), (bins_y, bins_x, _) = features.numbers.shape, out.shape
    x1, y1, x2, y2 = (box_px * np.float32(scale)).tolist()
    top, across_y = _axis_weights(y1, y2, bins_y, height)
    left, across_x = _axis_weights(x1, x2, bins_x, width)
    (rows, columns) = across_y.shape[1], across_x.shape[1]
    crop = features.numbers[0, top : top + rows, left : left + columns].reshape(rows, columns * channels)
    if crop.dtype == np.uint8:
        crop = (crop - np.float32(features.zero)) * np.float32(features.step)
    np.matmul(across_x, (across_y @ crop).reshape(bins_y, columns, channels), out=out)


def _axis_weights(start: float, end: float, bins: int, limit: int) -> tuple[int, Float32]:
    """First cell and weights (bins, L) over the L cells from it, along one axis of `limit` cells."""
    step = max(end - start, 1.0) / bins
    samples = int(np.ceil(step))
    # The middle of every sample of every bin; bins and samples together are one even grid.
    position = start + (np.arange(bins * samples) + 0.5) * (step / samples)
    counts = (position >= -1) & (position <= limit)
    position = position.clip(0, limit - 1)
    first, last = int(position[0]), min(int(position[-1]) + 1, limit - 1)
    # A sample weighs on its two neighbours by a hat: 1 at its place, 0 a cell away.
    weights = (1 - np.abs(position[:, None] - np.arange(first, last + 1))).clip(0)
    weights *= counts[:, None] / samples
    return first, weights.reshape(bins, samples, -1).sum(1).astype(np.float32)

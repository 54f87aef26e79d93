"""RoiAlign in numpy, for runtimes whose own is slow: the numbers of the ONNX operator, averaged and not aligned.

Bilinear interpolation is separable, and so is its rule at the border; a region's output is therefore A_y · crop · A_xᵀ with two small
matrices that hold the averaged weights (as in `engines.families.roi_align`, there with gradients). He et al., Mask R-CNN, 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.detections import Float32, Int64


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """A map (1, H, W, C), float32, or in steps of 8 bits, uint8: a number then means (number - zero) times step."""

    numbers: Float32 | NDArray[np.uint8]
    step: float = 1.0
    zero: float = 0.0


def roi_align(features: FeatureMap, boxes_px: Float32, scale: float, out: Float32) -> None:
    """Pools regions of a map into `out` by averaged bilinear samples, as many a bin as it has cells (adaptive).

    boxes_px: (N, 4) x1 y1 x2 y2 in input px, multiplied by `scale`; at least one cell wide and high. out:
    (N, h, w, C) float32, overwritten. Samples outside [-1, size] give 0, others are clamped to the map.
    """
    (_, height, width, channels), (_, bins_y, bins_x, _) = features.numbers.shape, out.shape
    # As the reference computes them: corners in 32 bits, everything from them in 64.
    corners = (boxes_px * np.float32(scale)).astype(np.float64)
    tops, rows, across_y = _axis_weights(corners[:, 1], corners[:, 3], bins_y, height)
    lefts, columns, across_x = _axis_weights(corners[:, 0], corners[:, 2], bins_x, width)
    numbers, zero, step = features.numbers[0], np.float32(features.zero), np.float32(features.step)
    for i, (top, left, h, w) in enumerate(zip(tops.tolist(), lefts.tolist(), rows.tolist(), columns.tolist(), strict=True)):
        crop = numbers[top : top + h, left : left + w].reshape(h, w * channels)
        if crop.dtype == np.uint8:
            crop = (crop - zero) * step
        out[i] = across_x[i, :, :w] @ (across_y[i, :, :h] @ crop).reshape(bins_y, w, channels)


def _axis_weights(start: NDArray[np.float64], end: NDArray[np.float64], bins: int, limit: int) -> tuple[Int64, Int64, Float32]:
    """First cell (N,), how many from it (N,), and weights (N, bins, L) over them, along one axis of `limit` cells.

    All regions at once: for a dozen of them it takes no longer than for one.
    """
    step = np.maximum(end - start, 1.0) / bins
    samples = np.ceil(step).astype(np.int64)
    # The middle of every sample of every bin; bins and samples together are one even grid.
    counts = bins * samples
    ends = counts.cumsum()
    of = np.repeat(np.arange(len(start)), counts)
    number = np.arange(len(of)) - (ends - counts)[of]
    position = start[of] + (number + 0.5) * (step / samples)[of]
    weight = ((position >= -1) & (position <= limit)) / samples[of]
    position = position.clip(0, limit - 1)
    # A sample weighs on its two neighbours by a hat: 1 at its place, 0 a cell away.
    below = position.astype(np.int64)
    above = np.minimum(below + 1, limit - 1)
    share = (position - below) * weight
    first = below[ends - counts]
    cells = above[ends - 1] - first + 1
    longest = int(cells.max())
    at = (of * bins + number // samples[of]) * longest - first[of]
    size = len(start) * bins * longest
    weights = np.bincount(at + below, weight - share, size) + np.bincount(at + above, share, size)
    return first, cells, weights.reshape(len(start), bins, longest).astype(np.float32)

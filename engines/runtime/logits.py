"""Decoding in numpy, for runtimes whose own is slow: of the detection convolutions' logits only those that matter (spec 1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engines.detections import Float32


@dataclass(frozen=True, eq=False)
class Level:
    """What the logits of one level mean. anchors_px: (A, 2) width and height. stride: px of the input between cells.

    classes, outputs: numbers for an anchor; beyond x, y, w, h, objectness and classes they are variances.
    """

    anchors_px: Float32
    stride: float
    classes: int
    outputs: int


def decode(levels: Sequence[tuple[Float32, Level]], confidence: float = 0.0) -> Float32:
    """Rows (n, 5 + classes) float32 as in `engines.runtime.graphs`, in its order, without those of objectness below `confidence`.

    levels: the logits (1, H, W, A x outputs) float32 of each level, contiguous, with what they mean.
    """
    # Variances only lower an objectness; the margin is for float32, so that nothing is lost of which the caller would decide otherwise.
    odds = confidence / (1 - confidence) * (1 - 1e-4) if confidence < 1 else np.inf
    least = np.float32(np.log(odds)) if odds > 0 else np.float32(-np.inf)
    return np.concatenate([_decode(logits, level, least) for logits, level in levels])


def _decode(logits: Float32, level: Level, least: np.float32) -> Float32:
    width = logits.shape[2]
    anchors = len(level.anchors_px)
    flat = logits.reshape(-1, level.outputs)
    # Written so that a NaN is handed on: it is the caller's to notice.
    cell, anchor = np.divmod(np.flatnonzero(~(flat[:, 4] < least)), anchors)
    order = np.argsort(anchor, kind="stable")
    cell, anchor = cell[order], anchor[order]
    # exp of a large number is inf, and its share 0, as it should be.
    with np.errstate(over="ignore"):
        y = 1 / (1 + np.exp(-flat[cell * anchors + anchor]))
    rows: Float32 = y[:, : 5 + level.classes]
    at = np.stack((cell % width, cell // width), 1).astype(np.float32)
    rows[:, :2] = (rows[:, :2] * 2 - np.float32(0.5) + at) * np.float32(level.stride)
    rows[:, 2:4] = (rows[:, 2:4] * 2) ** 2 * level.anchors_px[anchor]
    if level.outputs > 5 + level.classes:
        rows[:, 4] *= 1 - y[:, 5 + level.classes :].mean(1)
    return rows

"""Pseudo-labels: what a network finds on pictures without labels, as rows that a loss or a mixing takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.decode import Thresholds, candidates
from engines.detections import Float32, Int64
from engines.network import AttriDet


@dataclass(frozen=True, eq=False)
class Found:
    """N boxes of one picture. boxes: (N, 4) float64 x1 y1 x2 y2 in px of the picture; classes: (N,) int64; scores: (N,)."""

    boxes: NDArray[np.float64]
    classes: Int64
    scores: Float32

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def centres(self) -> NDArray[np.float64]:
        """(N, 2) x and y of the boxes' centres, px."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    def select(self, keep: NDArray[np.bool_]) -> Found:
        """The rows that a mask names."""
        return Found(self.boxes[keep], self.classes[keep], self.scores[keep])


NOTHING = Found(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, np.float32))


def join(parts: Sequence[Found]) -> Found:
    """The boxes of several in one."""
    return Found(
        np.concatenate([p.boxes for p in parts]), np.concatenate([p.classes for p in parts]), np.concatenate([p.scores for p in parts])
    )


def divide(found: Found, confidence: float) -> tuple[Found, Found]:
    """The sure boxes, which score above `confidence`, and the weak ones whose centre lies in no sure box.

    A weak box centred in a sure one is that cell's second box. Anywhere else it may be a cell of which nothing is sure.
    """
    sure = found.select(found.scores > confidence)
    weak = found.select(found.scores <= confidence)
    x, y = weak.centres.T[:, :, None]
    x1, y1, x2, y2 = sure.boxes.T
    covered = ((x >= x1) & (x <= x2) & (y >= y1) & (y <= y2)).any(1)
    return sure, weak.select(~covered)


def best_part(found: Found, inside: Sequence[NDArray[np.bool_]], unfit: Sequence[bool]) -> int | None:
    """Of the parts of a picture that hold the boxes `inside` names, the one of highest mean score, the first of equals.

    A part without boxes, or one that is `unfit`, is not taken; None where there is no other.
    """
    means = [float(found.scores[own].mean()) if own.any() and not bad else 0.0 for own, bad in zip(inside, unfit, strict=True)]
    return int(np.argmax(means)) if max(means) > 0 else None


def delta(progress: float) -> float:
    """Share of the variances in the score at `progress` (0 to 1) of a run: 2 / (1 + exp(-5 r)) - 1 = tanh(2.5 r) (ConfMix)."""
    return math.tanh(2.5 * progress)


@torch.no_grad()
def pseudo_labels(model: AttriDet, levels: Sequence[Tensor], thresholds: Thresholds, trust: float = 1.0) -> list[Found]:
    """What `model` holds for objects in each picture of a batch, from its raw levels; trust: the delta of the score."""
    rows = model.decode([level.detach().float() for level in levels], trust).cpu().numpy()
    found = []
    for picture in rows:
        best = candidates(picture, thresholds)
        found.append(Found(best.boxes_px.astype(np.float64), best.classes, best.scores))
    return found


def targets(found: Sequence[Found], hw: tuple[int, int]) -> Tensor:
    """Rows (n, 6) for the detection loss: picture, class, centre x, centre y, width, height in 0..1 of a picture of `hw` px."""
    height, width = hw
    scale = np.array([width, height, width, height], np.float64)
    rows = []
    for number, one in enumerate(found):
        sides = np.concatenate([one.centres, one.boxes[:, 2:] - one.boxes[:, :2]], axis=1) / scale
        rows.append(np.concatenate([np.full((len(one), 1), number), one.classes[:, None], sides], axis=1))
    return torch.from_numpy(np.concatenate(rows).astype(np.float32)) if rows else torch.zeros(0, 6)

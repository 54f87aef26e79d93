"""Whether probabilities mean what they say: of the cells called something with probability p, a share p should be so."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.detections import Float64

BINS = 10


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability diagram over B bins of equal width of the stated probability.

    cells (B,): how many. stated (B,): their mean probability. right (B,): the share that was so. NaN in both of an empty bin.
    """

    cells: NDArray[np.int64]
    stated: Float64
    right: Float64

    @classmethod
    def of(cls, probabilities: Float64, right: NDArray[np.bool_], bins: int = BINS) -> Reliability:
        """probabilities (N,), 0 to 1; right (N,): whether it was so."""
        place = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
        cells = np.bincount(place, minlength=bins)
        with np.errstate(invalid="ignore"):
            stated, share = (
                np.bincount(place, weights=values, minlength=bins) / cells for values in (probabilities, right.astype(float))
            )
        return cls(cells, stated, share)

    @property
    def total(self) -> int:
        return int(self.cells.sum())

    @property
    def error(self) -> float:
        """Expected calibration error (ECE): mean over the cells of |stated - right| of their bin; NaN without a cell."""
        if not self.total:
            return math.nan
        used = self.cells > 0
        return float((self.cells[used] * np.abs(self.stated[used] - self.right[used])).sum() / self.total)

    def to_dict(self) -> dict[str, object]:
        """Plain form for JSON."""
        return {
            "cells": self.total,
            "expected_calibration_error": self.error,
            "bins": [
                {"cells": int(n), "stated": float(p), "right": float(r)}
                for n, p, r in zip(self.cells, self.stated, self.right, strict=True)
            ],
        }


def area_under_curve(scores: Float64, positive: NDArray[np.bool_], weights: Float64 | None = None) -> Float64:
    """Area under the ROC curve (AUC), (R,): how often a positive cell scores above a negative one, a tie counting as half.

    scores, positive: (N,). weights: (R, N), how often each cell was drawn; one row of ones without. NaN where one of both is missing.
    """
    weights = np.ones((1, len(scores))) if weights is None else weights
    values, place = np.unique(scores, return_inverse=True)
    starts = np.zeros((len(weights), len(values))), np.zeros((len(weights), len(values)))
    for sums, group in zip(starts, (positive, ~positive), strict=True):
        for row, weight in zip(sums, weights, strict=True):
            row[:] = np.bincount(place[group], weights=weight[group], minlength=len(values))
    yes, no = starts
    above = (yes * (no.cumsum(1) - no / 2)).sum(1)
    pairs = yes.sum(1) * no.sum(1)
    area: Float64 = np.divide(above, pairs, out=np.full(len(weights), math.nan), where=pairs > 0)
    return area

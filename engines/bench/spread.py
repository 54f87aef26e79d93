"""Several readings of one thing in few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from typing_extensions import Self


@dataclass(frozen=True)
class Spread:
    """Median of several readings, the smallest and the largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Percentiles:
    """Of single frames, in ms."""

    p50: float
    p90: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(*(float(v) for v in np.percentile(values, (50, 90, 99))))

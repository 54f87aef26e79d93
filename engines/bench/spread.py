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

    def range(self, form: str = ".2f") -> str:
        """ "8.00 to 11.50"; form: of each number."""
        return f"{self.low:{form}} to {self.high:{form}}"

    def __format__(self, form: str) -> str:
        """Median and range: "1.50 (1.10 to 2.00)"."""
        return f"{self.median:{form}} ({self.range(form)})"


@dataclass(frozen=True)
class Percentiles:
    """Of single frames, in ms."""

    p50: float
    p90: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(*(float(v) for v in np.percentile(values, (50, 90, 99))))

"""How far a share may be from what was counted: exact intervals of a count, for pages and screens that state one."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

_HALVINGS = 80
"""Of the interval 0 to 1: more than a float has digits."""
_ENOUGH = 3e-16
"""A factor of a continued fraction that is as near 1 changes nothing more."""


@lru_cache(maxsize=256)
def exact_interval(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson 1934), lower and upper limit, 0 to 1; of nothing counted 0 to 1.

    A share of none or of all has one limit only, so the whole of 1 - `confidence` lies beyond that: of 0 in N the upper limit is
    1 - 0.05 ** (1 / N), which for N over 30 is 3 / N (the rule of three). Raises ValueError where count is not within 0 to total.
    """
    if not 0 <= count <= total:
        raise ValueError(f"{count} of {total} is no share")
    beyond = 1 - confidence
    if not total:
        return 0.0, 1.0
    if count == 0:
        return 0.0, 1 - beyond ** (1 / total)
    if count == total:
        return beyond ** (1 / total), 1.0
    return exact_limits(count / total, total, confidence)


def exact_limits(share: float, total: float, level: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's limits for a share of `total` cells, which need not be a whole number."""
    tail, right = (1 - level) / 2, share * total
    wrong = total - right
    low = 0.0 if right <= 0 else least(lambda p: beta_below(p, right, wrong + 1) >= tail)
    high = 1.0 if wrong <= 0 else least(lambda p: beta_below(p, right + 1, wrong) >= 1 - tail)
    return low, high


def beta_below(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I(x; a, b): the probability that a Beta(a, b) lies below x."""
    if x <= 0 or x >= 1:
        return float(x > 0)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_below(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    return front / a / _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d1 / (1 + d2 / (1 + ...)), by Lentz's algorithm (1976): from its beginning, until a factor changes nothing."""
    value, above, below = 1.0, 1.0, 0.0
    for number in range(1, 1000 + int(10 * math.sqrt(max(a, b)))):
        m = number // 2
        if number % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        above, below = 1 + d / above, 1 / (1 + d * below)
        value *= above * below
        if abs(above * below - 1) <= _ENOUGH:
            break
    return value


def least(reached: Callable[[float], bool]) -> float:
    """The least x of 0 to 1 from which `reached` holds."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high

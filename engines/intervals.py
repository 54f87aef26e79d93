"""How far a share may be from what was counted: exact intervals of a count, for pages and screens that state one."""

from __future__ import annotations

from functools import lru_cache
from math import exp, lgamma, log

_STEPS = 60
"""Halvings of the interval 0 to 1: more than a float has digits."""


@lru_cache(maxsize=4096)
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
    return 1 - _limit(total - count, total, beyond / 2), _limit(count, total, beyond / 2)


def _limit(count: int, total: int, beyond: float) -> float:
    """The share at which `count` or fewer of `total` have the probability `beyond`."""
    low, high = 0.0, 1.0
    ways = [lgamma(total + 1) - lgamma(k + 1) - lgamma(total - k + 1) for k in range(count + 1)]
    for _ in range(_STEPS):
        share = (low + high) / 2
        found, missed = log(share), log(1 - share)
        likely = sum(exp(way + k * found + (total - k) * missed) for k, way in enumerate(ways))
        low, high = (share, high) if likely > beyond else (low, share)
    return low

"""Exact intervals of shares and of Youden's J where cells come in clusters: the cells of one patient resemble each other.

Korn and Graubard (1998): the exact interval of Clopper and Pearson (1934) with as many cells as the clusters are worth, which falls
with the variance between them and with how few they are (a quantile of Student's t). Unlike a bootstrap it holds with two patients.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from engines.detections import Float64

_HALVINGS = 80


def clustered_interval(counts: Float64, totals: Float64, level: float = 0.95) -> tuple[float, float]:
    """Lower and upper limit of sum(counts) / sum(totals), 0 to 1. counts, totals: (U,) of each cluster (patient).

    NaN without anything counted. Of one cluster it is the exact interval of its cells, which says nothing of other clusters.
    """
    used = totals > 0
    counts, totals = counts[used], totals[used]
    total = float(totals.sum())
    if not total:
        return math.nan, math.nan
    share = float(counts.sum()) / total
    return exact_limits(share, effective_total(counts, totals, level), level)


def effective_total(counts: Float64, totals: Float64, level: float = 0.95) -> float:
    """So many independent cells are the clusters worth, at most as many as they hold; at least 1."""
    total, clusters = float(totals.sum()), len(totals)
    if clusters < 2 or total < 2:
        return total
    share = float(counts.sum()) / total
    few = (t_quantile(total - 1, level) / t_quantile(clusters - 1, level)) ** 2
    if 0 < share < 1:
        between = clusters / (clusters - 1) * float(((counts - share * totals) ** 2).sum()) / total**2
        worth = share * (1 - share) / between if between else math.inf
    else:
        worth = total
    return float(min(max(worth * few, 1.0), total))


def youden_interval(sensitivity: float, its: tuple[float, float], false: float, of_it: tuple[float, float]) -> tuple[float, float]:
    """Limits of sensitivity - false by the limits of both (MOVER, Newcombe 1998). false: share of the others told as a blast."""
    low = sensitivity - false - math.hypot(sensitivity - its[0], of_it[1] - false)
    high = sensitivity - false + math.hypot(its[1] - sensitivity, false - of_it[0])
    return max(low, -1.0), min(high, 1.0)


def exact_limits(share: float, total: float, level: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's limits for a share of `total` cells, which need not be a whole number."""
    tail, right = (1 - level) / 2, share * total
    wrong = total - right
    low = 0.0 if right <= 0 else _solve(lambda p: beta_below(p, right, wrong + 1) >= tail)
    high = 1.0 if wrong <= 0 else _solve(lambda p: beta_below(p, right + 1, wrong) >= 1 - tail)
    return low, high


def t_quantile(freedom: float, level: float = 0.95) -> float:
    """The value that Student's t with so many degrees of freedom stays below, on both sides, with probability `level`."""
    # |T| > t has the probability I(freedom / (freedom + t^2); freedom / 2, 1/2), which rises with its argument.
    at = _solve(lambda x: beta_below(x, freedom / 2, 0.5) >= 1 - level)
    return math.sqrt(freedom * (1 - at) / at)


def beta_below(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I(x; a, b): the probability that a Beta(a, b) lies below x."""
    if x <= 0 or x >= 1:
        return float(x > 0)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_below(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    steps = 200 + int(5 * math.sqrt(max(a, b)))
    return front / a / _fraction(x, a, b, steps)


def _fraction(x: float, a: float, b: float, steps: int) -> float:
    """1 + d1 / (1 + d2 / (1 + ...)), evaluated from its end."""
    tail = 1.0
    for number in range(steps, 0, -1):
        m = number // 2
        if number % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        tail = 1 + d / tail
    return tail


def _solve(reached: Callable[[float], bool]) -> float:
    """The least x of 0 to 1 from which `reached` holds."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high

"""Exact intervals of shares and of Youden's J where cells come in clusters: the cells of one patient resemble each other.

Korn and Graubard (1998): the exact interval of Clopper and Pearson (1934) with as many cells as the clusters are worth, which falls
with the variance between them and with how few they are (a quantile of Student's t). It holds with two patients too.
"""

from __future__ import annotations

import math

from engines.detections import Float64
from engines.intervals import beta_below, exact_limits, least


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


def t_quantile(freedom: float, level: float = 0.95) -> float:
    """The value that Student's t with so many degrees of freedom stays below, on both sides, with probability `level`."""
    # |T| > t has the probability I(freedom / (freedom + t^2); freedom / 2, 1/2), which rises with its argument.
    at = least(lambda x: beta_below(x, freedom / 2, 0.5) >= 1 - level)
    return math.sqrt(freedom * (1 - at) / at)

"""Intervals of scores that are no plain share, such as mean AP: from what the score is on halves of the patients.

    halves = half_samples(units, draws, seed)          (R, U): 1 where a patient is in the half, each half followed by the other one
    half_interval(values, halves)                      values (K, 1 + R): of each type on everything, then on each half

Half-samples (McCarthy 1969; the delete-d jackknife of Shao and Wu 1989) spread around their mean as the whole does around its own, and
no patient is in one twice, which would tie all his scores. What a half scores above the whole (rare types look better in small sets)
the whole scores above many more patients, so the interval is moved by it. Student's t says how little so few tell of their own spread.
"""

from __future__ import annotations

import math

import numpy as np

from engines.detections import Float64, Int64
from engines.evaluation.shares import t_quantile
from engines.intervals import exact_limits

ENOUGH_UNITS = 3
"""A type that fewer patients hold says nothing reliable of how patients differ; it is taken to vary as the others do."""

_NOTHING = 1e-18
"""A variance below which only rounding differs."""


def half_samples(n_units: int, draws: int, seed: int) -> Float64:
    """Which units each half holds, (R, U) of 0 and 1: a random half, then its other half. Of one unit each is the whole."""
    if n_units < 2:
        return np.ones((draws, n_units))
    rng = np.random.default_rng(seed)
    halves = np.zeros((draws + draws % 2, n_units))
    for row in range(0, len(halves), 2):
        size = (n_units + row // 2 % 2) // 2  # of an odd number the smaller and the larger half in turn
        halves[row, rng.permutation(n_units)[:size]] = 1
        halves[row + 1] = 1 - halves[row]
    return halves[:draws]


def half_interval(
    values: Float64, halves: Float64, level: float = 0.95, holds: Int64 | None = None, top: float = 1.0
) -> tuple[float, float, float, int]:
    """The mean over the types, its lower and upper limit, and from how many halves; limits are NaN without any half.

    values: (K, 1 + R), NaN where a half lacks the type; a type that is NaN on everything is left out. holds: (K,) how many units hold
    each type. top: the highest that the score can be; infinite for a ratio that has no end. The value lies inside its limits, but for
    one that is 0 or `top` itself.
    """
    known = ~np.isnan(values[:, 0])
    whole, parts = values[known, 0], _types_kept(values[known, 1:])
    value, units = float(whole.mean()) if len(whole) else math.nan, halves.shape[1]
    usable = ~np.isnan(parts).any(0)
    if math.isnan(value) or not usable.any():
        return value, math.nan, math.nan, 0
    # A half of m of n units varies by 1 / m - 1 / n, the whole by 1 / n: the one is the other's times m / (n - m).
    size = halves[usable].sum(1)
    spread = np.sqrt(size / np.maximum(units - size, 1))
    parts = parts[:, usable]
    away = (parts - parts.mean(1, keepdims=True)) * spread
    variance = float((away.mean(0) ** 2).mean())
    if holds is not None:
        variance += _unseen((away**2).mean(1), holds[known])
    if units < 2 or variance <= _NOTHING or not 0 < value < top:
        # Halves that do not differ, or a score at an end: as a share of so many units that all said the same.
        scale = top if math.isfinite(top) else max(value, 1.0)
        low, high = exact_limits(value / scale, units, level)
        return value, scale * low, scale * high, int(usable.sum())
    half = t_quantile(units - 1, level) * math.sqrt(variance)
    moved = float(np.clip(parts.mean() - value, -half / 2, half / 2))
    return (value, *_limits(value, moved, half, top), int(usable.sum()))


def _limits(value: float, moved: float, half: float, top: float) -> tuple[float, float]:
    """value - moved -+ half, on a scale on which the spread of a share (arcsine) or of a ratio (root) is about the same everywhere."""
    root = math.sqrt(value / top) if math.isfinite(top) else math.sqrt(value)
    at, slope = (math.asin(root), 2 * root * math.sqrt(1 - root**2) * top) if math.isfinite(top) else (root, 2 * root)
    ends = ((at + (sign * half - moved) / slope) for sign in (-1, 1))
    if not math.isfinite(top):
        low, high = (max(end, 0.0) ** 2 for end in ends)
    else:
        low, high = (top * math.sin(min(max(end, 0.0), math.pi / 2)) ** 2 for end in ends)
    return low, high


def _types_kept(parts: Float64) -> Float64:
    """parts (K, R): a half that lacks a type (NaN) takes its score from another half, so that every mean is over the same types."""
    kept: Float64 = parts.copy()
    rng = np.random.default_rng(0)
    for row in kept:
        lacking = np.isnan(row)
        if lacking.any() and not lacking.all():
            row[lacking] = rng.choice(row[~lacking], int(lacking.sum()))
    return kept


def _unseen(variances: Float64, holds: Int64) -> float:
    """What halves do not show of the mean's variance: a type of h patients is in halves of h patients only as they are, not as others.

    variances: (K,) of each type's score; holds: (K,). With three patients or more a share 1 / (h - 1) of what was seen is missing; with
    fewer, what is missing to the spread of the others.
    """
    many = holds >= ENOUGH_UNITS
    usual = float((variances[many] * holds[many]).mean()) if many.any() else 0.0
    few = np.maximum(usual / np.maximum(holds, 1) - variances, 0)
    missing = np.where(many, variances / np.maximum(holds - 1, 1), few)
    return float(missing.sum()) / len(holds) ** 2

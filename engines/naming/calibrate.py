"""From scores of left-out cells to probabilities, and from those to the thresholds from which a cell is named."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.detections import Float32, Float64, Int64
from engines.naming.layer import NamingThresholds, white_and_blast
from engines.taxonomy import Taxonomy

Mask = NDArray[np.bool_]
_GAINS = np.geomspace(0.25, 64, 65)
_STEEPEST = 40.0
"""Gain that a score may get at most: cells that are told apart without a fault would ask for an endless one."""
_TYPE_FLOOR = 0.5


def platt(scores: Float64, yes: Mask, weights: Float64) -> tuple[float, float]:
    """Gain and offset with which a score becomes the logit of `yes` (Platt 1999, his softened targets). scores, yes, weights: (N,).

    The gain is never negative: a score that tells nothing becomes a constant.
    """
    count = np.array([(~yes).sum(), yes.sum()], np.float64)
    target = np.where(yes, (count[1] + 1) / (count[1] + 2), 1 / (count[0] + 2))
    x = np.stack([scores, np.ones(len(scores))], 1)
    w = weights / weights.sum()
    at = np.array([1.0, 0.0])
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(x @ at, -60, 60)))
        slope = x.T @ (w * (p - target)) + 1e-6 * at
        bend = (x * (w * p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(2)
        step = np.linalg.solve(bend, slope)
        at = at - step * min(1.0, 4 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    if not 0 <= at[0] <= _STEEPEST:
        gain = float(np.clip(at[0], 0.0, _STEEPEST))
        share = float((w * target).sum())
        middle = float((w * scores).sum())
        return gain, float(np.log(share / (1 - share)) - gain * middle)
    return float(at[0]), float(at[1])


def temperature(scores: Float64, answers: Int64, weights: Float64) -> float:
    """The gain with which the softmax of scores (N, K) is likeliest to give the answers (N,), by a search over fixed steps."""
    if len(answers) < 10:
        return 4.0

    def loss(gain: float) -> float:
        x = gain * (scores - scores.max(1, keepdims=True))
        likely = x[np.arange(len(x)), answers] - np.log(np.exp(x).sum(1))
        return float(-(weights * likely).sum())

    return float(min(_GAINS, key=loss))


def chosen_thresholds(
    probabilities: Float32,
    classes: Int64,
    weights: Float64,
    taxonomy: Taxonomy,
    blast_cost: float,
    cell_cost: float,
    right: float,
    lost_blasts: float = 0.02,
) -> NamingThresholds:
    """Thresholds from probabilities (N, C) of left-out cells.

    Cell and blast by the least cost, where a missed blast costs `blast_cost` falsely told ones (rates of each group weigh alike). Where
    fewer than `right` of all would be told the right group, the least sure are told neither, to either side of that. Types by `right`.
    Never are more than `lost_blasts` of the blasts told as artefacts, whatever that costs.
    """
    white, shares = white_and_blast(probabilities, taxonomy)
    is_white, is_blast = ~np.isin(classes, taxonomy.artefact_codes), np.isin(classes, taxonomy.blast_codes)
    cell = _cheapest(white, is_white, weights, cell_cost) if (~is_white).sum() >= 10 else 0.5
    if is_blast.any():  # a blast that is told as an artefact leaves the count unseen
        cell = min(cell, float(np.quantile(white[is_blast], lost_blasts)))
    seen = is_white & (white >= cell)
    share, truth, w = shares[seen], is_blast[seen], weights[seen]
    middle = _logit(np.array([_cheapest(share, truth, w, blast_cost)]))
    beyond = _logit(share) - middle
    doubt = _first_right(np.abs(beyond).astype(np.float32), (beyond >= 0) == truth, w, right)
    blast, other = (float(1 / (1 + np.exp(-(middle[0] + sign * doubt)))) for sign in (1, -1))
    best = probabilities[seen].argmax(1)
    sure = probabilities[seen].max(1)
    kind = max(_TYPE_FLOOR, _first_right(sure, best == classes[seen], w, right))
    return NamingThresholds(*(round(float(np.clip(value, 0.01, 0.99)), 4) for value in (cell, blast, other, kind)))


def _cheapest(scores: Float32, yes: Mask, weights: Float64, cost: float) -> float:
    """The threshold of least cost: a miss costs `cost`, a false answer 1, as rates of each group. In the middle between two scores."""
    order = np.argsort(scores, kind="stable")
    s, y, w = scores[order].astype(np.float64), yes[order], weights[order]
    if not y.any() or y.all():
        return 0.5
    missed = np.concatenate([[0.0], np.cumsum(w * y)]) / (w * y).sum()
    false = 1 - np.concatenate([[0.0], np.cumsum(w * ~y)]) / (w * ~y).sum()
    edges = np.concatenate([[s[0]], (s[1:] + s[:-1]) / 2, [s[-1]]])
    costs = cost * missed + false
    least = np.flatnonzero(costs <= costs.min() + 1e-12)
    return float(edges[least[len(least) // 2]])


def _first_right(scores: Float32, yes: Mask, weights: Float64, right: float) -> float:
    """The lowest threshold from which on a share `right` of the weight is right; the highest score where there is none."""
    order = np.argsort(-scores, kind="stable")
    share = np.cumsum((weights * yes)[order]) / np.cumsum(weights[order])
    last_of_ties = np.append(np.diff(scores[order]) != 0, True)
    good = np.flatnonzero((share >= right - 1e-12) & last_of_ties)
    if not len(good):
        return float(scores.max(initial=0.0))
    return 0.0 if good[-1] == len(scores) - 1 else float(scores[order][good[-1]])


def _logit(share: Float32 | Float64) -> Float64:
    p = np.clip(share.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(p / (1 - p)), np.float64)

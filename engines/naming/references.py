"""The cells that stand for all films that a layer knows, and the distance to them from which a cell is unlike all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engines.detections import Float32, Float64
from engines.naming.cells import Texts
from engines.naming.layer import nearest

_FEWEST_LEFT = 20
"""Cells beside the references that a source must have to say how far its cells lie."""


@dataclass(frozen=True, eq=False)
class References:
    """As the fields of `NamingLayer`: projection (F, D), references (R, D), limit."""

    projection: Float32
    references: Float32
    limit: float


def find_references(standardised: Float64, sources: Texts, count: int, dimensions: int, known_share: float, seed: int) -> References:
    """Draws `count` references evenly over the sources; the limit keeps `known_share` of the other cells, each source weighing alike.

    standardised: (N, F). Directions are the principal ones, each scaled to variance 1: what tells one microscope from another often
    lies in those that vary little among known films.
    """
    rows = len(standardised)
    dimensions = min(dimensions, max(rows // 6, 2), standardised.shape[1])
    middle = standardised - standardised.mean(0)
    values, directions = np.linalg.eigh(middle.T @ middle / rows)
    order = np.argsort(-values, kind="stable")[:dimensions]
    order = order[values[order] > 1e-9 * values.max()]
    directions = directions[:, order]
    signs = np.sign(directions[np.abs(directions).argmax(0), np.arange(len(order))])
    projection = (directions * signs / np.sqrt(values[order])).astype(np.float32)
    at = standardised.astype(np.float32) @ projection
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(sources == name)) for name in np.unique(sources)]
    chosen = [of_source[: min(max(count // len(drawn), 1), (len(of_source) + 1) // 2)] for of_source in drawn]
    left = [of_source[len(some) :] for of_source, some in zip(drawn, chosen, strict=True)]
    stand = at[np.sort(np.concatenate(chosen))]
    left = [rest for rest in left if len(rest) >= _FEWEST_LEFT] or [np.arange(rows)]
    distances = np.concatenate([nearest(at[rest], stand) for rest in left])
    weights = np.concatenate([np.full(len(rest), 1 / len(rest)) for rest in left])
    by_distance = np.argsort(distances, kind="stable")
    reached = np.cumsum(weights[by_distance]) / weights.sum()
    limit = float(distances[by_distance][min(int(np.searchsorted(reached, known_share)), len(distances) - 1)])
    return References(projection, stand, max(limit, 1e-6))

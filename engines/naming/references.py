"""The cells that stand for all films that a layer knows, and the distance to them from which a cell is unlike all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.detections import Float32, Float64, Int64
from engines.naming.cells import Texts
from engines.naming.layer import NEIGHBOURS


@dataclass(frozen=True, eq=False)
class Origins:
    """Where N cells come from: their sources and patients (N,), and which of them are a site's own."""

    sources: Texts
    patients: Texts
    site: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class References:
    """As the fields of `NamingLayer`: projection (F, D), references (R, D), limit."""

    projection: Float32
    references: Float32
    limit: float


def find_references(standardised: Float64, cells: Origins, count: int, dimensions: int, known_share: float, seed: int) -> References:
    """Draws `count` references evenly over the sources, half of them of the site where there is one; the limit keeps `known_share`.

    standardised: (N, F). Directions are the principal ones, each scaled to variance 1: what tells one microscope from another often
    lies in those that vary little among known films. Each cell's distance is to references of other patients (other cells, in a source
    of one patient), each source weighs alike, and a site's share is kept as well.
    """
    rows = len(standardised)
    dimensions = min(dimensions, max(rows // 6, 2), standardised.shape[1])
    middle = standardised - standardised.mean(0)
    few = rows < middle.shape[1]
    values, directions = np.linalg.eigh((middle @ middle.T if few else middle.T @ middle) / rows)
    order = np.argsort(-values, kind="stable")[:dimensions]
    order = order[values[order] > 1e-9 * values.max()]
    directions = directions[:, order]
    if few:  # from directions among the cells to those among the features
        directions = middle.T @ directions / np.sqrt(rows * values[order])
    signs = np.sign(directions[np.abs(directions).argmax(0), np.arange(len(order))])
    projection = (directions * signs / np.sqrt(values[order])).astype(np.float32)
    at = standardised.astype(np.float32) @ projection
    chosen = _drawn(cells, count, np.random.default_rng(seed))
    distances = _to_others(at, chosen, cells)
    weights = np.zeros(rows)
    for source in np.unique(cells.sources):
        weights[cells.sources == source] = 1 / (cells.sources == source).sum()
    limits = [_quantile(distances, weights, known_share)]
    if cells.site.any():
        limits.append(_quantile(distances[cells.site], weights[cells.site], known_share))
    return References(projection, at[chosen], max(*limits, 1e-6))


def _drawn(cells: Origins, count: int, rng: np.random.Generator) -> Int64:
    """Rows of the references, in order: of each part its share, evenly over its sources, which give half of their cells at most."""
    chosen = []
    parts = [part for part in (~cells.site, cells.site) if part.any()]
    for part in parts:
        names = np.unique(cells.sources[part])
        for name in names:
            of_source = rng.permutation(np.flatnonzero(part & (cells.sources == name)))
            most = len(of_source) if cells.site[of_source[0]] else (len(of_source) + 1) // 2
            chosen.append(of_source[: min(max(count // len(parts) // len(names), 1), most)])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def _to_others(at: Float32, chosen: Int64, cells: Origins) -> Float64:
    """Mean distance (N,) of each cell to its nearest references that are not its own patient's, nor itself."""
    squared = (at**2).sum(1)[:, None] + (at[chosen] ** 2).sum(1)[None] - 2 * at @ at[chosen].T
    apart = np.sqrt(squared.clip(0)).astype(np.float64)
    apart[chosen, np.arange(len(chosen))] = np.inf
    several = {source for source in np.unique(cells.sources) if len(np.unique(cells.patients[cells.sources == source])) > 1}
    same = cells.patients[:, None] == cells.patients[chosen][None]
    apart[same & np.isin(cells.sources, list(several))[:, None]] = np.inf
    near = np.sort(apart, 1)[:, :NEIGHBOURS]
    return np.asarray(np.where(np.isfinite(near), near, near[:, :1]).mean(1), np.float64)


def _quantile(values: Float64, weights: Float64, share: float) -> float:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(int(np.searchsorted(reached, share)), len(values) - 1)])

"""TXT of 16 columns, the sparse data set that followed LeukemiaAttri: each line bears the patch of the picture that was labelled.

Its page orders the corners `x1 x2 y1 y2`, its program reads `x1 y1 x2 y2` (SLA-Det): which it is, and whether they are px or shares, is
told by where the cells lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.data.faults import Fault, Kind, Place, Report
from engines.data.labelled_regions import Box
from engines.data.txt import SPARSE_COLUMNS, Row

_ORDERS = {"x1 x2 y1 y2": (5, 7, 6, 8), "x1 y1 x2 y2": (5, 6, 7, 8)}
"""Columns, from 0, of left, top, right and bottom."""
_ENOUGH = 0.9
"""Share of the lines whose cell must lie in its patch."""

Rows = Sequence[tuple[Row, tuple[int, int]]]
"""Lines of 16 columns, each with height and width of its picture in px."""


def labelled_patches(
    rows: Mapping[Path, Sequence[Row]], sizes: Mapping[Path, tuple[int, int]], report: Report
) -> dict[Path, tuple[Box, ...]]:
    """The labelled boxes of each label file, in px; empty where no line bears a patch.

    A file without lines in a split that has patches says nothing of its picture: none of it counts as labelled. rows: of each label
    file. sizes: of the picture of each; others are left out.
    """
    sparse: Rows = [(row, sizes[file]) for file in sizes for row in rows[file] if len(row.values) == SPARSE_COLUMNS]
    if not sparse:
        return {}
    order, unit, share = max(((o, u, _share(sparse, o, u)) for o in _ORDERS for u in ("px", "shares")), key=lambda one: one[2])
    if share < _ENOUGH:
        orders = " nor as ".join(_ORDERS)
        words = f"columns 6 to 9 are no patch that holds the cell in {1 - share:.0%} of {len(sparse)} lines, neither as {orders}"
        report(Fault(Kind.MALFORMED_ROW, sparse[0][0].place, words))
        return {}
    found: dict[Path, tuple[Box, ...]] = {}
    for file, size_hw in sizes.items():
        own = [(row, size_hw) for row in rows[file] if len(row.values) == SPARSE_COLUMNS]
        corners = np.unique(_corners(own, order, unit).round(6), axis=0) if own else np.zeros((0, 4))
        found[file] = tuple((x1, y1, x2 - x1, y2 - y1) for x1, y1, x2, y2 in corners.tolist() if x2 > x1 and y2 > y1)
    silent = sum(not rows[file] for file in sizes)
    more = f"; of {silent} pictures without a line nothing counts as labelled" if silent else ""
    words = f"{len(sparse)} labels bear the patch that was labelled (columns 6 to 9: {order} in {unit}); the rest is ignored{more}"
    report(Fault(Kind.PATCHES, Place(sparse[0][0].place.file.parent), words))
    return found


def _corners(rows: Rows, order: str, unit: str) -> NDArray[np.float64]:
    """Patches (N, 4) x1 y1 x2 y2 in px."""
    scale = np.array([(w, h, w, h) if unit == "shares" else (1, 1, 1, 1) for _, (h, w) in rows], np.float64)
    return np.array([[row.values[k] for k in _ORDERS[order]] for row, _ in rows], np.float64) * scale


def _share(rows: Rows, order: str, unit: str) -> float:
    """Share of the lines whose box meets its patch, which has an area and lies in the picture."""
    low, high = np.split(_corners(rows, order, unit), 2, axis=1)
    size = np.array([(w, h) for _, (h, w) in rows], np.float64)
    centre, half = (np.array([row.values[k : k + 2] for row, _ in rows], np.float64) for k in (1, 3))
    centre, half = centre * size, half * size / 2
    sound = (high - low >= 2) & (low >= -1) & (high <= size + 1)
    return float((sound & (centre + half > low) & (centre - half < high)).all(1).mean())

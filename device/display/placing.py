"""Where labels go: beside their cells, off each other, off other cells, inside the picture's place. Geometry only, no drawing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from device.display.layout import Rect

Numbers = NDArray[np.float32]
Flags = NDArray[np.bool_]

_FAR = (1.0, 4.0, 9.0, 16.0)
"""Distances from the box that are tried, in gaps."""

# Where a label may lie, as weights of (x0, x1, label's width, distance) or (y0, y1, label's height, distance) of the box.
_AFTER, _BEFORE = (0.0, 1.0, 0.0, 1.0), (1.0, 0.0, -1.0, -1.0)
_AT_START, _AT_END, _MIDDLE = (1.0, 0.0, 0.0, 0.0), (0.0, 1.0, -1.0, 0.0), (0.5, 0.5, -0.5, 0.0)
_SIDES = (
    (_AFTER, _AT_START, 0.0),
    (_BEFORE, _AT_START, 0.5),
    (_AT_START, _AFTER, 0.8),
    (_AT_START, _BEFORE, 1.0),
    (_AFTER, _AT_END, 1.2),
    (_BEFORE, _AT_END, 1.4),
    (_AT_END, _AFTER, 1.8),
    (_AT_END, _BEFORE, 2.0),
    (_MIDDLE, _AFTER, 2.1),
    (_MIDDLE, _BEFORE, 2.2),
)
_DIAGONALS = tuple((x, y, 1.0) for x in (_AFTER, _BEFORE) for y in (_AFTER, _BEFORE))
_CANDIDATES = [
    (x, y, far, dislike + 4.0 * step) for step, far in enumerate(_FAR) for x, y, dislike in (*_SIDES, *(_DIAGONALS if step else ()))
]
_WEIGHTS_X = np.array([[*x[:3], x[3] * far] for x, _, far, _ in _CANDIDATES], np.float32).T.copy()
_WEIGHTS_Y = np.array([[*y[:3], y[3] * far] for _, y, far, _ in _CANDIDATES], np.float32).T.copy()
"""Weights of all K candidates, (4, K)."""
_DISLIKE = np.array([dislike for _, _, _, dislike in _CANDIDATES], np.float32)
_NEAR = _DISLIKE < 8.0
"""The two nearest distances; a label with fewer words close by is better than a longer one far off."""


class Placement(NamedTuple):
    """One place for each label (None: there was none), which of its sizes it has there, and whether every place is a good one."""

    places: tuple[Rect | None, ...]
    chosen: tuple[int, ...]
    good: bool


@lru_cache(maxsize=32)
def place(
    sizes: tuple[tuple[tuple[int, int], ...], ...], boxes: tuple[Rect, ...], others: tuple[Rect, ...], area: Rect, gap: int
) -> Placement:
    """Place one label beside each of `boxes`, from left to right, in the first of its `sizes` (width, height) with a good place.

    others: cells without a label. No place overlaps another or any cell, none of the lines from labels to boxes crosses a cell or a
    label, and all lie in `area`. Where there is no such place for any of a label's sizes, it has none.
    """
    if not boxes:
        return Placement((), (), True)
    pairs = [(i, size) for i, some in enumerate(sizes) for size in some]
    spots, good, order = _survey(pairs, boxes, others, area, gap)

    def ranked(pair: int, allowed: Flags) -> list[list[int]]:
        """The candidates of a pair that are `allowed` (P, K), the most liked first, each as its two rectangles."""
        rows: list[list[int]] = spots[:, pair, order[pair][allowed[pair, order[pair]]]].T.astype(np.int64).tolist()
        return rows

    first = np.cumsum([0, *(len(some) for some in sizes)])
    used: list[tuple[int, ...]] = []
    lines: list[tuple[int, ...]] = []
    places: list[Rect | None] = [None] * len(boxes)
    chosen = [0] * len(boxes)
    all_good = True
    for i in sorted(range(len(boxes)), key=lambda i: (boxes[i].x0 + boxes[i].x1, boxes[i].y0 + boxes[i].y1)):
        found: list[int] | None = None
        pair = int(first[i])
        for number in range(len(sizes[i])):
            found = _free(ranked(pair + number, good), used, lines)
            chosen[i] = number
            if found is not None:
                break
        if found is None:
            all_good = False
        else:
            places[i] = Rect(*found[:4])
            used.append(tuple(found[:4]))
            lines.append(tuple(found[4:]))
    return Placement(tuple(places), tuple(chosen), all_good)


def _free(rows: list[list[int]], used: list[tuple[int, ...]], lines: list[tuple[int, ...]]) -> list[int] | None:
    """The first candidate that overlaps nothing of `used` and none of `lines`, and whose own line crosses no label."""
    for row in rows:
        if any(_overlap(row, u) for u in used):
            continue
        if not (any(_overlap(row, line) for line in lines) or any(_overlap(row[4:], u) for u in used)):
            return row
    return None


def _overlap(a: Sequence[int], b: Sequence[int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _survey(
    pairs: list[tuple[int, tuple[int, int]]], boxes: tuple[Rect, ...], others: tuple[Rect, ...], area: Rect, gap: int
) -> tuple[Numbers, Flags, NDArray[np.int64]]:
    """What can be said of every candidate of each (label, size) pair before any label is placed.

    Returns (8, P, K), the label's rectangle and the one that the line to its box spans; which are good,
    (P, K); and (P, K) indices of the candidates, the most liked first.
    """
    cells = np.array([*boxes, *others], np.float32).reshape(-1, 4)
    own = np.array([i for i, _ in pairs])
    last = np.append(own[1:] != own[:-1], True)
    size = np.array([s for _, s in pairs], np.float32)
    box = cells[own]
    distance = np.full(len(pairs), gap, np.float32)
    x = np.floor(np.stack([box[:, 0], box[:, 2], size[:, 0], distance], axis=1) @ _WEIGHTS_X)
    y = np.floor(np.stack([box[:, 1], box[:, 3], size[:, 1], distance], axis=1) @ _WEIGHTS_Y)
    w, h = size[:, :1], size[:, 1:]
    x = np.minimum(np.maximum(x, area.x0), area.x1 - w)  # moved into the area where they stick out
    y = np.minimum(np.maximum(y, area.y0), area.y1 - h)
    right, below = x + w, y + h
    possible = (x >= area.x0) & (y >= area.y0)

    wide, high = _shared(x, right, cells[:, 0], cells[:, 2]), _shared(y, below, cells[:, 1], cells[:, 3])
    apart = np.minimum(wide, high)
    apart[own, np.arange(len(pairs))] = -gap  # its own cell may be near
    touched = np.count_nonzero(apart > -gap, axis=0)
    cell_area = np.maximum(1.0, (cells[:, 2] - cells[:, 0]) * (cells[:, 3] - cells[:, 1]))
    covered = np.maximum(wide, 0, out=wide)
    covered *= np.maximum(high, 0, out=high)
    covered /= cell_area[:, None, None]

    # The line from label to box, as the rectangle that it spans; empty sides where the two lie beside each other.
    x0, x1 = np.minimum(right, box[:, 2:3]), np.maximum(x, box[:, 0:1])
    y0, y1 = np.minimum(below, box[:, 3:4]), np.maximum(y, box[:, 1:2])
    lined = np.maximum(x1 - x0, y1 - y0) > 2 * gap
    x0, x1, y0, y1 = np.minimum(x0, x1), np.maximum(x0, x1), np.minimum(y0, y1), np.maximum(y0, y1)
    across, down = _shared(x0, x1, cells[:, 0], cells[:, 2]), _shared(y0, y1, cells[:, 1], cells[:, 3])
    both = np.minimum(across, down, out=across)
    both[own, np.arange(len(pairs))] = 0
    crossed = (both.max(axis=0) > 0) & lined

    cost = _DISLIKE + 100 * covered.sum(axis=0) + 2 * touched + 6 * crossed
    good = possible & (covered.max(axis=0) <= 0) & ~crossed & (_NEAR | last[:, None])
    order = np.argsort(cost, axis=1, kind="stable")
    places = np.stack([x, y, right, below, x0 - 3, y0 - 3, x1 + 3, y1 + 3])
    np.copyto(places[4:], -1, where=~lined)
    return places, good, order


def _shared(low: Numbers, high: Numbers, cell_low: Numbers, cell_high: Numbers) -> Numbers:
    """(M, P, K) length that stretches `low` to `high` (P, K) share with those of M cells; below 0: how far they lie apart."""
    out: Numbers = np.minimum(high, cell_high[:, None, None])
    out -= np.maximum(low, cell_low[:, None, None])
    return out


def nearest(place_: Rect, box: Rect) -> tuple[tuple[int, int], tuple[int, int]]:
    """The nearest points of a label and its box, for the line between them."""
    ax, bx = _nearest(place_.x0, place_.x1, box.x0, box.x1)
    ay, by = _nearest(place_.y0, place_.y1, box.y0, box.y1)
    return (ax, ay), (bx, by)


def _nearest(a0: int, a1: int, b0: int, b1: int) -> tuple[int, int]:
    """Nearest points of two stretches; the middle of what they share where they do."""
    if a1 <= b0:
        return a1 - 1, b0
    if b1 <= a0:
        return a0, b1 - 1
    middle = (max(a0, b0) + min(a1, b1)) // 2
    return middle, middle

"""Pictures of which a part was labelled: what lies outside it is neither a cell nor background, for all that the labels say.

Sparse annotation (a patch of each field, as in the Large Leukemia Dataset): `labelled_region` of an image in the JSON, a list of boxes
`[x, y, width, height]` in px; in TXT the four columns of the patch (`engines.data.txt`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""Left, top, width, height in px."""

KEY = "labelled_region"
"""Of an image in the JSON."""


def region_boxes(value: Any) -> tuple[Box, ...]:
    """The boxes of a `labelled_region`, one alone or a list of them. Raises ValueError for what is neither."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"'{str(value)[:30]}' is no list of boxes (x, y, width, height)")
    alone = len(value) == 4 and not any(isinstance(one, list | tuple) for one in value)
    boxes = []
    for one in [value] if alone else value:
        try:
            x, y, w, h = (float(number) for number in one)
        except (TypeError, ValueError):
            raise ValueError(f"'{str(one)[:30]}' is no box (x, y, width, height)") from None
        if not all(map(math.isfinite, (x, y, w, h))) or w <= 0 or h <= 0:
            raise ValueError(f"{x:g}, {y:g}, {w:g}, {h:g} is no box with an area (x, y, width, height)")
        boxes.append((x, y, w, h))
    return tuple(boxes)


def outside(regions: Sequence[Box], size_hw: tuple[int, int]) -> NDArray[np.float64]:
    """What of a picture lies in none of `regions`, as boxes that do not overlap: (M, 4) x1 y1 x2 y2 in px. No region: all of it."""
    height, width = size_hw
    corners = np.array([(x, y, x + w, y + h) for x, y, w, h in regions], np.float64).reshape(-1, 4).clip(0, (width, height) * 2)
    xs, ys = (np.unique(np.concatenate([corners[:, k], corners[:, k + 2], (0, end)])) for k, end in ((0, width), (1, height)))
    found: list[tuple[float, float, float, float]] = []
    for top, bottom in pairwise(ys.tolist()):
        start = None
        for left, right in pairwise(xs.tolist()):
            x, y = (left + right) / 2, (top + bottom) / 2
            inside = bool(((corners[:, 0] < x) & (x < corners[:, 2]) & (corners[:, 1] < y) & (y < corners[:, 3])).any())
            if inside:
                start = None
            elif start is None:
                start = left
                found.append((left, top, right, bottom))
            else:
                found[-1] = (start, top, right, bottom)
    return np.array(found, np.float64).reshape(-1, 4)


def centred_in(boxes: NDArray[np.floating], regions: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which of the boxes (N, 4) have their centre in one of the regions (M, 4); both x1 y1 x2 y2."""
    x, y = ((boxes[:, k] + boxes[:, k + 2])[:, None] / 2 for k in (0, 1))
    within = (regions[:, 0] <= x) & (x <= regions[:, 2]) & (regions[:, 1] <= y) & (y <= regions[:, 3])
    return np.asarray(within.any(1))

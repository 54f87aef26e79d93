"""ConfMix: the quadrant of a target picture in which the network is surest replaces that quadrant of a source picture (spec 3.2).

Mattolin, Zanella, Ricci, Wang: ConfMix (WACV 2023). The published program's slips are not repeated: it clips boxes of
the left half to the right one, takes one quadrant for a whole batch, and pastes it even where nothing was found. The training step is
in `trainer`.
"""

from __future__ import annotations

import numpy as np

from engines.adapt.pseudo import NOTHING, Found, best_part, join
from engines.adapt.quadrant import Quadrant
from engines.decode import Thresholds
from engines.detections import Float32, Int64

THRESHOLDS = Thresholds(confidence=0.25, iou=0.5, max_detections=300, agnostic=False)
"""What becomes a pseudo-label, in both domains."""
SURE = 0.5
"""Score above which a box counts for the weight of the mixed picture's loss."""


def quadrants(found: Found, hw: tuple[int, int]) -> Int64:
    """(N,) the quadrant of each box's centre."""
    x, y = found.centres.T
    right, top = x >= hw[1] // 2, y < hw[0] // 2
    of: Int64 = (2 * right + top).astype(np.int64)
    return of


def surest(found: Found, hw: tuple[int, int], unsure: Found = NOTHING) -> Quadrant | None:
    """The quadrant with the highest mean score, the first of equals; None where nothing was found.

    A quadrant that holds the centre of an `unsure` box is not taken: what it shows there would be learnt as background.
    """
    of, unfit = quadrants(found, hw), quadrants(unsure, hw)
    best = best_part(found, [of == q for q in Quadrant], [bool((unfit == q).any()) for q in Quadrant])
    return None if best is None else Quadrant(best)


def mix(source: Found, target: Found, quadrant: Quadrant, hw: tuple[int, int]) -> tuple[Found, float]:
    """Boxes of the source picture whose `quadrant` shows the target picture, and their weight gamma.

    The source's boxes with their centre outside the quadrant, cut where they reach into it; then the target's with their centre inside,
    cut to it; all cut to the picture. A box diagonally opposite that reaches over the corner keeps its sides: cutting either would
    be wrong. gamma: share of these boxes whose score exceeds `SURE`; 0 without boxes.
    """
    height, width = hw
    y, x = height // 2, width // 2
    of = quadrants(source, hw)
    outside = source.select(of != quadrant)
    boxes, of = outside.boxes.copy(), of[of != quadrant]
    same_row = (of % 2 == 1) == quadrant.top
    same_column = (of >= 2) == quadrant.right
    if quadrant.right:
        boxes[same_row, 2] = boxes[same_row, 2].clip(max=x)
    else:
        boxes[same_row, 0] = boxes[same_row, 0].clip(min=x)
    if quadrant.top:
        boxes[same_column, 1] = boxes[same_column, 1].clip(min=y)
    else:
        boxes[same_column, 3] = boxes[same_column, 3].clip(max=y)
    inside = target.select(quadrants(target, hw) == quadrant)
    rows, columns = quadrant.slices(hw)
    kept = Found(boxes.clip(0, (width, height) * 2), outside.classes, outside.scores)
    pasted = inside.boxes.clip((columns.start, rows.start) * 2, (columns.stop, rows.stop) * 2)
    mixed = join([kept, Found(pasted, inside.classes, inside.scores)])
    return mixed, float((mixed.scores > SURE).mean()) if len(mixed) else 0.0


def left_regions(ignored: Float32, quadrant: Quadrant, hw: tuple[int, int]) -> Float32:
    """What of the source's regions to ignore still shows where `quadrant` was pasted over; both (M, 4) x1 y1 x2 y2 in 0..1."""
    left, scale = [ignored[:0]], np.array([hw[1], hw[0]] * 2, np.float32)
    for rows, columns in (q.slices(hw) for q in Quadrant if q is not quadrant):
        low, high = np.array([columns.start, rows.start] * 2) / scale, np.array([columns.stop, rows.stop] * 2) / scale
        cut = ignored.clip(low, high).astype(np.float32)
        left.append(cut[(cut[:, 2:] > cut[:, :2]).all(1)])
    return np.concatenate(left)

"""Labels carried from one picture of a field to another: boxes mapped, judged, merged, and what of the target stays unlabelled.

Plain arrays in and out; label files are read and written by the command `attridet transfer`. The map comes from `registration`.
Rules: spec 5. Boxes are x1 y1 x2 y2 as label files count, 0 to width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from calibration.transfer.features import Features, overlay
from calibration.transfer.homography import (
    Float64,
    Size,
    areas,
    box_corners,
    clip_polygon,
    for_box_edges,
    map_points,
    outside,
    polygon_area,
    project_boxes,
    rectangle,
)
from calibration.transfer.registration import Fit
from engines.decode import box_iou
from engines.detections import Int64

SMALL = "small"
CUT_BY_TARGET = "cut by the target's edge"
CUT_BY_SOURCE = "cut by the source's edge"
UNLIKE = "unlike the source"

FLAGS = {
    SMALL: "a side of less than 8 px",
    CUT_BY_TARGET: "part of the cell is outside the target; the box is clipped",
    CUT_BY_SOURCE: "the source shows part of the cell only; the target may show more of it than the box holds",
    UNLIKE: "the target's pixels there do not repeat the source's: the cell may be hidden, moved or out of focus",
}
"""Marks of a carried label that a person should look at, and what each means."""


VISIBLE = 0.5
"""A box is kept if the target shows at least this share of it."""
SIDE_PX, SMALL_PX = 4.0, 8.0
"""Least side of a kept box, and of one that is not marked small (cells at 10x are 8 to 15 px)."""
SAME_IOU = 0.6
"""Boxes from different fields that overlap more are one cell."""
LIKENESS = 0.4
"""A label less sure than this is marked."""
EDGE_PX = 1.5
"""A source box so near its picture's edge is cut by it."""


@dataclass(frozen=True, eq=False)
class Carried:
    """Labels of one source as they lie in the target, N of them.

    boxes: (N, 4) float64, clipped to the target. rows: (N,) int64, which source label each is. visible: (N,) share left by the clip.
    confidence: (N,) 0 to 1, how well the target's pixels at the box repeat the source's (normalised cross-correlation, below 0 is 0).
    flags: of each. lost: (row, why) of each label that was not carried. lost_boxes: their remains in the target, unlabelled.
    field: (K, 2) outline of the source's field within the target.
    """

    boxes: Float64
    rows: Int64
    visible: Float64
    confidence: Float64
    flags: tuple[tuple[str, ...], ...]
    lost: tuple[tuple[int, str], ...]
    lost_boxes: Float64
    field: Float64

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Merged:
    """One cell of the target: label `row` of source number `source`; doubles: the same cell from other sources, as (source, row)."""

    source: int
    row: int
    doubles: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Agreement:
    """Carried boxes against labels that the target had: pairs at IoU 0.5, their mean IoU, what has no partner on either side."""

    matched: int
    mean_iou: float
    only_carried: int
    only_there: int
    pairs: tuple[tuple[int, int], ...] = ()


def carry(fit: Fit, boxes: npt.ArrayLike, source: Features, target: Features) -> Carried:
    """Map boxes (N, 4) of the source into the target by an accepted fit. ValueError if the fit has no map."""
    if fit.h is None:
        raise ValueError("this fit has no map")
    original = np.asarray(boxes, np.float64).reshape(-1, 4)
    h = for_box_edges(fit.h)
    mapped = project_boxes(h, original, target.size)
    sides = mapped.clipped[:, 2:] - mapped.clipped[:, :2]
    least = sides.min(axis=1, initial=np.inf)
    keep = (mapped.visible >= VISIBLE) & (least >= SIDE_PX)
    lost = tuple((int(n), _why(mapped.visible[n], least[n])) for n in np.flatnonzero(~keep))
    rows = np.flatnonzero(keep)
    kept = mapped.clipped[rows]
    likeness = overlay(source, target, fit.h).likeness_at(kept, target.size) if len(rows) else np.zeros(0)
    confidence = np.nan_to_num(np.clip(likeness, 0, 1), nan=0.0)
    cut = _touches(original, source.size)
    flags = []
    for n, row in enumerate(rows):
        found = (
            (SMALL, least[row] < SMALL_PX),
            (CUT_BY_TARGET, mapped.visible[row] < 1 - 1e-6),
            (CUT_BY_SOURCE, cut[row] and not _touches(kept[n : n + 1], target.size)[0]),
            (UNLIKE, confidence[n] < LIKENESS),
        )
        flags.append(tuple(name for name, is_so in found if is_so))
    remains = mapped.clipped[~keep]
    return Carried(
        boxes=kept,
        rows=rows.astype(np.int64),
        visible=mapped.visible[rows],
        confidence=np.asarray(confidence, np.float64),
        flags=tuple(flags),
        lost=lost,
        lost_boxes=remains[areas(remains) > 0],
        field=clip_polygon(map_points(h, rectangle(source.size)), rectangle(target.size)),
    )


def merge(carried: Sequence[Carried], inliers: Sequence[int]) -> list[Merged]:
    """One label a cell where fields overlap, whatever the classes say: whole cells before cut ones, then the field with more inliers.

    A cell that its field's edge cuts is also the same as a whole one that holds most of it. Boxes of one field are never merged.
    """
    order = []
    for s, one in enumerate(carried):
        order += [(CUT_BY_SOURCE in one.flags[n], -inliers[s], -float(one.visible[n]), s, n) for n in range(len(one))]
    kept: list[tuple[int, int, list[tuple[int, int]]]] = []
    for is_cut, _, _, s, n in sorted(order):
        box = carried[s].boxes[n]
        for t, m, doubles in kept:
            other = carried[t].boxes[m]
            if t != s and all(d != s for d, _ in doubles) and _same(box, other, is_cut):
                doubles.append((s, int(carried[s].rows[n])))
                break
        else:
            kept.append((s, n, []))
    return [Merged(s, int(carried[s].rows[n]), tuple(doubles)) for s, n, doubles in sorted(kept, key=lambda k: (k[0], k[1]))]


def ignore_regions(target: Size, carried: Sequence[Carried]) -> list[Float64]:
    """Parts of the target that nobody labelled, as convex polygons (K, 2): outside every field, and where a label was lost.

    White cells there are unlabelled, not background.
    """
    fields = [one.field for one in carried if polygon_area(one.field) > 0]
    regions = outside(rectangle(target), fields)
    for one in carried:
        regions += list(box_corners(one.lost_boxes))
    return regions


def agreement(carried: npt.ArrayLike, there: npt.ArrayLike) -> Agreement:
    """Compare carried boxes (N, 4) with labels (M, 4) that the target had already, each used once, best overlaps first."""
    iou = box_iou(carried, there)
    pairs: list[tuple[int, int]] = []
    for flat in np.argsort(-iou, axis=None, kind="stable"):
        n, m = divmod(int(flat), iou.shape[1])
        if iou[n, m] < 0.5:
            break
        if all(n != a and m != b for a, b in pairs):
            pairs.append((n, m))
    mean = float(np.mean([iou[n, m] for n, m in pairs])) if pairs else float("nan")
    return Agreement(len(pairs), mean, iou.shape[0] - len(pairs), iou.shape[1] - len(pairs), tuple(pairs))


def _why(visible: float, side_px: float) -> str:
    if visible <= 0:
        return "outside the target"
    if visible < VISIBLE:
        return f"the target shows {visible:.0%} of it (at least {VISIBLE:.0%})"
    return f"{side_px:.1f} px wide in the target (at least {SIDE_PX:g})"


def _touches(boxes: Float64, size: Size) -> npt.NDArray[np.bool_]:
    limit = np.array(size, np.float64)
    return np.asarray((boxes[:, :2] <= EDGE_PX).any(axis=1) | (boxes[:, 2:] >= limit - EDGE_PX).any(axis=1), np.bool_)


def _same(box: Float64, other: Float64, is_cut: bool) -> bool:
    if box_iou(box, other)[0, 0] > SAME_IOU:
        return True
    if not is_cut:
        return False
    shared = areas(np.concatenate([np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])]))
    area = areas(box)
    return bool(area > 0 and shared / area > SAME_IOU)

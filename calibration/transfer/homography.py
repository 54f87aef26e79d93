"""Plane projective maps between two pictures of one field: points, boxes, polygons, and what a map does to the field's shape.

Pure geometry in double precision; how a map is found is in `registration`. Positions follow OpenCV: (0, 0) is the middle of the first
pixel. Edges of boxes in label files count from the first pixel's outer edge; `for_box_edges` turns a map into one for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

Size = tuple[int, int]
"""Width and height in px."""


@dataclass(frozen=True, eq=False)
class ProjectedBoxes:
    """Boxes seen through a map. corners: (N, 4, 2), clockwise from the first; aabb: (N, 4) x1 y1 x2 y2 around them; clipped: aabb
    within the target picture; visible: (N,) share of the aabb's area that is left. All float64, px of the target."""

    corners: Float64
    aabb: Float64
    clipped: Float64
    visible: Float64


@dataclass(frozen=True)
class Shape:
    """What a map does to a field.

    scale: √|det| of its Jacobian in the field's middle. rotation_deg: of the nearest rotation there, clockwise as the picture is seen,
    -180 to 180. mirrored: whether the field is turned over. side_ratio: largest over smallest enlargement of the field's four sides.
    perspective: largest relative change of the map's denominator over the field. convex: whether the four corners stay a convex quad.
    """

    scale: float
    rotation_deg: float
    mirrored: bool
    side_ratio: float
    perspective: float
    convex: bool


def map_points(h: Float64, points: npt.ArrayLike) -> Float64:
    """Points (..., 2) through the 3x3 map `h`; points that it sends to infinity come back as NaN."""
    p = np.asarray(points, np.float64)
    x, y = p[..., 0], p[..., 1]
    w = h[2, 0] * x + h[2, 1] * y + h[2, 2]
    w = np.where(np.abs(w) < 1e-12, np.nan, w)
    u = (h[0, 0] * x + h[0, 1] * y + h[0, 2]) / w
    v = (h[1, 0] * x + h[1, 1] * y + h[1, 2]) / w
    return np.asarray(np.stack([u, v], axis=-1), np.float64)


def resized(scale_x: float, scale_y: float | None = None) -> Float64:
    """Map from a picture to its copy resized by these factors: x' = s (x + 1/2) - 1/2, because pixels have their middle at 0."""
    sx, sy = scale_x, scale_x if scale_y is None else scale_y
    return np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]], np.float64)


def shifted(dx: float, dy: float) -> Float64:
    """Map that adds (dx, dy) px."""
    return np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1]], np.float64)


def for_box_edges(h: Float64) -> Float64:
    """The same map for positions counted from the first pixel's outer edge, as label files give boxes (0 to width)."""
    return shifted(0.5, 0.5) @ h @ shifted(-0.5, -0.5)


def field_corners(size: Size) -> Float64:
    """The outer corners (4, 2) of a picture, clockwise from the top left, in pixel-middle positions."""
    width, height = size
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64) - 0.5


def box_corners(boxes: npt.ArrayLike) -> Float64:
    """Corners (N, 4, 2) of boxes (N, 4) x1 y1 x2 y2, clockwise from the first."""
    b = np.asarray(boxes, np.float64).reshape(-1, 4)
    return b[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]


def project_boxes(h: Float64, boxes: npt.ArrayLike, target_size: Size) -> ProjectedBoxes:
    """Boxes (N, 4) through `h`: their corners, the box around these, that box within the target (0 to width, 0 to height)."""
    corners = map_points(h, box_corners(boxes))
    aabb = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    limit = np.array([*target_size, *target_size], np.float64)
    clipped = np.clip(aabb, 0, limit)
    whole, left = areas(aabb), areas(clipped)
    visible = np.divide(left, whole, out=np.zeros_like(whole), where=whole > 0)
    return ProjectedBoxes(corners, aabb, clipped, visible)


def areas(boxes: Float64) -> Float64:
    """Areas of boxes (N, 4) in px²."""
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def shape_of(h: Float64, size: Size) -> Shape:
    """What `h` does to a field of this size. Never raises: a map that is none at all comes back as not convex."""
    width, height = size
    cx, cy = (width - 1) / 2, (height - 1) / 2
    corners = field_corners(size)
    w = h[2, 0] * corners[:, 0] + h[2, 1] * corners[:, 1] + h[2, 2]
    middle = h[2, 0] * cx + h[2, 1] * cy + h[2, 2]
    if not np.isfinite(h).all() or abs(middle) < 1e-12 or (w * middle <= 0).any():
        return Shape(0.0, 0.0, False, float("inf"), float("inf"), False)
    u, v = map_points(h, (cx, cy))
    jacobian = (h[:2, :2] - np.outer((u, v), h[2, :2])) / middle
    determinant = float(np.linalg.det(jacobian))
    straight = jacobian if determinant >= 0 else jacobian @ np.diag([-1.0, 1.0])
    rotation = np.degrees(np.arctan2(straight[1, 0] - straight[0, 1], straight[0, 0] + straight[1, 1]))
    quad = map_points(h, corners)
    edges = np.roll(quad, -1, axis=0) - quad
    turns = edges[:, 0] * np.roll(edges[:, 1], -1) - edges[:, 1] * np.roll(edges[:, 0], -1)
    enlarged = np.hypot(edges[:, 0], edges[:, 1]) / (width, height, width, height)
    ratio = float(enlarged.max() / enlarged.min()) if enlarged.min() > 0 else float("inf")
    return Shape(
        scale=float(np.sqrt(abs(determinant))),
        rotation_deg=float(rotation),
        mirrored=determinant < 0,
        side_ratio=ratio,
        perspective=float(np.abs(w / middle - 1).max()),
        convex=bool((turns > 0).all() or (turns < 0).all()),
    )


def polygon_area(polygon: npt.ArrayLike) -> float:
    """Area of a simple polygon (N, 2)."""
    return abs(_signed_area(np.asarray(polygon, np.float64).reshape(-1, 2)))


def clip_polygon(polygon: Float64, window: Float64) -> Float64:
    """The part of a convex polygon (N, 2) within the convex polygon `window`; (0, 2) where there is none."""
    for a, b in _edges(window):
        polygon = _half(polygon, a, b)
    return polygon


def outside(window: Float64, holes: Iterable[Float64]) -> list[Float64]:
    """What convex `holes` leave of the convex polygon `window`, as convex polygons that do not overlap."""
    pieces = [window]
    for hole in holes:
        left: list[Float64] = []
        for piece in pieces:
            rest = piece
            for a, b in _edges(hole):
                left.append(_half(rest, b, a))
                rest = _half(rest, a, b)
        pieces = [piece for piece in left if polygon_area(piece) > _SLIVER_PX2]
    return pieces


_SLIVER_PX2 = 0.5
"""Less than that is rounding along an edge, no region."""


def rectangle(size: Size) -> Float64:
    """A picture's outline (4, 2) as label files count, 0 to width and height."""
    return field_corners(size) + 0.5


def compose(maps: Sequence[Float64]) -> Float64:
    """One map for several, the first applied first; its last element is 1."""
    whole: Float64 = np.eye(3)
    for h in maps:
        whole = h @ whole
    return np.asarray(whole / whole[2, 2], np.float64)


def _signed_area(polygon: Float64) -> float:
    """Positive where the corners go clockwise as the picture is seen."""
    q = np.roll(polygon, -1, axis=0)
    return float(np.sum(polygon[:, 0] * q[:, 1] - q[:, 0] * polygon[:, 1]) / 2)


def _edges(polygon: Float64) -> list[tuple[Float64, Float64]]:
    """Start and end of each edge, clockwise."""
    clockwise = polygon if _signed_area(polygon) >= 0 else polygon[::-1]
    return list(zip(clockwise, np.roll(clockwise, -1, axis=0), strict=True))


def _half(polygon: Float64, a: Float64, b: Float64) -> Float64:
    """The part of a convex polygon on the right of the line from a to b as the picture is seen, its inside for a clockwise edge."""
    side = (b[0] - a[0]) * (polygon[:, 1] - a[1]) - (b[1] - a[1]) * (polygon[:, 0] - a[0])
    next_corner, next_side = np.roll(polygon, -1, axis=0), np.roll(side, -1)
    crosses = side * next_side < 0
    share = np.divide(side, side - next_side, out=np.zeros_like(side), where=crosses)
    candidates = np.stack([polygon, polygon + (next_corner - polygon) * share[:, None]], axis=1)
    kept: Float64 = candidates[np.stack([side >= 0, crosses], axis=1)]
    return kept if len(kept) >= 3 else kept[:0]

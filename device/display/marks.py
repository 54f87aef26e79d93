"""Shapes that are not text: boxes on the picture, markers of types, lamps, bars, plates, key caps. No layout, no words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from device.display import text
from device.display.layout import Rect
from device.display.palette import LEVELS, Colour
from engines.detections import Image

_OVERSAMPLE = 8
"""Shapes are drawn this many times larger and averaged down, for smooth edges."""


def fill(canvas: Image, rect: Rect, colour: Colour) -> None:
    """Paint a plain rectangle; what lies outside the canvas is cut off. (OpenCV does it thirty times faster than a numpy slice.)"""
    x0, y0, x1, y1 = rect
    if x1 > x0 and y1 > y0:
        cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), colour, cv2.FILLED)


def blank(width: int, height: int, colour: Colour) -> Image:
    """A new plain picture, (height, width, 3)."""
    picture = np.empty((height, width, 3), np.uint8)
    fill(picture, Rect(0, 0, width, height), colour)
    return picture


def outline(canvas: Image, rect: Rect, thick: int, colour: Colour) -> None:
    """Paint the rectangle's edge, `thick` px inwards."""
    fill(canvas, Rect(rect.x0, rect.y0, rect.x1, rect.y0 + thick), colour)
    fill(canvas, Rect(rect.x0, rect.y1 - thick, rect.x1, rect.y1), colour)
    fill(canvas, Rect(rect.x0, rect.y0 + thick, rect.x0 + thick, rect.y1 - thick), colour)
    fill(canvas, Rect(rect.x1 - thick, rect.y0 + thick, rect.x1, rect.y1 - thick), colour)


def dashed(canvas: Image, rect: Rect, thick: int, dash_px: int, colour: Colour, ground: Colour) -> None:
    """Like `outline`, in dashes with gaps of the same length in `ground`; corners are always drawn."""
    outline(canvas, rect, thick, ground)
    for begin, end in _dashes(rect.x0, rect.width, dash_px):
        fill(canvas, Rect(begin, rect.y0, end, rect.y0 + thick), colour)
        fill(canvas, Rect(begin, rect.y1 - thick, end, rect.y1), colour)
    for begin, end in _dashes(rect.y0, rect.height, dash_px):
        fill(canvas, Rect(rect.x0, begin, rect.x0 + thick, end), colour)
        fill(canvas, Rect(rect.x1 - thick, begin, rect.x1, end), colour)


def _dashes(start: int, length: int, dash_px: int) -> zip[tuple[int, int]]:
    """Where the dashes of a line begin and end: it begins and ends with one, in an odd number of parts of nearly `dash_px` each."""
    parts = max(1, round(length / dash_px) // 2 * 2 + 1)
    edges = [start + round(length * i / parts) for i in range(parts + 1)]
    return zip(edges[::2], edges[1::2], strict=True)


def corners(canvas: Image, rect: Rect, thick: int, arm_px: int, colour: Colour) -> None:
    """Paint four brackets at the rectangle's corners, `thick` px inwards, arms of at most `arm_px`."""
    across, down = min(arm_px, rect.width // 3), min(arm_px, rect.height // 3)
    for y0, y1 in ((rect.y0, rect.y0 + thick), (rect.y1 - thick, rect.y1)):
        fill(canvas, Rect(rect.x0, y0, rect.x0 + across, y1), colour)
        fill(canvas, Rect(rect.x1 - across, y0, rect.x1, y1), colour)
    for x0, x1 in ((rect.x0, rect.x0 + thick), (rect.x1 - thick, rect.x1)):
        fill(canvas, Rect(x0, rect.y0, x1, rect.y0 + down), colour)
        fill(canvas, Rect(x0, rect.y1 - down, x1, rect.y1), colour)


class _Stroke(NamedTuple):
    """A filled polygon, a line (thick > 0), or around the one point a circle or an arc; measures in shares of the shape's size."""

    points: Sequence[tuple[float, float]]
    thick: float = 0.0
    radius: float = 0.0
    ink: int = 255
    arc: tuple[int, int] | None = None  # degrees, clockwise from the right


_MIDDLE = [(0.5, 0.5)]
_SQUARE = _Stroke([(0.12, 0.12), (0.88, 0.12), (0.88, 0.88), (0.12, 0.88)])
_TRIANGLE = _Stroke([(0.5, 0.06), (0.98, 0.92), (0.02, 0.92)])
_CELLS = ((0.4, 0.42, 0.17, 0.1), (0.68, 0.56, 0.1, 0.055), (0.42, 0.74, 0.07, 0.04))
"""Of the lens: x, y, radius and the radius of the nucleus."""
_SHAPES: dict[str, Sequence[_Stroke]] = {
    "disc": [_Stroke(_MIDDLE, radius=0.42)],
    "ring": [_Stroke(_MIDDLE, 0.15, 0.36)],
    "square": [_SQUARE],
    "diamond": [
        _Stroke([(0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)]),
        _Stroke([(0.5, 0.26), (0.74, 0.5), (0.5, 0.74), (0.26, 0.5)], ink=0),
        _Stroke([(0.5, 0.38), (0.62, 0.5), (0.5, 0.62), (0.38, 0.5)]),
    ],
    "triangle": [_TRIANGLE],
    # Of groups: the type is open.
    "open disc": [_Stroke(_MIDDLE, 0.13, 0.36)],
    "open square": [_SQUARE, _Stroke([(0.27, 0.27), (0.73, 0.27), (0.73, 0.73), (0.27, 0.73)], ink=0)],
    "open diamond": [
        _Stroke([(0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)]),
        _Stroke([(0.5, 0.2), (0.8, 0.5), (0.5, 0.8), (0.2, 0.5)], ink=0),
    ],
    "open triangle": [_TRIANGLE, _Stroke([(0.5, 0.36), (0.74, 0.78), (0.26, 0.78)], ink=0)],
    "cross": [_Stroke([(0.18, 0.18), (0.82, 0.82)], 0.13), _Stroke([(0.82, 0.18), (0.18, 0.82)], 0.13)],
    "failed": [_SQUARE, _Stroke([(0.3, 0.3), (0.7, 0.7)], 0.11, ink=0), _Stroke([(0.7, 0.3), (0.3, 0.7)], 0.11, ink=0)],
    "alert": [_TRIANGLE, _Stroke([(0.5, 0.4), (0.5, 0.62)], 0.1, ink=0), _Stroke([(0.5, 0.79)], radius=0.06, ink=0)],
    "question": [
        _Stroke([(0.5, 0.32)], 0.12, 0.22, arc=(180, 420)),
        _Stroke([(0.5, 0.56), (0.5, 0.68)], 0.12),
        _Stroke([(0.5, 0.88)], radius=0.08),
    ],
    "tick": [_Stroke([(0.12, 0.52), (0.4, 0.8), (0.9, 0.2)], 0.15)],
    "arrows": [
        _Stroke([(0.2, 0.5), (0.8, 0.5)], 0.1),
        _Stroke([(0, 0.5), (0.3, 0.22), (0.3, 0.78)]),
        _Stroke([(1, 0.5), (0.7, 0.22), (0.7, 0.78)]),
    ],
    # A field of view with three cells: the calm picture of the start screen.
    "lens": [
        _Stroke(_MIDDLE, 0.02, 0.47),
        *(_Stroke([(x, y)], 0.016, r) for x, y, r, _ in _CELLS),
        *(_Stroke([(x + 0.012, y - 0.008)], radius=nucleus, ink=150) for x, y, _, nucleus in _CELLS),
    ],
}


def marker(kind: str, size_px: int, colour: Colour, ground: Colour) -> Image:
    """The marker of a type, (size_px, size_px, 3), read-only. Kinds: see `_SHAPES`; KeyError for others."""
    return text.as_seen(_marker(kind, size_px, colour, ground))


@lru_cache(maxsize=128)
def _marker(kind: str, size_px: int, colour: Colour, ground: Colour) -> Image:
    big = size_px * _OVERSAMPLE
    alpha = np.zeros((big, big), np.uint8)
    for points, thick, radius, ink, arc in _SHAPES[kind]:
        at = (np.array(points) * big).round().astype(np.int32)
        line, r = round(big * thick) if thick else cv2.FILLED, round(big * radius)
        if arc:
            cv2.ellipse(alpha, at[0].tolist(), (r, r), 0, *arc, (ink,), line)
        elif radius:
            cv2.circle(alpha, at[0].tolist(), r, (ink,), line)
        elif thick:
            cv2.polylines(alpha, [at], False, (ink,), line)
        else:
            cv2.fillPoly(alpha, [at], (ink,))
    return text.blend(cv2.resize(alpha, (size_px, size_px), interpolation=cv2.INTER_AREA).astype(np.uint8), colour, ground)


def lamp(level: str, size_px: int, ground: Colour) -> Image:
    """State of a part by shape and colour: disc = ok, ring = busy, triangle = warning, crossed square = failed."""
    return marker({"ok": "disc", "busy": "ring", "warn": "alert", "fail": "failed"}[level], size_px, LEVELS[level], ground)


@lru_cache(maxsize=64)
def plate(width: int, height: int, radius: int, colour: Colour, ground: Colour) -> Image:
    """A rectangle with round corners, (height, width, 3), read-only."""
    alpha = np.full((height, width), 255, np.uint8)
    r = min(radius, width // 2, height // 2)
    if r > 0:
        y, x = np.mgrid[0:r, 0:r]
        distance = np.hypot(r - 0.5 - x, r - 0.5 - y)
        corner = (np.clip(r + 0.5 - distance, 0, 1) * 255).astype(np.uint8)
        alpha[:r, :r], alpha[:r, -r:] = corner, corner[:, ::-1]
        alpha[-r:, :r], alpha[-r:, -r:] = corner[::-1], corner[::-1, ::-1]
    return text.blend(alpha, colour, ground)

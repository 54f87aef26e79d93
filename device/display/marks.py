"""Shapes that are not text: boxes on the picture, markers of types, lamps, bars, plates, key caps. No layout, no words."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from device.display import text
from device.display.layout import Rect
from device.display.palette import BUSY, FAIL, OK, WARN, Colour
from engines.detections import Image

_OVERSAMPLE = 8
"""Shapes are drawn this many times larger and averaged down, for smooth edges."""


def fill(canvas: Image, rect: Rect, colour: Colour) -> None:
    """Paint a plain rectangle; what lies outside the canvas is cut off. (OpenCV does it thirty times faster than a numpy slice.)"""
    x0, y0, x1, y1 = rect
    if x1 > x0 and y1 > y0:
        cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), colour, cv2.FILLED)


def outline(canvas: Image, rect: Rect, thick: int, colour: Colour) -> None:
    """Paint the rectangle's edge, `thick` px inwards."""
    fill(canvas, Rect(rect.x0, rect.y0, rect.x1, rect.y0 + thick), colour)
    fill(canvas, Rect(rect.x0, rect.y1 - thick, rect.x1, rect.y1), colour)
    fill(canvas, Rect(rect.x0, rect.y0 + thick, rect.x0 + thick, rect.y1 - thick), colour)
    fill(canvas, Rect(rect.x1 - thick, rect.y0 + thick, rect.x1, rect.y1 - thick), colour)


def grow(rect: Rect, px: int) -> Rect:
    """The rectangle with `px` more on every side (fewer if negative)."""
    return Rect(rect.x0 - px, rect.y0 - px, rect.x1 + px, rect.y1 + px)


def dashed(canvas: Image, rect: Rect, thick: int, dash_px: int, colour: Colour, ground: Colour) -> None:
    """Like `outline`, in dashes with gaps of the same length in `ground`; corners are always drawn."""
    across = _dashes(rect.width, thick, dash_px, colour, ground)
    down = _dashes(rect.height, thick, dash_px, colour, ground, True)
    text.paste(canvas, across, rect.x0, rect.y0)
    text.paste(canvas, across, rect.x0, rect.y1 - thick)
    text.paste(canvas, down, rect.x0, rect.y0)
    text.paste(canvas, down, rect.x1 - thick, rect.y0)


@lru_cache(maxsize=256)
def _dashes(length: int, thick: int, dash_px: int, colour: Colour, ground: Colour, down: bool = False) -> Image:
    """A line that begins and ends with a dash: an odd number of parts, nearly `dash_px` each. Read-only."""
    picture = np.empty((thick, length, 3), np.uint8)
    picture[:] = ground
    parts = max(1, round(length / dash_px) // 2 * 2 + 1)
    edges = [round(length * i / parts) for i in range(parts + 1)]
    for i in range(0, parts, 2):
        fill(picture, Rect(edges[i], 0, edges[i + 1], thick), colour)
    if down:
        picture = picture.transpose(1, 0, 2).copy()
    picture.setflags(write=False)
    return picture


def corners(canvas: Image, rect: Rect, thick: int, arm_px: int, colour: Colour) -> None:
    """Paint four brackets at the rectangle's corners, `thick` px inwards, arms of at most `arm_px`."""
    across, down = min(arm_px, rect.width // 3), min(arm_px, rect.height // 3)
    for y0, y1 in ((rect.y0, rect.y0 + thick), (rect.y1 - thick, rect.y1)):
        fill(canvas, Rect(rect.x0, y0, rect.x0 + across, y1), colour)
        fill(canvas, Rect(rect.x1 - across, y0, rect.x1, y1), colour)
    for x0, x1 in ((rect.x0, rect.x0 + thick), (rect.x1 - thick, rect.x1)):
        fill(canvas, Rect(x0, rect.y0, x1, rect.y0 + down), colour)
        fill(canvas, Rect(x0, rect.y1 - down, x1, rect.y1), colour)


Pen = Callable[[NDArray[np.uint8], float], None]


@lru_cache(maxsize=128)
def marker(kind: str, size_px: int, colour: Colour, ground: Colour) -> Image:
    """The marker of a type, (size_px, size_px, 3), read-only. Kinds: see `_SHAPES`; KeyError for others."""
    return text.blend(_shape(_SHAPES[kind], size_px), colour, ground)


def lamp(level: str, size_px: int, ground: Colour) -> Image:
    """State of a part by shape and colour: disc = ok, ring = busy, triangle = warning, crossed square = failed."""
    kind, colour = {"ok": ("disc", OK), "busy": ("ring", BUSY), "warn": ("alert", WARN), "fail": ("failed", FAIL)}[level]
    return marker(kind, size_px, colour, ground)


def _shape(pen: Pen, size_px: int) -> NDArray[np.uint8]:
    big = np.zeros((size_px * _OVERSAMPLE, size_px * _OVERSAMPLE), np.uint8)
    pen(big, float(size_px * _OVERSAMPLE))
    return np.asarray(cv2.resize(big, (size_px, size_px), interpolation=cv2.INTER_AREA))


def _polygon(alpha: NDArray[np.uint8], points: list[tuple[float, float]], value: int = 255) -> None:
    cv2.fillPoly(alpha, [np.array(points).round().astype(np.int32)], (value,))


def _disc(a: NDArray[np.uint8], s: float) -> None:
    cv2.circle(a, (round(s / 2), round(s / 2)), round(s * 0.42), (255,), -1)


def _ring(a: NDArray[np.uint8], s: float) -> None:
    cv2.circle(a, (round(s / 2), round(s / 2)), round(s * 0.36), (255,), round(s * 0.15))


def _square(a: NDArray[np.uint8], s: float) -> None:
    _polygon(a, [(s * 0.12, s * 0.12), (s * 0.88, s * 0.12), (s * 0.88, s * 0.88), (s * 0.12, s * 0.88)])


def _diamond(a: NDArray[np.uint8], s: float) -> None:
    _polygon(a, [(s / 2, 0), (s, s / 2), (s / 2, s), (0, s / 2)])
    _polygon(a, [(s / 2, s * 0.26), (s * 0.74, s / 2), (s / 2, s * 0.74), (s * 0.26, s / 2)], 0)
    _polygon(a, [(s / 2, s * 0.38), (s * 0.62, s / 2), (s / 2, s * 0.62), (s * 0.38, s / 2)])


def _triangle(a: NDArray[np.uint8], s: float) -> None:
    _polygon(a, [(s / 2, s * 0.06), (s * 0.98, s * 0.92), (s * 0.02, s * 0.92)])


def _cross(a: NDArray[np.uint8], s: float) -> None:
    for p, q in (((0.18, 0.18), (0.82, 0.82)), ((0.82, 0.18), (0.18, 0.82))):
        cv2.line(a, (round(s * p[0]), round(s * p[1])), (round(s * q[0]), round(s * q[1])), (255,), round(s * 0.13))


def _failed(a: NDArray[np.uint8], s: float) -> None:
    _square(a, s)
    for p, q in (((0.3, 0.3), (0.7, 0.7)), ((0.7, 0.3), (0.3, 0.7))):
        cv2.line(a, (round(s * p[0]), round(s * p[1])), (round(s * q[0]), round(s * q[1])), (0,), round(s * 0.11))


def _alert(a: NDArray[np.uint8], s: float) -> None:
    _triangle(a, s)
    cv2.line(a, (round(s / 2), round(s * 0.4)), (round(s / 2), round(s * 0.62)), (0,), round(s * 0.1))
    cv2.circle(a, (round(s / 2), round(s * 0.79)), round(s * 0.06), (0,), -1)


def _question(a: NDArray[np.uint8], s: float) -> None:
    cv2.ellipse(a, (round(s / 2), round(s * 0.32)), (round(s * 0.22), round(s * 0.22)), 0, 180, 420, (255,), round(s * 0.12))
    cv2.line(a, (round(s * 0.5), round(s * 0.56)), (round(s * 0.5), round(s * 0.68)), (255,), round(s * 0.12))
    cv2.circle(a, (round(s / 2), round(s * 0.88)), round(s * 0.08), (255,), -1)


def _tick(a: NDArray[np.uint8], s: float) -> None:
    points = np.array([[0.12, 0.52], [0.4, 0.8], [0.9, 0.2]]) * s
    cv2.polylines(a, [points.round().astype(np.int32)], False, (255,), round(s * 0.15))


def _arrows(a: NDArray[np.uint8], s: float) -> None:
    cv2.line(a, (round(s * 0.2), round(s / 2)), (round(s * 0.8), round(s / 2)), (255,), round(s * 0.1))
    _polygon(a, [(0, s / 2), (s * 0.3, s * 0.22), (s * 0.3, s * 0.78)])
    _polygon(a, [(s, s / 2), (s * 0.7, s * 0.22), (s * 0.7, s * 0.78)])


def _lens(a: NDArray[np.uint8], s: float) -> None:
    """A field of view with three cells: the calm picture of the start screen."""
    cv2.circle(a, (round(s / 2), round(s / 2)), round(s * 0.47), (255,), round(s * 0.02))
    for x, y, r, nucleus in ((0.4, 0.42, 0.17, 0.1), (0.68, 0.56, 0.1, 0.055), (0.42, 0.74, 0.07, 0.04)):
        cv2.circle(a, (round(s * x), round(s * y)), round(s * r), (255,), round(s * 0.016))
        cv2.circle(a, (round(s * (x + 0.012)), round(s * (y - 0.008))), round(s * nucleus), (150,), -1)


_SHAPES: dict[str, Pen] = {
    "disc": _disc,
    "ring": _ring,
    "square": _square,
    "diamond": _diamond,
    "triangle": _triangle,
    "cross": _cross,
    "failed": _failed,
    "alert": _alert,
    "question": _question,
    "tick": _tick,
    "arrows": _arrows,
    "lens": _lens,
}


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


def leader(canvas: Image, start: tuple[int, int], end: tuple[int, int], thick: int, colour: Colour, halo: Colour) -> None:
    """A thin line with a dark edge that ties a label to its cell."""
    cv2.line(canvas, start, end, halo, thick + 3, cv2.LINE_AA)
    cv2.line(canvas, start, end, colour, thick, cv2.LINE_AA)

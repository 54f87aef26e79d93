"""Boxes around cells: one line, two and corner brackets for blasts, dashes for the unidentified, a thin grey one for artefacts.

A group told without its type has long dashes (of a blast the inner line); a box that waits for its second look has corners only.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np

from device.display import marks
from device.display.layout import Rect, Unit
from device.display.palette import HALO, NOT_LOOKED_AT, UNIDENTIFIED, TypeStyle, mix
from device.display.text import Piece, finished
from engines.detections import Image


def box_pieces(box: Rect, style: TypeStyle, unit: Unit) -> list[Piece]:
    """The box of a cell or an artefact in finished pictures, to be pasted in this order.

    Sides are painted once for each length: there are few lengths and many boxes, and to copy them takes half as long as to paint.
    """
    if style is NOT_LOOKED_AT:
        return _corner_pieces(box, unit)
    outside, thick = _ink(style, unit)
    outer = box.grow(outside)
    if min(outer.width, outer.height) <= 2 * thick:  # all of it is ink
        return [(_box(outer.width, outer.height, style, unit), outer.x0, outer.y0)]
    top, bottom = _sides(outer.width, style, False, unit)
    left, right = _sides(outer.height, style, True, unit)
    pieces = [
        (top, outer.x0, outer.y0),
        (bottom, outer.x0, outer.y1 - thick),
        (left, outer.x0, outer.y0 + thick),
        (right, outer.x1 - thick, outer.y0 + thick),
    ]
    if _bracketed(box, style, unit):
        outer = outer.grow(_bracket_outside(unit))
        for picture, at_right, at_bottom in _brackets(style, unit):
            height, width = picture.shape[:2]
            pieces.append((picture, outer.x1 - width if at_right else outer.x0, outer.y1 - height if at_bottom else outer.y0))
    return pieces


def _corner_pieces(box: Rect, unit: Unit) -> list[Piece]:
    """Four brackets with dark edges; they shrink with a small box."""
    outer = box.grow(unit(2) + 2)
    pieces = []
    for picture, at_right, at_bottom in _corner_arms(min(unit(28), min(outer.width, outer.height) // 3), unit):
        height, width = picture.shape[:2]
        pieces.append((picture, outer.x1 - width if at_right else outer.x0, outer.y1 - height if at_bottom else outer.y0))
    return pieces


@lru_cache(maxsize=64)
def _corner_arms(arm: int, unit: Unit) -> tuple[tuple[Image, bool, bool], ...]:
    """The two arms of each bracket, `arm` px long, and whether it lies at the right and at the bottom. Read-only."""
    deep, size = unit(4) + 4, 4 * max(arm, unit(4) + 4)
    picture = marks.blank(size, size, HALO)
    marks.corners(picture, Rect(2, 2, size - 2, size - 2), unit(4), max(1, arm - 4), NOT_LOOKED_AT.colour)
    return _arms(picture, deep, max(arm, deep))


def _arms(picture: Image, deep: int, arm: int) -> tuple[tuple[Image, bool, bool], ...]:
    """The arms of the brackets at the corners of `picture`, `deep` px thick, and whether each lies at the right and at the bottom."""
    arms = []
    for (high, wide), at_bottom, at_right in product(((deep, arm), (arm, deep)), (False, True), (False, True)):
        rows = slice(-high, None) if at_bottom else slice(high)
        columns = slice(-wide, None) if at_right else slice(wide)
        arms.append((finished(picture[rows, columns].copy()), at_right, at_bottom))
    return tuple(arms)


def _bracketed(box: Rect, style: TypeStyle, unit: Unit) -> bool:
    """Whether a blast's box has brackets too; on small cells the two lines say it alone."""
    return style.blast and min(box.width, box.height) >= unit(90)


def _ink(style: TypeStyle, unit: Unit) -> tuple[int, int]:
    """How far the lines of a box without brackets reach outside it, and how thick they are with their dark edges, in px."""
    dark = unit(2)
    if style.artefact:
        return 1, unit(1) + 2
    if style.blast:  # two lines, as far apart as they are thick
        thick = unit(3)
        return thick // 2 + 2 * thick + dark, 3 * thick + 2 * dark
    thick = unit(4)
    return thick // 2 + dark, thick + 2 * dark


def _bracket_outside(unit: Unit) -> int:
    """How much farther than the lines the brackets reach."""
    return unit(5) - unit(2)


@lru_cache(maxsize=64)
def _box(width: int, height: int, style: TypeStyle, unit: Unit, brackets_px: int = 0) -> Image:
    """A box that is so large with all its ink, and with brackets that reach `brackets_px` farther. Read-only."""
    picture = np.empty((height, width, 3), np.uint8)
    _paint(picture, Rect(0, 0, width, height).grow(-_ink(style, unit)[0] - brackets_px), style, unit)
    return finished(picture)


@lru_cache(maxsize=512)
def _sides(length: int, style: TypeStyle, down: bool, unit: Unit) -> tuple[Image, Image]:
    """The upper and lower side of a box that is `length` px wide with all its ink, or left and right one of one so high, without ends.

    Read-only.
    """
    thick = _ink(style, unit)[1]
    other = 4 * thick  # how long the two sides are that are not wanted
    if down:
        inner = _box(other, length, style, unit)[thick:-thick]
        return finished(inner[:, :thick].copy()), finished(inner[:, -thick:].copy())
    picture = _box(length, other, style, unit)
    return finished(picture[:thick].copy()), finished(picture[-thick:].copy())


@lru_cache(maxsize=32)
def _brackets(style: TypeStyle, unit: Unit) -> tuple[tuple[Image, bool, bool], ...]:
    """The arms of the brackets, with the lines that lie on them, and whether each lies at the right and at the bottom. Read-only."""
    outside, thick = _ink(style, unit)
    arm, farther = unit(30) + 2 * unit(2), _bracket_outside(unit)
    deep = max(unit(9), thick + farther)
    size = 4 * arm + 2 * (outside + farther) + unit(90)
    picture = _box(size, size, style, unit, farther)
    return _arms(picture, deep, arm)


def _paint(place: Image, box: Rect, style: TypeStyle, unit: Unit) -> None:
    """The box line by line, on its dark edges."""
    outside, inked = _ink(style, unit)
    if style.artefact:
        marks.outline(place, box.grow(outside), inked, mix(HALO, style.colour, 0.6))
        marks.outline(place, box, unit(1), style.colour)
        return
    thick = unit(3 if style.blast else 4)
    edge = box.grow(thick // 2)
    outer, bracketed = edge.grow(2 * thick), _bracketed(box, style, unit)
    if bracketed:
        marks.corners(place, outer.grow(unit(5)), unit(9), unit(30) + 2 * unit(2), HALO)
    marks.outline(place, box.grow(outside), inked, HALO)
    if style is UNIDENTIFIED:
        marks.dashed(place, edge, thick, unit(14), style.colour, HALO)
    elif style.open:
        marks.dashed(place, edge, thick, unit(36), style.colour, HALO)
    else:
        marks.outline(place, edge, thick, style.colour)
    if style.blast:
        marks.outline(place, outer, thick, style.colour)
    if bracketed:
        marks.corners(place, outer.grow(unit(3)), unit(6), unit(30), style.colour)

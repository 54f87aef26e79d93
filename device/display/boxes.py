"""Boxes around cells: one line, two and corner brackets for blasts, dashes for the unidentified, a thin grey one for artefacts."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from device.display import marks
from device.display.layout import Rect, Unit
from device.display.palette import HALO, TEXT, TypeStyle, mix
from device.display.text import Piece
from engines.detections import Image


def box_pieces(box: Rect, style: TypeStyle | None, unit: Unit) -> list[Piece]:
    """The box of a cell or an artefact in finished pictures, to be pasted in this order; style None: unidentified.

    Sides are painted once for each length: there are few lengths and many boxes, and to copy them takes half as long as to paint.
    """
    outside, thick = _ink(style, unit)
    outer = marks.grow(box, outside)
    if min(outer.width, outer.height) <= 2 * thick:  # all of it is ink
        return [(_whole(outer.width, outer.height, style, unit), outer.x0, outer.y0)]
    top, bottom = _sides(outer.width, style, False, unit)
    left, right = _sides(outer.height, style, True, unit)
    pieces = [
        (top, outer.x0, outer.y0),
        (bottom, outer.x0, outer.y1 - thick),
        (left, outer.x0, outer.y0 + thick),
        (right, outer.x1 - thick, outer.y0 + thick),
    ]
    if _bracketed(box, style, unit):
        assert style is not None
        outer = marks.grow(outer, _bracket_outside(unit))
        for picture, at_right, at_bottom in _brackets(style, unit):
            height, width = picture.shape[:2]
            pieces.append((picture, outer.x1 - width if at_right else outer.x0, outer.y1 - height if at_bottom else outer.y0))
    return pieces


def _bracketed(box: Rect, style: TypeStyle | None, unit: Unit) -> bool:
    """Whether a blast's box has brackets too; on small cells the two lines say it alone."""
    return style is not None and style.blast and min(box.width, box.height) >= unit(90)


def _ink(style: TypeStyle | None, unit: Unit) -> tuple[int, int]:
    """How far the lines of a box without brackets reach outside it, and how thick they are with their dark edges, in px."""
    thick, dark = unit(4), unit(2)
    if style is not None and style.artefact:
        return 1, unit(1) + 2
    if style is not None and style.blast:
        thick = gap = unit(3)
        return thick // 2 + gap + thick + dark, 2 * thick + gap + 2 * dark
    return thick // 2 + dark, thick + 2 * dark


def _bracket_outside(unit: Unit) -> int:
    """How much farther than the lines the brackets reach."""
    return unit(5) - unit(2)


@lru_cache(maxsize=64)
def _whole(width: int, height: int, style: TypeStyle | None, unit: Unit) -> Image:
    """A box that is so large with all its ink. Read-only."""
    picture = np.empty((height, width, 3), np.uint8)
    _paint(picture, marks.grow(Rect(0, 0, width, height), -_ink(style, unit)[0]), style, unit)
    picture.setflags(write=False)
    return picture


@lru_cache(maxsize=512)
def _sides(length: int, style: TypeStyle | None, down: bool, unit: Unit) -> tuple[Image, Image]:
    """The upper and lower side of a box that is `length` px wide with all its ink, or left and right one of one so high, without ends.

    Read-only.
    """
    outside, thick = _ink(style, unit)
    other = 4 * thick  # how long the two sides are that are not wanted
    width, height = (other, length) if down else (length, other)
    picture = np.empty((height, width, 3), np.uint8)
    _paint(picture, marks.grow(Rect(0, 0, width, height), -outside), style, unit)
    inner = picture[thick:-thick]
    first, second = (inner[:, :thick], inner[:, -thick:]) if down else (picture[:thick], picture[-thick:])
    return _kept(first), _kept(second)


@lru_cache(maxsize=32)
def _brackets(style: TypeStyle, unit: Unit) -> tuple[tuple[Image, bool, bool], ...]:
    """The arms of the brackets, with the lines that lie on them, and whether each lies at the right and at the bottom. Read-only."""
    outside, thick = _ink(style, unit)
    arm = unit(30) + 2 * unit(2)
    outside += _bracket_outside(unit)
    deep = max(unit(9), thick + _bracket_outside(unit))
    size = 4 * arm + 2 * outside + unit(90)
    picture = np.empty((size, size, 3), np.uint8)
    _paint(picture, marks.grow(Rect(0, 0, size, size), -outside), style, unit)
    arms = []
    for high, wide in ((deep, arm), (arm, deep)):
        for at_bottom in (False, True):
            for at_right in (False, True):
                rows = slice(-high, None) if at_bottom else slice(high)
                columns = slice(-wide, None) if at_right else slice(wide)
                arms.append((_kept(picture[rows, columns]), at_right, at_bottom))
    return tuple(arms)


def _kept(part: Image) -> Image:
    part = part.copy()
    part.setflags(write=False)
    return part


def _paint(place: Image, box: Rect, style: TypeStyle | None, unit: Unit) -> None:
    """The box line by line."""
    thick, dark = unit(4), unit(2)
    edge = marks.grow(box, thick // 2)
    if style is None:
        marks.outline(place, marks.grow(edge, dark), thick + 2 * dark, HALO)
        marks.dashed(place, edge, thick, unit(14), TEXT, HALO)
    elif style.artefact:
        marks.outline(place, marks.grow(box, 1), unit(1) + 2, mix(HALO, style.colour, 0.6))
        marks.outline(place, box, unit(1), style.colour)
    elif style.blast:
        thick, gap = unit(3), unit(3)
        edge = marks.grow(box, thick // 2)
        outer = marks.grow(edge, gap + thick)
        bracketed = _bracketed(box, style, unit)
        if bracketed:
            marks.corners(place, marks.grow(outer, unit(5)), unit(9), unit(30) + 2 * dark, HALO)
        marks.outline(place, marks.grow(outer, dark), 2 * thick + gap + 2 * dark, HALO)
        marks.outline(place, edge, thick, style.colour)
        marks.outline(place, outer, thick, style.colour)
        if bracketed:
            marks.corners(place, marks.grow(outer, unit(3)), unit(6), unit(30), style.colour)
    else:
        marks.outline(place, marks.grow(edge, dark), thick + 2 * dark, HALO)
        marks.outline(place, edge, thick, style.colour)

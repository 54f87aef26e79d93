"""Boxes around cells: one line, two and corner brackets for blasts, dashes for the unidentified, a thin grey one for artefacts."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from device.display import marks, text
from device.display.layout import Rect, Unit
from device.display.palette import ARTEFACT, HALO, TEXT, TypeStyle, mix
from engines.detections import Image


def draw_box(place: Image, box: Rect, style: TypeStyle | None, unit: Unit) -> None:
    """Draw the box of a cell or an artefact over the picture in `place`; style None: unidentified."""
    outside, thick = _ink(style, unit)
    outer = marks.grow(box, outside)
    if _bracketed(box, style, unit) or min(outer.width, outer.height) < 2 * thick:
        _paint(place, box, style, unit)
        return
    top, bottom = _sides(outer.width, style, False, unit)
    left, right = _sides(outer.height, style, True, unit)
    text.paste(place, top, outer.x0, outer.y0)
    text.paste(place, bottom, outer.x0, outer.y1 - thick)
    text.paste(place, left, outer.x0, outer.y0 + thick)
    text.paste(place, right, outer.x1 - thick, outer.y0 + thick)


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


@lru_cache(maxsize=512)
def _sides(length: int, style: TypeStyle | None, down: bool, unit: Unit) -> tuple[Image, Image]:
    """The upper and lower side of a box that is `length` px wide with all its ink, or left and right one of one so high, without ends.

    Painted once: there are few lengths, but many boxes, and four copies take half as long as eight to twelve lines. Read-only.
    """
    outside, thick = _ink(style, unit)
    other = 4 * thick  # how long the two sides are that are not wanted
    width, height = (other, length) if down else (length, other)
    picture = np.empty((height, width, 3), np.uint8)
    _paint(picture, marks.grow(Rect(0, 0, width, height), -outside), style, unit)
    inner = picture[thick:-thick]
    first, second = (inner[:, :thick], inner[:, -thick:]) if down else (picture[:thick], picture[-thick:])
    first, second = first.copy(), second.copy()
    first.setflags(write=False)
    second.setflags(write=False)
    return first, second


def _paint(place: Image, box: Rect, style: TypeStyle | None, unit: Unit) -> None:
    """The box line by line."""
    thick, dark = unit(4), unit(2)
    edge = marks.grow(box, thick // 2)
    if style is None:
        marks.outline(place, marks.grow(edge, dark), thick + 2 * dark, HALO)
        marks.dashed(place, edge, thick, unit(14), TEXT, HALO)
    elif style.artefact:
        marks.outline(place, marks.grow(box, 1), unit(1) + 2, mix(HALO, ARTEFACT, 0.6))
        marks.outline(place, box, unit(1), ARTEFACT)
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

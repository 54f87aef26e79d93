"""The small plate beside each cell: its sign and its code, nothing more, so that the film stays in sight. Boxes live in `boxes`.

What else there is to say of a cell stands outside the picture, for one cell at a time (`told`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from device.display import marks, text
from device.display.layout import Rect, Unit
from device.display.palette import CARD, HALO, TEXT, TypeStyle, mix
from device.display.placing import place
from device.display.text import Piece
from device.language import ngettext
from engines.detections import Image

PLATE = mix(CARD, HALO, 0.45)
CODE_PX, _SIGN_PX = 23, 19
_PAD_X, _EDGE = 5, 4


class Tag(NamedTuple):
    """What stands beside one cell. spoken: it is the one whose words stand beside the picture."""

    box: Rect
    style: TypeStyle
    spoken: bool = False


class Plan(NamedTuple):
    """Where each tag's plate lies (None: no room), which are without their code, and a line that says what was left out, or ""."""

    places: tuple[Rect | None, ...]
    short: tuple[bool, ...]
    caption: str


def plan(tags: tuple[Tag, ...], others: tuple[Rect, ...], area: Rect, unit: Unit) -> Plan:
    """A place for each tag on no cell at all: sign and code, or the sign alone, or none where the cells lie too close.

    others: boxes without a plate. area: where plates may lie.
    """
    boxes = tuple(_steady(t, unit) for t in tags)
    sizes = tuple((_size(t.style, False, unit), _size(t.style, True, unit)) for t in tags)
    placed = place(sizes, boxes, others, area, unit(8))
    short = tuple(bool(number) for number in placed.chosen)
    signs = sum(s and p is not None for s, p in zip(short, placed.places, strict=True))
    missing = sum(p is None for p in placed.places)
    left_out = []
    if signs:
        left_out.append(ngettext("{n} without its code", "{n} without their codes", signs).format(n=signs))
    if missing:
        left_out.append(ngettext("{n} without a sign", "{n} without signs", missing).format(n=missing))
    return Plan(placed.places, short, ", ".join(left_out))


def _steady(tag: Tag, unit: Unit) -> Rect:
    """The box on a coarse grid, so that a plate does not tremble with its box from frame to frame; with room for a blast's edge."""
    grid, edge = unit(6), unit(8) if tag.style.blast else 0
    x0, y0, x1, y1 = tag.box
    return Rect((x0 - edge) // grid * grid, (y0 - edge) // grid * grid, -(-(x1 + edge) // grid) * grid, -(-(y1 + edge) // grid) * grid)


@lru_cache(maxsize=256)
def _size(style: TypeStyle, short: bool, unit: Unit) -> tuple[int, int]:
    """Width and height of the plate in px."""
    code = 0 if short or not style.code else unit(5) + text.width(style.code, unit.letters(CODE_PX), True)
    return unit(_EDGE) + 2 * unit(_PAD_X) + unit(_SIGN_PX) + code, text.line_height(unit.letters(CODE_PX))


@lru_cache(maxsize=128)
def _plate(style: TypeStyle, short: bool, spoken: bool, unit: Unit) -> Image:
    """The plate, read-only."""
    w, h = _size(style, short, unit)
    picture = marks.blank(w, h, PLATE)
    marks.fill(picture, Rect(0, 0, unit(_EDGE), h), style.colour)
    x, sign = unit(_EDGE) + unit(_PAD_X), unit(_SIGN_PX)
    text.paste(picture, marks.marker(style.marker, sign, style.colour, PLATE), x, (h - sign) // 2)
    if not short:
        text.put(picture, style.code, (x + sign + unit(5), 0), unit.letters(CODE_PX), TEXT, PLATE, bold=True)
    if spoken:
        marks.outline(picture, Rect(0, 0, w, h), unit(2), TEXT)
    return text.finished(picture)


def plate_piece(tag: Tag, short: bool, at: Rect, unit: Unit) -> Piece:
    """The tag's plate at its place."""
    return _plate(tag.style, short, tag.spoken, unit), at.x0, at.y0

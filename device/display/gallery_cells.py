"""Single cells as the review draws them: all at one scale, with what was told under them. Finished pictures, kept for a while."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from device.display import marks, text
from device.display.layout import Rect, Unit
from device.display.pages_review import Scale, Shown
from device.display.palette import (
    BUSY,
    CARD,
    DIM,
    PANEL,
    SOFT,
    TEXT,
    UNIDENTIFIED,
    WARN,
    Colour,
    TypeStyle,
    bgr,
    group_styles,
    person_styles,
    type_styles,
)
from device.language import _
from device.slide.bank import MARGIN_SHARE
from device.slide.verdict import BLASTS
from engines.detections import Image
from engines.taxonomy import Taxonomy

BLAST_DOUBT = 0.1
"""From this probability on, that a cell is a blast stands out beside it."""
LEAST_PX = 13
"""Of letters on the pages of a review, wherever there is room for them."""
_BAR_UM = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
_BAR_PX = (5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


def style_of(taxonomy: Taxonomy, said: str) -> TypeStyle:
    """How a verdict looks: class, told group or person's class; "" is unidentified."""
    return _styles(taxonomy).get(said, UNIDENTIFIED)


@lru_cache(maxsize=8)
def _styles(taxonomy: Taxonomy) -> dict[str, TypeStyle]:
    persons = person_styles(taxonomy)
    return {**dict(zip(taxonomy.classes, type_styles(taxonomy), strict=True)), **group_styles(taxonomy), **persons}


def shown_name(style: TypeStyle) -> str:
    """Its name as it stands by itself, in the language in use."""
    name = _(style.name)
    return name[:1].upper() + name[1:]


def code_of(style: TypeStyle) -> str:
    """Two to four letters; "?" for the unidentified."""
    return style.code or "?"


@lru_cache(maxsize=96)
def decoded(jpeg: bytes) -> Image | None:
    """The crop as BGR, read-only; None where there is none or it cannot be read."""
    if not jpeg:
        return None
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else text.finished(image.astype(np.uint8, copy=False))


def cut(shown: Shown, width: int, height: int, per_px: float, ground: Colour) -> Image:
    """The cell in the middle of a new picture of `width` x `height`; per_px: px of this picture for one px of the field."""
    picture = marks.blank(width, height, ground)
    crop = decoded(shown.cell.crop_jpeg)
    if crop is None:
        return picture
    x1, y1, x2, y2 = shown.cell.box_px
    margin = MARGIN_SHARE * max(x2 - x1, y2 - y1)  # as the crop was cut from its field
    left, top = max(0, int(np.floor(x1 - margin))), max(0, int(np.floor(y1 - margin)))
    wide = min(shown.field_px[0], int(np.ceil(x2 + margin))) - left
    tall = min(shown.field_px[1], int(np.ceil(y2 + margin))) - top
    if wide < 1 or tall < 1:
        return picture
    size = max(1, round(wide * per_px)), max(1, round(tall * per_px))
    shrunk = size[0] < crop.shape[1]
    scaled = np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA if shrunk else cv2.INTER_CUBIC), np.uint8)
    x = width / 2 + (left - (x1 + x2) / 2) * per_px
    y = height / 2 + (top - (y1 + y2) / 2) * per_px
    text.paste(picture, scaled, round(x), round(y))
    return text.as_seen(picture)  # a cell is never turned over


def before_after(shown: Shown, taxonomy: Taxonomy) -> tuple[TypeStyle, TypeStyle | None]:
    """What the engine told, and what a person said, None if nobody has yet."""
    return style_of(taxonomy, shown.told), style_of(taxonomy, shown.verdict) if shown.verdict else None


def share_words(probability: float | None) -> str:
    """A probability as whole per cents; "" where it is not known. Never a whole 100 of something uncertain."""
    if probability is None:
        return ""
    return "> 99 %" if 0.995 <= probability < 1 else f"{100 * probability:.0f} %"


def letters(unit: Unit, px: float) -> int:
    """Size of what stands small on the pages of a review."""
    return unit.letters(px, LEAST_PX)


def fitting(words: str, px: int, least: int, room: int, bold: bool = False) -> int:
    """The size from `px` down to `least` at which `words` go into `room`; `least` where they do not."""
    while px > least and text.width(words, px, bold) > room:
        px -= 1
    return px


def caption_height(unit: Unit) -> int:
    """Of the line under each cell."""
    return max(unit(28), text.line_height(letters(unit, 17)))


@lru_cache(maxsize=128)
def tile(
    shown: Shown, taxonomy: Taxonomy, scale: Scale, width: int, height: int, current: bool, selected: bool, ground: Colour, unit: Unit
) -> Image:
    """One cell of the gallery, framed where it is the current one or selected, with what was told and said under it."""
    picture = marks.blank(width, height, ground)
    edge, caption = unit(5), caption_height(unit)
    inside = Rect(edge, edge, width - edge, height - edge)
    room = Rect(inside.x0, inside.y0, inside.x1, inside.y1 - caption)
    per_px = room.height / scale.side_px
    text.paste(picture, cut(shown, room.width, room.height, per_px, CARD), room.x0, room.y0)
    if decoded(shown.cell.crop_jpeg) is None:
        y = room.y0 + (room.height - text.line_height(unit(20))) // 2
        text.put(picture, "?", ((room.x0 + room.x1) // 2, y), unit(20), DIM, CARD, align="centre")
    under = CARD if current or selected else ground
    marks.fill(picture, Rect(inside.x0, room.y1, inside.x1, inside.y1), under)
    _caption(picture, Rect(inside.x0, room.y1, inside.x1, inside.y1), shown, taxonomy, under, unit)
    if shown.verdict or shown.opened:
        _badge(picture, room, bool(shown.verdict), unit)
    if selected:
        marks.outline(picture, Rect(0, 0, width, height), edge, WARN)
    if current:
        marks.outline(picture, Rect(0, 0, width, height) if not selected else Rect(edge, edge, width - edge, height - edge), edge, BUSY)
    return text.finished(picture)


def _caption(picture: Image, place: Rect, shown: Shown, taxonomy: Taxonomy, ground: Colour, unit: Unit) -> None:
    """Short code and probability, and how probable a blast is; what a person said instead, where somebody has.

    Where not all goes in, letters are a little smaller; if that is not enough, of the two probabilities the one is left that speaks
    for looking again, and before a person's word what was told has no mark. All of it stands beside the current cell.
    """
    before, after = before_after(shown, taxonomy)
    style = before if after is None else after
    px, icon, gap = letters(unit, 17), max(unit(13), 8), unit(3)
    x, right = place.x0 + unit(4), place.x1 - unit(4)
    if after is not None:
        was = "" if after.name == before.name or shown.added else f"{code_of(before)} {'<' if unit.from_right else '→'}"
        whole = text.width(was, px) + gap + icon + gap + text.width(style.code, px, True)
        if was and x + whole > right:
            icon = 0
            px = fitting(f"{was} {style.code}", px, unit(17), right - x, True)
        y = place.y0 + (place.height - text.line_height(px)) // 2
        x = text.put(picture, was, (x, y), px, DIM, ground).x1 + gap if was else x
        _code(picture, place, style, (x, y), px, icon, ground, gap)
        return
    likely = shown.cell.blast_probability or 0.0
    sure, blast = share_words(shown.sure).replace(" ", ""), share_words(shown.cell.blast_probability).replace(" ", "")
    blast = "" if shown.told == BLASTS else blast
    colour = WARN if likely >= BLAST_DOUBT else DIM

    def wide(px: int) -> int:
        both = text.width(sure, px) + (text.width(blast, px) + gap + icon if blast else 0)
        return icon + gap + text.width(style.code, px, True) + gap + both + gap

    while px > max(unit(15), LEAST_PX - 1) and x + wide(px) > right:
        px -= 1
    if x + wide(px) > right:
        px = letters(unit, 17)
        sure, blast = ("", blast) if blast and not style.blast and likely >= BLAST_DOUBT else (sure, "")
    y = place.y0 + (place.height - text.line_height(px)) // 2
    x = _code(picture, place, style, (x, y), px, icon, ground, gap)
    if sure:
        x = text.put(picture, sure, (x + gap, y), px, SOFT, ground, max_px=max(1, right - x - gap)).x1
    if blast:
        at = text.put(picture, blast, (right, y), px, colour, ground, align="right")
        text.paste(picture, marks.marker("diamond", icon, colour, ground), at.x0 - icon - 1, place.y0 + (place.height - icon) // 2)


def _code(picture: Image, place: Rect, style: TypeStyle, at: tuple[int, int], px: int, icon: int, ground: Colour, gap: int) -> int:
    """Mark and short code of a class, the unidentified's mark alone; where they end."""
    x, y = at
    if icon:
        marker = marks.marker(style.marker or "question", icon, style.colour, ground)
        text.paste(picture, marker, x, place.y0 + (place.height - icon) // 2)
        x += icon + gap
    return text.put(picture, style.code, (x, y), px, TEXT, ground, bold=True, max_px=max(1, place.x1 - x)).x1 if style.code else x


def _badge(picture: Image, room: Rect, said: bool, unit: Unit) -> None:
    """A tick where a person has said what it is, a ring where the cell has been opened only."""
    size = unit(24)
    x, y = room.x1 - size - unit(3), room.y0 + unit(3)
    text.paste(picture, marks.plate(size, size, unit(6), PANEL, CARD), x, y)
    icon = unit(16)
    at = x + (size - icon) // 2, y + (size - icon) // 2
    text.paste(picture, marks.marker("tick" if said else "ring", icon, bgr("4CC38A") if said else SOFT, PANEL), *at)


def bar_of(scale: Scale, per_px: float, longest_px: int) -> tuple[int, str]:
    """Length in px and words of a round scale bar that is at most `longest_px` long; per_px: screen px for one px of the field."""
    steps, one, unit_words = (_BAR_PX, 1.0, "px") if scale.um_per_px is None else (_BAR_UM, scale.um_per_px, "µm")
    fitting = [step for step in steps if step / one * per_px <= longest_px] or [steps[0]]
    return max(1, round(fitting[-1] / one * per_px)), f"{fitting[-1]:g} {unit_words}"


def draw_bar(canvas: Image, corner: tuple[int, int], scale: Scale, per_px: float, longest_px: int, unit: Unit, ground: Colour) -> None:
    """The scale bar with its words on its right; corner: where its left end is, in the middle of the line."""
    length, words = bar_of(scale, per_px, longest_px)
    x, y = corner
    px, thick = letters(unit, 20), unit(4)
    marks.fill(canvas, Rect(x, y - thick // 2, x + length, y - thick // 2 + thick), TEXT)
    for end in (x, x + length - unit(2)):
        marks.fill(canvas, Rect(end, y - unit(8), end + unit(2), y + unit(8)), TEXT)
    text.put(canvas, words, (x + length + unit(10), y - text.line_height(px) // 2), px, SOFT, ground)

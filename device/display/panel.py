"""The right of the screen: slide, count, differential, states, provenance. Each part is drawn anew only when it changes."""

from __future__ import annotations

from functools import lru_cache

from device.display import marks, text
from device.display.base import PartState, ScreenView
from device.display.layout import Rect, Unit
from device.display.palette import BUSY, CARD, DIM, GROUND, LEVELS, LINE, OK, PANEL, SOFT, TEXT, WARN, TypeStyle, mix, type_styles
from device.display.sheet import Sheet
from device.display.words import BLAST_MARK, notice, slide_words
from device.slide.model import SlideState
from device.slide.picture_state import PictureState, count_of
from device.slide.tally import Differential
from engines.detections import Image

_MARGIN = 28
_ROWS_AT_MOST = 14
_PITCH = 35
_LAMP_PITCH = 28
_COUNT_X = 84
"""Where counts end, from the right margin."""
_WORDS_X = 132
"""Where the values of parts and provenance begin, from the margin."""
_BAR_SHARE = 0.34
"""Of the type's colour in its bar: dark enough for words on it."""


def draw_panel(sheet: Sheet, place: Rect, view: ScreenView, unit: Unit) -> None:
    """Lay the panel's parts on `place`, which they cover whole."""
    width, slide, tally = place.width, view.slide, view.differential
    state, pictures = (None, None) if slide is None else (slide.state, PictureState.of(slide))
    head = _header(
        "" if slide is None else slide.slide_id,
        0 if slide is None else len(slide.fields),
        0 if slide is None else slide.fields_undone,
        "" if slide is None else slide.abort_reason,
        state,
        pictures is not None and bool(pictures.sentences(only_grave=True)),
        width,
        unit,
    )
    has_slide = slide is not None and state is not SlideState.IDLE
    at_least = "" if pictures is None else pictures.at_least
    count = _count(0 if tally is None else tally.white_cells, at_least, view.target_cells, has_slide, width, unit)
    rows = _rows(tally, type_styles(view.engine.taxonomy), width, unit)
    foot = _foot(view.engine.label, view.calibration_label, notice(slide), width, unit)
    y = place.y0
    for part in (head, count, rows):
        sheet.lay(part, place.x0, y)
        y += part.shape[0]
    last = place.y1 - foot.shape[0]
    # Each lamp on its own: fields a second and milliseconds change with nearly every frame, the others stay for hours.
    margin, pitch = unit(8), unit(_LAMP_PITCH)
    below = last - unit(16) - max(1, len(view.parts)) * pitch
    if below > y:
        sheet.lay(_empty(width, below - y, unit), place.x0, y)
    sheet.lay(_empty(width, margin, unit, rule=True), place.x0, below)
    y = below + margin
    for lamp in view.parts:
        sheet.lay(_lamp(lamp, width, unit), place.x0, y)
        y += pitch
    sheet.lay(_empty(width, last - y, unit), place.x0, y)
    sheet.lay(foot, place.x0, last)


def _blank(width: int, height: int, unit: Unit, rule: bool = False) -> Image:
    picture = marks.blank(width, height, PANEL)
    marks.fill(picture, Rect(0, 0, unit(1), height), LINE)
    if rule:
        marks.fill(picture, Rect(unit(_MARGIN), 0, width - unit(_MARGIN), unit(1)), LINE)
    return picture


@lru_cache(maxsize=16)
def _empty(width: int, height: int, unit: Unit, rule: bool = False) -> Image:
    return text.finished(_blank(width, height, unit, rule))


@lru_cache(maxsize=4)
def _header(
    slide_id: str, fields: int, undone: int, aborted: str, state: SlideState | None, poor: bool, width: int, unit: Unit
) -> Image:
    """Title, the slide's state as a chip, its id and how many fields were counted."""
    picture = _blank(width, unit(96), unit)
    left, right = unit(_MARGIN), width - unit(_MARGIN)
    text.put(picture, "Leukoscope", (left, unit(15)), unit(36), TEXT, PANEL, bold=True)
    level, word = slide_words(state)
    px, colour = unit(22), LEVELS[level]
    chip_w = text.width(word, px, True) + 2 * unit(14)
    chip = Rect(right - chip_w, unit(20), right, unit(56))
    text.paste(picture, marks.plate(chip.width, chip.height, chip.height // 2, colour, PANEL), chip.x0, chip.y0)
    y = chip.y0 + (chip.height - text.line_height(px)) // 2
    text.put(picture, word, (chip.x0 + unit(14), y), px, GROUND, colour, bold=True)
    if not slide_id:
        text.put(picture, "Press S to start a slide", (left, unit(61)), px, SOFT, PANEL)
        return text.finished(picture)
    said = aborted if state is SlideState.ABORTED and aborted else count_of(fields, "field")
    if undone and state is not SlideState.ABORTED:
        said += f", {undone} undone"
    if poor:
        said += ": see the note"
    said_w = min(text.width(said, px), (right - left) // 2)
    text.put(picture, said, (right, unit(61)), px, WARN if poor else SOFT, PANEL, align="right", max_px=said_w)
    text.put(picture, slide_id, (left, unit(61)), px, TEXT, PANEL, max_px=right - left - said_w - unit(16))
    return text.finished(picture)


@lru_cache(maxsize=4)
def _count(cells: int, at_least: str, target: int, has_slide: bool, width: int, unit: Unit) -> Image:
    """White blood cells counted of the target, large, with a bar."""
    picture = _blank(width, unit(112), unit, rule=True)
    left, right = unit(_MARGIN), width - unit(_MARGIN)
    ink = TEXT if has_slide else DIM
    x = text.put(picture, at_least, (left, unit(40)), unit(24), WARN, PANEL, bold=True).x1 + unit(8) if at_least else left
    number = text.put(picture, str(cells), (x, unit(5)), unit(66), ink, PANEL, bold=True)
    x = number.x1 + unit(12)
    of = text.put(picture, f"/ {target}", (x, unit(27)), unit(40), SOFT if has_slide else DIM, PANEL)
    done = cells >= target
    words = "target reached" if done else "white cells"
    colour = OK if done else SOFT if has_slide else DIM
    text.put(picture, words, (right, unit(40)), unit(24), colour, PANEL, bold=done, align="right", max_px=right - of.x1 - unit(10))
    w, h = right - left, unit(16)
    bar = marks.plate(w, h, h // 2, CARD, PANEL).copy()
    filled = round(w * min(1.0, cells / target))
    if filled:
        full = marks.plate(w, h, h // 2, OK if done else BUSY, PANEL)
        bar[:, :filled] = full[:, :filled]
    text.paste(picture, bar, left, unit(84))
    return text.finished(picture)


@lru_cache(maxsize=4)
def _rows(tally: Differential | None, styles: tuple[TypeStyle, ...], width: int, unit: Unit) -> Image:
    """The differential: one row for each type with marker, code, name, bar, count and per cent; the apart ones under a rule."""
    types = [s for s in styles if not s.artefact][:_ROWS_AT_MOST]
    tally = tally or Differential((), 0, 0, 0.0, 0)
    counted = {row.name: row for row in tally.rows}
    pitch, top = unit(_PITCH), unit(34)
    picture = _blank(width, top + (len(types) + 3) * pitch + unit(17), unit)
    left, right = unit(_MARGIN), width - unit(_MARGIN)
    px = unit(20)
    text.put(picture, "Differential", (left, unit(4)), px, DIM, PANEL)
    text.put(picture, "cells", (right - unit(_COUNT_X), unit(4)), px, DIM, PANEL, align="right")
    text.put(picture, "per cent", (right, unit(4)), px, DIM, PANEL, align="right")
    y = top
    for style in types:
        row = counted.get(style.name)
        _row(picture, y, style, 0 if row is None else row.count, 0.0 if row is None else row.percent, unit)
        y += pitch
    y += unit(4)
    marks.fill(picture, Rect(left, y, right, y + unit(1)), LINE)
    y += unit(5)
    _sum_row(picture, y, "diamond", f"{BLAST_MARK} types together", tally.blasts, tally.blast_percent, unit)
    _sum_row(picture, y + pitch, "question", "unidentified", tally.unidentified, tally.unidentified_percent, unit)
    _sum_row(picture, y + 2 * pitch, "cross", "artefacts, not counted", tally.artefacts, None, unit)
    return text.finished(picture)


def _row(picture: Image, y: int, style: TypeStyle, count: int, percent: float, unit: Unit) -> None:
    """One type. The bar lies behind the words; its full width is 100 per cent."""
    left, right, height, px = unit(_MARGIN), picture.shape[1] - unit(_MARGIN), unit(_PITCH - 2), unit(24)
    icon = unit(20)
    seen = count > 0
    faint = style.colour if seen else mix(style.colour, PANEL, 0.6)
    text.paste(picture, marks.marker(style.marker, icon, faint, PANEL), left, y + (height - icon) // 2)
    x = left + unit(30)
    marks.fill(picture, Rect(x, y, right, y + height), mix(CARD, PANEL, 0.45))
    if seen:
        end = max(x + unit(4), x + round((right - x) * percent / 100))
        marks.fill(picture, Rect(x, y, end, y + height), mix(style.colour, PANEL, _BAR_SHARE))
        marks.fill(picture, Rect(x, y, x + unit(4), y + height), style.colour)
    ink = TEXT if seen else DIM
    top = y + (height - text.line_height(px)) // 2 - unit(1)
    text.put(picture, style.code, (x + unit(12), top + unit(4)), unit(19), ink, None)
    name_x = x + unit(70)
    text.put(picture, style.name, (name_x, top), px, ink, None, max_px=right - unit(_COUNT_X + 38) - name_x)
    text.put(picture, str(count), (right - unit(_COUNT_X), top), px, ink, None, bold=seen, align="right")
    text.put(picture, percent_words(percent, count), (right - unit(6), top), px, ink, None, align="right")


def _sum_row(picture: Image, y: int, kind: str, words: str, count: int, percent: float | None, unit: Unit) -> None:
    """One of the lines under the types, without a bar."""
    left, right, height, px = unit(_MARGIN), picture.shape[1] - unit(_MARGIN), unit(_PITCH - 2), unit(23)
    icon, ink = unit(20), SOFT if count else DIM
    colour = (WARN if kind == "diamond" else TEXT) if count else DIM
    text.paste(picture, marks.marker(kind, icon, colour, PANEL), left, y + (height - icon) // 2)
    top = y + (height - text.line_height(px)) // 2 - unit(1)
    text.put(picture, words, (left + unit(42), top), px, ink, PANEL)
    text.put(picture, str(count), (right - unit(_COUNT_X), top), px, ink, PANEL, bold=bool(count), align="right")
    if percent is not None:
        text.put(picture, percent_words(percent, count), (right - unit(6), top), px, ink, PANEL, align="right")


def percent_words(percent: float, count: int) -> str:
    """Per cent as on the screen: one digit behind the point below 10."""
    return f"{percent:.1f} %" if count and percent < 9.95 else f"{percent:.0f} %"


@lru_cache(maxsize=32)
def _lamp(part: PartState, width: int, unit: Unit) -> Image:
    """State of one part by shape, colour and words."""
    pitch = unit(_LAMP_PITCH)
    picture = _blank(width, pitch, unit)
    left, right, px, icon = unit(_MARGIN), width - unit(_MARGIN), unit(21), unit(18)
    text.paste(picture, marks.lamp(part.level, icon, PANEL), left, (pitch - icon) // 2)
    top, x = (pitch - text.line_height(px)) // 2, left + unit(_WORDS_X)
    text.put(picture, part.name, (left + unit(28), top), px, SOFT, PANEL, max_px=unit(_WORDS_X - 34))
    ink = TEXT if part.level in ("ok", "busy") else LEVELS[part.level]
    text.put(picture, part.text, (x, top), px, ink, PANEL, max_px=right - x)
    return text.finished(picture)


@lru_cache(maxsize=4)
def _foot(model: str, calibration: str, words: str, width: int, unit: Unit) -> Image:
    """What saw and how it was calibrated; and always that nobody has reviewed it."""
    picture = _blank(width, unit(112), unit, rule=True)
    left, right, px = unit(_MARGIN), width - unit(_MARGIN), unit(19)
    for y, name, value in ((unit(7), "Model", model), (unit(31), "Calibration", calibration)):
        x = left + unit(_WORDS_X)
        text.put(picture, name, (left, y), px, DIM, PANEL)
        text.put(picture, value, (x, y), px, SOFT, PANEL, max_px=right - x)
    box = Rect(left, unit(62), right, unit(102))
    marks.fill(picture, box, mix(WARN, PANEL, 0.16))
    marks.outline(picture, box, unit(2), WARN)
    px = unit(22)
    while px > text.MIN_SIZE_PX and text.width(words, px, True) > box.width - unit(16):
        px -= 1
    y = box.y0 + (box.height - text.line_height(px)) // 2
    text.put(picture, words, ((box.x0 + box.x1) // 2, y), px, WARN, mix(WARN, PANEL, 0.16), bold=True, align="centre", max_px=box.width)
    return text.finished(picture)

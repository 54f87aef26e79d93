"""Above the picture its source and what is in it, under it message, film in words, stage, focus and keys.

Each part is drawn anew only when it changes.
"""

from __future__ import annotations

import math
from functools import lru_cache

from device.camera.base import CameraState
from device.display import marks, text
from device.display.base import ScreenView
from device.display.layout import Rect, Unit
from device.display.palette import BUSY, CARD, DIM, GROUND, LEVELS, LINE, OK, PANEL, SOFT, TEXT, WARN, ink_on, mix
from device.display.sheet import Sheet
from device.display.words import SIMULATOR_NOTICE, stage_words
from device.slide.doubt import FOREIGN
from device.slide.model import OPEN_STATES, SlideState
from engines.detections import Image
from engines.pages import NOTICE as DESCRIPTION_NOTICE

_DESCRIPTION_PX = (23, 22, 21, 20)
_FOCUS_PARTS = 20
_SHARP, _SOFT_FOCUS = 0.66, 0.33
"""Colours of the meter only; the words come from device.camera.quality."""


def draw_strip(sheet: Sheet, place: Rect, view: ScreenView, seen: str, unit: Unit) -> None:
    """Lay the strip on `place`, which it covers whole. seen: what is in the field, in a few words."""
    source = "" if view.frame is None else view.frame.source
    sheet.lay(_strip(source, seen, place.width, place.height, unit), place.x0, place.y0)


@lru_cache(maxsize=8)
def _strip(source: str, seen: str, width: int, height: int, unit: Unit) -> Image:
    """A simulator says so here, where no cell can hide it."""
    picture = marks.blank(width, height, GROUND)
    x, px = unit(24), unit(21)
    top = (height - text.line_height(px)) // 2
    if source.lower().startswith("simulator"):
        loud = unit(23)
        words_x = x + loud + unit(10)
        left = words_x + text.width(SIMULATOR_NOTICE, loud, True) + unit(16)
        marks.fill(picture, Rect(0, 0, left, height), WARN)
        text.paste(picture, marks.marker("alert", loud, GROUND, WARN), x, (height - loud) // 2)
        text.put(picture, SIMULATOR_NOTICE, (words_x, (height - text.line_height(loud)) // 2), loud, GROUND, WARN, bold=True)
    else:
        name = source.rstrip("/").rsplit("/", 1)[-1]
        left = text.put(picture, name, (x, top), px, DIM, GROUND, max_px=width // 2 - x).x1
    room = width - left - 2 * unit(24)
    if room > 0:
        text.put(picture, seen, (width - unit(24), top), px, SOFT, GROUND, align="right", max_px=room)
    return text.finished(picture)


def draw_footer(sheet: Sheet, place: Rect, view: ScreenView, unit: Unit) -> None:
    """Lay the footer's parts on `place`, which they cover whole."""
    width, left = place.width, place.x0
    state = None if view.slide is None else view.slide.state
    parts, held = (0 if not math.isfinite(v) else round(min(1.0, max(0.0, v)) * _FOCUS_PARTS) for v in (view.focus, view.focus_peak))
    message_h, film_h = unit(62), unit(122)
    lower_y = place.y0 + message_h + film_h
    lower_h = place.y1 - lower_y
    stage_w, focus_w = unit(330), unit(366)
    live = view.frame is not None and view.camera.state is CameraState.STREAMING
    sheet.lay(_message(view.message, view.message_level, width, message_h, unit), left, place.y0)
    sheet.lay(_description(tuple(view.description), film_h, width, unit), left, place.y0 + message_h)
    sheet.lay(_stage(state, view.resting, view.field_counted, view.held, live, stage_w, lower_h, unit), left, lower_y)
    sheet.lay(_focus(parts, held, view.focus_text, live, focus_w, lower_h, unit), left + stage_w, lower_y)
    sheet.lay(_keys(state, width - stage_w - focus_w, lower_h, unit), left + stage_w + focus_w, lower_y)


def _blank(width: int, height: int, unit: Unit, divided: bool = False) -> Image:
    picture = marks.blank(max(1, width), height, PANEL)
    marks.fill(picture, Rect(0, 0, width, unit(1)), LINE)
    if divided:
        marks.fill(picture, Rect(0, unit(16), unit(1), height - unit(16)), LINE)
    return picture


@lru_cache(maxsize=8)
def _message(words: str, level: str, width: int, height: int, unit: Unit) -> Image:
    """One line in the level's colour: full ground for warnings and failures, a lamp before it otherwise."""
    colour = LEVELS[level]
    ground = colour if words and level in ("warn", "fail") else PANEL
    picture = _blank(width, height, unit)
    if not words:
        return text.finished(picture)
    marks.fill(picture, Rect(0, 0, width, height), ground)
    loud, px = ground != PANEL, unit(31)
    ink = ink_on(ground) if loud else TEXT
    icon = {"ok": "tick", "busy": "ring", "warn": "alert", "fail": "failed"}[level]
    text.paste(picture, marks.marker(icon, px, ink if loud else colour, ground), unit(24), (height - px) // 2)
    y = (height - text.line_height(px)) // 2 + unit(1)
    text.put(picture, words, (unit(24) + px + unit(14), y), px, ink, ground, bold=loud, max_px=width - px - unit(62))
    return text.finished(picture)


@lru_cache(maxsize=4)
def _description(sentences: tuple[str, ...], height: int, width: int, unit: Unit) -> Image:
    """The film so far in words: as many whole sentences as there is room for, in smaller letters where they are many."""
    picture = _blank(width, height, unit)
    left, right, y, px = unit(24), width - unit(24), unit(8), unit(22)
    words_x = left + unit(132)
    text.put(picture, "Film so far", (left, y), px, DIM, PANEL)
    said = [s for s in sentences if s not in (DESCRIPTION_NOTICE, FOREIGN)]  # they stand in frames of their own in the panel
    if not said:
        text.put(picture, "Nothing to describe yet", (words_x, y), px, DIM, PANEL)
        return text.finished(picture)
    lines, size, left_out = _as_many_as_fit(tuple(said), height - y - unit(6), right - words_x, unit)
    if left_out:
        text.put(picture, "more in", (left, y + text.line_height(px)), unit(20), DIM, PANEL)
        text.put(picture, "the report", (left, y + text.line_height(px) + text.line_height(unit(20))), unit(20), DIM, PANEL)
    for number, line in enumerate(lines):
        text.put(picture, line, (words_x, y + number * text.line_height(size)), size, TEXT, PANEL)
    return text.finished(picture)


def _as_many_as_fit(sentences: tuple[str, ...], height: int, width: int, unit: Unit) -> tuple[tuple[str, ...], int, bool]:
    """Lines, the size of their letters in px, and whether something is left out: sentences from the end, or the end of the only one."""
    for kept in range(len(sentences), 0, -1):
        for letters in _DESCRIPTION_PX:
            size = unit(letters)
            room = max(1, height // text.line_height(size))
            lines = text.wrap(" ".join(sentences[:kept]), size, width, room + 1)
            if len(lines) <= room:
                return lines, size, kept < len(sentences)
    return text.wrap(sentences[0], size, width, room), size, True


@lru_cache(maxsize=32)
def _stage(state: SlideState | None, resting: bool, counted: bool, held: str, live: bool, width: int, height: int, unit: Unit) -> Image:
    """Whether the stage rests or moves, and what becomes of the field."""
    picture = _blank(width, height, unit)
    x, px = unit(24), unit(30)
    if not live:
        text.put(picture, "No live picture", (x, unit(26)), px, DIM, PANEL)
        return text.finished(picture)
    icon, words = ("disc", "Stage at rest") if resting else ("arrows", "Stage moving")
    text.paste(picture, marks.marker(icon, px, TEXT if resting else BUSY, PANEL), x, unit(13))
    text.put(picture, words, (x + px + unit(12), unit(10)), px, TEXT, PANEL, bold=True)
    level, what = stage_words(state, resting, counted, held)
    room = width - x - unit(46)
    px = next((unit(size) for size in (23, 22, 21, 20) if text.width(what, unit(size)) <= room), unit(20))
    kind = {"ok": "tick", "busy": "ring", "warn": "alert"}[level]
    text.paste(picture, marks.marker(kind, unit(23), LEVELS[level], PANEL), x + unit(3), unit(54))
    text.put(picture, what, (x + unit(42), unit(50)), px, LEVELS[level], PANEL, max_px=room)
    return text.finished(picture)


@lru_cache(maxsize=48)
def _focus(parts: int, held: int, words: str, live: bool, width: int, height: int, unit: Unit) -> Image:
    """The focus meter in twenty parts, with words. held: the part that this rest's best has reached, marked; 0 for none."""
    picture = _blank(width, height, unit, divided=True)
    x, y = unit(24), unit(10)
    after = text.put(picture, "Focus", (x, y), unit(30), TEXT if live else DIM, PANEL, bold=True).x1 + unit(14)
    share = parts / _FOCUS_PARTS
    colour = OK if share >= _SHARP else WARN if share >= _SOFT_FOCUS else LEVELS["fail"]
    if live:
        text.put(picture, words, (after, y + unit(7)), unit(23), SOFT, PANEL, max_px=width - after - unit(8))
    pitch = (width - x - unit(24)) / _FOCUS_PARTS
    for i in range(_FOCUS_PARTS):
        left = x + round(i * pitch)
        bar = Rect(left, unit(56), left + max(1, round(pitch) - unit(3)), unit(76))
        marks.fill(picture, bar, colour if live and i < parts else CARD)
        if live and i == held - 1:
            marks.fill(picture, Rect(bar.x1 - unit(4), unit(50), bar.x1, unit(82)), TEXT)
    return text.finished(picture)


@lru_cache(maxsize=8)
def _keys(state: SlideState | None, width: int, height: int, unit: Unit) -> Image:
    """The keys as caps with their words; those that do nothing now are dim."""
    picture = _blank(width, height, unit, divided=True)
    open_now = state in OPEN_STATES
    keys = (
        ("S", "start", not open_now),
        ("F", "finish", open_now),
        ("U", "undo field", open_now),
        ("P", "resume" if state is SlideState.PAUSED else "pause", open_now),
        ("Q", "quit", True),
    )
    cap, px = unit(38), unit(22)
    lengths = [cap + unit(9) + text.width(word, px) for _, word, _ in keys]
    room = width - 2 * unit(20) - sum(lengths)
    gap = max(unit(4), room // (len(keys) - 1))
    x, y = unit(20), (height - cap) // 2
    for (letter, word, usable), length in zip(keys, lengths, strict=True):
        ground = mix(CARD, LINE, 0.4) if usable else CARD
        text.paste(picture, marks.plate(cap, cap, unit(8), ground, PANEL), x, y)
        ink = TEXT if usable else DIM
        top = y + (cap - text.line_height(unit(26))) // 2
        text.put(picture, letter, (x + cap // 2, top), unit(26), ink, ground, bold=True, align="centre")
        text.put(picture, word, (x + cap + unit(9), (height - text.line_height(px)) // 2), px, SOFT if usable else DIM, PANEL)
        x += length + gap
    return text.finished(picture)

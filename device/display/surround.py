"""Above the picture its source and what is in it, under it message, film in words, stage, focus and keys.

Each part is drawn anew only when it changes.
"""

from __future__ import annotations

import math
from functools import lru_cache

from device.camera.base import CameraState
from device.display import marks, text
from device.display.base import ScreenView
from device.display.field import Cells
from device.display.layout import Rect, Unit
from device.display.palette import BUSY, CARD, DIM, GROUND, LEVELS, LINE, OK, PANEL, SOFT, TEXT, WARN, TypeStyle, ink_on, mix
from device.display.sheet import Sheet
from device.display.targets import Targets
from device.display.words import SIMULATOR_NOTICE, stage_words
from device.language import _
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
    x, px = unit(24), unit.letters(21)
    top = (height - text.line_height(px)) // 2
    if source.lower().startswith("simulator"):
        loud = unit.letters(23)
        words_x = x + loud + unit(10)
        said = _(SIMULATOR_NOTICE)
        left = words_x + text.width(said, loud, True) + unit(16)
        marks.fill(picture, Rect(0, 0, left, height), WARN)
        text.paste(picture, marks.marker("alert", loud, GROUND, WARN), x, (height - loud) // 2)
        text.put(picture, said, (words_x, (height - text.line_height(loud)) // 2), loud, GROUND, WARN, bold=True)
    else:
        name = source.rstrip("/").rsplit("/", 1)[-1]
        left = text.put(picture, name, (x, top), px, DIM, GROUND, max_px=width // 2 - x).x1
    room = width - left - 2 * unit(24)
    if room > 0:
        text.put(picture, seen, (width - unit(24), top), px, SOFT, GROUND, align="right", max_px=room)
    return text.finished(picture)


def draw_footer(sheet: Sheet, place: Rect, view: ScreenView, cells: Cells | None, targets: Targets, unit: Unit) -> None:
    """Lay the footer's parts on `place`, which they cover whole; its keys can be pressed too."""
    width, left = place.width, place.x0
    state = None if view.slide is None else view.slide.state
    parts, held = (0 if not math.isfinite(v) else round(min(1.0, max(0.0, v)) * _FOCUS_PARTS) for v in (view.focus, view.focus_peak))
    # On a small canvas the film in words is left out, for the sake of the others' letters; it stands in the report.
    message_h, cell_h, film_h = (unit(70), unit(38), 0) if unit.small else (unit(58), unit(34), unit(94))
    lower_y = place.y0 + message_h + cell_h + film_h
    lower_h = place.y1 - lower_y
    # Stage and focus lie beside each other, or on a small canvas one above the other, so that the keys' words have room.
    stage_w, x = (unit(430), left + unit(430)) if unit.small else (unit(330), left + unit(330) + unit(370))
    stage_h = unit(88) if unit.small else lower_h
    focus_at = (left, lower_y + stage_h) if unit.small else (left + stage_w, lower_y)
    live = view.frame is not None and view.camera.state is CameraState.STREAMING
    sheet.lay(_message(view.message, view.message_level, width, message_h, unit), left, place.y0)
    one = (None, (), False) if cells is None or cells.one is None else (cells.one, cells.one_words, cells.chosen)
    sheet.lay(_cell(*one, width, cell_h, unit), left, place.y0 + message_h)
    if film_h:
        sheet.lay(_description(tuple(view.description), film_h, width, unit), left, place.y0 + message_h + cell_h)
    sheet.lay(_stage(state, view.resting, view.field_counted, view.held, live, stage_w, stage_h, unit), left, lower_y)
    sheet.lay(_focus(parts, held, view.focus_text, live, stage_w if unit.small else unit(370), place.y1 - focus_at[1], unit), *focus_at)
    keys = _keys_of(state, at_target(view))
    sheet.lay(_keys(keys, place.x1 - x, lower_h, unit), x, lower_y)
    for (key, _word), (x0, x1) in zip(keys, _slots(len(keys), place.x1 - x), strict=True):
        targets.add(Rect(x + x0, lower_y, x + x1, place.y1), key)


def _blank(width: int, height: int, unit: Unit, divided: bool = False) -> Image:
    picture = marks.blank(max(1, width), height, PANEL)
    marks.fill(picture, Rect(0, 0, width, unit(1)), LINE)
    if divided:
        marks.fill(picture, Rect(0, unit(16), unit(1), height - unit(16)), LINE)
    return picture


@lru_cache(maxsize=8)
def _message(words: str, level: str, width: int, height: int, unit: Unit) -> Image:
    """One line, or two, in the level's colour: full ground for warnings and failures, a lamp before it otherwise."""
    colour = LEVELS[level]
    ground = colour if words and level in ("warn", "fail") else PANEL
    picture = _blank(width, height, unit)
    if not words:
        return text.finished(picture)
    marks.fill(picture, Rect(0, 0, width, height), ground)
    loud = ground != PANEL
    room, icon_px = width - unit(96), unit(31)
    px = text.largest(words, (unit.letters(31), unit.letters(28), unit.letters(25)), room, loud)
    lines: tuple[str, ...] = (words,)
    if text.width(words, px, loud) > room:
        px = unit.letters(22)
        lines = text.wrap(words, px, room, 2, loud)
    ink = ink_on(ground) if loud else TEXT
    icon = {"ok": "tick", "busy": "ring", "warn": "alert", "fail": "failed"}[level]
    text.paste(picture, marks.marker(icon, icon_px, ink if loud else colour, ground), unit(24), (height - icon_px) // 2)
    y = (height - len(lines) * text.line_height(px)) // 2 + unit(1)
    for line in lines:
        text.put(picture, line, (unit(24) + icon_px + unit(14), y), px, ink, ground, bold=loud, max_px=room)
        y += text.line_height(px)
    return text.finished(picture)


@lru_cache(maxsize=16)
def _cell(style: TypeStyle | None, words: tuple[str, ...], chosen: bool, width: int, height: int, unit: Unit) -> Image:
    """The one cell that is told in words: the one that was pressed on, or the least sure one; as many words as there is room for."""
    picture = _blank(width, height, unit)
    x, px = unit(24), unit.letters(21)
    y = (height - text.line_height(px)) // 2
    if style is None:
        text.put(picture, _("Press on a cell to read its words"), (x, y), px, DIM, PANEL, max_px=width - 2 * x)
        return text.finished(picture)
    x = text.put(picture, _("This cell") if chosen else _("Least sure"), (x, y), px, DIM, PANEL).x1 + unit(14)
    icon = unit(20)
    if style.marker:
        text.paste(picture, marks.marker(style.marker, icon, style.colour, PANEL), x, (height - icon) // 2)
    x += icon + unit(10)
    rest = "".join(f"· {phrase}" for phrase in words[1:])
    room = width - x - unit(24) - text.width(words[0], px, True) - len(words) * unit(9)
    small = text.largest(rest, tuple(map(unit.letters, range(21, 15, -1))), room)
    x = text.put(picture, words[0], (x, y), px, TEXT, PANEL, bold=True, max_px=width - x - unit(24)).x1
    for phrase in words[1:]:
        said = f"· {phrase}"
        if x + unit(9) + text.width(said, small) > width - unit(24):
            break
        x = text.put(picture, said, (x + unit(9), y + (px - small) // 2), small, SOFT, PANEL).x1
    return text.finished(picture)


@lru_cache(maxsize=4)
def _description(sentences: tuple[str, ...], height: int, width: int, unit: Unit) -> Image:
    """The film so far in words: as many whole sentences as there is room for, in smaller letters where they are many."""
    picture = _blank(width, height, unit)
    left, right, y, px = unit(24), width - unit(24), unit(8), unit.letters(22)
    title, more = _("Film so far"), _("more in the report")
    small = unit.letters(20)
    words_x = left + max(unit(118), text.width(title, small)) + unit(14)
    px = text.largest(title, (px, unit.letters(21), small), words_x - left - unit(10))
    text.put(picture, title, (left, y), px, DIM, PANEL)
    said = [s for s in sentences if s not in (_(DESCRIPTION_NOTICE), _(FOREIGN))]  # they stand in frames of their own in the panel
    if not said:
        text.put(picture, _("Nothing to describe yet"), (words_x, y), px, DIM, PANEL)
        return text.finished(picture)
    lines, size, left_out = _as_many_as_fit(tuple(said), height - y - unit(6), right - words_x, unit)
    if left_out:
        for number, line in enumerate(text.wrap(more, small, words_x - left - unit(10), 2)):
            text.put(picture, line, (left, y + text.line_height(px) + number * text.line_height(small)), small, DIM, PANEL)
    for number, line in enumerate(lines):
        text.put(picture, line, (words_x, y + number * text.line_height(size)), size, TEXT, PANEL)
    return text.finished(picture)


def _as_many_as_fit(sentences: tuple[str, ...], height: int, width: int, unit: Unit) -> tuple[tuple[str, ...], int, bool]:
    """Lines, the size of their letters in px, and whether something is left out: sentences from the end, or the end of the only one."""
    for kept in range(len(sentences), 0, -1):
        for letters in _DESCRIPTION_PX:
            size = unit.letters(letters)
            room = max(1, height // text.line_height(size))
            lines = text.wrap(" ".join(sentences[:kept]), size, width, room + 1)
            if len(lines) <= room:
                return lines, size, kept < len(sentences)
    return text.wrap(sentences[0], size, width, room), size, True


@lru_cache(maxsize=32)
def _stage(state: SlideState | None, resting: bool, counted: bool, held: str, live: bool, width: int, height: int, unit: Unit) -> Image:
    """Whether the stage rests or moves, and what becomes of the field."""
    picture = _blank(width, height, unit)
    x, px = unit(24), unit.letters(30)
    if not live:
        words, room = _("No live picture"), width - 2 * x
        px = text.largest(words, tuple(map(unit.letters, (30, 27, 24, 21, 18))), room)
        text.put(picture, words, (x, unit(26)), px, DIM, PANEL, max_px=room)
        return text.finished(picture)
    icon, words = ("disc", _("Stage at rest")) if resting else ("arrows", _("Stage moving"))
    text.paste(picture, marks.marker(icon, px, TEXT if resting else BUSY, PANEL), x, unit(13))
    room = width - x - px - unit(20)
    letters = text.largest(words, (px, unit.letters(27), unit.letters(24), unit.letters(20)), room, True)
    text.put(picture, words, (x + px + unit(12), unit(10) + (px - letters) // 2), letters, TEXT, PANEL, bold=True, max_px=room)
    level, what = stage_words(state, resting, counted, held)
    room = width - x - unit(46)
    px = text.largest(what, (unit.letters(23), unit.letters(22), unit.letters(21), unit.letters(20)), room)
    kind = {"ok": "tick", "busy": "ring", "warn": "alert"}[level]
    text.paste(picture, marks.marker(kind, unit(23), LEVELS[level], PANEL), x + unit(3), unit(54))
    lines: tuple[str, ...] = (what,)
    y = unit(50) + (unit(23) - px) // 2
    if text.width(what, px) > room and not unit.small:
        px, y = unit.letters(18), unit(43)
        lines = text.wrap(what, px, room, 2)
    for line in lines:
        text.put(picture, line, (x + unit(42), y), px, LEVELS[level], PANEL, max_px=room)
        y += text.line_height(px)
    return text.finished(picture)


@lru_cache(maxsize=48)
def _focus(parts: int, held: int, words: str, live: bool, width: int, height: int, unit: Unit) -> Image:
    """The focus meter in twenty parts, with words. held: the part that this rest's best has reached, marked; 0 for none."""
    picture = _blank(width, height, unit, divided=not unit.small)
    x, y = unit(24), unit(4 if unit.small else 10)
    title = _("Focus")
    px = text.largest(title, (unit.letters(30), unit.letters(26), unit.letters(22)), width // 2 - x, True)
    after = text.put(picture, title, (x, y + (unit(30) - px) // 2), px, TEXT if live else DIM, PANEL, bold=True).x1 + unit(14)
    share = parts / _FOCUS_PARTS
    colour = OK if share >= _SHARP else WARN if share >= _SOFT_FOCUS else LEVELS["fail"]
    if live:
        room = width - after - unit(8)
        px = text.largest(words, tuple(map(unit.letters, range(23, 14, -1))), room)
        text.put(picture, words, (after, y + unit(7) + (unit(23) - px) // 2), px, SOFT, PANEL, max_px=room)
    pitch = (width - x - unit(24)) / _FOCUS_PARTS
    for i in range(_FOCUS_PARTS):
        left = x + round(i * pitch)
        bar = Rect(left, height - unit(32), left + max(1, round(pitch) - unit(3)), height - unit(12))
        marks.fill(picture, bar, colour if live and i < parts else CARD)
        if live and i == held - 1:
            marks.fill(picture, Rect(bar.x1 - unit(4), bar.y0 - unit(6), bar.x1, bar.y1 + unit(6)), TEXT)
    return text.finished(picture)


def at_target(view: ScreenView) -> bool:
    """The slide waits at its target for a person to say how it goes on."""
    slide, counted = view.slide, view.differential
    return slide is not None and slide.state is SlideState.PAUSED and counted is not None and counted.white_cells >= view.target_cells


def _keys_of(state: SlideState | None, at_target: bool) -> tuple[tuple[str, str], ...]:
    """The keys that do something now, each with its word."""
    slide: tuple[tuple[str, str], ...]
    if state in OPEN_STATES:
        go_on = ("G", _("go on")) if at_target else ("P", _("resume") if state is SlideState.PAUSED else _("pause"))
        slide = (("F", _("finish")), ("U", _("undo field")), go_on, ("A", _("abort")))
    else:
        finished = state in (SlideState.REVIEW, SlideState.SIGNED)
        review = ("R", _("review") if finished else _("review a slide"))
        slide = (("S", _("start")), review, *([("C", _("count on"))] if state is SlideState.REVIEW else []))
    return (*slide, ("B", _("film alone")), ("Z", _("from afar")), ("Q", _("quit")))


def _slots(count: int, width: int) -> list[tuple[int, int]]:
    """Where each of so many keys begins and ends: the whole width is theirs, so that a finger need not aim."""
    return [(width * i // count, width * (i + 1) // count) for i in range(count)]


@lru_cache(maxsize=8)
def _keys(keys: tuple[tuple[str, str], ...], width: int, height: int, unit: Unit) -> Image:
    """The keys as caps with their words below."""
    picture = _blank(width, height, unit, divided=True)
    ground, cap_ground = mix(PANEL, CARD, 0.5), mix(CARD, LINE, 0.4)
    room = width // len(keys) - unit(6)
    sizes = tuple(unit.letters(size) for size in (22, 20, 18, 16, 14))
    px = min(text.largest(words, sizes, room) for _letter, words in keys)
    most = 2 if any(text.width(words, px) > room for _letter, words in keys) else 1
    cap = max(unit(24), min(unit.letters(36), height - most * text.line_height(px) - unit(8)))
    for (letter, words), (x0, x1) in zip(keys, _slots(len(keys), width), strict=True):
        middle = (x0 + x1) // 2
        marks.fill(picture, Rect(x0 + unit(3), unit(5), x1 - unit(3), height - unit(4)), ground)
        lines = text.wrap(words, px, room, most) if text.width(words, px) > room else (words,)
        top = (height - cap - unit(4) - len(lines) * text.line_height(px)) // 2 + unit(1)
        text.paste(picture, marks.plate(cap, cap, unit(8), cap_ground, ground), middle - cap // 2, top)
        size = min(unit.letters(24), cap)
        y = top + (cap - text.line_height(size)) // 2
        text.put(picture, letter, (middle, y), size, TEXT, cap_ground, bold=True, align="centre")
        for number, line in enumerate(lines):
            y = top + cap + unit(4) + number * text.line_height(px)
            text.put(picture, line, (middle, y), px, SOFT, ground, align="centre", max_px=room)
    return text.finished(picture)

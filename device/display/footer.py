"""Under the picture: the message, what the stage and the focus do, and the keys. Each part is drawn anew only when it changes."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from device.camera.base import CameraState
from device.display import marks, text
from device.display.base import ScreenView
from device.display.layout import Rect, Unit
from device.display.palette import BUSY, CARD, DIM, LEVELS, LINE, OK, PANEL, SOFT, TEXT, WARN, ink_on, mix
from device.display.words import is_open, stage_words
from device.slide.model import SlideState
from engines.detections import Image

_FOCUS_PARTS = 20
_SHARP, _SOFT_FOCUS = 0.66, 0.33
"""Colours of the meter only; the words come from device.quality."""


def draw_footer(place: Image, view: ScreenView, unit: Unit) -> None:
    """Draw the footer into `place`, which is painted whole."""
    width = place.shape[1]
    state = None if view.slide is None else view.slide.state
    parts = 0 if not math.isfinite(view.focus) else round(min(1.0, max(0.0, view.focus)) * _FOCUS_PARTS)
    message_h = unit(62)
    lower_h = place.shape[0] - message_h
    stage_w, focus_w = unit(330), unit(366)
    live = view.frame is not None and view.camera.state is CameraState.STREAMING
    text.paste(place, _message(view.message, view.message_level, width, message_h, unit), 0, 0)
    text.paste(place, _stage(state, view.resting, view.field_counted, live, stage_w, lower_h, unit), 0, message_h)
    text.paste(place, _focus(parts, view.focus_text, live, focus_w, lower_h, unit), stage_w, message_h)
    text.paste(place, _keys(state, width - stage_w - focus_w, lower_h, unit), stage_w + focus_w, message_h)


def _blank(width: int, height: int, unit: Unit) -> Image:
    picture = np.empty((height, max(1, width), 3), np.uint8)
    marks.fill(picture, Rect(0, 0, width, height), PANEL)
    marks.fill(picture, Rect(0, 0, width, unit(1)), LINE)
    return picture


def _done(picture: Image) -> Image:
    picture.setflags(write=False)
    return picture


@lru_cache(maxsize=8)
def _message(words: str, level: str, width: int, height: int, unit: Unit) -> Image:
    """One line in the level's colour: full ground for warnings and failures, a lamp before it otherwise."""
    colour = LEVELS[level]
    ground = colour if words and level in ("warn", "fail") else PANEL
    picture = _blank(width, height, unit)
    if not words:
        return _done(picture)
    marks.fill(picture, Rect(0, 0, width, height), ground)
    loud, px = ground != PANEL, unit(31)
    ink = ink_on(ground) if loud else TEXT
    icon = {"ok": "tick", "busy": "ring", "warn": "alert", "fail": "failed"}[level]
    text.paste(picture, marks.marker(icon, px, ink if loud else colour, ground), unit(24), (height - px) // 2)
    y = (height - text.line_height(px)) // 2 + unit(1)
    text.put(picture, words, (unit(24) + px + unit(14), y), px, ink, ground, bold=loud, max_px=width - px - unit(62))
    return _done(picture)


@lru_cache(maxsize=32)
def _stage(state: SlideState | None, resting: bool, counted: bool, live: bool, width: int, height: int, unit: Unit) -> Image:
    """Whether the stage rests or moves, and what becomes of the field."""
    picture = _blank(width, height, unit)
    x, px = unit(24), unit(30)
    if not live:
        text.put(picture, "No live picture", (x, unit(26)), px, DIM, PANEL)
        return _done(picture)
    icon, words = ("disc", "Stage at rest") if resting else ("arrows", "Stage moving")
    text.paste(picture, marks.marker(icon, px, TEXT if resting else BUSY, PANEL), x, unit(13))
    text.put(picture, words, (x + px + unit(12), unit(10)), px, TEXT, PANEL, bold=True)
    level, what = stage_words(state, resting, counted)
    px = unit(23)
    kind = {"ok": "tick", "busy": "ring", "warn": "alert"}[level]
    text.paste(picture, marks.marker(kind, px, LEVELS[level], PANEL), x + unit(3), unit(54))
    text.put(picture, what, (x + unit(42), unit(50)), px, LEVELS[level], PANEL, max_px=width - x - unit(46))
    return _done(picture)


@lru_cache(maxsize=48)
def _focus(parts: int, words: str, live: bool, width: int, height: int, unit: Unit) -> Image:
    """The focus meter in twenty parts, with words."""
    picture = _blank(width, height, unit)
    marks.fill(picture, Rect(0, unit(16), unit(1), height - unit(16)), LINE)
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
    return _done(picture)


@lru_cache(maxsize=8)
def _keys(state: SlideState | None, width: int, height: int, unit: Unit) -> Image:
    """The keys as caps with their words; those that do nothing now are dim."""
    picture = _blank(width, height, unit)
    marks.fill(picture, Rect(0, unit(16), unit(1), height - unit(16)), LINE)
    open_now = is_open(state)
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
    return _done(picture)

"""What stands around every page of the review: its head, the line of words under it, and the row of keys, which can be pressed."""

from __future__ import annotations

from functools import lru_cache

from device.display import marks, text
from device.display.base import ScreenView
from device.display.gallery_cells import draw_bar, fitting, letters
from device.display.layout import Rect, Unit
from device.display.pages_review import Button, Head, Scale
from device.display.palette import CARD, DIM, GROUND, LEVELS, LINE, PANEL, SOFT, TEXT, WARN, ink_on, mix
from device.display.sheet import Sheet
from device.display.targets import Targets
from device.language import ngettext
from engines.detections import Image

HEAD, SAID, BUTTONS = 92, 50, 112
"""Heights in px of the 1920 x 1080 drawing. A button is 12 mm high on a screen of 10 inches, 25 mm on one of 24."""


def draw_head(sheet: Sheet, place: Rect, head: Head, scale: Scale | None, per_px: float, unit: Unit) -> None:
    """Lay the head on `place`; with a scale bar where `scale` is given, for a picture of `per_px` px for one of the field."""
    sheet.lay(_head(head.title, head.about, head.blockers, scale, per_px, place.width, place.height, unit), place.x0, place.y0)


@lru_cache(maxsize=8)
def _head(
    title: str, about: str, blockers: tuple[str, ...], scale: Scale | None, per_px: float, width: int, height: int, unit: Unit
) -> Image:
    picture = marks.blank(width, height, GROUND)
    left, right = unit(16), width - unit(16)
    room = right - left
    if scale is not None:
        longest = unit(150)
        draw_bar(picture, (right - longest - unit(90), unit(28)), scale, per_px, longest, unit, GROUND)
        room -= longest + unit(110)
    text.put(picture, title, (left, unit(6)), unit(36), TEXT, GROUND, bold=True, max_px=room)
    x = text.put(picture, about, (left, unit(56)), letters(unit, 23), SOFT, GROUND, max_px=right - left).x1 + unit(20)
    if blockers and right - x > unit(200):
        px = letters(unit, 23)
        words = blockers[0] if len(blockers) == 1 else f"{blockers[0]} · " + _more(len(blockers) - 1)
        icon = unit(22)
        text.paste(picture, marks.marker("alert", icon, WARN, GROUND), x, unit(59))
        text.put(picture, words, (x + icon + unit(8), unit(56)), px, WARN, GROUND, max_px=right - x - icon - unit(8))
    return text.finished(picture)


def _more(n: int) -> str:
    return ngettext("{n} more", "{n} more", n).format(n=n)


def draw_said(sheet: Sheet, place: Rect, head: Head, view: ScreenView, unit: Unit) -> None:
    """Lay the answer to the last key on `place`; what fails in the appliance goes first."""
    words, level = head.said, head.level
    if view.message and (view.message_level == "fail" or not words):
        words, level = view.message, view.message_level
    sheet.lay(_said(words, level, place.width, place.height, unit), place.x0, place.y0)


@lru_cache(maxsize=8)
def _said(words: str, level: str, width: int, height: int, unit: Unit) -> Image:
    colour = LEVELS[level]
    loud = bool(words) and level in ("warn", "fail")
    ground = colour if loud else PANEL
    picture = marks.blank(width, height, ground)
    if not words:
        return text.finished(picture)
    ink, px = ink_on(ground) if loud else TEXT, unit(26)
    icon = {"ok": "tick", "busy": "ring", "warn": "alert", "fail": "failed"}[level]
    text.paste(picture, marks.marker(icon, px, ink if loud else colour, ground), unit(16), (height - px) // 2)
    y = (height - text.line_height(px)) // 2
    text.put(picture, words, (unit(28) + px, y), px, ink, ground, bold=loud, max_px=width - px - unit(40))
    return text.finished(picture)


def draw_buttons(sheet: Sheet, targets: Targets, place: Rect, buttons: tuple[Button, ...], unit: Unit) -> None:
    """Lay the row of keys on `place`; each is a target whose word is its key."""
    sheet.lay(_buttons(buttons, place.width, place.height, unit), place.x0, place.y0)
    for button, at in zip(buttons, _places(len(buttons), place.width, place.height, unit), strict=True):
        targets.add(Rect(at.x0 + place.x0, at.y0 + place.y0, at.x1 + place.x0, at.y1 + place.y0), button.key)


def _places(n: int, width: int, height: int, unit: Unit) -> list[Rect]:
    pitch = min(width / max(1, n), unit(220))
    return [Rect(round(i * pitch) + unit(2), unit(4), round((i + 1) * pitch) - unit(2), height - unit(4)) for i in range(n)]


def _cut(words: str, px: int, room: int) -> bool:
    """Whether two lines of this size do not hold all of it."""
    return len(text.wrap(words, px, room, 3)) > 2 or any(text.width(word, px) > room for word in words.split())


@lru_cache(maxsize=8)
def _buttons(buttons: tuple[Button, ...], width: int, height: int, unit: Unit) -> Image:
    picture = marks.blank(width, height, PANEL)
    marks.fill(picture, Rect(0, 0, width, unit(1)), LINE)
    ground = mix(CARD, LINE, 0.4)
    for button, at in zip(buttons, _places(len(buttons), width, height, unit), strict=True):
        under = ground if button.usable else CARD
        marks.fill(picture, at, under)
        middle, inner = (at.x0 + at.x1) // 2, at.width - unit(8)
        px = fitting(button.cap, unit(27), unit(15), inner, True)
        ink = TEXT if button.usable else DIM
        text.put(picture, button.cap, (middle, at.y0 + unit(8)), px, ink, under, bold=True, align="centre", max_px=inner)
        px = letters(unit, 20)
        while px > unit(20) and _cut(button.words, px, inner):
            px -= 1
        y = min(at.y0 + unit(46), at.y1 - 2 * text.line_height(px))
        for line in text.wrap(button.words, px, inner, 2):
            text.put(picture, line, (middle, y), px, SOFT if button.usable else DIM, under, align="centre", max_px=inner)
            y += text.line_height(px)
    return text.finished(picture)

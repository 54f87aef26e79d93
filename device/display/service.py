"""Draws the service page over the whole screen: title, the box in rows, and buttons. What stands there is the desk's business."""

from __future__ import annotations

import numpy as np

from device.display import marks, text
from device.display.ask import CAPS
from device.display.layout import Rect, Unit
from device.display.pages import ServicePage, ServiceRow
from device.display.palette import BUSY, CARD, GROUND, LEVELS, LINE, PANEL, SOFT, TEXT, WARN, mix
from device.display.sheet import Sheet
from device.display.targets import Targets
from engines.detections import Image

_MARGIN, _BUTTON, _NAME = 56, 76, 330
_LINES = 2
"""Of one row, as long as all rows have room."""


def draw_service(sheet: Sheet, page: ServicePage, targets: Targets, unit: Unit) -> None:
    """Bring the whole of `sheet` to `page`; its buttons become targets."""
    height, width = sheet.pixels.shape[:2]
    sheet.from_right = unit.from_right
    sheet.paint(Rect(0, 0, width, height))
    canvas = np.empty_like(sheet.pixels)
    with text.mirrored(unit.from_right):
        buttons = _draw(canvas, page, unit)
    sheet.pixels[:] = canvas[:, ::-1] if unit.from_right else canvas
    for where, word in buttons:
        targets.add(where.mirrored(width) if unit.from_right else where, word)


def _draw(canvas: Image, page: ServicePage, unit: Unit) -> list[tuple[Rect, str]]:
    height, width = canvas.shape[:2]
    marks.fill(canvas, Rect(0, 0, width, height), GROUND)
    left, right = unit(_MARGIN), width - unit(_MARGIN)
    y = unit(28)
    y = text.put(canvas, page.title, (left, y), unit.letters(44), TEXT, GROUND, bold=True, max_px=right - left).y1 + unit(8)
    for line in text.wrap(page.words, unit.letters(26), right - left, 2):
        y = text.put(canvas, line, (left, y), unit.letters(26), WARN, GROUND).y1
    tall = unit(_BUTTON) + unit(12)
    foot = height - unit(24) - -(-len(page.choices) // 2) * tall
    card = Rect(unit(32), y + unit(12), width - unit(32), foot - unit(12))
    marks.fill(canvas, card, PANEL)
    _rows(canvas, card.grow(-unit(20)), page.rows, unit)
    return _buttons(canvas, foot, page, unit)


def _rows(canvas: Image, place: Rect, rows: tuple[ServiceRow, ...], unit: Unit) -> None:
    """All rows, with fewer lines each where there are many: a row that is left out would say that all is well."""
    px, gap = unit.letters(30), unit(14)
    line = text.line_height(px)
    x = place.x0 + unit(_NAME)
    room = place.x1 - x - unit(40)
    wanted = [text.wrap(row.words, px, room, _LINES) for row in rows]
    if sum(len(each) for each in wanted) * line + len(rows) * gap > place.height:
        px = unit.letters(26)
        line = text.line_height(px)
        wanted = [text.wrap(row.words, px, room, 1) for row in rows]
        gap = max(0, min(gap, (place.height - len(rows) * line) // max(1, len(rows))))
    y = place.y0
    for row, lines in zip(rows, wanted, strict=True):
        colour = LEVELS.get(row.level, TEXT)
        text.put(canvas, row.name, (place.x0, y), px, SOFT, PANEL, max_px=unit(_NAME) - unit(20))
        if row.level:
            side, middle = unit(16), y + line // 2
            marks.fill(canvas, Rect(x, middle - side // 2, x + side, middle - side // 2 + side), colour)
        for words in lines:
            text.put(canvas, words, (x + unit(32), y), px, colour if row.level in ("warn", "fail") else TEXT, PANEL, max_px=room)
            y += line
        if row.share is not None:
            bar = Rect(x + unit(32), y - unit(2), place.x1, y + unit(6))
            marks.fill(canvas, bar, CARD)
            marks.fill(canvas, Rect(bar.x0, bar.y0, bar.x0 + round(bar.width * row.share), bar.y1), BUSY)
        y += gap


def _buttons(canvas: Image, top: int, page: ServicePage, unit: Unit) -> list[tuple[Rect, str]]:
    """Two side by side."""
    width, ground, px = canvas.shape[1], mix(CARD, LINE, 0.4), unit.letters(28)
    gap, made = unit(12), []
    wide = (width - 2 * unit(32) - gap) // 2
    for index, choice in enumerate(page.choices):
        x, y = unit(32) + index % 2 * (wide + gap), top + index // 2 * (unit(_BUTTON) + gap)
        button = Rect(x, y, x + wide, y + unit(_BUTTON))
        marks.fill(canvas, button, ground)
        middle = y + (unit(_BUTTON) - text.line_height(px)) // 2
        text.put(canvas, CAPS.get(choice.key, choice.key), (x + unit(22), middle), px, TEXT, ground, bold=True)
        text.put(canvas, choice.words, (x + unit(100), middle), px, TEXT, ground, max_px=wide - unit(120))
        made.append((button, choice.key))
    return made

"""Draws a question over the picture: title, what is typed, the answers as buttons. What is asked is the desk's business."""

from __future__ import annotations

from device.display import marks, text
from device.display.layout import Rect, Unit
from device.display.pages import AskPage
from device.display.palette import BUSY, CARD, LINE, PANEL, SOFT, TEXT, WARN, mix
from device.display.targets import Targets
from engines.detections import Image

_BUTTON = 76
"""Height of a button, in px of the 1920 x 1080 drawing: 20 mm on a 24 inch screen, more than a finger needs."""

CAPS = {"RETURN": "Enter", "ESCAPE": "Esc"}
"""What stands on the keys that have longer names."""


def draw_ask(place: Image, corner: tuple[int, int], page: AskPage, targets: Targets, unit: Unit) -> None:
    """Draw `page` in the middle of `place`, whose corner lies at `corner` on the canvas; its buttons become targets."""
    height, width = place.shape[:2]
    wide = min(width - 2 * unit(40), unit(1000))
    inner = wide - 2 * unit(48)
    title, words = text.wrap(page.title, unit(40), inner, 2), text.wrap(page.words, unit(28), inner, 6)
    fault = text.wrap(page.fault, unit(26), inner, 3)
    tall = 2 * unit(40) + len(title) * text.line_height(unit(40)) + len(words) * text.line_height(unit(28)) + unit(12)
    tall += (unit(92) if page.typed is not None else 0) + len(fault) * text.line_height(unit(26))
    tall += len(page.choices) * unit(_BUTTON + 12)
    box = Rect((width - wide) // 2, max(0, (height - tall) // 2), (width + wide) // 2, min(height, (height + tall) // 2))
    marks.fill(place, box, PANEL)
    marks.outline(place, box, unit(3), BUSY)
    x, y = box.x0 + unit(48), box.y0 + unit(40)
    for lines, px, colour, bold in ((title, unit(40), TEXT, True), (words, unit(28), SOFT, False)):
        for line in lines:
            text.put(place, line, (x, y), px, colour, PANEL, bold=bold, max_px=inner)
            y += text.line_height(px)
    y += unit(12)
    if page.typed is not None:
        entry = Rect(x, y, x + inner, y + unit(72))
        marks.fill(place, entry, CARD)
        marks.outline(place, entry, unit(2), WARN if page.fault else LINE)
        typed = text.put(place, page.typed, (x + unit(16), y + unit(14)), unit(38), TEXT, CARD, max_px=inner - unit(40))
        marks.fill(place, Rect(typed.x1 + unit(4), y + unit(14), typed.x1 + unit(8), y + unit(58)), BUSY)
        y += unit(92)
    for line in fault:
        text.put(place, line, (x, y), unit(26), WARN, PANEL, max_px=inner)
        y += text.line_height(unit(26))
    ground = mix(CARD, LINE, 0.4)
    for choice in page.choices:
        button = Rect(x, y, x + inner, y + unit(_BUTTON))
        marks.fill(place, button, ground)
        middle = y + (unit(_BUTTON) - text.line_height(unit(30))) // 2
        text.put(place, CAPS.get(choice.key, choice.key), (x + unit(22), middle), unit(30), TEXT, ground, bold=True)
        text.put(place, choice.words, (x + unit(170), middle), unit(30), TEXT, ground, max_px=inner - unit(190))
        targets.add(Rect(*(at + corner[i % 2] for i, at in enumerate(button))), choice.key)
        y += unit(_BUTTON + 12)

"""Above the picture: where it comes from, and what is in it. A simulator says so here, where no cell can hide it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from device.display import marks, text
from device.display.base import ScreenView
from device.display.layout import Rect, Unit
from device.display.palette import DIM, GROUND, SOFT, WARN
from device.display.sheet import Sheet
from device.display.words import SIMULATOR_NOTICE
from engines.detections import Image


def draw_strip(sheet: Sheet, place: Rect, view: ScreenView, seen: str, unit: Unit) -> None:
    """Lay the strip on `place`, which it covers whole. seen: what is in the field, in a few words."""
    source = "" if view.frame is None else view.frame.source
    sheet.lay(_strip(source, seen, place.width, place.height, unit), place.x0, place.y0)


@lru_cache(maxsize=8)
def _strip(source: str, seen: str, width: int, height: int, unit: Unit) -> Image:
    picture = np.empty((height, width, 3), np.uint8)
    marks.fill(picture, Rect(0, 0, width, height), GROUND)
    x, px = unit(24), unit(21)
    if source.lower().startswith("simulator"):
        px = unit(23)
        chip = Rect(0, 0, x + px + unit(10) + text.width(SIMULATOR_NOTICE, px, True) + unit(16), height)
        marks.fill(picture, chip, WARN)
        text.paste(picture, marks.marker("alert", px, GROUND, WARN), x, (height - px) // 2)
        top = (height - text.line_height(px)) // 2
        text.put(picture, SIMULATOR_NOTICE, (x + px + unit(10), top), px, GROUND, WARN, bold=True)
        left = chip.x1
    else:
        name = source.rstrip("/").rsplit("/", 1)[-1]
        top = (height - text.line_height(px)) // 2
        left = text.put(picture, name, (x, top), px, DIM, GROUND, max_px=width // 2 - x).x1
    px = unit(21)
    room = width - left - unit(24) - unit(24)
    if room > 0:
        top = (height - text.line_height(px)) // 2
        text.put(picture, seen, (width - unit(24), top), px, SOFT, GROUND, align="right", max_px=room)
    picture.setflags(write=False)
    return picture

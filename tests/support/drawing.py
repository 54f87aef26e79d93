"""What tests of the screen share: where its parts lie, sample views, and whether words stand somewhere on a canvas."""

from __future__ import annotations

import sys

import gallery
import numpy as np

from device.display import palette, text
from device.display.base import ScreenView
from device.display.layout import layout
from engines.detections import Image
from engines.taxonomy import UNKNOWN

SIZE = (1920, 1080)
PLACE = layout(*SIZE)
KNOWN = [1, 0, 1, 0, 1, 1, 0]
VIEWS = gallery.views()


def forget() -> None:
    """Have every part of the screen drawn anew, instead of kept pictures laid."""
    for module in [module for name, module in sys.modules.items() if name.startswith("device.display.") and not name.endswith(".text")]:
        for kept in [kept for kept in vars(module).values() if hasattr(kept, "cache_clear")]:
            kept.cache_clear()


def has(canvas: Image, words: str, size: int, colour: palette.Colour, ground: palette.Colour, bold: bool = False) -> bool:
    """Whether the finished picture of `words` lies somewhere on `canvas`, pixel for pixel."""
    sprite = text.sprite(words, size, colour, ground, bold)
    ink = (sprite != ground).any(axis=2)  # without the empty lines above and below, which another part may cover
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    inner = sprite[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = inner.shape[:2]
    middle = height // 2
    wanted = inner[middle].tobytes()
    for y in range(middle, canvas.shape[0] - (height - middle) + 1):
        line = canvas[y].tobytes()
        at = line.find(wanted)
        while at >= 0:
            x = at // 3
            if at % 3 == 0 and np.array_equal(canvas[y - middle : y - middle + height, x : x + width], inner):
                return True
            at = line.find(wanted, at + 1)
    return False


def panel(canvas: Image) -> Image:
    return PLACE.panel.view(canvas)


def footer(canvas: Image) -> Image:
    return PLACE.footer.view(canvas)


def picture(canvas: Image) -> Image:
    return PLACE.picture.view(canvas)


def one_cell(name: str, score: float = 0.9, box: tuple[float, float, float, float] = (900, 500, 1100, 700)) -> ScreenView:
    image = np.full((1080, 1920, 3), 200, np.uint8)
    codes = [UNKNOWN] * 7 if name == "None" else KNOWN
    return gallery.view(image, gallery.detections([(box, name, score, codes)]))


def strip(canvas: Image) -> Image:
    return PLACE.strip.view(canvas)

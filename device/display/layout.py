"""Where things lie on the canvas: strip, picture and footer on the left, the panel on the right; all follow the canvas's size."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from device.language import RIGHT_TO_LEFT, in_use
from engines.detections import Image


class Rect(NamedTuple):
    """A rectangle in canvas pixels; x1 and y1 are the first pixels outside."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        return self.y1 - self.y0

    def mirrored(self, width: int) -> Rect:
        """Where the rectangle lies on a canvas of that width that is turned over."""
        return Rect(width - self.x1, self.y0, width - self.x0, self.y1)

    def grow(self, px: int) -> Rect:
        """The rectangle with `px` more on every side (fewer if negative)."""
        return Rect(self.x0 - px, self.y0 - px, self.x1 + px, self.y1 + px)

    def view(self, canvas: Image) -> Image:
        """The part of `canvas` under the rectangle, sharing its memory."""
        return canvas[self.y0 : self.y1, self.x0 : self.x1]


LEAST_LETTERS_PX = 14
"""No letters of the count's screen are smaller, on canvases of 1024 x 600 and more."""
_SMALL = 0.6


class Unit(NamedTuple):
    """Turns a measure of the 1920 x 1080 drawing into pixels of the canvas; call it. Part of the key of every cached picture, which
    therefore are of one language."""

    scale: float
    language: str = "en"

    def __call__(self, px: float) -> int:
        return max(1, round(px * self.scale))

    def letters(self, px: float, least: int = LEAST_LETTERS_PX) -> int:
        """Size in px of letters that must stay legible on a small canvas."""
        return max(self(px), least if self.scale >= 0.5 else 1)

    @property
    def small(self) -> bool:
        """On a canvas of 1024 x 600 or so: what can be left out is left out."""
        return self.scale < _SMALL

    @property
    def from_right(self) -> bool:
        """Whether the screen is read from right to left, and is therefore laid out as in a mirror."""
        return self.language in RIGHT_TO_LEFT


class Layout(NamedTuple):
    """The places of the canvas and its unit of measure."""

    unit: Unit
    strip: Rect
    picture: Rect
    footer: Rect
    panel: Rect


def layout(width_px: int, height_px: int) -> Layout:
    """Layout of a canvas in the language in use, as of one that is read from the left; ValueError below 320 x 180, where nothing could
    be read."""
    return _layout(width_px, height_px, in_use())


@lru_cache(maxsize=8)
def _layout(width_px: int, height_px: int, language: str) -> Layout:
    if width_px < 320 or height_px < 180:
        raise ValueError(f"a canvas of {width_px} x {height_px} px is too small; at least 320 x 180")
    unit = Unit(min(width_px / 1920, height_px / 1080), language)
    left = width_px - unit(640 if unit.small else 560)
    top = height_px - unit(274)
    head = unit(41)  # what is left of the height when a picture of 16:9 fills the width
    return Layout(
        unit,
        strip=Rect(0, 0, left, head),
        picture=Rect(0, head, left, top),
        footer=Rect(0, top, left, height_px),
        panel=Rect(left, 0, width_px, height_px),
    )


@lru_cache(maxsize=32)
def letterbox(frame_w: int, frame_h: int, place_w: int, place_h: int) -> Rect:
    """Where a whole frame lies in a place of `place_w` x `place_h`: as large as goes, centred, its shape kept."""
    scale = min(place_w / frame_w, place_h / frame_h)
    w, h = max(1, min(place_w, round(frame_w * scale))), max(1, min(place_h, round(frame_h * scale)))
    x, y = (place_w - w) // 2, (place_h - h) // 2
    return Rect(x, y, x + w, y + h)

"""Text on the screen: Pillow's built-in font, each string rendered once into a bounded cache, then copied; no layout here.

Every text lies on a plain ground, so a sprite is the finished picture of the text on that ground and drawing it is a copy.
"""

from __future__ import annotations

import math
import re
import unicodedata
from bisect import bisect_right
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from device.display.layout import Rect
from device.display.palette import Colour
from engines.detections import Image

MIN_SIZE_PX = 6
"""No letters are smaller; what is asked for below is drawn in these."""
_DASHES = {"\N{EN DASH}": 0.55, "\N{EM DASH}": 0.95}
"""Not in the font; drawn as lines of this many em."""
_DASH = re.compile("([\N{EN DASH}\N{EM DASH}])")
_SPELT = str.maketrans(
    {
        "\N{MULTIPLICATION SIGN}": "x",
        "\N{RIGHTWARDS ARROW}": ">",
        "\N{GREATER-THAN OR EQUAL TO}": ">=",
        "\N{LESS-THAN OR EQUAL TO}": "<=",
        "\N{ALMOST EQUAL TO}": "~",
        **dict.fromkeys("\N{MINUS SIGN}\N{HYPHEN}\N{NON-BREAKING HYPHEN}", "-"),
        **dict.fromkeys("\N{MICRO SIGN}\N{GREEK SMALL LETTER MU}", "u"),
        "\N{LATIN SMALL LETTER DOTLESS I}": "i",
        "ß": "ss",
        "ø": "o",
        "Ø": "O",
        "æ": "ae",
        "Æ": "AE",
        "œ": "oe",
        "ł": "l",
        "Ł": "L",
        "đ": "d",
    }
)
_DRAWN = frozenset(map(chr, range(32, 127))) | frozenset("©«°±·»“”…™\u00b4\u2018\u2019\u2039\u203a\u2044") | frozenset(_DASHES)
"""What the font holds (a test asks it)."""


@lru_cache(maxsize=2048)
def drawable(text: str) -> str:
    """`text` in the letters that the font has: accents are taken off, white space becomes a blank, the rest is left as it is.

    A letter that is left appears as the font's crossed box, so that a person sees that something stands there.
    """
    if _DRAWN.issuperset(text):
        return text
    out = []
    for char in text.translate(_SPELT):
        if char in _DRAWN:
            out.append(char)
        elif char.isspace() or unicodedata.category(char) == "Cc":
            out.append(" ")
        else:
            plain = "".join(c for c in unicodedata.normalize("NFKD", char) if c in _DRAWN)
            out.append(plain or char)
    return "".join(out)


@lru_cache(maxsize=64)
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(max(size_px, MIN_SIZE_PX))
    if not isinstance(font, ImageFont.FreeTypeFont):  # Pillow built without FreeType has one small bitmap font only
        raise RuntimeError("this Pillow has no FreeType; install the official wheel: pip install --force-reinstall pillow")
    return font


class _Glyph(NamedTuple):
    """One letter. alpha: (line_height, w), read-only; left: px from the pen to its first column; advance: px that the pen goes on."""

    alpha: NDArray[np.uint8]
    left: int
    advance: int


@lru_cache(maxsize=2048)
def _glyph(char: str, size_px: int) -> _Glyph:
    font = _font(size_px)
    ascent, _ = font.getmetrics()
    advance = round(font.getlength(char))  # whole as it is: Pillow's own layout goes from letter to letter in whole pixels
    room = advance + size_px  # for what sticks out on either side
    canvas = PillowImage.new("L", (room + advance + room, line_height(size_px)), 0)
    ImageDraw.Draw(canvas).text((room, ascent), char, fill=255, font=font, anchor="ls")
    alpha = np.asarray(canvas)
    inked = np.flatnonzero(alpha.any(axis=0))
    begin, end = (int(inked[0]), int(inked[-1]) + 1) if inked.size else (room, room)
    return _Glyph(finished(alpha[:, begin:end].copy()), begin - room, advance)


@lru_cache(maxsize=4096)
def width(text: str, size_px: int, bold: bool = False) -> int:
    """Width in px of `text` as `sprite` draws it."""
    line = drawable(text)
    if _DASH.search(line):
        length = sum(_DASHES[c] * size_px if c in _DASHES else _glyph(c, size_px).advance for c in line)
    else:  # word by word: to break lines, the same beginnings of a text are measured over and over
        length = sum(_word_px(word, size_px) for word in line.split(" ")) + line.count(" ") * _glyph(" ", size_px).advance
    return math.ceil(length) + 2 + (_bold_px(size_px) if bold else 0)


@lru_cache(maxsize=2048)
def _word_px(word: str, size_px: int) -> int:
    return sum(_glyph(c, size_px).advance for c in word)


@lru_cache(maxsize=64)
def line_height(size_px: int) -> int:
    """Height in px of one line, from the highest ascender to the lowest descender."""
    ascent, descent = _font(size_px).getmetrics()
    return ascent + descent


def _bold_px(size_px: int) -> int:
    """The font has one weight; bold is struck twice, this many px apart."""
    return max(1, round(size_px / 26))


@lru_cache(maxsize=512)
def _alpha(text: str, size_px: int, bold: bool) -> NDArray[np.uint8]:
    """How much of each pixel `text` covers, (line_height, width), read-only."""
    line, long = drawable(text), width(text, size_px, bold)
    alpha = _with_dashes(line, size_px, long) if any(c in _DASHES for c in line) else _composed(line, size_px, long)
    if bold:
        heavy = alpha.copy()
        for shift in range(1, _bold_px(size_px) + 1):
            np.maximum(heavy[:, shift:], alpha[:, :-shift], out=heavy[:, shift:])
        alpha = heavy
    return finished(alpha)


def _composed(line: str, size_px: int, long: int) -> NDArray[np.uint8]:
    """`line` letter by letter, to the last bit as Pillow draws the whole: a number that changes with each frame is always new text."""
    out = np.zeros((line_height(size_px), long), np.uint8)
    pen, end = 1, 0
    for char in line:
        alpha, left, advance = _glyph(char, size_px)
        first, last = max(pen + left, 0), min(pen + left + alpha.shape[1], long)
        if first < last:
            alpha = alpha[:, first - pen - left : last - pen - left]
            both = min(max(end - first, 0), last - first)  # columns in which the letter before has ink too
            if both:
                under, over = out[:, first : first + both].astype(np.uint16), alpha[:, :both]
                out[:, first : first + both] = (under * 255 + (255 - under) * over + 127) // 255
            out[:, first + both : last] = alpha[:, both:]
            end = max(end, last)
        pen += advance
    return out


def _with_dashes(line: str, size_px: int, long: int) -> NDArray[np.uint8]:
    """`line` with dashes, behind which letters stand at fractions of a pixel."""
    font = _font(size_px)
    ascent, _ = font.getmetrics()
    canvas = PillowImage.new("L", (long, line_height(size_px)), 0)
    pen = ImageDraw.Draw(canvas)
    x = 1.0
    for piece in _DASH.split(line):
        if piece in _DASHES:
            advance = _DASHES[piece] * size_px
            thick, y = max(1, round(size_px / 13)), ascent - round(size_px * 0.26)
            pen.rectangle((round(x + 0.06 * size_px), y - thick, round(x + advance - 0.06 * size_px), y - 1), fill=255)
            x += advance
        else:
            pen.text((x, ascent), piece, fill=255, font=font, anchor="ls")
            x += font.getlength(piece)
    return np.asarray(canvas)


_Array = TypeVar("_Array", bound=np.ndarray[Any, Any])


def finished(picture: _Array) -> _Array:
    """`picture`, read-only from now on, as a cache must hand it out."""
    picture.setflags(write=False)
    return picture


def blend(alpha: NDArray[np.uint8], colour: Colour, ground: Colour) -> Image:
    """(h, w, 3) picture of `colour` over `ground` where `alpha` (h, w) says how much; read-only, for caches."""
    return finished(_shades(colour, ground).take(alpha, axis=0))


@lru_cache(maxsize=256)
def _shades(colour: Colour, ground: Colour) -> Image:
    """From `ground` to `colour` in 256 steps, (256, 3)."""
    share = np.arange(256, dtype=np.uint16)[:, None]
    return ((np.array(ground, np.uint16) * (255 - share) + np.array(colour, np.uint16) * share + 127) // 255).astype(np.uint8)


@lru_cache(maxsize=768)
def sprite(text: str, size_px: int, colour: Colour, ground: Colour, bold: bool = False) -> Image:
    """The finished picture of `text`, (line_height, width, 3), read-only."""
    return blend(_alpha(text, size_px, bold), colour, ground)


Piece = tuple[Image, int, int]
"""A finished picture, and where its upper left corner lies (x and y in px)."""


def paste(canvas: Image, picture: Image, x: int, y: int) -> None:
    """Copy `picture` into `canvas` with its corner at (x, y); what lies outside is cut off."""
    height, width_ = canvas.shape[:2]
    tall, long = picture.shape[:2]
    if x >= 0 <= y and x + long <= width_ and y + tall <= height:  # nearly always
        canvas[y : y + tall, x : x + long] = picture
        return
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + long, width_), min(y + tall, height)
    if x0 < x1 and y0 < y1:
        canvas[y0:y1, x0:x1] = picture[y0 - y : y1 - y, x0 - x : x1 - x]


@lru_cache(maxsize=256)
def _ink(text: str, size_px: int, colour: Colour, bold: bool) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """What `text` leaves of its ground and what it adds to it, each (line_height, width, 3) in 255ths, read-only."""
    share = np.repeat(_alpha(text, size_px, bold)[..., None], 3, axis=2).astype(np.uint16)
    return finished(255 - share), finished(np.array(colour, np.uint16) * share + 127)


def put(
    canvas: Image,
    text: str,
    xy: tuple[int, int],
    size_px: int,
    colour: Colour,
    ground: Colour | None,
    *,
    bold: bool = False,
    align: str = "left",
    max_px: int | None = None,
) -> Rect:
    """Draw one line of `text` and return where it lies.

    xy: the top of the line, and its left end, centre or right end as `align` says. max_px: longer texts end in "…".
    ground: the plain colour that lies there already; None: whatever lies there shows through, which takes longer.
    """
    if max_px is not None:
        text = fit(text, size_px, max_px, bold)
    if not text:
        return Rect(*xy, *xy)
    long, tall = width(text, size_px, bold), line_height(size_px)
    x = xy[0] - {"left": 0, "centre": long // 2, "right": long}[align]
    if ground is None:
        left, added = _ink(text, size_px, colour, bold)
        x0, y0, x1, y1 = max(x, 0), max(xy[1], 0), min(x + long, canvas.shape[1]), min(xy[1] + tall, canvas.shape[0])
        if x0 < x1 and y0 < y1:
            part = slice(y0 - xy[1], y1 - xy[1]), slice(x0 - x, x1 - x)
            under = canvas[y0:y1, x0:x1]
            under[:] = (under * left[part] + added[part]) // 255
    else:
        paste(canvas, sprite(text, size_px, colour, ground, bold), x, xy[1])
    return Rect(x, xy[1], x + long, xy[1] + tall)


@lru_cache(maxsize=512)
def fit(text: str, size_px: int, max_px: int, bold: bool = False) -> str:
    """`text`, or as much of its beginning as goes into `max_px` with "…" behind; empty where not even that does."""
    if width(text, size_px, bold) <= max_px:
        return text
    fitting = _fitting(text, size_px, max_px, bold)
    return text[:fitting].rstrip() + "…" if fitting else ""


def _fitting(text: str, size_px: int, max_px: int, bold: bool = False) -> int:
    """The number of letters of the longest beginning that goes into `max_px` with "…" behind."""
    return bisect_right(range(1, len(text) + 1), max_px, key=lambda n: width(text[:n].rstrip() + "…", size_px, bold))


@lru_cache(maxsize=256)
def wrap(text: str, size_px: int, max_px: int, max_lines: int) -> tuple[str, ...]:
    """`text` in at most `max_lines` lines of at most `max_px`, broken at blanks where there are any; the last ends in "…" if cut."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if width(longer, size_px) <= max_px:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        rest = word
        while width(rest, size_px) > max_px and len(lines) <= max_lines:  # one word longer than a line: an id, a path
            at = max(1, _fitting(rest, size_px, max_px))
            lines[-1], rest = rest[:at], rest[at:]
            lines.append("")
        lines[-1] = rest
        if len(lines) > max_lines:
            last = lines[max_lines - 1].rstrip(" ,;.")
            return (*lines[: max_lines - 1], last[: _fitting(last, size_px, max_px)].rstrip() + "…")
    return tuple(lines) if lines[0] else ()

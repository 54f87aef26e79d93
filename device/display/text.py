"""Text on the screen: each string rendered once into a bounded cache, then copied; no layout here.

Latin letters are put together one by one, so that a number that changes with every frame costs little; a line with Arabic letters is
shaped and ordered by HarfBuzz and FriBiDi (Pillow's Raqm). Every text lies on a plain ground, so a sprite is the finished picture of
the text on that ground and drawing it is a copy.
"""

from __future__ import annotations

import math
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont, features

from device.display.layout import Rect
from device.display.palette import Colour
from engines.detections import Image

MIN_SIZE_PX = 6
"""No letters are smaller; what is asked for below is drawn in these."""
CAP_HEIGHT = 0.714
"""Height of a capital, of the letters' size."""
_ASCENT, _DESCENT = 0.97, 0.26
"""Of the letters' size: from the base line to the ring of an A and to the lowest descender, in both scripts."""
_FONTS = Path(__file__).with_name("fonts")
_SPELT = str.maketrans(
    {
        "\N{RIGHTWARDS ARROW}": ">",
        "\N{GREATER-THAN OR EQUAL TO}": ">=",
        "\N{LESS-THAN OR EQUAL TO}": "<=",
        "\N{ALMOST EQUAL TO}": "~",
        **dict.fromkeys("\N{MINUS SIGN}\N{HYPHEN}\N{NON-BREAKING HYPHEN}", "-"),
        "\N{GREEK SMALL LETTER MU}": "\N{MICRO SIGN}",
        "\N{NARROW NO-BREAK SPACE}": " ",
        "\N{NO-BREAK SPACE}": " ",
    }
)
_LATIN = frozenset(map(chr, (*range(32, 127), *range(0xA1, 0xAD), *range(0xAE, 0x149), *range(0x14A, 0x17F)))) | frozenset(
    "–—‘’‚“”„†•…‰‹›⁄€™"  # noqa: RUF001  (the letters themselves)
)
_JOINERS = frozenset("\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}\N{LEFT-TO-RIGHT MARK}\N{RIGHT-TO-LEFT MARK}")
_ARABIC_CODES = (0x60C, 0x61B, 0x61F, *range(0x621, 0x656), *range(0x660, 0x6D5), *range(0x6F0, 0x6FA))
_ARABIC = frozenset(map(chr, _ARABIC_CODES)) | _JOINERS
_NAMES = re.compile(r"[0-9A-Za-z]+(?:-[0-9A-Za-z]+){2,}")
_DRAWN = _LATIN | _ARABIC
"""What the font holds (a test asks it)."""


def can_shape() -> bool:
    """Whether Arabic script can be drawn as it is written: Pillow's Raqm works only where the system has libfribidi."""
    return bool(features.check("raqm"))


@lru_cache(maxsize=2048)
def drawable(text: str) -> str:
    """`text` in the letters that the font has: accents that it lacks are taken off, white space becomes a blank, the rest is left.

    A letter that is left appears as the font's empty box, so that a person sees that something stands there.
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


@lru_cache(maxsize=128)
def _font(size_px: int, bold: bool = False, shaped: bool = False) -> ImageFont.FreeTypeFont:
    path = _FONTS / f"Leukoscope-{'Bold' if bold else 'Regular'}.ttf"
    engine = ImageFont.Layout.RAQM if shaped and can_shape() else ImageFont.Layout.BASIC
    try:
        return ImageFont.truetype(path, max(size_px, MIN_SIZE_PX), layout_engine=engine)
    except ImportError:
        raise RuntimeError("this Pillow has no FreeType; install the official wheel: pip install --force-reinstall pillow") from None


def _is_arabic(line: str) -> bool:
    return not _ARABIC.isdisjoint(line)


class _Glyph(NamedTuple):
    """One letter. alpha: (line_height, w), read-only; left: px from the pen to its first column; advance: px that the pen goes on."""

    alpha: NDArray[np.uint8]
    left: int
    advance: int


@lru_cache(maxsize=2048)
def _glyph(char: str, size_px: int, bold: bool = False) -> _Glyph:
    font = _font(size_px, bold)
    advance = round(font.getlength(char))  # whole as it is: Pillow's own layout goes from letter to letter in whole pixels
    room = advance + size_px  # for what sticks out on either side
    canvas = PillowImage.new("L", (room + advance + room, line_height(size_px)), 0)
    ImageDraw.Draw(canvas).text((room, base_line(size_px)), char, fill=255, font=font, anchor="ls")
    alpha = np.asarray(canvas)
    inked = np.flatnonzero(alpha.any(axis=0))
    begin, end = (int(inked[0]), int(inked[-1]) + 1) if inked.size else (room, room)
    return _Glyph(finished(alpha[:, begin:end].copy()), begin - room, advance)


@lru_cache(maxsize=4096)
def width(text: str, size_px: int, bold: bool = False) -> int:
    """Width in px of `text` as `sprite` draws it."""
    line = drawable(text)
    if _is_arabic(line):
        return math.ceil(_shaped_px(_names_held(line), size_px, bold)) + 2
    # Word by word: to break lines, the same beginnings of a text are measured over and over.
    length = sum(_word_px(word, size_px, bold) for word in line.split(" ")) + line.count(" ") * _glyph(" ", size_px, bold).advance
    return length + 2


def _names_held(line: str) -> str:
    """`line` with marks around ids of slides and dates, which would be read from their end beside Arabic letters."""
    return _NAMES.sub("\N{LEFT-TO-RIGHT MARK}\\g<0>\N{LEFT-TO-RIGHT MARK}", line)


def _shaped_px(line: str, size_px: int, bold: bool) -> float:
    font = _font(size_px, bold, True)
    return font.getlength(line, direction="rtl", language="ur") if can_shape() else font.getlength(line)


@lru_cache(maxsize=2048)
def _word_px(word: str, size_px: int, bold: bool) -> int:
    return sum(_glyph(c, size_px, bold).advance for c in word)


@lru_cache(maxsize=64)
def base_line(size_px: int) -> int:
    """Distance in px of the line on which the letters stand from the line's top."""
    return math.ceil(_ASCENT * max(size_px, MIN_SIZE_PX))


@lru_cache(maxsize=64)
def line_height(size_px: int) -> int:
    """Height in px of one line, from the highest ascender to the lowest descender."""
    return base_line(size_px) + math.ceil(_DESCENT * max(size_px, MIN_SIZE_PX))


@lru_cache(maxsize=512)
def _alpha(text: str, size_px: int, bold: bool) -> NDArray[np.uint8]:
    """How much of each pixel `text` covers, (line_height, width), read-only."""
    line, long = drawable(text), width(text, size_px, bold)
    return finished((_shaped if _is_arabic(line) else _composed)(line, size_px, long, bold))


def _composed(line: str, size_px: int, long: int, bold: bool = False) -> NDArray[np.uint8]:
    """`line` letter by letter, to the last bit as Pillow draws the whole: a number that changes with each frame is always new text."""
    out = np.zeros((line_height(size_px), long), np.uint8)
    pen, end = 1, 0
    for char in line:
        alpha, left, advance = _glyph(char, size_px, bold)
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


def _shaped(line: str, size_px: int, long: int, bold: bool = False) -> NDArray[np.uint8]:
    """`line` as it is written from right to left, its letters joined, Latin words and numbers in it from left to right."""
    canvas = PillowImage.new("L", (long, line_height(size_px)), 0)
    way = {"direction": "rtl", "language": "ur"} if can_shape() else {}
    pen, font = ImageDraw.Draw(canvas), _font(size_px, bold, True)
    pen.text((1, base_line(size_px)), _names_held(line), fill=255, font=font, anchor="ls", **way)  # type: ignore[arg-type]
    return np.asarray(canvas)


_Array = TypeVar("_Array", bound=np.ndarray[Any, Any])
_turned = False


@contextmanager
def mirrored(on: bool = True) -> Iterator[None]:
    """Meanwhile texts and marks are drawn as seen in a mirror: on a picture that is turned over afterwards they read as they should,
    and all else lies where a reader from right to left looks for it."""
    global _turned  # noqa: PLW0603  (only one thread draws text)
    before, _turned = _turned, on
    try:
        yield
    finally:
        _turned = before


def as_seen(picture: _Array) -> _Array:
    """`picture` of a text or mark, turned over while `mirrored`."""
    return cast(_Array, picture[:, ::-1]) if _turned else picture


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
        left, added = (as_seen(ink) for ink in _ink(text, size_px, colour, bold))
        x0, y0, x1, y1 = max(x, 0), max(xy[1], 0), min(x + long, canvas.shape[1]), min(xy[1] + tall, canvas.shape[0])
        if x0 < x1 and y0 < y1:
            part = slice(y0 - xy[1], y1 - xy[1]), slice(x0 - x, x1 - x)
            under = canvas[y0:y1, x0:x1]
            under[:] = (under * left[part] + added[part]) // 255
    else:
        paste(canvas, as_seen(sprite(text, size_px, colour, ground, bold)), x, xy[1])
    return Rect(x, xy[1], x + long, xy[1] + tall)


def largest(text: str, sizes_px: tuple[int, ...], max_px: int, bold: bool = False) -> int:
    """The first of `sizes_px` in which `text` goes into `max_px`; the last where it goes in none."""
    return next((size for size in sizes_px if width(text, size, bold) <= max_px), sizes_px[-1])


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
def wrap(text: str, size_px: int, max_px: int, max_lines: int, bold: bool = False) -> tuple[str, ...]:
    """`text` in at most `max_lines` lines of at most `max_px`, broken at blanks where there are any; the last ends in "…" if cut."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if width(longer, size_px, bold) <= max_px:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        rest = word
        while width(rest, size_px, bold) > max_px and len(lines) <= max_lines:  # one word longer than a line: an id, a path
            at = max(1, _fitting(rest, size_px, max_px, bold))
            lines[-1], rest = rest[:at], rest[at:]
            lines.append("")
        lines[-1] = rest
        if len(lines) > max_lines:
            last = lines[max_lines - 1].rstrip(" ,;.")
            return (*lines[: max_lines - 1], last[: _fitting(last, size_px, max_px, bold)].rstrip() + "…")
    return tuple(lines) if lines[0] else ()

"""A calibration set as one picture for people: what was chosen in the order of choosing, and how it lies among all that there was.

Which frames are in it was decided in `calibration.int8.frames`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from calibration.int8.frame_statistics import NAMES, STATISTICS, Float64, Image, embedded, spread
from calibration.int8.frames import ALIKE, FLAT, FrameSet, Survey

Colour = tuple[int, int, int]

MOST_SHOWN = 200
"""More frames than these are not drawn; the words say so."""

INK, QUIET, RULE, PAPER, GREY, AMBER = (43, 33, 23), (120, 108, 96), (222, 216, 210), (255, 255, 255), (200, 193, 186), (0, 140, 240)

_WIDE, _MARGIN, _GAP = 1640, 28, 8
_COLUMNS = 10
_PANEL_TOP, _PANEL_HIGH = 134, 380
_SCATTER_WIDE, _CURVE_WIDE = 640, 500
_DOT_PX = 9


def contact_sheet(seen: Survey, chosen: FrameSet, progress: Callable[[int, int], None] | None = None) -> Image:
    """The set as a BGR picture, 1640 px wide. Raises DataError naming a frame that can no longer be read or was changed."""
    points = embedded(seen.statistics)
    row_of = {frame.sha256: row for row, frame in enumerate(seen.frames)}
    rows = [row_of[frame.sha256] for frame in chosen.frames]
    gains = _gains(points[rows])
    shown = len(rows[:MOST_SHOWN])
    thumbnails = []
    for done, frame in enumerate(chosen.frames[:shown], start=1):
        thumbnails.append(frame.read())
        if progress is not None:
            progress(done, shown)
    wide = (_WIDE - 2 * _MARGIN - (_COLUMNS - 1) * _GAP) // _COLUMNS
    high = round(wide * float(np.median([image.shape[0] / image.shape[1] for image in thumbnails])))
    notes = [line for note in chosen.notes for line in textwrap.wrap(f"Mind: {note}.", 190)]
    top = _PANEL_TOP + _PANEL_HIGH + 78 + 24 * len(notes)
    lines = -(-shown // _COLUMNS)
    sheet = _Sheet(top + lines * (high + _GAP) + _MARGIN)
    _head(sheet, chosen, notes)
    colours = _colours(len(rows))
    _scatter(sheet, points, rows, colours)
    _curve(sheet, gains, colours)
    _bars(sheet, spread(seen.statistics), spread(seen.statistics[rows]))
    left_out = f", the first {shown} of {len(rows)}" if shown < len(rows) else ""
    sheet.write((_MARGIN, top - 34), f"In the order of choosing{left_out}", 17)
    for k, image in enumerate(thumbnails):
        at = (_MARGIN + k % _COLUMNS * (wide + _GAP), top + k // _COLUMNS * (high + _GAP))
        _thumbnail(sheet, image, at, (wide, high), str(k + 1), AMBER if k and gains[k - 1] < ALIKE else colours[k])
    return sheet.finished()


class _Sheet:
    """A white canvas; words are set last, all at once, because Pillow writes on a picture of its own."""

    def __init__(self, high: int) -> None:
        self.canvas: Image = np.full((high, _WIDE, 3), PAPER, np.uint8)
        self._words: list[tuple[tuple[int, int], str, int, Colour, str]] = []

    def write(self, at: tuple[int, int], words: str, size: int, colour: Colour = INK, anchor: str = "la") -> None:
        """Words with their `anchor` (as Pillow names it: "la" left and top, "mm" middle) at x and y."""
        self._words.append((at, words, size, colour, anchor))

    def finished(self) -> Image:
        picture = Pillow.fromarray(self.canvas[..., ::-1])
        draw = ImageDraw.Draw(picture)
        for at, words, size, colour, anchor in self._words:
            draw.text(at, words, fill=colour[::-1], font=_font(size), anchor=anchor)
        return np.ascontiguousarray(np.asarray(picture)[..., ::-1])


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _head(sheet: _Sheet, chosen: FrameSet, notes: list[str]) -> None:
    taken = len(chosen.frames)
    sheet.write((_MARGIN, 24), f"Calibration set: {taken} of {chosen.candidates} frames", 30)
    worst = "all were taken" if taken == chosen.candidates else f"none left out is farther than {chosen.radius:.2f} from one of them"
    told = (
        f"{chosen.distinct} of them show something of their own; {worst} (two fields of film lie about 1.4 apart). Seed {chosen.seed}."
    )
    sheet.write((_MARGIN, 66), told, 17, QUIET)
    for k, note in enumerate(notes):
        sheet.write((_MARGIN, _PANEL_TOP + _PANEL_HIGH + 26 + 24 * k), note, 17, (0, 90, 190))


def _scatter(sheet: _Sheet, points: Float64, rows: list[int], colours: list[Colour]) -> None:
    """All candidates on the two directions in which they differ most; what is not chosen in grey."""
    x0, y0, wide, high = _MARGIN, _PANEL_TOP, _SCATTER_WIDE, _PANEL_HIGH
    middle = points - points.mean(axis=0)
    _, sizes, directions = np.linalg.svd(middle, full_matrices=False)
    flat = np.zeros((len(points), 2))
    share = sizes**2 / max(float((sizes**2).sum()), 1e-12)
    words = []
    for k, direction in enumerate(directions[:2]):  # a single frame has one
        flat[:, k] = middle @ (direction * np.sign(direction[np.abs(direction).argmax()]))  # its sign is the algebra's whim
        words.append(f"{('across', 'down')[k]}: {share[k]:.0%} of the differences, mostly {_meaning(direction)}")
    cv2.rectangle(sheet.canvas, (x0, y0), (x0 + wide, y0 + high), RULE, 1, cv2.LINE_AA)
    low, top = flat.min(axis=0), flat.max(axis=0)
    inner = np.array([wide - 60, high - 70])
    scale = float((inner / np.maximum(top - low, 0.2)).min())
    at = np.array([x0 + 30, y0 + 30]) + (inner - (top - low) * scale) / 2 + (flat - low) * scale
    for row in sorted(set(range(len(points))) - set(rows)):
        _dot(sheet.canvas, at[row], GREY)
    for order in range(len(rows) - 1, -1, -1):  # the first chosen on top
        _dot(sheet.canvas, at[rows[order]], colours[order])
    sheet.write((x0, y0 - 8), "All candidates; colour: order of choosing, grey: not chosen", 15, INK, "ls")
    for k, text in enumerate(words):
        sheet.write((x0 + 10, y0 + high - 34 + 16 * k), text, 13, QUIET)


def _curve(sheet: _Sheet, gains: Float64, colours: list[Colour]) -> None:
    """How far each frame was from those before it: where it falls below the line, a further frame shows nothing new."""
    x0, y0, wide, high = _MARGIN + _SCATTER_WIDE + 90, _PANEL_TOP, _CURVE_WIDE, _PANEL_HIGH
    sheet.write((x0, y0 - 8), "How much each frame differs from all before it", 15, INK, "ls")
    top = max(float(gains.max(initial=0.0)), 4 * ALIKE) * 1.08
    bottom = y0 + high - 24

    def level(value: float) -> int:
        return round(bottom - value / top * (bottom - y0))

    step = next(s for s in (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, float("inf")) if top / s <= 8)
    for value in accumulate([step] * int(top / step), initial=0.0):
        cv2.line(sheet.canvas, (x0, level(value)), (x0 + wide, level(value)), RULE, 1)
        sheet.write((x0 - 8, level(value)), f"{value:.1f}", 13, QUIET, "rm")
    cv2.line(sheet.canvas, (x0, level(ALIKE)), (x0 + wide, level(ALIKE)), AMBER, 1, cv2.LINE_AA)
    sheet.write((x0 + wide, level(ALIKE) - 3), "below: the same again", 13, AMBER, "rs")
    number = len(gains) + 1
    for k, gain in enumerate(gains):
        _dot(sheet.canvas, np.array([x0 + (k + 1.5) / number * wide, level(float(gain))]), colours[k + 1], 6)
    sheet.write((x0, bottom + 8), "frame 2", 13, QUIET)
    sheet.write((x0 + wide, bottom + 8), f"frame {number}", 13, QUIET, "ra")


def _bars(sheet: _Sheet, there: dict[str, float], taken: dict[str, float]) -> None:
    """How much the frames differ within each group, against a real folder: candidates in grey, chosen in colour."""
    x0, y0 = _MARGIN + _SCATTER_WIDE + 90 + _CURVE_WIDE + 50, _PANEL_TOP
    wide, thick = _WIDE - _MARGIN - x0, 15
    sheet.write((x0, y0 - 8), "Spread; 1.0: as in one real folder", 15, INK, "ls")
    longest = max(2.0, *there.values(), *taken.values())
    for k, group in enumerate(STATISTICS):
        y = y0 + 14 + k * 84
        sheet.write((x0, y), group, 15)
        for line, (value, colour) in enumerate(
            ((there[group], GREY), (taken[group], AMBER if taken[group] < FLAT else (150, 110, 40)))
        ):
            top = y + 22 + line * (thick + 3)
            cv2.rectangle(sheet.canvas, (x0, top), (x0 + max(1, round(value / longest * (wide - 40))), top + thick), colour, -1)
            sheet.write((x0 + round(value / longest * (wide - 40)) + 6, top + thick // 2 + 1), f"{value:.1f}", 13, QUIET, "lm")
    sheet.write((x0, y0 + 14 + len(STATISTICS) * 84), "grey: all candidates, blue: chosen", 13, QUIET)


def _thumbnail(sheet: _Sheet, image: Image, at: tuple[int, int], size: tuple[int, int], number: str, colour: Colour) -> None:
    """A frame, cut to the common shape around its middle, with its number on its colour."""
    wide, high = size
    factor = max(wide / image.shape[1], high / image.shape[0])
    scaled = (max(wide, round(image.shape[1] * factor)), max(high, round(image.shape[0] * factor)))
    small = cv2.resize(image, scaled, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    left, top = (scaled[0] - wide) // 2, (scaled[1] - high) // 2
    x, y = at
    sheet.canvas[y : y + high, x : x + wide] = small[top : top + high, left : left + wide]
    chip = 12 + 9 * len(number)
    cv2.rectangle(sheet.canvas, (x, y), (x + chip, y + 19), colour, -1)
    sheet.write((x + chip // 2, y + 10), number, 14, PAPER if np.dot(colour, (0.11, 0.59, 0.30)) < 145 else INK, "mm")


def _dot(canvas: Image, at: npt.NDArray[np.floating], colour: Colour, across_px: int = _DOT_PX) -> None:
    x, y = (round(float(v) * 16) for v in at)
    cv2.circle(canvas, (x, y), across_px * 8 + 12, PAPER, -1, cv2.LINE_AA, shift=4)
    cv2.circle(canvas, (x, y), across_px * 8, colour, -1, cv2.LINE_AA, shift=4)


def _colours(number: int) -> list[Colour]:
    """From dark (chosen first) to bright."""
    levels = np.linspace(20, 225, number).astype(np.uint8)[:, None]
    return [(int(b), int(g), int(r)) for b, g, r in cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[:, 0]]


def _meaning(direction: Float64) -> str:
    """The two statistics that a direction is made of most."""
    return " and ".join(NAMES[k] for k in np.abs(direction).argsort()[::-1][:2])


def _gains(points: Float64) -> Float64:
    """How far each point but the first is from the nearest before it."""
    return np.array([np.linalg.norm(points[:k] - points[k], axis=1).min() for k in range(1, len(points))], np.float64)

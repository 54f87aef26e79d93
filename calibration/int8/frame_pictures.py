"""A calibration set as one picture for people: what was chosen in the order of choosing, and how it lies among all that there was.

Which frames are in it was decided in `calibration.int8.frames`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from calibration.int8.frame_statistics import NAMES, STATISTICS, Float64, Image, embedded, spread
from calibration.int8.frames import ALIKE, FLAT, FrameSet, Survey
from engines.plot_style import BLUE, INK, RED, SOFT, style

MOST_SHOWN = 200
"""More frames than these are not drawn; the words say so."""

AMBER, GREY = (0, 140, 240), "#bac1c8"
_AMBER = "#f08c00"
_WIDE, _MARGIN, _GAP, _COLUMNS, _DPI = 1640, 28, 8, 10, 128
_HEAD_PX, _NOTE_PX = 592, 24


def contact_sheet(seen: Survey, chosen: FrameSet, progress: Callable[[int, int], None] | None = None) -> Image:
    """The set as a BGR picture, 1640 px wide. Raises DataError naming a frame that can no longer be read or was changed."""
    points = embedded(seen.statistics)
    rows = [seen.frames.index(frame) for frame in chosen.frames]
    gains = _gains(points[rows])
    shown = len(rows[:MOST_SHOWN])
    thumbnails = []
    for done, frame in enumerate(chosen.frames[:shown], start=1):
        thumbnails.append(frame.read())
        if progress is not None:
            progress(done, shown)
    wide = (_WIDE - 2 * _MARGIN - (_COLUMNS - 1) * _GAP) // _COLUMNS
    high = round(wide * float(np.median([image.shape[0] / image.shape[1] for image in thumbnails])))
    grid: Image = np.full((-(-shown // _COLUMNS) * (high + _GAP) + _MARGIN, _WIDE, 3), 255, np.uint8)
    colours = mpl.colormaps["viridis"](np.linspace(0.08, 0.88, len(rows)))  # from dark (chosen first) to bright
    for k, image in enumerate(thumbnails):
        at = (_MARGIN + k % _COLUMNS * (wide + _GAP), k // _COLUMNS * (high + _GAP))
        blue, green, red = (int(255 * colours[k][channel]) for channel in (2, 1, 0))
        _thumbnail(grid, image, at, (wide, high), str(k + 1), AMBER if k and gains[k - 1] < ALIKE else (blue, green, red))
    return np.vstack([_charts(seen, chosen, points, rows, gains, colours), grid])


def _charts(seen: Survey, chosen: FrameSet, points: Float64, rows: list[int], gains: Float64, colours: Float64) -> Image:
    """Title, notes and three charts above the frames."""
    notes = [line for note in chosen.notes for line in textwrap.wrap(f"Mind: {note}.", 170)]
    height = _HEAD_PX + _NOTE_PX * len(notes)
    with style():
        figure = Figure(figsize=(_WIDE / _DPI, height / _DPI), dpi=_DPI)
        canvas = FigureCanvasAgg(figure)

        def write(y_px: float, text: str, size: float, colour: str = INK) -> None:
            figure.text(_MARGIN / _WIDE, 1 - y_px / height, text, fontsize=size, color=colour, va="top")

        taken = len(chosen.frames)
        write(24, f"Calibration set: {taken} of {chosen.candidates} frames", 16)
        worst = (
            "all were taken" if taken == chosen.candidates else f"none left out is farther than {chosen.radius:.2f} from one of them"
        )
        own = f"{chosen.distinct} of them show something of their own"
        write(68, f"{own}; {worst} (two fields of film lie about 1.4 apart). Seed {chosen.seed}.", 9, SOFT)
        for k, note in enumerate(notes):
            write(_HEAD_PX - 34 + _NOTE_PX * k, note, 9, RED)
        left_out = f", the first {MOST_SHOWN} of {len(rows)}" if len(rows) > MOST_SHOWN else ""
        write(height - 30, f"In the order of choosing{left_out}", 9)
        scatter, curve, bars = figure.subplots(1, 3, width_ratios=(64, 50, 29))
        figure.subplots_adjust(
            left=_MARGIN / _WIDE, right=1 - 2 * _MARGIN / _WIDE, top=1 - 134 / height, bottom=1 - 498 / height, wspace=0.16
        )
        _scatter(scatter, points, rows, colours)
        _curve(curve, gains, colours)
        _bars(bars, spread(seen.statistics), spread(seen.statistics[rows]))
        canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib types neither
        return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., 2::-1])  # type: ignore[no-untyped-call]


def _scatter(axes: Any, points: Float64, rows: list[int], colours: Float64) -> None:
    """All candidates on the two directions in which they differ most; what is not chosen in grey."""
    middle = points - points.mean(axis=0)
    _, sizes, directions = np.linalg.svd(middle, full_matrices=False)
    flat, share, words = np.zeros((len(points), 2)), sizes**2 / max(float((sizes**2).sum()), 1e-12), []
    for k, direction in enumerate(directions[:2]):  # a single frame has one
        flat[:, k] = middle @ (direction * np.sign(direction[np.abs(direction).argmax()]))  # its sign is the algebra's whim
        most = " and ".join(NAMES[n] for n in np.abs(direction).argsort()[::-1][:2])
        words.append(f"{('across', 'down')[k]}: {share[k]:.0%} of the differences, mostly {most}")
    others = sorted(set(range(len(points))) - set(rows))
    axes.scatter(*flat[others].T, s=40, color=GREY, edgecolors="white", linewidths=0.5)
    axes.scatter(*flat[rows[::-1]].T, s=40, c=colours[::-1], edgecolors="white", linewidths=0.5)  # the first chosen on top
    axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    axes.set_title("All candidates; colour: order of choosing, grey: not chosen", fontsize=8.5)
    axes.margins(0.12)
    axes.invert_yaxis()
    axes.set_xlabel("\n".join(words), fontsize=7, loc="left")


def _curve(axes: Any, gains: Float64, colours: Float64) -> None:
    """How far each frame was from those before it: where it falls below the line, a further frame shows nothing new."""
    axes.scatter(np.arange(2, len(gains) + 2), gains, s=16, c=colours[1:])
    axes.axhline(ALIKE, color=_AMBER, linewidth=1)
    axes.annotate(
        "below: the same again", (1, ALIKE), (0, 3), ("axes fraction", "data"), "offset points", ha="right", color=_AMBER, fontsize=7
    )
    axes.grid(axis="x", visible=False)
    axes.set(ylim=(0, max(float(gains.max(initial=0.0)), 4 * ALIKE) * 1.08))
    axes.set_title("How much each frame differs from all before it", fontsize=8.5)
    axes.set_xlabel("frame", fontsize=7)


def _bars(axes: Any, there: dict[str, float], taken: dict[str, float]) -> None:
    """How much the frames differ within each group, against a real folder: candidates in grey, chosen in colour."""
    places = np.arange(len(STATISTICS))
    colours = [_AMBER if taken[group] < FLAT else BLUE for group in STATISTICS]
    for offset, shares, colour in ((-0.19, there, GREY), (0.19, taken, colours)):
        bars = axes.barh(places + offset, [shares[group] for group in STATISTICS], 0.34, color=colour)
        axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=7, color=SOFT)
    axes.set(yticks=places, yticklabels=list(STATISTICS), xlim=(0, 1.1 * max(2.0, *there.values(), *taken.values())), xticks=[])
    axes.set_title("Spread; 1.0: as in one real folder", fontsize=8.5)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.set_xlabel("grey: all candidates, blue: chosen", fontsize=7, loc="left")


def _thumbnail(
    grid: Image, image: Image, at: tuple[int, int], size: tuple[int, int], number: str, colour: tuple[int, int, int]
) -> None:
    """A frame, cut to the common shape around its middle, with its number on its colour."""
    wide, high = size
    factor = max(wide / image.shape[1], high / image.shape[0])
    scaled = (max(wide, round(image.shape[1] * factor)), max(high, round(image.shape[0] * factor)))
    small = cv2.resize(image, scaled, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    left, top = (scaled[0] - wide) // 2, (scaled[1] - high) // 2
    x, y = at
    grid[y : y + high, x : x + wide] = small[top : top + high, left : left + wide]
    cv2.rectangle(grid, (x, y), (x + 10 + 9 * len(number), y + 19), colour, -1)
    ink = (255, 255, 255) if np.dot(colour, (0.11, 0.59, 0.30)) < 145 else (43, 33, 23)
    cv2.putText(grid, number, (x + 5, y + 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, ink, 1, cv2.LINE_AA)


def _gains(points: Float64) -> Float64:
    """How far each point but the first is from the nearest before it."""
    return np.array([np.linalg.norm(points[:k] - points[k], axis=1).min() for k in range(1, len(points))], np.float64)

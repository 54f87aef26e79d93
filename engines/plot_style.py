"""How the pictures of an evaluation look, and how they become files: colours, pens, headlines, PNG. What is drawn is in `plots`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import cycle
from typing import Any

import matplotlib as mpl
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

INK, SOFT, FAINT, LINE, WASH = "#17212b", "#55636f", "#8b97a1", "#d7dde2", "#f4f6f8"
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#c9b800"
_LINES = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, YELLOW)
Dash = Any
"""matplotlib's line style, a word or an offset with lengths."""
_DASHES: tuple[Dash, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)))
BLUES = LinearSegmentedColormap.from_list("leukoscope", ["#f4f6f8", "#dbe9f4", "#9cc4e0", "#4a93c4", "#1a5f97", "#0b3a66"])
_FONTS = ("Inter", "Helvetica Neue", "Liberation Sans", "Arial", "DejaVu Sans")
DPI = 160


@contextmanager
def style() -> Iterator[None]:
    """The house's look for everything drawn inside: `with style(): ...`."""
    with mpl.rc_context(
        {
            "font.family": _font(),
            "font.size": 9,
            "text.color": INK,
            "axes.labelcolor": SOFT,
            "axes.edgecolor": FAINT,
            "axes.linewidth": 0.8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.titlesize": 10,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "grid.color": LINE,
            "grid.linewidth": 0.6,
            "xtick.color": SOFT,
            "ytick.color": SOFT,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "xtick.major.size": 0,
            "ytick.major.size": 0,
            "legend.frameon": False,
            "legend.fontsize": 8,
            "lines.linewidth": 1.6,
            "savefig.dpi": DPI,
            "figure.facecolor": "white",
        }
    ):
        yield


def headline(figure: Figure, title: str, note: str) -> None:
    """Title and note over everything, flush left; constrained layout leaves room for one text, so the note is part of it."""
    lines = note.count("\n") + 1
    width, height = figure.get_size_inches()
    inches = 0.34 + 0.165 * lines
    figure.set_size_inches(width, height + inches)
    share = inches / (height + inches)
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - share))  # type: ignore[union-attr,call-arg]  # constrained layout's own key
    left = 0.1 / width
    figure.text(left, 1 - 0.08 / (height + inches), title, fontsize=12.5, fontweight="bold", va="top")
    figure.text(left, 1 - 0.33 / (height + inches), note, fontsize=8, color=SOFT, va="top", linespacing=1.35)


def pens() -> Iterator[tuple[str, Dash]]:
    """Colour and dash of one line after another, none alike for the first 21."""
    for dash in cycle(_DASHES):
        for colour in _LINES:
            yield colour, dash


def jpeg(figure: Figure) -> bytes:
    """The figure as JPEG: for photographs, where PNG takes ten times the room."""
    with style():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="jpeg", dpi=DPI, pil_kwargs={"quality": 88})
    return buffer.getvalue()


def png(figure: Figure) -> bytes:
    """The figure as PNG, without the time or the program in it: the same numbers give the same bytes."""
    with style():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


@lru_cache(maxsize=1)
def _font() -> str:
    """The first font of the list that this machine has; naming one that is absent would fill the log."""
    from matplotlib.font_manager import fontManager

    present = {font.name for font in fontManager.ttflist}
    return next((font for font in _FONTS if font in present), "DejaVu Sans")

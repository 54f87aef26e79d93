"""A picture of what a data set holds: cells of each class, each attribute's values, of all cells and by type, after the paper's Fig. 2.

It only draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.data.census import Census, together
from engines.data.layout import FLAT
from engines.data.vocabulary import NOT_APPLICABLE
from engines.errors import DataError
from engines.taxonomy import UNKNOWN, Attribute, Taxonomy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT, RULE = "#22252b", "#6a707b", "#dfe2e7"
SPLIT_COLOURS = ("#2f5d8c", "#e08a3c", "#5a9a78", "#9a6fb0", "#b5545c", "#7a7a7a")
VALUE_COLOURS = {2: ("#9cc3d5", "#2f6f8f"), 3: ("#b9d6e2", "#6ba6c0", "#2a6384")}
NOT_STATED = "#eceef1"
FEW = 10
"""Below so many cells a share says little, so their number stands in the bar."""
HEADING = 0.8
"""Inches above the panels."""


def draw(name: str, splits: Sequence[Census], taxonomy: Taxonomy, out: Path) -> Path:
    """Write a picture (PNG, or SVG or PDF by suffix) of the counts of some splits; returns its path.

    Left, cells of each class by split; right, each attribute's values as shares of the cells it applies to; below the same by type, and
    where there are several subsets, the cells of each. Raises DataError where there is no cell to draw or the file cannot be written.
    """
    total = together(name, splits, taxonomy)
    if not total.cells:
        raise DataError(f"{name}: no labelled cell, so there is nothing to draw")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sides = sorted({split_name(c) for c in splits}, key=lambda s: (-sum(c.cells for c in splits if split_name(c) == s), s))
    by_side = {side: together(side, [c for c in splits if split_name(c) == side], taxonomy) for side in sides}
    by_side = {side: census for side, census in by_side.items() if census.cells}
    subsets = list(dict.fromkeys(subset_name(c) for c in splits))
    below = 0.9 + 0.3 * len(subsets) if len(subsets) > 1 else 0.0
    upper = 0.4 + 0.42 * max(len(taxonomy.classes), 2 * len(taxonomy.attributes))
    types = [code for code in by_frequency(total, taxonomy) if total.classes[code] and not taxonomy.is_artefact(code)]
    middle = 1.3 + 0.3 * len(types) if types and taxonomy.attributes else 0.0
    height = HEADING + upper + middle + below
    figure = Figure(figsize=(13.5, height), dpi=130, facecolor="white")
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", rect=(0.005, 0.005, 0.985, 0.99 - HEADING / height), wspace=0.04, hspace=0.04)
    rows = [part for part in (upper, middle, below) if part]
    grid = figure.add_gridspec(len(rows), 2, height_ratios=rows, width_ratios=[1.0, 1.05])
    _classes(figure.add_subplot(grid[0, 0]), by_side, total, taxonomy)
    _attributes(figure.add_subplot(grid[0, 1]), total, taxonomy)
    if middle:
        panels = grid[1, :].subgridspec(1, len(taxonomy.attributes), wspace=0.03)
        for at, attribute in enumerate(taxonomy.attributes):
            _by_type(figure.add_subplot(panels[0, at]), total, taxonomy, attribute, types, at == 0)
    if below:
        _subsets(figure.add_subplot(grid[-1, :]), splits, subsets, list(by_side))
    patients = f"{len(total.patients)} patients" if total.patients else "patients not named"
    patients += f" ({_n(total.unnamed)} pictures name none)" if total.patients and total.unnamed else ""
    places = f" of {_n(total.fields)} physical fields" if len(subsets) > 1 and total.fields else ""
    once = ", each counted once a subset" if places and total.fields < total.images - total.unnamed else ""
    parts = f"{_n(total.images)} pictures{places}, {_n(total.cells)} cells{once}, {patients}"
    bare = total.images - total.labelled + total.empty
    parts += f"; {_n(bare)} pictures without labels or cells" if bare else ""
    figure.text(0.012, 1 - 0.28 / height, name, ha="left", va="center", fontsize=16, fontweight="bold", color=INK)
    figure.text(0.012, 1 - 0.58 / height, parts, ha="left", va="center", fontsize=10.5, color=FAINT)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out)
    except (OSError, ValueError) as error:
        raise DataError(f"{out}: cannot be written: {error}") from error
    return out


def split_name(census: Census) -> str:
    """The split of a census whose label is `subset/split`."""
    return census.label.rpartition("/")[2] if "/" in census.label else FLAT


def subset_name(census: Census) -> str:
    """The subset of a census whose label is `subset/split`."""
    return census.label.rpartition("/")[0] or census.label


def _classes(axes: Axes, by_side: dict[str, Census], total: Census, taxonomy: Taxonomy) -> None:
    """Horizontal bars, most frequent class on top, artefacts last, stacked by split."""
    sums = [sum(c.classes[code] for c in by_side.values()) for code in range(len(taxonomy.classes))]
    order = by_frequency(total, taxonomy)
    names = [taxonomy.classes[code] for code in order]
    left = [0] * len(order)
    for (side, census), colour in zip(by_side.items(), cycle(SPLIT_COLOURS), strict=False):
        widths = [census.classes[code] for code in order]
        bars = _stack(axes, names, widths, left, colour, 0.68, f"{side}, {_n(census.cells)} cells")
        for bar, code in zip(bars, order, strict=True):
            bar.set_alpha(0.45 if taxonomy.is_artefact(code) else 1.0)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    most, cells = max(sums), sum(sums)
    for row, code in enumerate(order):
        words = f"{_n(sums[code])}  {100 * sums[code] / cells:.1f} %" if sums[code] else "none"
        axes.text(sums[code] + most * 0.015, row, words, va="center", fontsize=9, color=INK if sums[code] else FAINT)
    _plain(axes, "Cells of each class")
    _numbered(axes, most * 1.22)
    for label, code in zip(axes.get_yticklabels(), order, strict=True):
        label.set_fontweight("bold" if taxonomy.is_blast(code) else "normal")
        label.set_color(FAINT if taxonomy.is_artefact(code) else INK)
    if len(by_side) > 1:
        axes.legend(
            loc="lower right", bbox_to_anchor=(1.0, 0.995), ncols=3, frameon=False, fontsize=9.5, labelcolor=INK, handlelength=1.2,
            columnspacing=1.2, borderaxespad=0.3,
        )  # fmt: skip
    if taxonomy.blasts:
        axes.set_xlabel("bold: blasts and their equivalents", loc="left", fontsize=9, color=FAINT)


def _attributes(axes: Axes, total: Census, taxonomy: Taxonomy) -> None:
    """One bar for each attribute: shares of the cells to which it applies, values from left to right, the unstated rest pale."""
    for row, attribute in enumerate(taxonomy.attributes):
        counts = total.attributes[attribute.key]
        applies = sum(counts.values()) - counts[NOT_APPLICABLE]
        left, unsaid = 0.0, []
        colours = cycle(VALUE_COLOURS.get(len(attribute.values), VALUE_COLOURS[3]))
        parts = [(word, counts[code], colour) for code, (word, colour) in enumerate(zip(attribute.values, colours, strict=False))]
        for word, n, colour in (*parts, ("not stated", counts[UNKNOWN], NOT_STATED)):
            share = n / applies if applies else 0.0
            _stack(axes, [row], [share], [left], colour, 0.46)
            if n and not _segment_words(axes, row, left, share, word, n, colour) and colour != NOT_STATED:
                unsaid.append(f"{word} {_n(n)}")
            left += share
        axes.text(0, row - 0.37, attribute.name, fontsize=10, fontweight="bold", color=INK, va="center")
        said = f" ({', '.join(unsaid)})" if unsaid else ""
        stated = f"stated for {_n(total.stated(attribute.key))} cells{said}"
        axes.text(1, row - 0.37, stated, fontsize=9, color=FAINT, va="center", ha="right")
    _plain(axes, "Values of each attribute")
    axes.set_xlim(0, 1)
    axes.set_ylim(len(taxonomy.attributes) - 0.55, -0.62)
    axes.set_yticks([])
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    never = sorted({total.attributes[a.key][NOT_APPLICABLE] for a in taxonomy.attributes})
    spans = " to ".join(_n(n) for n in dict.fromkeys((never[0], never[-1])))
    words = "of the cells to which the attribute applies; pale: not stated" + (
        f"; left out: {spans} not applicable" if never[-1] else ""
    )
    axes.set_xlabel(words, loc="left", fontsize=9, color=FAINT)


def by_frequency(total: Census, taxonomy: Taxonomy) -> list[int]:
    """Class codes, the most frequent first, artefacts last."""
    return sorted(range(len(taxonomy.classes)), key=lambda code: (taxonomy.is_artefact(code), -total.classes[code], code))


def _by_type(axes: Axes, total: Census, taxonomy: Taxonomy, attribute: Attribute, types: Sequence[int], named: bool) -> None:
    """One attribute, a bar a type: shares of the cells of this type for which it is stated; their number where none or few are."""
    counts, colours = total.by_type[attribute.key], VALUE_COLOURS.get(len(attribute.values), VALUE_COLOURS[3])
    names = [taxonomy.classes[code] for code in types]
    stated = [sum(counts[code, value] for value in range(len(attribute.values))) for code in types]
    left = [0.0] * len(types)
    for value, (word, colour) in enumerate(zip(attribute.values, cycle(colours), strict=False)):
        shares = [counts[code, value] / n if n else 0.0 for code, n in zip(types, stated, strict=True)]
        _stack(axes, names, shares, left, colour, 0.72, word)
        left = [a + b for a, b in zip(left, shares, strict=True)]
    for row, n in enumerate(stated):
        if n < FEW:
            words, ink = (f"of {n}", INK) if n else ("not stated", FAINT)
            plate = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.2}
            axes.text(0.5, row, words, ha="center", va="center", fontsize=7.5, color=ink, bbox=plate)
    _plain(axes, "")
    axes.set_title(attribute.name.replace(" ", "\n", 1), loc="left", fontsize=9.5, fontweight="bold", color=INK, pad=20)
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=len(attribute.values), frameon=False, fontsize=7.5, labelcolor=INK,
        handlelength=0.9, handletextpad=0.4, columnspacing=0.7, borderaxespad=0.2,
    )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(len(types) - 0.5, -0.5)
    axes.set_xticks([0, 0.5, 1], ["0", "50", "100 %"], fontsize=8)
    if named:
        axes.set_xlabel("by type: of its cells for which it is stated", loc="left", fontsize=9, color=FAINT)
    else:
        axes.set_yticks([])
    for label, code in zip(axes.get_yticklabels(), types, strict=False):
        label.set_fontweight("bold" if taxonomy.is_blast(code) else "normal")


def _segment_words(axes: Axes, row: int, left: float, share: float, word: str, n: int, colour: str) -> bool:
    """Word and number inside a segment; in a narrow one the number alone, or nothing. Returns whether the word could be said."""
    full = f"{word}  {_n(n)}"
    fits, narrow = (share > 0.0118 * len(text) + 0.014 for text in (full, _n(n)))
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    ink = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else INK
    axes.text(left + share / 2, row, full if fits else _n(n) if narrow else "", ha="center", va="center", fontsize=9, color=ink)
    return fits


def _stack(
    axes: Axes, rows: Sequence[Any], widths: Sequence[float], left: Sequence[float], colour: str, height: float, label: str = ""
) -> list[Any]:
    """One colour of stacked bars; those without a width get no white edge, which would cut the grid."""
    bars = list(axes.barh(rows, widths, left=left, color=colour, height=height, edgecolor="white", linewidth=0.8, label=label))
    for bar in bars:
        if not bar.get_width():
            bar.set_linewidth(0)
    return bars


def _subsets(axes: Axes, splits: Sequence[Census], subsets: Sequence[str], sides: Sequence[str]) -> None:
    """Cells of each subset, stacked by split."""
    left = [0] * len(subsets)
    for side, colour in zip(sides, cycle(SPLIT_COLOURS), strict=False):
        widths = [sum(c.cells for c in splits if subset_name(c) == subset and split_name(c) == side) for subset in subsets]
        _stack(axes, list(subsets), widths, left, colour, 0.66)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    images = [sum(c.images for c in splits if subset_name(c) == subset) for subset in subsets]
    for row, (cells, pictures) in enumerate(zip(left, images, strict=True)):
        axes.text(cells + max(left) * 0.006, row, f"{_n(cells)} cells, {_n(pictures)} pictures", va="center", fontsize=9, color=INK)
    _plain(axes, "Cells of each subset")
    _numbered(axes, max(left) * 1.15)


def _numbered(axes: Axes, most: float) -> None:
    """Bars from top to bottom over a grid of numbers of cells, 0 to `most`."""
    axes.set_xlim(0, most)
    axes.invert_yaxis()
    axes.xaxis.grid(True, color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_formatter(lambda value, _: _n(round(value)))


def _plain(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11.5, color=INK, pad=10)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, labelsize=9.5, colors=INK)
    axes.tick_params(axis="x", labelsize=9, colors=FAINT)


def _n(number: int) -> str:
    """Thousands apart by a thin space."""
    return f"{number:,}".replace(",", "\u2009")

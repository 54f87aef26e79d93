"""The pictures of an evaluation, drawn by matplotlib without a screen: `figures` and `rendered` make all of them.

Colours: Okabe and Ito's set (jfly.uni-koeln.de/color), readable with colour blindness; lines differ by dash as well. Truth beside
predictions is in `engines.evaluation.examples`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from engines.detections import Float64, Int64
from engines.evaluation.calibration import Reliability
from engines.evaluation.examples import choose, examples
from engines.evaluation.films import FilmScore
from engines.evaluation.result import Evaluation
from engines.plot_style import BLUES, FAINT, INK, LINE, ORANGE, SOFT, headline, jpeg, pens, png, style

_PANELS = 12
"""Films on one picture of differentials."""


def precision_recall(names: Sequence[str], ap50: Float64, recall: Float64, envelope: Float64, label: str) -> Figure:
    """Precision over recall at IoU .5. ap50 (C,) by YOLOv5 v7.0's rule, recall (n,), envelope (C, n): precision's envelope there."""
    with style():
        figure, axes = _curves(names, recall, envelope, ap50, ap50.mean() if len(ap50) else 0, "AP50, YOLOv5 v7.0's rule")
        axes.set(xlabel="recall", ylabel="precision")
        headline(figure, "Precision and recall at IoU 0.5", label)
        return figure


def f1_confidence(names: Sequence[str], confidence: Float64, f1: Float64, best_confidence: float, label: str) -> Figure:
    """F1 over the confidence that a detection must exceed, at IoU .5. confidence (n,), f1 (C, n)."""
    with style():
        figure, axes = _curves(names, confidence, f1, f1.max(1, initial=0), f1.mean(0).max() if len(f1) else 0, "highest F1")
        axes.set(xlabel="confidence", ylabel="F1")
        headline(figure, "F1 over confidence at IoU 0.5", label)
        if len(f1):
            axes.axvline(best_confidence, color=SOFT, linewidth=0.9, linestyle=(0, (3, 3)))
            axes.annotate(
                f"mean F1 highest at {best_confidence:.3f}",
                (best_confidence, 1.02),
                xytext=(0, 3),
                textcoords="offset points",
                ha="right" if best_confidence > 0.8 else "left" if best_confidence < 0.2 else "center",
                va="bottom",
                color=SOFT,
                fontsize=8,
            )
        return figure


def confusion(counts: Int64, names: Sequence[str], label: str) -> Figure:
    """Which type was told of which. counts (C + 1, C + 1): rows labelled, columns told, the last of each background.

    Shades are shares of the row; classes that were neither labelled nor told are left out, and named under the picture.
    """
    present = [i for i in range(len(names)) if counts[i].sum() or counts[:, i].sum()]
    absent = [names[i] for i in range(len(names)) if i not in present]
    rows = [*present, len(names)]
    shown = counts[np.ix_(rows, rows)]
    words = [*(names[i] for i in present), "background"]
    rows_words = [f"{word} ({total})" for word, total in zip(words, shown.sum(1), strict=True)]
    side = len(rows)
    with style():
        figure = Figure(figsize=(2.55 + 0.47 * side, 1.5 + 0.47 * side), layout="constrained")
        axes = figure.subplots()
        title = f"{label}\nRows: labelled (cells). Columns: told. Shade: share of the row. Background: not found, or no cell."
        if absent:
            title += "\n" + textwrap.fill("Neither labelled nor told: " + ", ".join(absent), 100)
        matrix(axes, shown, rows_words, words, corner=True)
        headline(figure, "Types: labelled and told", title)
        return figure


def reliability(looks: Mapping[str, tuple[Reliability, Reliability]], label: str) -> Figure:
    """Reliability of types (left) and of blasts (right): share that was so over the probability stated, a line for each look."""
    with style():
        figure, panels = _panels(2, 2, (3.9, 4.0), (0.2, 0.7))
        for axes, title, place in zip(panels, ("most probable type", "blast or equivalent"), (0, 1), strict=True):
            axes.plot([0, 1], [0, 1], color=LINE, linewidth=1.2)
            for (name, both), (colour, dash) in zip(looks.items(), pens(), strict=False):
                one = both[place]
                used = one.cells > 0
                words = f"{name}  ECE {one.error:.3f}" if one.total else f"{name}  no cell"
                axes.plot(one.stated[used], one.right[used], color=colour, linestyle=dash, label=words, zorder=3)
                areas = 10 + 170 * one.cells[used] / max(one.total, 1)
                axes.scatter(one.stated[used], one.right[used], s=areas, color=colour, alpha=0.55, linewidth=0, zorder=4)
            axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="probability stated", ylabel="share that was so")
            axes.set_title(title)
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=8)
        headline(
            figure,
            "Reliability",
            f"{label}\nWhite cells found, ten bins; a disc's area is its share of the cells. On the line: honest.",
        )
        return figure


def attribute_confusions(attributes: Mapping[str, tuple[Sequence[str], Int64]], label: str) -> Figure:
    """One small matrix for each attribute. counts (V, V) of the cells found: rows labelled, columns told; nothing stated: not drawn."""
    stated = {name: (words, counts) for name, (words, counts) in attributes.items() if counts.sum()}
    with style():
        figure, panels = _panels(len(stated), 4, (2.75, 2.6), (0.3, 0.8))
        for axes, (name, (words, counts)) in zip(panels, stated.items(), strict=False):
            matrix(axes, counts, words, words)
            axes.set_title(name)
        unstated = [name for name in attributes if name not in stated]
        note = f"{label}\nRows: labelled. Columns: told. Shade: share of the row. Cells found at the working point."
        if unstated:
            note += f"\nNo label of a found cell states: {', '.join(unstated)}."
        headline(figure, "Attributes: labelled and told", note)
        return figure


def differentials(films: Mapping[str, FilmScore], names: Sequence[str], label: str) -> Figure:
    """Share of each type of a film's white cells, labelled beside told, a panel with its title for each film (at most 12)."""
    if len(films) > _PANELS:
        raise ValueError(f"{len(films)} films do not fit one picture; give at most {_PANELS}")
    with style():
        present = [i for i in range(len(names)) if any(f.labelled[i] or f.told[i] for f in films.values())]
        figure, panels = _panels(len(films), 3, (3.1, 0.75 + 0.23 * len(present)), (1.9, 1.25), share=True)
        for axes, (title, film) in zip(panels, films.items(), strict=False):
            axes.set_title(title)
            _dumbbells(axes, film, present, names)
        shares = [100 * side.max() / max(side.sum(), 1) for film in films.values() for side in (film.labelled, film.told)]
        panels[0].set_xlim(-3, max([10.0, *shares]) + 3)
        if films:
            handles, words = panels[0].get_legend_handles_labels()
            figure.legend(handles, words, loc="outside lower left", ncols=2, fontsize=9)
        headline(
            figure,
            "Differential of each film",
            f"{label}\nPer cent of the film's white cells; told at the working point, artefacts left out.",
        )
        return figure


def training_curves(panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]], label: str) -> Figure:
    """Numbers over the epochs. panels: title -> line's name -> (epochs, values); gaps (NaN) stay gaps."""
    with style():
        figure, grid = _panels(len(panels), 3, (3.6, 2.7), (0, 0.6))
        for axes, (title, lines) in zip(grid, panels.items(), strict=False):
            for (name, (epochs, values)), (colour, dash) in zip(lines.items(), pens(), strict=False):
                marker = "o" if len(epochs) < 3 else None  # a line through one epoch would not be seen
                axes.plot(epochs, values, color=colour, linestyle=dash, marker=marker, markersize=4, label=name)
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            if lines:
                axes.legend(loc="best")
        headline(figure, "Training", label)
        return figure


def rendered(result: Evaluation) -> dict[str, tuple[str, bytes]]:
    """All pictures of an evaluation as files in memory, in the order of a page: name -> suffix and content.

    Names: precision-recall, f1-confidence, confusion, reliability, attributes, differential (differential-2 ... beyond 12 films),
    examples. Raises DataError naming a picture that cannot be read.
    """
    return {
        name: ("jpg", jpeg(figure)) if name == "examples" else ("png", png(figure))  # photographs as JPEG
        for name, figure in figures(result).items()
    }


def figures(result: Evaluation) -> dict[str, Figure]:
    """The same as figures."""
    taxonomy, label, yolo = result.engine.taxonomy, result.label, result.yolo
    names, curves = [taxonomy.classes[c] for c in yolo.classes], yolo.curves
    drawn = {
        "precision-recall": precision_recall(names, yolo.ap50, curves.grid, curves.envelope, label),
        "f1-confidence": f1_confidence(names, curves.grid, curves.f1, yolo.best_confidence, label),
        "confusion": confusion(result.confusion, taxonomy.classes, label),
    }
    if result.told:
        drawn["reliability"] = reliability({look.look: (look.types, look.blasts) for look in result.told}, label)
    if any(counts.sum() for counts in result.attribute_confusions.values()):
        stated = {a.name: (a.values, result.attribute_confusions[a.key]) for a in taxonomy.attributes}
        drawn["attributes"] = attribute_confusions(stated, label)
    for first in range(0, len(result.films), _PANELS):
        name = "differential" if not first else f"differential-{first // _PANELS + 1}"
        films = {result.film_title(film): film for film in result.films[first : first + _PANELS]}
        drawn[name] = differentials(films, taxonomy.classes, label)
    if result.examples:
        drawn["examples"] = examples(choose(result.examples), taxonomy.classes, label)
    return drawn


def _curves(names: Sequence[str], x: Float64, y: Float64, scores: Float64, mean: float, legend: str) -> tuple[Figure, Any]:
    """Axes from 0 to 1 with a line of y (C, n) for each type, the best by its score (C,) first, and their mean."""
    figure = Figure(figsize=(5.9, 4.0), layout="constrained")
    axes = figure.subplots()
    ticks = np.linspace(0, 1, 6)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=ticks, yticks=ticks)
    for row, (colour, dash) in zip(np.argsort(-scores, kind="stable"), pens(), strict=False):
        axes.plot(x, y[row], color=colour, linestyle=dash, label=f"{names[row]}  {scores[row]:.3f}")
    if not len(scores):
        axes.text(0.5, 0.5, "no labelled cell", color=SOFT, ha="center")
        return figure, axes
    axes.plot(x, y.mean(0), color=INK, linewidth=3, label=f"mean  {mean:.3f}")
    beside: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5), "borderaxespad": 0.2}
    axes.legend(title=legend, title_fontsize=8, alignment="left", handlelength=2.2, **beside)
    return figure, axes


def _panels(
    count: int, most: int, panel: tuple[float, float], around: tuple[float, float], share: bool = False
) -> tuple[Figure, NDArray[Any]]:
    """A figure of `count` panels, `most` a row; width and height in inches of one and of what is around all. share: their axes."""
    columns = min(count, most) or 1
    rows = -(-count // columns) or 1
    figure = Figure(figsize=(panel[0] * columns + around[0], panel[1] * rows + around[1]), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share).ravel()
    for axes in panels[count:]:
        axes.set_axis_off()
    return figure, panels


def matrix(
    axes: Any, counts: Int64, rows: Sequence[str], columns: Sequence[str], corner: bool = False, more: Int64 | None = None
) -> None:
    """Counts in cells shaded by their share of the row. corner: the last cell cannot hold a count, since nobody counts background;
    without it the matrix is a small one in large cells, which have their share in words.

    more: how much each count differs from another's, written beneath it where it does.
    """
    total = counts.sum(1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    axes.imshow(share, cmap=BLUES, vmin=0, vmax=1, aspect="equal" if corner else "auto")
    slant = {"rotation": 45, "ha": "left"} if corner else {"rotation": 0, "ha": "center"}
    axes.set_xticks(range(len(columns)), columns, rotation_mode="anchor", **slant)
    axes.set_yticks(range(len(rows)), rows)
    axes.xaxis.tick_top() if corner else axes.xaxis.tick_bottom()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(-0.5, len(columns)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(rows)), minor=True)
    axes.grid(which="minor", color=LINE if corner else "white", linewidth=0.6 if corner else 2)
    axes.tick_params(which="minor", length=0)
    for i, j in np.ndindex(counts.shape):
        changed, colour = 0 if more is None else int(more[i, j]), "white" if share[i, j] > 0.55 else INK
        if corner and i == j == len(rows) - 1:
            axes.text(j, i, "-", ha="center", va="center", color=FAINT)
        elif counts[i, j] or changed or not corner:
            words = str(counts[i, j]) if corner else f"{counts[i, j]}\n{share[i, j]:.0%}"
            up = 0.14 if changed else 0
            axes.text(j, i - up, words, ha="center", va="center", fontsize=8 if corner else 9, color=colour)
        if changed:
            axes.text(j, i + 0.24, f"{changed:+d}", ha="center", va="center", fontsize=7, fontweight="bold", color=colour)
    if corner:
        for i in range(len(rows) - 1):
            axes.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=SOFT, linewidth=1.1, zorder=3))
        for line in (axes.axhline, axes.axvline):
            line(len(rows) - 1.5, color=SOFT, linewidth=1.1)


def _dumbbells(axes: Any, film: FilmScore, present: Sequence[int], names: Sequence[str]) -> None:
    labelled, told = (100 * c / max(int(c.sum()), 1) for c in (film.labelled, film.told))
    for place, index in enumerate(present):
        axes.plot([labelled[index], told[index]], [place, place], color=LINE, linewidth=3.2, solid_capstyle="round", zorder=1)
    places = range(len(present))
    axes.scatter(labelled[present], places, s=44, color=INK, label="labelled", zorder=3)
    axes.scatter(told[present], places, s=44, facecolor="white", edgecolor=ORANGE, linewidth=2, label="told", zorder=4)
    axes.set_yticks(list(places), [names[i] for i in present])
    axes.set_ylim(len(present) - 0.4, -0.6)
    axes.set_xlabel(f"per cent of {film.labelled.sum()} labelled, {film.told.sum()} told")
    axes.grid(axis="y", visible=False)

"""A page of predictions beside truth: the best, typical and worst pictures, labels on the left and what was told on the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from engines.detections import Float32, Image
from engines.evaluation.picture import Example
from engines.files import printable
from engines.plot_style import BLUE, INK, ORANGE, RED, SOFT, Dash, headline, style

EACH = 4
"""Pictures of each kind, at most."""
_LONGER_SIDE_PX = 640
Pen = tuple[str, Dash]
RIGHT: Pen = (BLUE, "-")
OTHER_TYPE: Pen = (ORANGE, "-")
MISSED: Pen = (RED, (0, (3, 2)))
INVENTED: Pen = (RED, (0, (1, 1.3)))
IGNORED: Pen = (SOFT, (0, (5, 4)))
KEY = (
    (RIGHT, "found, right type"),
    (OTHER_TYPE, "found, another type"),
    (MISSED, "left: not found"),
    (INVENTED, "right: no labelled cell there"),
)
"""Pens and what they mean."""
_PANEL_INCHES = 3.9
_SHORT = 15  # letters of a type's name on a picture


def choose(pictures: Sequence[Example], each: int = EACH) -> list[tuple[str, Example]]:
    """The best, the typical (around the median) and the worst by `Example.agreement`, none twice, with the word for each.

    Among equals a type that is not shown yet comes first, then more cells. Fewer pictures than 3 x `each` are shared out.
    """
    each = min(each, -(-len(pictures) // 3))
    rest = sorted(pictures, key=lambda e: (-e.agreement, -len(e.truth_classes), e.path.name))
    best = _varied(rest, each)
    rest = [e for e in rest if e not in best]
    worst = _varied(sorted(rest, key=lambda e: (e.agreement, -len(e.truth_classes) - len(e.classes), e.path.name)), each)
    rest = [e for e in rest if e not in worst]
    middle = (len(rest) - 1) / 2
    near = sorted(range(len(rest)), key=lambda i: abs(i - middle))
    ordered = sorted(near, key=lambda i: abs(rest[i].agreement - rest[near[0]].agreement))  # stable: the nearest among equals first
    typical = _varied([rest[i] for i in ordered], each)
    return [(word, e) for word, group in (("best", best), ("typical", typical), ("worst", worst)) for e in group]


def _varied(ranked: Sequence[Example], count: int) -> list[Example]:
    """The first `count`; among those with the agreement of the next in line, one whose labelled types are not shown yet."""
    left, shown = list(ranked), set[int]()
    taken: list[Example] = []
    while left and len(taken) < count:
        equal = (e for e in left if e.agreement == left[0].agreement)
        pick = next((e for e in equal if not shown.issuperset(e.truth_classes.tolist())), left[0])
        left = [e for e in left if e is not pick]
        taken.append(pick)
        shown.update(pick.truth_classes.tolist())
    return taken


def examples(chosen: Sequence[tuple[str, Example]], names: Sequence[str], label: str) -> Figure:
    """All chosen pictures on one page, two pairs a row: labelled cells left, told ones right, coloured by whether the two agree.

    Raises DataError naming a picture that cannot be read any more.
    """
    with style():
        read = [_read(example) for _, example in chosen]
        rows = [read[i : i + 2] for i in range(0, len(read), 2)]
        heights = [0.2 + _PANEL_INCHES * max(image.shape[0] / image.shape[1] for image, _ in row) for row in rows]
        figure = Figure(figsize=(4 * _PANEL_INCHES + 0.5, sum(heights) + 0.4), layout="constrained")
        panels = figure.subplots(len(rows), 4, squeeze=False, gridspec_kw={"height_ratios": heights})
        for axes in panels.ravel():
            axes.set_axis_off()
        for pair, (word, example), (image, scale) in zip(panels.reshape(-1, 2), chosen, read, strict=False):
            _draw(pair, example, image, scale, names)
            pair[0].set_title(f"{word}: {printable(example.path.name)}", fontsize=9)
            pair[1].set_title(f"{summary(example)} (F1 {example.agreement:.2f})", fontsize=9, fontweight="normal", color=SOFT)
        lines = [Line2D([], [], color=colour, linestyle=dash, linewidth=2.4) for (colour, dash), _ in KEY]
        figure.legend(lines, [words for _, words in KEY], loc="outside lower left", ncols=4, fontsize=9)
        headline(figure, "Labelled (left) and told at the working point (right)", label)
        return figure


def example_pair(example: Example, names: Sequence[str], panel_inches: float = 5.4) -> Figure:
    """One picture as on the page of `examples` without words around it, each side `panel_inches` wide; raises as there."""
    with style():
        image, scale = _read(example)
        figure = Figure(figsize=(2 * panel_inches + 0.1, panel_inches * image.shape[0] / image.shape[1]))
        panels = figure.subplots(1, 2, gridspec_kw={"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": 0.018})
        for axes in panels:
            axes.set_axis_off()
        _draw(panels, example, image, scale, names)
        return figure


def css_key(key: Sequence[tuple[Pen, str]]) -> list[tuple[str, str, str]]:
    """Colour, CSS's word for the line, and meaning of each pen, for a page."""
    return [(colour, "solid" if dash == "-" else "dashed" if dash[1][0] > 2 else "dotted", words) for (colour, dash), words in key]


def summary(example: Example) -> str:
    """In words: how many cells are right, of how many labelled, and how many were told."""
    return f"{example.right} of {len(example.truth_classes)} right, {len(example.classes)} told"


def _draw(pair: Any, example: Example, image: Image, scale: float, names: Sequence[str]) -> None:
    left, right = pair
    for axes in pair:
        axes.imshow(image)
        for region in example.ignored_px * scale:
            _box(axes, region, "not counted", IGNORED, image)
    told = {int(d): int(t) for t, d in enumerate(example.partner) if d >= 0}
    for box, code, partner in zip(example.truth_boxes_px * scale, example.truth_classes, example.partner, strict=True):
        pen = MISSED if partner < 0 else RIGHT if example.classes[partner] == code else OTHER_TYPE
        _box(left, box, short(names[code]), pen, image)
    for i, (box, code) in enumerate(zip(example.boxes_px * scale, example.classes, strict=True)):
        truth = told.get(i)
        pen = INVENTED if truth is None else RIGHT if example.truth_classes[truth] == code else OTHER_TYPE
        _box(right, box, f"{short(names[code])} {example.scores[i]:.2f}", pen, image)


def short(name: str) -> str:
    """A type's name on a picture: its words cut, if it is long ("Abn. promyeloc.")."""
    if len(name) <= _SHORT:
        return name
    first, _, rest = name.partition(" ")
    if not rest:
        return name[: _SHORT - 1] + "."
    left = _SHORT - 5
    return f"{first[:3]}. {rest if len(rest) <= left else rest[: left - 1] + '.'}"


def _read(example: Example) -> tuple[Image, float]:
    """The picture in RGB, shrunk to what a page shows, and by how much."""
    image: Any = example.read()
    scale = min(1.0, _LONGER_SIDE_PX / max(image.shape[:2]))
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image[:, :, ::-1]).astype(np.uint8), scale


def draw_box(axes: Any, box: Float32, pen: Pen, width: float, halo: float) -> None:
    """The outline of a box x1 y1 x2 y2; halo: width of the white line beneath it, 0 for none."""
    x1, y1, x2, y2 = box.tolist()
    white = [withStroke(linewidth=halo, foreground="white")] if halo else None
    style = {"edgecolor": pen[0], "linestyle": pen[1], "linewidth": width, "path_effects": white}
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, **style))


def _box(axes: Any, box: Float32, words: str, pen: Pen, image: Image) -> None:
    draw_box(axes, box, pen, 1.8, 3.2)
    x1, y1, x2, y2 = box.tolist()
    above = y1 > 0.05 * image.shape[0]
    # Kept inside the picture: near the right edge the words end where the box ends.
    right = x1 > 0.72 * image.shape[1]
    axes.text(
        min(x2, 0.99 * image.shape[1]) if right else max(x1, 0.01 * image.shape[1]),
        y1 - 0.008 * image.shape[0] if above else y2 + 0.008 * image.shape[0],
        words,
        ha="right" if right else "left",
        va="bottom" if above else "top",
        fontsize=6.8,
        fontweight="bold",
        color=INK,
        path_effects=[withStroke(linewidth=2.2, foreground="white")],
    )

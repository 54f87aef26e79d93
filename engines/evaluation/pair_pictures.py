"""Two engines on the same pictures, drawn by matplotlib without a screen: both confusion matrices, how boxes and scores changed, and
single cells that the two tell differently."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from engines.decode import box_iou
from engines.detections import Float32, Image, Int64
from engines.evaluation.examples import Pen, draw_box, short
from engines.evaluation.pairs import Agreement, Disagreement
from engines.evaluation.plots import matrix
from engines.pictures import read_image
from engines.plot_style import BLUE, GREEN, INK, RED, headline, style

REFERENCE: Pen = (BLUE, "-")
CANDIDATE: Pen = (RED, (0, (3, 2)))
TRUTH: Pen = (GREEN, (0, (1, 1.3)))
KEY = ((REFERENCE, "reference"), (CANDIDATE, "candidate"), (TRUTH, "labelled"))
"""Pens and what they mean."""
_CELL_INCHES = 0.47
_CROP_INCHES = 2.6
_LINES_INCHES = 0.62
"""Under a crop, for its three lines of words."""
_AROUND = 0.3
"""Of the larger side of the boxes, shown on every side of them."""
_LEAST_SIDE_PX = 64
_SAME_PLACE = 0.1
"""IoU from which a label is about the same place as a box, found or not."""
_BINS = 60


def confusions(reference: Int64, candidate: Int64, names: Sequence[str], label: str) -> Figure:
    """Which type was told of which by both engines, side by side with the same rows; both (C + 1, C + 1), the last of each background.

    What the candidate tells differently is marked by how much. Classes that neither told and no label bears are left out.
    """
    both = reference + candidate
    rows = [*(i for i in range(len(names)) if both[i].sum() or both[:, i].sum()), len(names)]
    words = [*(names[i] for i in rows[:-1]), "background"]
    one, other = (counts[np.ix_(rows, rows)] for counts in (reference, candidate))
    labels = [f"{word} ({total})" for word, total in zip(words[:-1], one.sum(1)[:-1], strict=True)] + ["background"]
    with style():
        side = _CELL_INCHES * len(rows)
        figure = Figure(figsize=(1.9 + 2 * side, 0.95 + side), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        matrix(left, one, labels, words, corner=True)
        matrix(right, other, labels, words, corner=True, more=other - one)
        left.set_xlabel("told by the reference", color=INK)
        right.set_xlabel("told by the candidate", color=INK)
        note = f"{label}\nRows: labelled (cells). Shade: share of the row. Signed: cells more or fewer than by the reference."
        headline(figure, "Types: labelled and told", note)
        return figure


def changes(agreement: Agreement, limit_px: float, label: str) -> Figure:
    """How far the boxes of pairs lie apart, beside the limit for their median, and how much their scores changed."""
    with style():
        figure = Figure(figsize=(9.6, 2.7), layout="constrained")
        left, right = figure.subplots(1, 2)
        shift_px, score = agreement.shift_px, agreement.score_change
        # The far tail would press everything else into one bar: it is told in words and counted in the last bar.
        most = max(2 * limit_px, float(np.quantile(shift_px, 0.98)) if len(shift_px) else 0, 0.1)
        left.hist(np.minimum(shift_px, most), _BINS, range=(0, most), color=BLUE)
        left.axvline(limit_px, color=RED, linestyle=(0, (3, 2)), label=f"limit of the median {limit_px:g} px")
        if agreement.paired:
            left.axvline(agreement.median_shift_px, color=INK, label=f"median {agreement.median_shift_px:.2f} px")
        left.set_xlabel(f"largest distance of a corner, px ({int((shift_px > most).sum())} beyond {most:.1f})")
        widest = max(float(np.abs(score).max(initial=0)), 0.01)
        right.hist(score, _BINS, range=(-widest, widest), color=BLUE)
        right.axvline(0, color=INK, linewidth=1)
        right.set_xlabel("score of the candidate minus that of the reference")
        for axes in (left, right):
            axes.set_ylabel("pairs")
        left.legend()
        headline(figure, "Pairs of boxes", label)
        return figure


def crop(shown: Disagreement, names: Sequence[str]) -> Figure:
    """One cell with its boxes by both engines and the labelled one, and in words what each says; other cells in thin lines.

    Raises DataError naming a picture that cannot be read any more.
    """
    pairs = shown.pairs
    image = np.ascontiguousarray(read_image(pairs.told.path)[:, :, ::-1])
    mine, its, truth = _boxes(shown)
    x, y, side = _window(np.concatenate([b[None] for b in (mine, its, truth) if b is not None]), image)
    with style():
        height = _CROP_INCHES + _LINES_INCHES
        figure = Figure(figsize=(_CROP_INCHES, height))
        axes = figure.add_axes((0, _LINES_INCHES / height, 1, _CROP_INCHES / height))
        axes.set_axis_off()
        axes.imshow(image, interpolation="bicubic")
        axes.set(xlim=(x, x + side), ylim=(y + side, y))
        told, other = pairs.told, pairs.told_by_candidate
        for boxes, chosen, pen in (
            (told.truth_boxes_px, truth, TRUTH),
            (told.boxes_px, mine, REFERENCE),
            (other.boxes_px, its, CANDIDATE),
        ):
            for box in boxes:
                thick = chosen is not None and np.array_equal(box, chosen)
                draw_box(axes, box, pen, 2 if thick else 0.9, 3.4 if thick else 0)
        for row, ((pen, who), words) in enumerate(zip(KEY, _words(shown, names, truth), strict=True)):
            at = (_LINES_INCHES - 0.13 - 0.19 * row) / height
            figure.add_artist(Line2D([0.02, 0.13], [at, at], color=pen[0], linestyle=pen[1], linewidth=2.2))
            figure.text(0.16, at, f"{who}: {words}", fontsize=8, va="center")
        return figure


def _boxes(shown: Disagreement) -> tuple[Float32 | None, Float32 | None, Float32 | None]:
    """The cell's box by the reference, by the candidate, and the label that overlaps them most; None for what is not there."""
    told, other = shown.pairs.told, shown.pairs.told_by_candidate
    mine = None if shown.reference is None else told.boxes_px[shown.reference]
    its = None if shown.candidate is None else other.boxes_px[shown.candidate]
    given = np.stack([b for b in (mine, its) if b is not None])
    overlap = box_iou(given, told.truth_boxes_px).max(0)
    truth = told.truth_boxes_px[int(overlap.argmax())] if len(overlap) and overlap.max() >= _SAME_PLACE else None
    return mine, its, truth


def _words(shown: Disagreement, names: Sequence[str], truth: Float32 | None) -> tuple[str, str, str]:
    told, other = shown.pairs.told, shown.pairs.told_by_candidate
    mine, its = (
        "nothing" if i is None else f"{short(names[e.classes[i]])} {e.scores[i]:.2f}"
        for e, i in ((told, shown.reference), (other, shown.candidate))
    )
    if truth is None:
        return mine, its, "no cell"
    at = int(np.flatnonzero((told.truth_boxes_px == truth).all(1))[0])
    return mine, its, short(names[told.truth_classes[at]])


def _window(boxes_px: Float32, image: Image) -> tuple[float, float, float]:
    """Left, top and side of a square around the boxes, moved into the picture as far as it fits there."""
    low, high = boxes_px[:, :2].min(0), boxes_px[:, 2:].max(0)
    side = max(_LEAST_SIDE_PX, float((high - low).max()) * (1 + 2 * _AROUND))
    corner = []
    for start, end, room in ((low[0], high[0], image.shape[1]), (low[1], high[1], image.shape[0])):
        at = (float(start) + float(end) - side) / 2
        corner.append((room - side) / 2 if side >= room else min(max(at, 0.0), room - side))
    return corner[0], corner[1], side

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
    told, other, truth = shown.pairs.told, shown.pairs.told_by_candidate, _labelled(shown)
    image = np.ascontiguousarray(told.read()[:, :, ::-1])
    drawn = (
        (TRUTH, told.truth_boxes_px, truth),
        (REFERENCE, told.boxes_px, shown.reference),
        (CANDIDATE, other.boxes_px, shown.candidate),
    )
    x, y, side = _window(np.stack([boxes[chosen] for _, boxes, chosen in drawn if chosen is not None]), image)
    with style():
        height = _CROP_INCHES + _LINES_INCHES
        figure = Figure(figsize=(_CROP_INCHES, height))
        axes = figure.add_axes((0, _LINES_INCHES / height, 1, _CROP_INCHES / height))
        axes.set_axis_off()
        axes.imshow(image, interpolation="bicubic")
        axes.set(xlim=(x, x + side), ylim=(y + side, y))
        for pen, boxes, chosen in drawn:
            for i, box in enumerate(boxes):
                draw_box(axes, box, pen, *((2, 3.4) if i == chosen else (0.9, 0)))
        for row, ((pen, who), words) in enumerate(zip(KEY, _words(shown, names, truth), strict=True)):
            at = (_LINES_INCHES - 0.13 - 0.19 * row) / height
            figure.add_artist(Line2D([0.02, 0.13], [at, at], color=pen[0], linestyle=pen[1], linewidth=2.2))
            figure.text(0.16, at, f"{who}: {words}", fontsize=8, va="center")
        return figure


def _labelled(shown: Disagreement) -> int | None:
    """The labelled cell that overlaps the boxes of both engines most; None where none is about there."""
    told, other = shown.pairs.told, shown.pairs.told_by_candidate
    given = np.stack([e.boxes_px[i] for e, i in ((told, shown.reference), (other, shown.candidate)) if i is not None])
    overlap = box_iou(given, told.truth_boxes_px).max(0)
    return int(overlap.argmax()) if overlap.max(initial=0) >= _SAME_PLACE else None


def _words(shown: Disagreement, names: Sequence[str], truth: int | None) -> tuple[str, str, str]:
    told, other = shown.pairs.told, shown.pairs.told_by_candidate
    mine, its = (
        "nothing" if i is None else f"{short(names[e.classes[i]])} {e.scores[i]:.2f}"
        for e, i in ((told, shown.reference), (other, shown.candidate))
    )
    return mine, its, "no cell" if truth is None else short(names[told.truth_classes[truth]])


def _window(boxes_px: Float32, image: Image) -> tuple[float, float, float]:
    """Left, top and side of a square around the boxes, moved into the picture as far as it fits there."""
    low, high = boxes_px[:, :2].min(0), boxes_px[:, 2:].max(0)
    side = max(_LEAST_SIDE_PX, float((high - low).max()) * (1 + 2 * _AROUND))
    spare = np.array(image.shape[1::-1]) - side
    middle = (low.astype(np.float64) + high - side) / 2
    left, top = np.where(spare <= 0, spare / 2, np.clip(middle, 0, spare.clip(0))).tolist()
    return left, top, side

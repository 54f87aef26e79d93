"""Faults of boxes: outside the picture, without area, one drawn twice, and JSON against TXT. Pure functions of one picture's labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from engines.data.faults import Fault, Kind, Report
from engines.data.labelled_regions import centred_in
from engines.data.labels import UNSIZED, CellLabel, Picture
from engines.data.vocabulary import NOT_APPLICABLE
from engines.decode import box_iou
from engines.taxonomy import Taxonomy

OVERHANG_PX = 1.0
"""Up to here a box that leaves the picture is rounding: published TXT has three decimals, 0.3 px at 640."""

NOISE_PX = 0.01
"""Less than that is the last of six decimals."""

SAME_BOX_PX = 0.5
"""Edges that near are one edge."""

SAME_CELL_IOU = 0.9
"""Two boxes that overlap so far cannot be two cells."""


SMALLEST_PX = 2.0
"""A box with a side up to here is a slip of the hand, no cell; YOLOv5 learns from none that small either."""


UNUSUAL_PX = 4.0
"""A side below that is seen in no data set that we know; the smallest of 9,000 boxes has 7."""

LONGEST_RATIO = 6.0
"""Longer over shorter side; cells cut by the picture's edge may be longer, others of 9,000 boxes are up to 4.2."""

FIELD_SHARE, ORDINARY_SHARE = 0.8, 0.4
"""Of the picture's area: a box of the whole field where an ordinary box (the median) is no picture of a single cell."""

HUGE_SHARE, HUGE_TIMES = 0.3, 12.0
"""Of the picture's area, and of the median box's: far larger than any cell among the others; real ones are up to 5.4 times."""


def unlikely_boxes(pictures: Sequence[Picture], report: Report) -> None:
    """Report boxes of a split that can hardly be one cell: a whole field, a few px, a long strip."""
    sized = [(cell, picture) for picture in pictures if picture.size_hw != UNSIZED for cell in picture.cells]
    shares = [cell.xywh_px[2] * cell.xywh_px[3] / (picture.size_hw[0] * picture.size_hw[1]) for cell, picture in sized]
    median = float(np.median(shares)) if shares else 0.0
    for (cell, picture), share in zip(sized, shares, strict=True):
        (_, _, wide, high), (height, width) = cell.xywh_px, picture.size_hw
        x0, y0, x1, y1 = cell.xyxy_px
        where = f"{picture.path.name}: {_words(cell)}"
        at_edge = min(x0, y0, width - x1, height - y1) <= OVERHANG_PX
        if (share >= FIELD_SHARE and median < ORDINARY_SHARE) or (share >= HUGE_SHARE and share > HUGE_TIMES * median):
            words = f"{where} takes {100 * min(share, 1):.0f} % of the picture (an ordinary box {100 * median:.1f} %): no cell"
            report(Fault(Kind.BOX_FIELD, cell.place, words))
        elif min(wide, high) < UNUSUAL_PX:
            report(Fault(Kind.BOX_SMALL, cell.place, f"{where} is hardly a cell (a side of less than {UNUSUAL_PX:g} px)"))
        elif max(wide, high) > LONGEST_RATIO * min(wide, high) and not at_edge:
            words = f"{where} is {max(wide, high) / min(wide, high):.1f} times as long as wide, and not cut by the edge: hardly a cell"
            report(Fault(Kind.BOX_LONG, cell.place, words))


def sound_boxes(picture: Picture, taxonomy: Taxonomy, report: Report, attributes: bool = True) -> Picture:
    """The picture without the boxes that are left out; what is wrong with any is reported. Sizes in px of the picture as decoded.

    Of a box that stands there twice the first is kept; two of different classes are both marked as doubtful.
    attributes: whether it is judged that they apply to cells and not to artefacts.
    """
    cells = picture.cells if picture.size_hw != UNSIZED else ()
    dropped: set[int] = set()
    doubtful: set[int] = set()
    for n, cell in enumerate(cells):
        if not _inside(cell, picture, report):
            dropped.add(n)
        stated = [a.name for a, code in zip(taxonomy.attributes, cell.attributes, strict=True) if code >= 0]
        if attributes and taxonomy.is_artefact(cell.code) and stated:
            words = f"class {taxonomy.artefact} with {', '.join(stated)}; attributes of an artefact are not applicable"
            report(Fault(Kind.ARTEFACT_ATTRIBUTES, cell.place, f"{picture.path.name}: {words}"))
        elif attributes and not taxonomy.is_artefact(cell.code) and cell.attributes and set(cell.attributes) == {NOT_APPLICABLE}:
            words = f"a {taxonomy.classes[cell.code]} of which every attribute is said not to apply; is it {taxonomy.artefact}?"
            report(Fault(Kind.CELL_NOT_APPLICABLE, cell.place, f"{picture.path.name}: {_words(cell)} is {words}"))
    _in_region(picture, cells, report)
    for n, m in _same_cell(cells):
        if not {m, n} & dropped:
            if _twice(cells[m], cells[n], picture, taxonomy, report) is Kind.BOX_TWO_CLASSES:
                doubtful |= {m, n}
            else:
                dropped.add(n)
    if picture.labels is None or not dropped | doubtful:
        return picture
    kept = tuple(replace(cell, doubtful=n in doubtful) for n, cell in enumerate(cells) if n not in dropped)
    return replace(picture, labels=replace(picture.labels, cells=kept))


def _inside(cell: CellLabel, picture: Picture, report: Report) -> bool:
    """Whether the box is large enough for a cell; says where it lies wrong."""
    height, width = picture.size_hw
    x0, y0, x1, y1 = cell.xyxy_px
    over = max(-x0, -y0, x1 - width, y1 - height)
    where = f"{picture.path.name}: {_words(cell)}"
    _, _, wide, high = cell.xywh_px
    if min(wide, high) == 0:
        report(Fault(Kind.BOX_EMPTY, cell.place, f"{where} has no area"))
        return False
    shared = max(0.0, min(x1, width) - max(x0, 0.0)) * max(0.0, min(y1, height) - max(y0, 0.0))
    if shared < wide * high / 2:
        report(Fault(Kind.BOX_AWAY, cell.place, f"{where} lies mostly outside the picture of {width} x {height} px; draw it again"))
    elif min(wide, high) <= SMALLEST_PX:
        report(Fault(Kind.BOX_TINY, cell.place, f"{where} is too small for a cell (a side of {SMALLEST_PX:g} px or less)"))
        return False
    elif over > OVERHANG_PX:
        report(Fault(Kind.BOX_OUTSIDE, cell.place, f"{where} leaves the picture of {width} x {height} px by {over:.2f} px"))
    elif over > NOISE_PX:
        report(Fault(Kind.BOX_OVERHANGS, cell.place, f"{where} leaves the picture by {over:.2f} px"))
    return True


def _in_region(picture: Picture, cells: Sequence[CellLabel], report: Report) -> None:
    """Says of a picture labelled in part which labels are centred outside that part; they are learnt all the same."""
    if not len(picture.unlabelled_px) or not cells:
        return
    away = np.flatnonzero(centred_in(np.array([cell.xyxy_px for cell in cells], np.float64), picture.unlabelled_px))
    if len(away):
        first = cells[away[0]]
        which = f"{len(away)} of {len(cells)} labels, {_words(first)} first"
        words = f"{which}, lie outside the part that was labelled; widen labelled_region"
        report(Fault(Kind.LABEL_OUTSIDE_REGION, first.place, f"{picture.path.name}: {words}"))


def _same_cell(cells: Sequence[CellLabel]) -> list[tuple[int, int]]:
    """Positions, the later one first, of labels that are of one and the same cell."""
    if len(cells) < 2:
        return []
    boxes = np.array([cell.xyxy_px for cell in cells], np.float64)
    same_edges = np.abs(boxes[:, None] - boxes).max(-1) <= SAME_BOX_PX
    found = np.argwhere(np.tril(same_edges | (box_iou(boxes, boxes) >= SAME_CELL_IOU), -1))
    return [(int(n), int(m)) for n, m in found]


def _twice(first: CellLabel, second: CellLabel, picture: Picture, taxonomy: Taxonomy, report: Report) -> Kind:
    """What two labels of one and the same cell are, reported."""
    same_edges = edges_apart(first, second) <= SAME_BOX_PX
    where = f"{picture.path.name}: {_words(second)}"
    at = f"line {first.place.line}" if first.place.line != second.place.line else f"column {first.place.column} of this line"
    if first.code != second.code:
        kind = Kind.BOX_TWO_CLASSES
        words = f"{where} is {taxonomy.classes[first.code]} ({at}) and {taxonomy.classes[second.code]}; one of them is wrong"
    elif same_edges and first.attributes == second.attributes:
        kind = Kind.ROW_TWICE
        words = f"{where}, {taxonomy.classes[first.code]}, stands there already ({at}); take one out"
    else:
        kind = Kind.BOX_TWICE
        what = "with other attributes" if first.attributes != second.attributes else f"at {_words(first)}"
        words = f"{where}, {taxonomy.classes[first.code]}, stands there already {what} ({at}); take one out"
    report(Fault(kind, second.place, words))
    return kind


def disagreements(first: Picture, second: Picture, taxonomy: Taxonomy, report: Report, meant: Mapping[int, int] | None = None) -> None:
    """Report where the JSON (`first`) and the TXT (`second`) of one picture say different things.

    Boxes pair off by their edges, within 1 px or a thousandth of the longer side (TXT has three decimals at least). What one side does
    not state (attributes in 5 columns, Cell Size in 11) is no disagreement. meant: the JSON's code for codes of the TXT, where its
    numbers are of another order.
    """
    if (first.labels is None and second.labels is None) or UNSIZED in (first.size_hw, second.size_hw):
        return
    name = first.path.name
    if first.labels is not None and second.labels is None and first.cells:
        words = f"{name}: there is no TXT file for it; the JSON has {len(first.cells)} cells"
        report(Fault(Kind.SOURCES_DISAGREE, first.labels.place, words))
        return
    left, right = list(first.cells), [replace(cell, code=(meant or {}).get(cell.code, cell.code)) for cell in second.cells]
    pairs = _pairs(left, right, same_within(first))
    for i, j in pairs.items():
        _differences(name, left[i], right[j], taxonomy, report)
    lone = [(cell, second.labels, "the TXT") for i, cell in enumerate(left) if i not in pairs]
    lone += [(cell, first.labels, "the JSON") for j, cell in enumerate(right) if j not in pairs.values()]
    for cell, other, source in lone:
        words = f"{name}: {_words(cell)}, {taxonomy.classes[cell.code]}, is not in {other.place if other else source}"
        report(Fault(Kind.SOURCES_DISAGREE, cell.place, words))


def _pairs(left: Sequence[CellLabel], right: Sequence[CellLabel], within: float) -> dict[int, int]:
    """Positions in `right` by positions in `left` of boxes that are the same, those of one class first."""
    near = sorted(
        (apart + within * (a.code != b.code), i, j)
        for i, a in enumerate(left)
        for j, b in enumerate(right)
        if (apart := edges_apart(a, b)) <= within
    )
    pairs: dict[int, int] = {}
    for _, i, j in near:
        if i not in pairs and j not in pairs.values():
            pairs[i] = j
    return pairs


def _differences(name: str, a: CellLabel, b: CellLabel, taxonomy: Taxonomy, report: Report) -> None:
    """Report what a cell is by JSON (`a`) and not by TXT (`b`)."""
    if a.code != b.code:
        words = f"{name}: {_words(a)} is {taxonomy.classes[a.code]} here, {taxonomy.classes[b.code]} in {b.place}"
        report(Fault(Kind.SOURCES_DISAGREE, a.place, words))
    layout = taxonomy.layout(b.columns)
    for attribute, one, other in zip(taxonomy.attributes, a.attributes, b.attributes, strict=True):
        if one >= 0 and other >= 0 and one != other:
            said = f"{attribute.name} {attribute.values[one]} here, {attribute.values[other]} in {b.place}"
            report(Fault(Kind.SOURCES_DISAGREE, a.place, f"{name}: {_words(a)} has {said}"))
        elif (one >= 0) != (other >= 0) and layout is not None and attribute.key in layout.keys:
            has = f"{attribute.name} {attribute.values[max(one, other)]} {'here' if one >= 0 else 'in the TXT'}"
            report(Fault(Kind.SOURCES_DISAGREE, a.place, f"{name}: {_words(a)} has {has}, the other ({b.place}) does not state it"))


def same_within(picture: Picture) -> float:
    """How far apart in px the edges of one and the same box may be in JSON and TXT, which has three decimals at least."""
    return max(1.0, max(picture.size_hw) / 1000)


def edges_apart(a: CellLabel, b: CellLabel) -> float:
    """The largest distance in px between the same edges of two boxes."""
    return max(abs(p - q) for p, q in zip(a.xyxy_px, b.xyxy_px, strict=True))


def _words(cell: CellLabel) -> str:
    x, y, w, h = cell.xywh_px
    return f"box at {x:.1f}, {y:.1f} of {w:.1f} x {h:.1f} px"

"""Boxes and class numbers that are sound only when read in another convention than the format's: recognised by all labels together.

A single odd label is a fault of its own and not looked at here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines.data.boxes import same_within
from engines.data.faults import Fault, Kind, Report
from engines.data.labels import UNSIZED, CellLabel, Picture
from engines.data.vocabulary import NOT_APPLICABLE
from engines.taxonomy import Taxonomy

_Boxes = NDArray[np.float64]

_TOLERANCE = 0.02
"""Of the picture's side: so far a sound box may reach beyond the edge."""

_SMALLEST = 0.003
"""Of the picture's side: a sound box is larger."""

_ORDERS = ("x1 y1 x2 y2 (corners)", "centre x, centre y, width, height", "left, top, width, height")
_FEW = 0.95
"""Share of the boxes that another convention must explain."""

_MANY, _SOME = 0.25, 0.08
"""Shares of the boxes that are wrong by the format's own convention; of the fewer, another one must explain all."""

_MOST = 0.5

_AT_LEAST = 5
"""Cells of one number that are of another class, before that is the number's meaning and not a slip of the hand."""


def box_convention(pictures: Sequence[Picture], by_json: bool, report: Report) -> bool:
    """Whether the boxes of a split are of another convention than the format's (JSON: left, top, width, height in px), reported once.

    TXT has centre and size as shares. Another convention is named where the format's own fails on many boxes, or puts the middle of two
    on the left or upper edge, and the other one explains (nearly) all. Of several, the one whose boxes fill the picture is named.
    """
    sized = [picture for picture in pictures if picture.size_hw != UNSIZED]
    cells = [(cell, picture.size_hw) for picture in sized for cell in picture.cells if min(cell.xywh_px[2:]) > 0]
    if not cells:
        return False
    sides = np.array([(w, h, w, h) for _, (h, w) in cells], np.float64)
    read = np.array([cell.xywh_px for cell, _ in cells], np.float64)
    raw = read if by_json else np.hstack([read[:, :2] + read[:, 2:] / 2, read[:, 2:]]) / sides
    own = 2 if by_json else 1
    wrong = ~_sound(raw / (sides if by_json else np.ones(4)), own)[0] | (read[:, 2:] <= 1).any(1)
    # A cell cut by the edge has its middle within the picture; a corner taken for the middle lies on the edge.
    on_edge = wrong & (not by_json) & (raw[:, :2] <= _TOLERANCE).any(1)
    if (wrong.sum() < 2 and not wrong.all()) or (wrong.mean() < _SOME and on_edge.sum() < 2):
        return False
    enough = _FEW if wrong.mean() >= _MANY else 1.0
    guesses = []
    units = [("px", sides), ("shares", np.ones(4)), ("per cent", np.full(4, 100.0)), ("thousandths", np.full(4, 1000.0))]
    for unit, scale in units[: 2 if by_json else 4]:  # per cent are sound px, too
        for order, name in enumerate(_ORDERS):
            sound, reach = _sound(raw / scale, order)
            share = float(sound.mean())
            if (order, unit) != (own, "px" if by_json else "shares"):
                guesses.append((share >= enough and reach >= _MOST, round(reach, 1), share, order == own, f"{name} in {unit}"))
    explained, *_, convention = max(guesses)
    if not explained:
        return False
    first = cells[int(np.flatnonzero(wrong)[0])][0]
    usual = "left, top, width, height in px" if by_json else "centre x, centre y, width, height in shares of the picture"
    words = f"{int(wrong.sum())} of {len(cells)} boxes make no sense as {usual}; they look like {convention}"
    report(Fault(Kind.BOX_CONVENTION, first.place, f"{words}. Convert them, or export them anew"))
    return True


def _sound(shares: _Boxes, order: int) -> tuple[NDArray[np.bool_], float]:
    """Which boxes (N, 4), in shares of their picture, lie in it and have a size when read in an order; how far all reach."""
    first, second = shares[:, :2], shares[:, 2:]
    low = first - second / 2 if order == 1 else first
    high = second if order == 0 else low + second
    inside = (low >= -_TOLERANCE) & (high <= 1 + _TOLERANCE) & (high - low >= _SMALLEST)
    return np.asarray(inside.all(1)), min(1.0, float(high.max()))


def class_order(pictures: Sequence[Picture], taxonomy: Taxonomy, report: Report) -> bool:
    """Whether class numbers of TXT belong to another order, by the attributes: they apply to all types but not to artefacts."""
    cells = [cell for picture in pictures for cell in picture.cells if cell.columns > 5]
    every: Counter[int] = Counter(cell.code for cell in cells)
    bare: Counter[int] = Counter(cell.code for cell in cells if _bare(cell))
    if taxonomy.artefact not in taxonomy.classes or not bare:
        return False
    none = taxonomy.classes.index(taxonomy.artefact)
    code, number = bare.most_common(1)[0]
    artefacts_described = every[none] - bare[none]
    if code == none or number < 3 or number < _FEW * every[code] or bare[none] > (1 - _FEW) * every[none]:
        return False
    first = next(cell for cell in cells if cell.code == code and _bare(cell))
    described = f", and {artefacts_described} of {taxonomy.artefact} have them" if artefacts_described else ""
    words = (
        f"the class numbers are of another order: no attribute applies to {number} of {every[code]} {taxonomy.classes[code]} "
        f"(number {code}){described}. Put the list of class names that belongs to these labels beside them (classes.txt, data.yaml)"
    )
    report(Fault(Kind.CLASS_NUMBERS, first.place, words))
    return True


def _bare(cell: CellLabel) -> bool:
    return all(code == NOT_APPLICABLE for code in cell.attributes)


def renumbered(first: Sequence[Picture], second: Sequence[Picture], taxonomy: Taxonomy, report: Report) -> dict[int, int]:
    """The JSON's code of each code of TXT that stands for another class there, reported once with how often; empty where none does.

    A number is moved where nearly all of its cells, and not fewer than five, have one other class by the JSON; or where most cells of a
    split are so, by two numbers or more. first, second: a split by JSON and by TXT.
    """
    pairs: Counter[tuple[int, int]] = Counter()
    for one, other in zip(first, second, strict=True):
        if one.cells and other.cells:
            left, right = (np.array([cell.xyxy_px for cell in some.cells]) for some in (one, other))
            for i, j in np.argwhere(np.abs(left[:, None] - right).max(-1) <= same_within(one)):
                pairs[other.cells[j].code, one.cells[i].code] += 1
    every: Counter[int] = Counter()
    for (code, _), n in pairs.items():
        every[code] += n
    meant = {code: max((n, to) for (this, to), n in pairs.items() if this == code) for code in every}
    moved = {code: to for code, (_, to) in meant.items() if code != to}
    agree, by_moved = sum(n for n, _ in meant.values()), sum(meant[code][0] for code in moved)
    if len(moved) < 2 or agree < _FEW * pairs.total() or by_moved < _MOST * agree:
        moved = {code: to for code, to in moved.items() if meant[code][0] >= max(_AT_LEAST, _FEW * every[code])}
    if not moved:
        return {}
    place = next(cell.place for picture in second for cell in picture.cells if cell.code in moved)
    table = ", ".join(
        f"TXT {code} = JSON {taxonomy.classes[to]} in {meant[code][0]} of {every[code]}" for code, to in sorted(moved.items())
    )
    report(
        Fault(Kind.CLASS_NUMBERS, place, f"class numbers of the TXT are other classes by the JSON's names: {table}; write them anew")
    )
    return moved

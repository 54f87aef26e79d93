"""Which cells of a slide are one and the same: every cell with its box on the film, the rests that saw it, and the best sighting.

Nothing is known of frames here; boxes come in px of the film (`Place`, on the axes of a chart) and leave as cell ids.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.slide.model import Cell, Field, Place, Slide

Boxes = NDArray[np.float64]

SAME_CELL = 0.45
"""Two sightings whose boxes have more than this share of the smaller one in common are one cell."""
CLEARLY_SHARPER = 1.15
"""A sighting must be sharper than another by this factor to be the better one for it."""
CLEARLY_SURER = 0.1
"""Of two sightings that are equally whole and about equally sharp, one is better when its score is higher by so much."""
SLIVER_SHARE = 0.3
"""A box cut by the border of which clearly less than half can be visible (of the square it is completed to) is no sighting. A cell with
half of it in view can be a little longer than wide, so the limit is below one half."""
_BORDER_PX = 0.5
_MOVED_SHARE = 0.022  # of the width, by which frames of one field may lie apart
_GRID_PX = 512.0


@dataclass(frozen=True, slots=True)
class Sight:
    """How well a cell was seen."""

    whole: bool
    sharpness: float
    score: float

    def better_than(self, other: Sight) -> bool:
        """Whole before cut, then clearly sharper, then clearly surer; never both ways."""
        if self.whole != other.whole:
            return self.whole
        if self.sharpness > CLEARLY_SHARPER * other.sharpness:
            return True
        return CLEARLY_SHARPER * self.sharpness >= other.sharpness and self.score > other.score + CLEARLY_SURER


@dataclass(eq=False, slots=True)
class Known:
    """A cell of the slide. box: on the film, by its best sighting; field: index of that, by which it is counted; fields: of all that
    saw it, in their order."""

    cell_id: int
    chart: int
    box: tuple[float, float, float, float]
    sight: Sight
    field: int
    fields: tuple[int, ...]


def completed(
    boxes_px: Boxes, size_px: tuple[int, int], border_px: float = _BORDER_PX
) -> tuple[Boxes, NDArray[np.bool_], NDArray[np.bool_]]:
    """Boxes (N, 4) of a frame; those cut by its border extended outward to a square; which are whole; which are no mere slivers.

    A cell cut at opposite sides in two fields shows parts that hardly meet; the squares do.
    """
    x0, y0, x1, y1 = boxes_px.T
    width, height = x1 - x0, y1 - y0
    left, right = x0 <= border_px, x1 >= size_px[0] - border_px
    top, bottom = y0 <= border_px, y1 >= size_px[1] - border_px
    out = boxes_px.copy()
    side, high = np.maximum(width, height), width < height
    out[high & left, 0] = (x1 - side)[high & left]
    out[high & right & ~left, 2] = (x0 + side)[high & right & ~left]
    out[~high & top, 1] = (y1 - side)[~high & top]
    out[~high & bottom & ~top, 3] = (y0 + side)[~high & bottom & ~top]
    whole = ~(left | right | top | bottom)
    visible = width * height >= SLIVER_SHARE * (out[:, 2] - out[:, 0]) * (out[:, 3] - out[:, 1])
    return out, whole, visible | whole


def on_film(boxes_px: Boxes, place: Place) -> Boxes:
    """Boxes of a frame at a place, in px of the film."""
    return np.asarray(boxes_px + np.array([place.x_px, place.y_px, place.x_px, place.y_px]), np.float64)


class Census:
    """The cells of one slide. Ids count from 1 and are never given twice, also after an undo."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Another slide."""
        self.cells: dict[int, Known] = {}
        self.last_id = 0
        self._grid: defaultdict[tuple[int, int, int], list[int]] = defaultdict(list)

    def new_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def match(self, chart: int, boxes: Boxes) -> list[int]:
        """For each box (N, 4) of one frame the id of the known cell that it shows, 0 for a new one. No cell is given to two boxes:
        two cells that touch stay two."""
        pairs: list[tuple[float, int, int]] = []
        for at, box in enumerate(boxes.tolist()):
            for cell_id in self._around(chart, box):
                likeness = alike(box, self.cells[cell_id].box)
                if likeness is not None:
                    pairs.append((likeness, at, cell_id))
        return _assigned(pairs, len(boxes))

    def seen(self, cell_id: int, chart: int, box: Sequence[float], sight: Sight, field: int) -> Known:
        """Take in a sighting by a field; the cell's best sighting is the better of the two. A new cell where the id is new."""
        x0, y0, x1, y1 = box
        known = self.cells.get(cell_id)
        if known is None:
            known = Known(cell_id, chart, (x0, y0, x1, y1), sight, field, (field,))
            self.cells[cell_id] = known
            self._grid[self._key(known)].append(cell_id)
            return known
        if field not in known.fields:
            known.fields = (*known.fields, field)
        if field == known.field or sight.better_than(known.sight):
            self._unlist(known)
            known.box, known.sight, known.field = (x0, y0, x1, y1), sight, field
            self._grid[self._key(known)].append(cell_id)
        return known

    def unseen(self, cell_id: int, field: int, others: Sequence[tuple[int, Sequence[float], Sight]]) -> Known | None:
        """Take back a field's sighting. others: all that remain (field index, box, sight); the best of them counts now. None: no
        sighting is left, and the cell is gone."""
        known = self.cells[cell_id]
        self._unlist(known)
        if not others:
            del self.cells[cell_id]
            return None
        known.fields = tuple(other for other in known.fields if other != field)
        if known.field == field:
            best = others[0]
            for other in others[1:]:
                if other[2].better_than(best[2]):
                    best = other
            x0, y0, x1, y1 = best[1]
            known.field, known.box, known.sight = best[0], (x0, y0, x1, y1), best[2]
        self._grid[self._key(known)].append(cell_id)
        return known

    def in_sight(self, place: Place, size_px: tuple[int, int]) -> list[Known]:
        """The cells whose middle lies in the frame at a place."""
        x0, y0, (width, height) = place.x_px, place.y_px, size_px
        found = []
        for column in range(int(x0 // _GRID_PX), int((x0 + width) // _GRID_PX) + 1):
            for row in range(int(y0 // _GRID_PX), int((y0 + height) // _GRID_PX) + 1):
                for cell_id in self._grid.get((place.chart, column, row), ()):
                    x, y = _middle(self.cells[cell_id].box)
                    if x0 <= x < x0 + width and y0 <= y < y0 + height:
                        found.append(self.cells[cell_id])
        return sorted(found, key=lambda known: known.cell_id)

    def move_chart(self, old: int, into: int, dx: float, dy: float) -> list[tuple[int, int]]:
        """Two charts are one: cells of the old one move, and those that are cells of the other are paired with them: (id, of which).

        A pair that one field saw as two cells is none. The ids are still both known: the caller joins them (`join`).
        """
        moved = [known for known in self.cells.values() if known.chart == old]
        boxes = np.array([known.box for known in moved], np.float64).reshape(-1, 4) + np.array([dx, dy, dx, dy])
        same = self.match(into, boxes)
        pairs = []
        for known, box, other in zip(moved, boxes.tolist(), same, strict=True):
            self._unlist(known)
            known.chart, known.box = into, (box[0], box[1], box[2], box[3])
            self._grid[self._key(known)].append(known.cell_id)
            if other and not set(known.fields) & set(self.cells[other].fields):
                pairs.append((known.cell_id, other))
        return pairs

    def join(self, cell_id: int, into_id: int) -> tuple[Known, Known]:
        """The cell is the other one: what it was, and the other with the sightings of both and the better of the two best."""
        gone, kept = self.cells.pop(cell_id), self.cells[into_id]
        key = self._key(gone)
        self._grid[key].remove(cell_id)
        self._unlist(kept)
        kept.fields = tuple(sorted((*kept.fields, *gone.fields)))
        if gone.sight.better_than(kept.sight):
            kept.sight, kept.field, kept.box = gone.sight, gone.field, gone.box
        self._grid[self._key(kept)].append(into_id)
        return gone, kept

    def restore(self, slide: Slide, last_id: int = 0) -> None:
        """Take over the cells of a slide that was recorded, by all their sightings. last_id: the highest that was ever given."""
        self.clear()
        for field in slide.fields:
            if field.place is not None:
                for cell, counted in (*((cell, True) for cell in field.cells), *((cell, False) for cell in field.seen)):
                    self._take_over(field, field.place, cell, counted)
        self.last_id = max(last_id, max(self.cells, default=0))

    def _take_over(self, field: Field, place: Place, cell: Cell, counted: bool) -> None:
        box = film_box(cell, field, place)
        known = self.cells.get(cell.cell_id)
        if known is None:
            self.seen(cell.cell_id, place.chart, box, sight_of(cell, field), field.index)
            return
        known.fields = (*known.fields, field.index)
        if counted:
            self._unlist(known)
            known.box, known.sight, known.field = box, sight_of(cell, field), field.index
            self._grid[self._key(known)].append(cell.cell_id)

    def _around(self, chart: int, box: Sequence[float]) -> Iterable[int]:
        x, y = _middle(box)
        column, row = int(x // _GRID_PX), int(y // _GRID_PX)
        for c in (column - 1, column, column + 1):
            for r in (row - 1, row, row + 1):
                yield from self._grid.get((chart, c, r), ())

    def _key(self, known: Known) -> tuple[int, int, int]:
        x, y = _middle(known.box)
        return known.chart, int(x // _GRID_PX), int(y // _GRID_PX)

    def _unlist(self, known: Known) -> None:
        key = self._key(known)
        self._grid[key].remove(known.cell_id)
        if not self._grid[key]:
            del self._grid[key]


def sight_of(cell: Cell, field: Field) -> Sight:
    """How well a field saw a cell of its."""
    return Sight(not cell.provisional, field.focus, cell.score)


def film_box(cell: Cell, field: Field, place: Place) -> tuple[float, float, float, float]:
    """A sighting's box on the film, completed where the border cut it (of another frame of the rest, a little beside this one)."""
    border = _MOVED_SHARE * field.size_px[0] if cell.provisional else _BORDER_PX
    out, _, _ = completed(np.array([cell.box_px], np.float64), field.size_px, border)
    x0, y0, x1, y1 = on_film(out, place)[0].tolist()
    return x0, y0, x1, y1


def _middle(box: Sequence[float]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def alike(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Intersection over union of two boxes that may be one cell's; None where they have too little in common for that."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return None
    first, second, common = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]), width * height
    return common / (first + second - common) if common > SAME_CELL * min(first, second) else None


def _assigned(pairs: list[tuple[float, int, int]], count: int) -> list[int]:
    """One to one, the most alike first."""
    given, taken = [0] * count, set[int]()
    for _, at, cell_id in sorted(pairs, reverse=True):
        if not given[at] and cell_id not in taken:
            given[at] = cell_id
            taken.add(cell_id)
    return given

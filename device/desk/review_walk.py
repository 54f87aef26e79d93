"""Where a person is in a review, and how they get on: from cell to cell, page to page, field to field. No cell is named here."""

from __future__ import annotations

from dataclasses import dataclass

from device.desk.review_order import Batch, batches
from device.desk.review_pages import median_box
from device.display.pages_review import COLUMNS, PAGE_CELLS
from device.language import RIGHT_TO_LEFT, _, in_use
from device.review.review import Review
from device.slide.model import SlideState

_STEPS = {"LEFT": -1, "RIGHT": 1, "UP": -COLUMNS, "DOWN": COLUMNS}

Box = tuple[float, float, float, float]


def as_laid_out(word: str) -> str:
    """An arrow by the order of the cells: where the screen is read from the right, the next cell lies at the left."""
    turned = {"LEFT": "RIGHT", "RIGHT": "LEFT"} if in_use() in RIGHT_TO_LEFT else {}
    return turned.get(word, word)


@dataclass
class Spot:
    """Where the person is: cell, its group and page, what is selected, and which page is shown.

    mode: gallery, field, compare or sign. cell_id: 0 where no cell is chosen. adding: the box of a cell that is being added, in px of
    the field; came_from: the cell whose field was opened. reason: what has been typed on the page on which the slide is signed.
    """

    mode: str = "gallery"
    cell_id: int = 0
    batch: int = 0
    page: int = 0
    selected: frozenset[int] = frozenset()
    pair: tuple[int, int] = (0, 0)
    field_index: int = 0
    came_from: int = 0
    bare: bool = False
    adding: Box | None = None
    reason: str = ""


class Walk:
    """A review and the person's spot in it. The order of the cells is taken when a group is entered and stays until it is left."""

    def __init__(self, review: Review) -> None:
        self.review = review
        self._batches = batches(review)
        self._box = median_box(review)
        self._fields = {field.index: field for field in review.counted.fields}
        self._said, self._level = "", "ok"
        self.spot = Spot(cell_id=self._batches[0].cell_ids[0] if self._batches else 0)

    @property
    def _is_signed(self) -> bool:
        return self.review.slide.state is SlideState.SIGNED

    @property
    def _batch(self) -> Batch | None:
        return self._batches[self.spot.batch] if self._batches else None

    @property
    def _page_cells(self) -> tuple[int, ...]:
        """The cells of the page, without those that an undo took away."""
        batch = self._batch
        return () if batch is None else tuple(one for one in batch.page(self.spot.page) if one in self.review.cells)

    def _move(self, word: str, shift: bool) -> None:
        """To a neighbour on the page; with shift the cells from the one to the other are selected too."""
        word = as_laid_out(word)
        spot, page = self.spot, self._page_cells
        if not page:
            return
        at = page.index(spot.cell_id) if spot.cell_id in page else 0
        to = {"HOME": 0, "END": len(page) - 1}.get(word, at + _STEPS.get(word, 0))
        if not 0 <= to < len(page):
            if word in ("LEFT", "RIGHT") and not shift:
                self._step(_STEPS[word])
            return
        if shift:
            spot.selected |= set(page[min(at, to) : max(at, to) + 1])
        spot.cell_id = page[to]

    def _step(self, by: int, turn: bool = True) -> None:
        """To the next or the last cell, over the edge of a page and, if `turn`, of a group."""
        batch, spot = self._batch, self.spot
        if batch is None:
            return
        cells = [one for one in batch.cell_ids if one in self.review.cells]
        at = cells.index(spot.cell_id) + by if spot.cell_id in cells else 0
        if 0 <= at < len(cells):
            spot.cell_id = cells[at]
            spot.page = batch.cell_ids.index(spot.cell_id) // PAGE_CELLS
        elif turn:
            self._turn(by, whole_group=True)

    def _turn(self, by: int, whole_group: bool = False) -> None:
        """To the next or the last page, and over the edge of the group, which is then put in order anew."""
        batch, spot = self._batch, self.spot
        if batch is None:
            return
        spot.selected = frozenset()
        if not whole_group and 0 <= spot.page + by < batch.pages:
            spot.page += by
            spot.cell_id = next(iter(self._page_cells), spot.cell_id)
            return
        fresh = batches(self.review)
        at = next((number for number, one in enumerate(fresh) if one.key == batch.key), None)
        # a group that has become empty is gone, and what came behind it stands in its place
        to = at + by if at is not None else spot.batch + min(by, 0) if by < 0 else min(spot.batch, len(fresh))
        if not 0 <= to < len(fresh):
            if at is not None:
                self._batches, spot.batch = fresh, at
                spot.page = min(spot.page, fresh[at].pages - 1)
            self._said = _("This is the last group: G to sign.") if by > 0 else _("This is the first group.")
            self._go_to(spot.cell_id)
            return
        self._batches, spot.batch = fresh, to
        spot.page = 0 if by > 0 else fresh[to].pages - 1
        cells = fresh[to].page(spot.page)
        spot.cell_id = cells[0] if by > 0 else cells[-1]

    def _go_to(self, cell_id: int) -> None:
        """To a cell wherever it is now; to the first of all where there is none of that id."""
        spot = self.spot
        for _again in range(2):
            order = [spot.batch, *range(len(self._batches))] if spot.batch < len(self._batches) else range(len(self._batches))
            for number in order:
                ids = self._batches[number].cell_ids
                if cell_id in ids and cell_id in self.review.cells:
                    spot.batch, spot.cell_id, spot.page = number, cell_id, ids.index(cell_id) // PAGE_CELLS
                    return
            self._batches = batches(self.review)
        spot.batch = spot.page = 0
        spot.cell_id = self._batches[0].cell_ids[0] if self._batches else 0

    def _left(self) -> int:
        """The first cell that is in the way of a signature: a blast not yet opened, or an unidentified cell; 0 where there is none."""
        cells = self.review.cells
        ordered = [cells[one] for batch in batches(self.review) for one in batch.cell_ids]
        return next((one.cell_id for one in ordered if (one.must_open and not one.opened) or not one.said), 0)

    # ---- fields

    def _to_field_of_current(self) -> None:
        cell = self.review.cells.get(self.spot.cell_id)
        if cell is not None:
            self.spot.field_index = cell.field_index

    def _show_field(self, bare: bool = False) -> None:
        spot = self.spot
        spot.mode, spot.bare, spot.adding, spot.selected = "field", bare, None, frozenset()
        spot.came_from = spot.cell_id
        self._to_field_of_current()
        if spot.field_index not in self._fields:
            spot.field_index = next(iter(self._fields), 0)

    def _turn_field(self, by: int) -> None:
        """To another field, whether it has cells or not: cells that were missed may be anywhere."""
        spot, order = self.spot, sorted(self._fields)
        if not order:
            return
        to = order.index(spot.field_index) + by if spot.field_index in order else 0
        if not 0 <= to < len(order):
            self._said = _("This is the last field.") if by > 0 else _("This is the first field.")
            return
        spot.field_index, spot.adding = order[to], None
        spot.cell_id = next((one.cell_id for one in self.review.cells.values() if one.field_index == order[to]), 0)

    def _place_box(self, x: float, y: float) -> None:
        """Put the box of the cell that is being added around a point of the field, as far inside as it goes."""
        spot, (w, h) = self.spot, self._box
        width, height = self._fields[spot.field_index].size_px
        x1, y1 = min(max(0.0, x - w / 2), max(0.0, width - w)), min(max(0.0, y - h / 2), max(0.0, height - h))
        spot.adding = (x1, y1, min(float(width), x1 + w), min(float(height), y1 + h))

    def _cell_under(self, x: float, y: float) -> int:
        """The smallest cell of the field whose box holds the point; 0 where there is none."""
        under = []
        for one in self.review.cells.values():
            x1, y1, x2, y2 = one.cell.box_px
            if one.field_index == self.spot.field_index and x1 <= x < x2 and y1 <= y < y2:
                under.append(((x2 - x1) * (y2 - y1), one.cell_id))
        return min(under)[1] if under else 0

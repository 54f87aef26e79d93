"""In which pages a review is gone through: one group to a page, the least certain first; what is no blast by class."""

from __future__ import annotations

from dataclasses import dataclass

from device.display.pages_review import PAGE_CELLS
from device.language import _
from device.review.review import Review, ReviewCell
from device.slide.verdict import name_of

_WHOLE = ("blasts", "perhaps", "unidentified")
"""Groups that are shown as they are; the others are split by class, where the odd one out shows."""


@dataclass(frozen=True)
class Batch:
    """Cells that are looked at together, as they stood when the group was entered: nothing jumps away under a person's hand.

    key: of the group and, where it is split, what the engine said. accepts: whether its cells may be accepted all at once.
    """

    key: tuple[str, str]
    title: str
    cell_ids: tuple[int, ...]
    accepts: bool

    @property
    def pages(self) -> int:
        return -(-len(self.cell_ids) // PAGE_CELLS)

    def page(self, number: int) -> tuple[int, ...]:
        """The cells of its page `number`, from 0."""
        return self.cell_ids[number * PAGE_CELLS : (number + 1) * PAGE_CELLS]


def batches(review: Review) -> tuple[Batch, ...]:
    """All cells of the review, empty groups left out; classes of a group by falling count."""
    out = []
    for group in review.groups():
        if group.key in _WHOLE:
            parts = [("", group.name, group.cells)] if group.cells else []
        else:
            by_class: dict[str, list[ReviewCell]] = {}
            for cell in group.cells:
                by_class.setdefault(cell.said_before or cell.said, []).append(cell)
            ordered = sorted(by_class.items(), key=lambda item: -len(item[1]))
            parts = [(said, f"{group.name}: {_(name_of(said, review.taxonomy))}", tuple(cells)) for said, cells in ordered]
        for said, title, cells in parts:
            ids = tuple(cell.cell_id for cell in cells)
            out.append(Batch((group.key, said), title, ids, accepts=group.key not in _WHOLE))
    return tuple(out)

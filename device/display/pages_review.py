"""What the review shows, as plain values: a group's cells, a field, two cells side by side, the signature, earlier slides.

The desk makes them, the drawing reads them and nothing else. Pages are compared by identity: a page is made anew only for a change.
"""

from __future__ import annotations

from dataclasses import dataclass

from device.slide.model import Cell
from engines.detections import Image
from engines.taxonomy import Taxonomy

COLUMNS, ROWS = 8, 5
"""Cells of one page of a group; the same on every screen, so that arrows and pages are too."""
PAGE_CELLS = COLUMNS * ROWS


@dataclass(frozen=True, eq=False)
class Shown:
    """One cell of the review. cell: as it was counted; told: what the engine said and verdict: what a person says, as
    `device.slide.verdict` writes it ("" unidentified, or not said).

    field_px: size of the field that its box is in. sure: how certain the engine was, None of a cell that a person added. opened: it was
    looked at by itself; must_open: a signature waits for that.
    """

    cell: Cell
    told: str
    field_index: int
    field_px: tuple[int, int]
    sure: float | None = None
    verdict: str = ""
    opened: bool = False
    must_open: bool = False

    @property
    def cell_id(self) -> int:
        return self.cell.cell_id

    @property
    def added(self) -> bool:
        """By a person; the engine said nothing of it."""
        return self.sure is None


@dataclass(frozen=True)
class LegendEntry:
    """One thing that a cell can be said to be: the key that says it, the verdict of the journal, and its words."""

    key: str
    verdict: str
    name: str


@dataclass(frozen=True)
class Button:
    """What a key does; a press on it is taken as that key. cap: what stands on it ("Space"). usable: dim otherwise."""

    key: str
    cap: str
    words: str
    usable: bool = True


@dataclass(frozen=True)
class Head:
    """What stands on every page of a review.

    title: of the page; about: how far it is done, in words. blockers: what keeps from signing, one sentence each. said, level: the
    answer to the last key, "" if there is none. made_by: engine and naming layer. specimen, reviewer: shown here and nowhere else.
    """

    slide_id: str
    title: str
    about: str = ""
    blockers: tuple[str, ...] = ()
    specimen: str = ""
    reviewer: str = ""
    made_by: str = ""
    signed: bool = False
    said: str = ""
    level: str = "ok"


@dataclass(frozen=True)
class Scale:
    """The one scale of all crops of a slide. side_px: side of a crop's place in px of the frame; um_per_px: None if it is not known."""

    side_px: int
    um_per_px: float | None = None


@dataclass(frozen=True, eq=False)
class ReviewPage:
    """What all pages with cells have. current: the cell that keys act on, shown large."""

    head: Head
    taxonomy: Taxonomy
    scale: Scale
    legend: tuple[LegendEntry, ...]
    buttons: tuple[Button, ...]
    current: Shown | None


@dataclass(frozen=True, eq=False)
class GalleryPage(ReviewPage):
    """One group, or `PAGE_CELLS` of it. at: where in `cells` the current one is; selected: cell ids that the next verdict is for."""

    cells: tuple[Shown, ...]
    at: int
    selected: frozenset[int] = frozenset()


@dataclass(frozen=True, eq=False)
class Photo:
    """The picture of a field, (H, W, 3) uint8 BGR; nobody changes it."""

    image: Image


@dataclass(frozen=True, eq=False)
class FieldPage(ReviewPage):
    """The stored picture of a field. photo: None where none was kept, `why` says so. cells: all of it; bare: nothing drawn over it.

    adding: box (x1, y1, x2, y2) in px of the field of the cell that is being added; None while none is.
    """

    photo: Photo | None
    size_px: tuple[int, int]
    cells: tuple[Shown, ...]
    why: str = ""
    bare: bool = False
    adding: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, eq=False)
class ComparePage(ReviewPage):
    """Two cells at twice the scale of the gallery."""

    pair: tuple[Shown, Shown]


@dataclass(frozen=True)
class SignRow:
    """One row of the differential before and after; per cents None for what is counted per 100 white cells or as a number only."""

    name: str
    before: int
    after: int
    before_percent: float | None = None
    after_percent: float | None = None
    blast: bool = False
    note: str = ""


@dataclass(frozen=True, eq=False)
class SignPage:
    """Before and after side by side, and what keeps from signing. reason: what has been typed; None where no reason is asked."""

    head: Head
    rows: tuple[SignRow, ...]
    cells: tuple[int, int]
    buttons: tuple[Button, ...]
    reason: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SlideRow:
    """A finished slide in the list: id, what the tube's label said, and how it stands, in words."""

    slide_id: str
    specimen: str
    finished: str
    words: str
    signed: bool = False


@dataclass(frozen=True, eq=False)
class SlidesPage:
    """Slides that can be opened for review, the newest first. at: the one that Enter opens."""

    head: Head
    rows: tuple[SlideRow, ...]
    at: int
    buttons: tuple[Button, ...]


ReviewPages = GalleryPage | FieldPage | ComparePage | SignPage | SlidesPage
REVIEW_PAGES = (GalleryPage, FieldPage, ComparePage, SignPage, SlidesPage)
"""The same, to ask what a page is."""

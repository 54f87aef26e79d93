"""The pages of a review for the spot that a person is in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from device.desk.review_buttons import compare_buttons, field_buttons, gallery_buttons, sign_buttons
from device.desk.review_pages import (
    Cells,
    about_batch,
    head_of,
    legend,
    notes_of,
    scale_of,
    sign_rows,
    why_no_picture,
)
from device.desk.review_walk import Walk
from device.display.pages_review import ComparePage, FieldPage, GalleryPage, Photo, ReviewPages, Shown, SignPage
from device.language import _, ngettext
from device.review.journal import Entry
from device.review.review import Review
from device.slide.model import Field
from engines.detections import Image


class Keeping(Protocol):
    """Where the entries of a review go, and where pictures of fields come from."""

    def keep(self, review: Review, entries: Sequence[Entry]) -> None:
        """Write `entries`; `review` is the review with them. Raises StoreError if they cannot be kept now."""

    def picture(self, field: Field) -> Image | None:
        """The field's picture, (H, W, 3) uint8 BGR; None where there is none."""


class Pages(Walk):
    """A walk that can be shown."""

    def __init__(self, review: Review, keeping: Keeping, *, made_by: str, um_per_px: float | None, own: bool) -> None:
        super().__init__(review)
        self._keeping, self._made_by, self._own = keeping, made_by, own
        self._legend = legend(review.taxonomy)
        self._scale = scale_of(review, um_per_px)
        self._cells = Cells.of(review)
        self._photos: dict[int, Photo | None] = {}

    @property
    def _wants_reason(self) -> bool:
        return not self._is_signed and any(one.kind == "few" for one in self.review.blockers())

    def _photo(self, field: Field) -> Photo | None:
        if field.index not in self._photos:
            image = self._keeping.picture(field)
            self._photos = {field.index: None if image is None else Photo(image)}  # one is enough: each has some megabytes
        return self._photos[field.index]

    def _shown(self, cell_id: int) -> Shown | None:
        one = self.review.cells.get(cell_id)
        if one is None:
            return None
        photo = self._photo(self._fields[one.field_index]) if one.added and not self._cells.knows(one) else None
        return self._cells.shown(one, None if photo is None else photo.image)

    def made_page(self) -> ReviewPages:
        spot, review, signed = self.spot, self.review, self._is_signed
        said = {"said": self._said, "level": self._level}
        current, batch = self._shown(spot.cell_id), self._batch
        if spot.mode == "sign":
            head = head_of(review, _("Signature"), _("before and after, as counted and as reviewed"), self._made_by, **said)
            cells = review.differential_before.white_cells, review.differential.white_cells
            reason = spot.reason if self._wants_reason else None
            ready = not any(one.kind != "few" or not spot.reason.strip() for one in review.blockers())
            notes = notes_of(review)
            if signed and review.who.casefold() not in {one.who.casefold() for one in review.signatures}:
                ready, notes = True, (*notes, _("Enter signs as {initials}").format(initials=review.who))  # as a second reader
            return SignPage(head, sign_rows(review), cells, sign_buttons(ready=ready), reason, notes)
        common = (review.taxonomy, self._scale, self._legend)
        if spot.mode == "field":
            field = self._fields.get(spot.field_index)
            if field is not None:
                photo = self._photo(field)
                here = [self._shown(one.cell_id) for one in review.cells.values() if one.field_index == field.index]
                title = _("Field {n} of {fields}").format(n=field.index, fields=len(self._fields))
                about = ngettext("{n} cell", "{n} cells", len(here)).format(n=len(here))
                head = head_of(review, title, about, self._made_by, **said)
                row = field_buttons(signed=signed, current=current is not None, adding=spot.adding is not None)
                shown = tuple(one for one in here if one is not None)
                why = "" if photo is not None else why_no_picture(field)
                return FieldPage(head, *common, row, current, photo, field.size_px, shown, why, spot.bare, spot.adding)
        pair = [one for one in map(self._shown, spot.pair) if one is not None]
        if spot.mode == "compare" and len(pair) == 2:
            head = head_of(review, _("Two cells at one scale"), _("a class is said of the framed one"), self._made_by, **said)
            return ComparePage(head, *common, compare_buttons(signed=signed), current, (pair[0], pair[1]))
        title = _("No cells were counted") if batch is None else batch.title
        about = "" if batch is None else about_batch(review, batch, spot.batch, len(self._batches), spot.page)
        head = head_of(review, title, about, self._made_by, **said)
        ids = self._page_cells
        row = gallery_buttons(
            signed=signed,
            current=current is not None,
            accepts=batch is not None and batch.accepts,
            charts=len(review.charts_open),
            own=self._own,
        )
        on_page = tuple(one for one in map(self._shown, ids) if one is not None)
        at = ids.index(spot.cell_id) if spot.cell_id in ids else -1
        return GalleryPage(head, *common, row, current, on_page, at, spot.selected)

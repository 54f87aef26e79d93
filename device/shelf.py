"""The record's slides as the desk reviews them."""

from __future__ import annotations

from collections.abc import Sequence

from device.desk.review_room import Opened
from device.slide.model import Slide
from device.store.events import SlideRecord


class RecordShelf:
    """`device.desk.review_room.Shelf` on the record that is open."""

    def __init__(self, record: SlideRecord) -> None:
        self._record = record

    def finished(self) -> Sequence[Slide]:
        """The newest slides that are to be reviewed or are signed."""
        return self._record.finished()

    def open(self, slide_id: str, who: str) -> Opened:
        """One of them for review by `who`, with what made its first differential."""
        review, kept = self._record.open_review(slide_id, who)
        return Opened(review, kept, kept.made_by, kept.um_per_px)

"""Keeps what a person does to a slide under review: entries in the record, at a signature the new summary, pictures of fields for the
screen. What may be done is the review's; the order of writes and their failures are the journal's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from device.mqtt.outbox import OutboxMessage
from device.mqtt.provenance import Provenance
from device.review.journal import Act, Entry
from device.review.review import Review
from device.slide.model import Field, Slide
from device.store.journal import Journal
from device.store.pictures import read_field_picture
from device.store.record import Store
from engines.detections import Image

log = logging.getLogger(__name__)


class Messages(Protocol):
    """Makes rows of the outbox (`device.store.messages`)."""

    def summary(self, slide: Slide, provenance: Provenance, review: Review | None = None) -> OutboxMessage | None:
        """Of a signed slide."""
        ...

    def review(self, review: Review, entry: Entry, provenance: Provenance) -> OutboxMessage | None:
        """Of what was done to it with `entry`."""
        ...


class KeptReview:
    """Of one slide, of this provenance. messages: of its signed form and of what is done to it; sent: called after one was put into the
    outbox."""

    def __init__(self, store: Store, journal: Journal, provenance: Provenance, messages: Messages, sent: Callable[[], None]) -> None:
        self._store, self._journal, self._provenance = store, journal, provenance
        self._messages, self._sent = messages, sent

    @property
    def made_by(self) -> str:
        """Engine and naming layer that told the cells, in short form."""
        model = self._provenance.model
        named = "" if model.naming is None else f", {model.naming.label}"
        return f"{model.name} {model.version} {model.precision}{named}"

    @property
    def um_per_px(self) -> float | None:
        """Of the slide's frames; None where it is not known."""
        return None if self._provenance.calibration is None else self._provenance.calibration.um_per_px

    def keep(self, review: Review, entries: Sequence[Entry]) -> None:
        """Write `entries`, whose review is `review`; a signature and a reopening change the slide with them, in one transaction.

        What cannot be written now waits and is tried again, as every write; the journal's status says so on the screen.
        """
        if not entries:
            return
        slide_id = review.counted.slide_id
        last = entries[-1].act
        slide = review.slide if last in (Act.SIGNED, Act.REOPENED) else None
        message = None
        if last is Act.SIGNED:
            try:
                message = self._messages.summary(review.slide, self._provenance, review)
            except ValueError as error:  # another version wrote where its numbers came from
                log.error("no summary of the signed slide is sent: %s", error)
        told = self._messages.review(review, entries[-1], self._provenance)
        put = partial(self._store.put_review, slide_id, entries, slide, message, told)
        self._journal.add(f"review of {slide_id}", put, self._sent if message is not None or told is not None else str)

    def picture(self, field: Field) -> Image | None:
        """The field's picture, (H, W, 3) uint8 BGR; None where none was kept, or it is gone or unreadable by now."""
        return read_field_picture(self._store.path, field.picture)

"""What is told of a slide to other machines, as rows of the outbox: its summary, what a person did to it, its first blast."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final, Literal
from uuid import UUID, uuid4

from device.clock import Clock, time_trusted
from device.errors import StoreError
from device.language import speaking
from device.mqtt.events import FIRST_BLAST, ReviewEvent, SlideEvent, event_id
from device.mqtt.message import one_line
from device.mqtt.outbox import OutboxMessage
from device.mqtt.payloads import ModelProvenance, SlideSummary2
from device.mqtt.provenance import Provenance
from device.mqtt.summary import Disclosure, added_cells, build_summary, changed_cells
from device.mqtt.topics import Topics
from device.review.journal import Act, Entry
from device.review.review import Review
from device.settings.config import Config
from device.slide.doubt import sensitivity
from device.slide.ending import nothing_counted
from device.slide.model import Field, Slide
from device.slide.tally import counted_as, tally
from device.slide.verdict import BLASTS
from device.store.record import Store

log = logging.getLogger(__name__)

ACTS: Final[Mapping[Act, Literal["signed", "seconded", "reopened"]]] = MappingProxyType(
    {Act.SIGNED: "signed", Act.SECONDED: "seconded", Act.REOPENED: "reopened"}
)
"""What a person does that is told at once."""


class SlideMessages:
    """Makes them, as the configuration wants them; none where the broker is off. Nothing is written here."""

    def __init__(self, store: Store, config: Config, clock: Clock) -> None:
        self._store, self._clock, self._section, self._slide_section = store, clock, config.broker, config.slide
        self._device_id = config.device.id
        self._topics = Topics(config.device.id, config.broker.topic_root)
        self._disclosure = Disclosure(config.broker.send_reviewer, config.broker.send_specimen, config.broker.send_crops)

    def summary(self, slide: Slide, provenance: Provenance, review: Review | None = None) -> OutboxMessage | None:
        """Of a closed slide, or of its signature; None where nothing was counted. ValueError for what no summary can be made of."""
        empty = review is None and nothing_counted(tally(slide, provenance.model.taxonomy))
        if empty or not self._section.enabled:
            return None
        message_id = uuid4()
        summary = build_summary(
            self._with_crops(slide),
            provenance,
            message_id=message_id,
            target_cells=slide.target_cells or self._slide_section.target_cells,
            review=review,
            disclosure=self._disclosure,
        )
        sent = SlideSummary2.of(summary) if self._section.summary_version == 2 else summary
        return self._row("summary", message_id, sent.to_bytes(), slide.slide_id)

    def review(self, review: Review, entry: Entry, provenance: Provenance) -> OutboxMessage | None:
        """What a person did to a slide with `entry`, the last of `review`; None for what is not told."""
        act = ACTS.get(entry.act)
        if act is None or not self._section.enabled:
            return None
        seconded = act == "seconded"
        message_id = uuid4()
        event = ReviewEvent(
            message_id=message_id,
            device_id=self._device_id,
            slide_id=one_line(review.counted.slide_id),
            revision=int(entry.said),
            act=act,
            at=entry.at,
            time_trusted=entry.time_trusted,
            reviewer=self._disclosure.told_reviewer(review.slide.reviewer if seconded else entry.who, self._device_id),
            second=self._disclosure.told_reviewer(entry.who, self._device_id) if seconded else "",
            changed_cells=changed_cells(review),
            added_cells=added_cells(review),
            journal_digest=entry.digest,
            simulated=provenance.source is not None and provenance.source.simulated,
            stream="",
            sequence=0,
        )
        return self._row("review", message_id, event.to_bytes(), review.counted.slide_id)

    @speaking("en")
    def first_blast(self, slide: Slide, fields: Sequence[Field], provenance: Provenance) -> OutboxMessage | None:
        """That a slide has a cell told as a blast or equivalent, with the surest of those in `fields`; None where they have none.

        Made anew it bears the same id: the record keeps the first.
        """
        if not self._section.enabled:
            return None
        taxonomy, found = provenance.model.taxonomy, []
        for field in slide.fields if slide.foreign else fields:  # on a foreign film, cells of before are told by groups now
            for cell in field.cells:
                told = counted_as(cell, taxonomy, bool(slide.foreign))
                if told == BLASTS or (isinstance(told, int) and taxonomy.is_blast(told)):
                    found.append((cell.certainty(told), field, told))
        if not found:
            return None
        certainty, field, told = max(found, key=lambda one: one[0])
        certain = isinstance(told, int)
        name = taxonomy.classes[told] if isinstance(told, int) else {g.key: g.name for g in taxonomy.told_groups}[told]
        share = round(min(1.0, max(0.0, float(certainty))), 2)
        message_id = event_id(self._device_id, slide.slide_id, FIRST_BLAST)
        event = SlideEvent(
            message_id=message_id,
            device_id=self._device_id,
            slide_id=one_line(slide.slide_id),
            what=FIRST_BLAST,
            text=one_line(
                f"First cell told as a blast or equivalent: {name} (certainty {share:.2f}), field {field.index}. "
                "The device's word, unreviewed."
            ),
            at=field.captured_at,
            time_trusted=time_trusted(field.captured_at),
            boot_id=one_line(provenance.boot_id),
            cell=one_line(name),
            equivalent=certain and name in taxonomy.members("equivalents"),
            kind_certain=certain,
            certainty=share,
            sensitivity=one_line(sensitivity(provenance.model.naming, slide.foreign)),
            field=field.index,
            white_cells=tally(slide, taxonomy).white_cells,
            model=ModelProvenance.of(provenance.model, provenance.identify_threshold),
            simulated=provenance.source is not None and provenance.source.simulated,
            stream="",
            sequence=0,
        )
        return self._row("event", message_id, event.to_bytes(), slide.slide_id)

    def _row(self, kind: str, message_id: UUID, payload: bytes, slide_id: str) -> OutboxMessage:
        return OutboxMessage(str(message_id), self._topics.of(kind), payload, self._clock.now(), kind, slide_id)

    def _with_crops(self, slide: Slide) -> Slide:
        """The slide with the pictures of its cells, which only the record has; as it is where none are sent, or they cannot be read."""
        if not self._disclosure.crops or any(cell.crop_jpeg for cell in slide.cells):
            return slide
        try:
            kept = self._store.slide(slide.slide_id, with_crops=True).slide
        except StoreError as error:
            log.warning("slide %s is sent without pictures of its cells: %s", slide.slide_id, error)
            return slide
        crops = {cell.cell_id: cell.crop_jpeg for cell in kept.cells if cell.cell_id}
        return replace(
            slide,
            fields=tuple(
                replace(field, cells=tuple(replace(cell, crop_jpeg=crops.get(cell.cell_id, b"")) for cell in field.cells))
                for field in slide.fields
            ),
        )

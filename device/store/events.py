"""What becomes of a slide's events: the record on disk and, in the closing transaction, the summary for the broker.

The order of writes and their failures are the journal's; tables are the store's; the summary's form is mqtt.payloads'.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

from calibration.profile import CalibrationProfile
from device.clock import Clock, time_trusted
from device.mqtt.payloads import CalibrationProvenance
from device.mqtt.summary import build_summary
from device.mqtt.topics import Topics
from device.settings.config import Config
from device.slide.changes import FieldsChanged, Undone
from device.slide.model import Slide
from device.store import OutboxMessage, Provenance, Store, StoredSlide
from device.store.journal import Journal

log = logging.getLogger(__name__)


class SlideRecord:
    """Carries a slide's events to the store through the journal. `sent` is called after a summary was put into the outbox.

    provenance: the run's; a slide's own has the scale of its frames and whether the clock could be believed when it was begun.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        config: Config,
        profile: CalibrationProfile,
        provenance: Provenance,
        clock: Clock,
        sent: Callable[[], None],
    ) -> None:
        self._store, self.journal, self._clock, self._sent = store, journal, clock, sent
        self._config, self._profile, self._provenance = config, profile, provenance
        self._topic = Topics(config.device.id, config.broker.topic_root).summary

    def _provenance_of(self, slide: Slide, width_px: int) -> Provenance:
        calibration = CalibrationProvenance.of(self._profile, self._config.microscope.objective, width_px)
        return replace(self._provenance, calibration=calibration, time_trusted=time_trusted(slide.started_at))

    def started(self, slide: Slide, width_px: int) -> None:
        """A slide was opened; frames are `width_px` wide."""
        provenance = self._provenance_of(slide, width_px)
        self.journal.add(f"slide {slide.slide_id}", lambda: self._store.start_slide(slide, provenance))

    def counted(self, slide: Slide, event: FieldsChanged) -> None:
        """A field was counted, or a better sight of cells took the place of an earlier one: all that changed is one transaction."""
        what = ", ".join(str(field.index) for field in event.fields)
        self.journal.add(f"field {what} of {slide.slide_id}", lambda: self._store.put_fields(slide.slide_id, event.fields))

    def undone(self, slide: Slide, undone: Undone) -> None:
        """A field was taken back; it stays in the record, marked."""
        index = undone.field.index
        self.journal.add(f"undo of field {index}", lambda: self._store.undo_field(slide.slide_id, index, undone.others))

    def closed(self, slide: Slide, width_px: int) -> None:
        """The slide was finished or aborted: its state and the summary's outbox row are one transaction."""
        message = self._message(slide, self._provenance_of(slide, width_px))

        def close() -> None:
            self._store.close_slide(slide, message)
            self._sent()

        self.journal.add(f"end of {slide.slide_id}", close)

    def close_left_open(self) -> None:
        """Close slides that a crash or power cut left open as aborted; their summaries name the model that counted them."""
        self._store.abort_unfinished(self._message_of_unfinished)

    def _message_of_unfinished(self, stored: StoredSlide) -> OutboxMessage | None:
        try:
            return self._message(stored.slide, stored.provenance)
        except ValueError as error:
            log.error("no summary is sent: %s", error)
            return None

    def _message(self, slide: Slide, provenance: Provenance) -> OutboxMessage | None:
        """The outbox row of a closed slide; None where the broker is switched off."""
        if not self._config.broker.enabled:
            return None
        message_id = uuid4()
        target_cells = self._config.slide.target_cells
        summary = build_summary(slide, provenance, message_id=message_id, target_cells=target_cells)
        return OutboxMessage(str(message_id), self._topic, summary.to_bytes(), self._clock.now())

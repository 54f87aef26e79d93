"""What becomes of a slide's events: the record on disk and, in the closing transaction, the summary for the broker.

The order of writes and their failures are the journal's; tables are the store's; the summary's form is mqtt.payloads'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from calibration.profile import CalibrationProfile
from device.clock import Clock, time_trusted
from device.mqtt.payloads import CalibrationProvenance, ModelProvenance, SourceProvenance
from device.mqtt.summary import build_summary
from device.mqtt.topics import Topics
from device.settings.config import Config
from device.slide.description import describe
from device.slide.model import Field, Slide
from device.slide.tally import differential
from device.store import OutboxMessage, Store, StoredSlide
from device.store.journal import Journal
from engines.runtime.base import EngineInfo


@dataclass(frozen=True)
class Provenance:
    """Where every number of this run comes from: device, model, microscope and camera."""

    config: Config
    engine: EngineInfo
    profile: CalibrationProfile
    boot_id: str
    camera_name: str

    @property
    def calibration_label(self) -> str:
        return self.profile.label(self.config.microscope.objective)

    @property
    def source(self) -> SourceProvenance:
        """The camera, without what must not leave the device."""
        return SourceProvenance.of(self.config.camera.kind, self.camera_name)

    def calibration(self, width_px: int) -> CalibrationProvenance:
        """The profile's scale for frames `width_px` wide."""
        return CalibrationProvenance.of(self.profile, self.config.microscope.objective, width_px)


class SlideRecord:
    """Carries a slide's events to the store through the journal. `sent` is called after a summary was put into the outbox."""

    def __init__(self, store: Store, journal: Journal, provenance: Provenance, clock: Clock, sent: Callable[[], None]) -> None:
        self._store, self._journal, self._from, self._clock, self._sent = store, journal, provenance, clock, sent
        self._topic = Topics(provenance.config.device.id, provenance.config.broker.topic_root).summary

    def started(self, slide: Slide, width_px: int) -> None:
        """A slide was opened; frames are `width_px` wide."""
        made, trusted = self._from, time_trusted(slide.started_at)
        calibration = made.calibration(width_px).model_dump(mode="json")
        source = made.source.model_dump(mode="json")
        self._journal.add(
            f"slide {slide.slide_id}",
            lambda: self._store.start_slide(
                slide,
                model=made.engine,
                identify_threshold=made.config.engine.identify_threshold,
                calibration=calibration,
                device_id=made.config.device.id,
                boot_id=made.boot_id,
                time_trusted=trusted,
                source=source,
            ),
        )

    def counted(self, slide: Slide, field: Field) -> None:
        """A field was counted, or a sharper frame took its place."""
        self._journal.add(f"field {field.index} of {slide.slide_id}", lambda: self._store.put_field(slide.slide_id, field))

    def undone(self, slide: Slide, field: Field) -> None:
        """A field was taken back; it stays in the record, marked."""
        self._journal.add(f"undo of field {field.index}", lambda: self._store.undo_field(slide.slide_id, field.index))

    def closed(self, slide: Slide, width_px: int, skipped_pictures: int) -> None:
        """The slide was finished or aborted: its state and the summary's outbox row are one transaction."""
        made = self._from
        message = self._message(
            slide,
            made.engine,
            made.config.engine.identify_threshold,
            made.calibration(width_px),
            made.source,
            time_trusted(slide.started_at),
            made.boot_id,
            skipped_pictures,
        )

        def close() -> None:
            self._store.close_slide(slide, message)
            self._sent()

        self._journal.add(f"end of {slide.slide_id}", close)

    def close_left_open(self) -> None:
        """Slides that a crash or power cut left open become aborted ones, told to the broker with the model that counted them."""
        self._store.abort_unfinished(self._left_open)

    def _left_open(self, stored: StoredSlide) -> OutboxMessage | None:
        made = stored.provenance
        calibration = CalibrationProvenance.read(made.calibration)
        source = SourceProvenance.read(made.source)
        return self._message(stored.slide, made.model, made.identify_threshold, calibration, source, made.time_trusted, made.boot_id, 0)

    def _message(
        self,
        slide: Slide,
        model: EngineInfo,
        identify_threshold: float,
        calibration: CalibrationProvenance,
        source: SourceProvenance,
        trusted: bool,
        boot_id: str,
        skipped_pictures: int,
    ) -> OutboxMessage | None:
        """The outbox row of a closed slide; None where the broker is switched off."""
        config = self._from.config
        if not config.broker.enabled:
            return None
        tally, message_id = differential(slide.cells, model.taxonomy), uuid4()
        summary = build_summary(
            slide,
            tally,
            describe(slide, tally, model.taxonomy),
            model.taxonomy,
            message_id=message_id,
            device_id=config.device.id,
            target_cells=config.slide.target_cells,
            model=ModelProvenance.of(model, identify_threshold),
            calibration=calibration,
            source=source,
            time_trusted=trusted,
            boot_id=boot_id,
            skipped_pictures=skipped_pictures,
        )
        return OutboxMessage(str(message_id), self._topic, summary.to_bytes(), self._clock.now())

    @property
    def journal(self) -> Journal:
        return self._journal

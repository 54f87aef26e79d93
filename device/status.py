"""The device's newest status, as the broker and `leukoscope status` get it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from device.clock import Clock, time_trusted
from device.errors import StoreError
from device.mqtt.device_status import BrokerReport, DeviceStatus, PartStatus, SlideProgress, Versions
from device.mqtt.health import HealthReport
from device.mqtt.message import one_line
from device.mqtt.payloads import NamingProvenance
from device.mqtt.publisher import BrokerStatus
from device.mqtt.topics import Topics
from device.pipeline import Pipeline
from device.service.health import Gauges, Health
from device.service.remote import Remote
from device.settings.config import Config
from device.store import Provenance, Store
from device.store.journal import JournalStatus
from device.store.resend import Wanted
from device.view import part_status
from engines.files import atomic_write
from engines.version import version

_SLOTS = Path("/etc/rauc/system.conf")
"""Only a flashed box has it, and takes updates by itself."""


class CurrentStatus:
    """The device's newest status, for the broker and for `leukoscope status`. Thread-safe: each update replaces the whole value."""

    def __init__(self, config: Config, provenance: Provenance, clock: Clock) -> None:
        self._config, self._provenance, self.clock = config, provenance, clock
        self.health = Health(provenance, config.record_path, clock, config.broker.health_period_s)
        self._began_s, self._began = clock.monotonic_s(), clock.now()
        opening = PartStatus(level="busy", text="opening")
        begun = BrokerStatus("connecting" if config.broker.enabled else "disabled")
        self.value = self._of(opening, opening, PartStatus(level="ok", text=""), None, begun, JournalStatus())

    def update(self, pipeline: Pipeline, broker: BrokerStatus) -> DeviceStatus:
        """Take in how the pipeline and the way to the broker stand; the new status."""
        camera, engine, _, record = pipeline.lamps
        why_not_gated = self._provenance.model.gate_fault if engine.level == "warn" else ""
        progress = None
        if (slide := pipeline.slide) is not None and slide.is_open:
            progress = SlideProgress(
                slide_id=slide.slide_id,
                state=slide.state.value,
                fields=len(slide.fields),
                white_cells=pipeline.white_cells,
                target_cells=pipeline.target_cells,
                blast_seen=pipeline.differential.blasts > 0,
            )
        unsaved = pipeline.record_status.reason if record.level == "fail" else ""
        parts = part_status(camera, pipeline.camera_reason), part_status(engine, why_not_gated), part_status(record, unsaved)
        self.value = self._of(*parts, progress, broker, pipeline.record_status)
        return self.value

    def health_due(self, pipeline: Pipeline, broker: BrokerStatus) -> HealthReport | None:
        """How the box does, where it is time to say so."""
        return self.health.due(lambda: Gauges(pipeline.engine_status, self.value.engine, broker))

    def as_json(self) -> dict[str, Any]:
        """The status as plain JSON, what waits counted in the record itself; may be called by any thread."""
        value = self.value
        try:
            with Store.read(self._config.record_path) as store:
                counted = {"outbox_pending": store.pending_count(), "quarantined": store.quarantined()}
            value = value.model_copy(update=counted)
        except StoreError:  # a disk that does not answer: what was last known
            pass
        return value.model_dump(mode="json", by_alias=True)

    def _of(
        self,
        camera: PartStatus,
        engine: PartStatus,
        record: PartStatus,
        slide: SlideProgress | None,
        broker: BrokerStatus,
        journal: JournalStatus,
    ) -> DeviceStatus:
        now, made = self.clock.now(), self._provenance
        return DeviceStatus(
            device_id=made.device_id,
            state="online",
            since=self._began,
            sent_at=now,
            time_trusted=time_trusted(now),
            boot_id=made.boot_id,
            versions=Versions(
                leukoscope=version(),
                engine=made.model.label,
                calibration=made.calibration_label,
                naming=NamingProvenance.of(made.model.naming),
            ),
            camera=camera,
            engine=engine,
            record=record,
            slide=slide,
            outbox_pending=broker.pending,
            unconfirmed=broker.unconfirmed,
            quarantined=broker.quarantined,
            unsaved=journal.waiting,
            broker=BrokerReport(
                state=broker.state,
                reason=one_line(broker.reason),
                protocol=broker.protocol or "",
                delivered_slide=broker.delivered_slide,
                delivered_at=broker.delivered_at,
            ),
            uptime_s=self.clock.monotonic_s() - self._began_s,
            simulated=made.source is not None and made.source.simulated,
        )


def remote_of(config: Config, status: CurrentStatus) -> Remote:
    """What answers requests that come over the broker."""

    def resend(slide_id: str, since: datetime | None) -> int:
        with Store.connect(config.record_path) as store:  # asked in the publisher's thread
            return store.resend(Wanted(slide_id, since), config.broker.topic_root).messages

    def offer(url: str, by: str) -> None:
        kept = {"url": url, "by": by, "at": status.clock.now().isoformat(timespec="seconds")}
        try:
            atomic_write(config.update_offer_path, json.dumps(kept) + "\n")
        except OSError as error:
            raise StoreError(f"{config.update_offer_path}: the offer cannot be kept ({error.strerror}); look at the disk") from error

    return Remote(
        Topics(config.device.id, config.broker.topic_root),
        status.clock,
        status=lambda: status.value,
        health=lambda: status.health.newest,
        resend=resend,
        offer=offer if _SLOTS.exists() else None,
    )

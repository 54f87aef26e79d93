"""The device's newest status, as the broker and `leukoscope status` get it."""

from __future__ import annotations

from typing import Any

from device.clock import Clock, time_trusted
from device.mqtt.device_status import DeviceStatus, PartStatus, SlideProgress, Versions
from device.mqtt.payloads import NamingProvenance
from device.pipeline import Pipeline
from device.settings.config import Config
from device.store import Provenance
from device.view import part_status
from engines.version import version


class CurrentStatus:
    """The device's newest status, for the broker and for `leukoscope status`. Thread-safe: each update replaces the whole value."""

    def __init__(self, config: Config, provenance: Provenance, clock: Clock) -> None:
        self._config, self._provenance, self.clock = config, provenance, clock
        self._began_s, self._began = clock.monotonic_s(), clock.now()
        opening = PartStatus(level="busy", text="opening")
        self.value = self._of(opening, opening, PartStatus(level="ok", text=""), None)

    def update(self, pipeline: Pipeline) -> DeviceStatus:
        """Take in how the pipeline stands; the new status."""
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
        parts = part_status(camera, pipeline.camera_reason), part_status(engine, why_not_gated), part_status(record)
        self.value = self._of(*parts, progress)
        return self.value

    def as_json(self) -> dict[str, Any]:
        """The status as plain JSON; may be called by any thread."""
        return self.value.model_dump(mode="json", by_alias=True)

    def _of(self, camera: PartStatus, engine: PartStatus, record: PartStatus, slide: SlideProgress | None) -> DeviceStatus:
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
            outbox_pending=0,
            uptime_s=self.clock.monotonic_s() - self._began_s,
            simulated=made.source is not None and made.source.simulated,
        )

"""Opens what the configuration names, runs the pipeline until it is told to stop, and closes everything in reverse."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from calibration.profile import load_profile
from device.camera.base import Camera, SkippedPicture
from device.camera.capture import Capture
from device.camera.factory import open_camera
from device.clock import Clock, SystemClock, read_boot_id, time_trusted
from device.display.base import Display
from device.display.factory import open_display
from device.display.kept import KeptDisplay
from device.mqtt.payloads import DeviceStatus, PartStatus, SlideProgress, Versions
from device.mqtt.publisher import Publisher
from device.pipeline import Pipeline, Round
from device.service.control import ControlServer
from device.service.systemd import Notifier
from device.settings.config import Config
from device.slide.model import Slide
from device.slide.session import SlideSession
from device.store import Store, free_mb
from device.store.events import Provenance, SlideRecord
from device.store.journal import Journal
from device.store.recording import FrameRecorder
from device.view import told
from engines.runtime.base import Engine
from engines.runtime.factory import open_engine
from engines.version import version

log = logging.getLogger(__name__)

_STATUS_EVERY_S = 1.0
_DRAIN_S = 10.0
"""How long the end of a run waits for the broker to take what is in the outbox."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended. saved: everything counted is on disk. sent: no summary waits for the broker."""

    reason: str
    slide: Slide | None
    saved: bool
    sent: bool
    skipped: tuple[SkippedPicture, ...] = ()


@dataclass(frozen=True)
class Parts:
    """What a run is made of besides the configuration; the demo and tests put others in."""

    clock: Clock
    camera: Callable[[], Camera]
    engine: Callable[[], Engine]
    display: Callable[[], Display]

    @classmethod
    def of(cls, config: Config, clock: Clock | None = None) -> Parts:
        """The parts that the configuration names."""
        time = clock or SystemClock()
        engine = config.engine
        return cls(
            time,
            lambda: open_camera(config.camera, time),
            lambda: open_engine(
                engine.bundle, engine.runtime, engine.threads, engine.score_threshold, ungated=engine.ungated, plans=engine.plans
            ),
            lambda: open_display(config.display),
        )


def run(
    config: Config,
    parts: Parts | None = None,
    *,
    each_round: Callable[[Round, Pipeline], None] | None = None,
    signals: bool = True,
    wait_for_devices: bool = False,
) -> Outcome:
    """Run the appliance until a signal, the end of a stored source, or the technician's quit.

    Raises ConfigError, CameraError, BundleError, DisplayError, StoreError or ControlError when something that the configuration
    names cannot be opened at the start; later failures are states, shown and retried. wait_for_devices: a camera device or
    a screen that is not there at the start is such a state too (at boot it may come later).
    """
    parts = parts or Parts.of(config)
    profile = load_profile(config.microscope.profile)
    notifier = Notifier()
    with ExitStack() as opened:
        engine = opened.enter_context(parts.engine())
        log.info("engine: %s on %s", engine.info.label, engine.info.runtime)
        if engine.info.gate_fault:
            log.warning("the engine %s %s. It counts because engine.ungated is true.", engine.info.label, engine.info.gate_fault)
        store = opened.enter_context(Store.open(config.record_path))
        display = opened.enter_context(KeptDisplay(parts.display(), parts.clock, wait=wait_for_devices))
        capture = opened.enter_context(Capture(parts.camera, parts.clock, fail_fast=True, wait_for_device=wait_for_devices))
        provenance = Provenance(config, engine.info, profile, read_boot_id(), capture.status.name)
        journal = Journal(config.record_path, parts.clock, free_mb, config.record.min_free_mb)
        teller = _Teller(config, provenance, parts.clock)
        publisher = Publisher(config.broker, teller.first(), lambda: Store.connect(config.record_path), clock=parts.clock)
        record = SlideRecord(store, journal, provenance, parts.clock, publisher.notify)
        if store.put_aside is not None:
            log.error("the record was damaged: it lies at %s, a new one was begun; call the field team", store.put_aside)
        record.close_left_open()
        opened.enter_context(publisher)
        session = SlideSession(
            engine.info.taxonomy,
            config.slide,
            config.engine.identify_threshold,
            config.record.crops,
            config.record.jpeg_quality,
            parts.clock,
        )
        recorder = None
        if config.frames.directory is not None:
            recorder = opened.enter_context(FrameRecorder(config.frames, config.frames.directory, provenance, parts.clock))
        control = opened.enter_context(ControlServer(config.control_path, teller.snapshot))
        pipeline = Pipeline(
            capture,
            engine,
            session,
            record,
            display,
            provenance,
            parts.clock,
            broker=lambda: publisher.status,
            requests=control.requests,
            recorder=recorder,
        )
        with _signals(pipeline.stop) if signals else ExitStack():
            notifier.ready(f"{engine.info.label}; waiting for a slide")
            try:
                _rounds(pipeline, notifier, teller, publisher, session, each_round)
            finally:
                notifier.stopping("closing the slide")
                saved = pipeline.close()
        # A broker that cannot be reached is not waited for: the summary is in the record and goes at the next start.
        sent = publisher.drain(_DRAIN_S if publisher.status.state in ("connected", "connecting") else 0.0)
        if not saved:
            log.error("NOT SAVED: %s", journal.status.reason)
        if not sent:
            log.warning(
                "%d summaries wait in %s for the broker: %s", publisher.status.pending, config.record_path, publisher.status.reason
            )
        return Outcome(pipeline.stopped, session.slide, saved, sent, capture.status.skipped)


def _rounds(
    pipeline: Pipeline,
    notifier: Notifier,
    teller: _Teller,
    publisher: Publisher,
    session: SlideSession,
    each_round: Callable[[Round, Pipeline], None] | None,
) -> None:
    told_s = float("-inf")
    while not pipeline.stopped:
        done = pipeline.round()
        # Fed by frames that went the whole way: a hung engine or driver lets systemd start the daemon anew. While an absent camera
        # is being tried again there is nothing to process, and a restart would only abort the slide: that feeds it too.
        if done.observation is not None or pipeline.camera_is_retried:
            notifier.watchdog()
        now = teller.clock.monotonic_s()
        if now - told_s >= _STATUS_EVERY_S:
            told_s = now
            publisher.set_device_status(teller.update(pipeline, session))
            notifier.status(pipeline.in_words())
        if each_round is not None:
            each_round(done, pipeline)


class _Teller:
    """Keeps the device's newest status for the broker and for `leukoscope status`."""

    def __init__(self, config: Config, provenance: Provenance, clock: Clock) -> None:
        self._config, self._from, self.clock = config, provenance, clock
        self._began_s, self._began = clock.monotonic_s(), clock.now()
        self._status = self._of(PartStatus(level="busy", text="opening"), PartStatus(level="busy", text="opening"), None)

    def first(self) -> DeviceStatus:
        return self._status

    def update(self, pipeline: Pipeline, session: SlideSession) -> DeviceStatus:
        camera, engine, _, record = pipeline.lamps
        progress = None
        if session.is_open and session.slide is not None:
            progress = SlideProgress(
                slide_id=session.slide.slide_id,
                state=session.state.value,
                fields=len(session.slide.fields),
                white_cells=session.differential.white_cells,
                target_cells=self._config.slide.target_cells,
            )
        why_not_gated = self._from.engine.gate_fault if engine.level == "warn" else ""
        self._status = self._of(told(camera, pipeline.camera_reason), told(engine, why_not_gated), progress, told(record))
        return self._status

    def snapshot(self) -> dict[str, Any]:
        return self._status.model_dump(mode="json", by_alias=True)

    def _of(
        self, camera: PartStatus, engine: PartStatus, slide: SlideProgress | None, record: PartStatus | None = None
    ) -> DeviceStatus:
        now = self.clock.now()
        return DeviceStatus(
            device_id=self._config.device.id,
            state="online",
            since=self._began,
            sent_at=now,
            time_trusted=time_trusted(now),
            boot_id=self._from.boot_id,
            versions=Versions(leukoscope=version(), engine=self._from.engine.label, calibration=self._from.calibration_label),
            camera=camera,
            engine=engine,
            record=record or PartStatus(level="ok", text=""),
            slide=slide,
            outbox_pending=0,
            uptime_s=self.clock.monotonic_s() - self._began_s,
            simulated=self._config.camera.kind == "simulator",
        )


@contextmanager
def _signals(stop: Callable[[str], None]) -> Iterator[None]:
    """SIGTERM and SIGINT end the loop after the round that runs; the slide is then put down as aborted."""

    def handle(number: int, frame: FrameType | None) -> None:
        stop(f"stopped by {signal.Signals(number).name}")

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""The composition root: opens engine, record, display and camera, and wires them into one `Pipeline`, for app, benchmark and tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from calibration.optics.versions import Versions
from calibration.profile import CalibrationProfile
from device.camera.base import Camera, FrameSource
from device.camera.capture import Capture
from device.camera.corrected import CorrectedSource
from device.camera.factory import open_camera
from device.clock import Clock, SystemClock, read_boot_id, time_trusted
from device.display.base import Display
from device.display.factory import open_display
from device.display.reopening import ReopeningDisplay
from device.guidance.guide import Guide
from device.mqtt.payloads import CalibrationProvenance, SourceProvenance
from device.mqtt.publisher import BrokerStatus
from device.pipeline import Pipeline
from device.report.export import How
from device.report.writer import ReportWriter
from device.service.calibrate import versions_of
from device.service.control import CommandRequest
from device.service.engine import guarded_engine, open_configured
from device.settings.config import Config
from device.slide.session import SlideSession
from device.store import Provenance, Store, free_mb
from device.store.events import SlideRecord
from device.store.journal import Journal
from device.store.late import LateStore
from device.store.recording import FrameRecorder
from engines.runtime.base import Engine
from engines.runtime.guarded import GuardedEngine

_DEFAULT_WIDTH_PX = 1920  # until the first frame has come from a camera whose section names no width


@dataclass(frozen=True)
class Openers:
    """How the parts of a line are made; each is opened by `with`. The demo, the benchmark and tests put in others."""

    clock: Clock
    camera: Callable[[], Camera]
    engine: Callable[[], AbstractContextManager[Engine]]
    display: Callable[[], Display]

    @classmethod
    def of(cls, config: Config) -> Openers:
        """The parts that the configuration names."""
        clock = SystemClock()
        return cls(
            clock,
            lambda: open_camera(config.camera, clock),
            lambda: open_configured(config),
            lambda: open_display(config.display, config.record.min_free_mb),
        )


@dataclass(frozen=True)
class Line:
    """Open parts, and what they are wired into. Closing them is the business of whoever opened them."""

    config: Config
    clock: Clock
    engine: Engine
    store: Store
    display: Display
    source: FrameSource
    guard: GuardedEngine | None = None  # it is the engine then

    @classmethod
    @contextmanager
    def open(cls, config: Config, openers: Openers, wait_for_devices: bool = False, guarded: bool = True) -> Iterator[Line]:
        """Open engine, record, display and camera in this order; all are closed in reverse, also when one of them fails.

        Raises what each raises on opening. wait_for_devices: a camera or screen that is not there yet is tried again later.
        guarded: the engine runs in a thread of its own, with a deadline; False for one that was opened in this thread already.
        """
        clock = openers.clock
        with ExitStack() as opened:
            guard = guarded_engine(openers.engine, config) if guarded else None
            engine = opened.enter_context(guard or openers.engine())
            store = opened.enter_context(LateStore(config.record_path, clock))
            display = opened.enter_context(ReopeningDisplay(openers.display(), clock, wait=wait_for_devices))
            capture = Capture(openers.camera, clock, fail_fast=True, wait_for_device=wait_for_devices)
            yield cls(config, clock, engine, store, display, opened.enter_context(capture), guard)

    @cached_property
    def profile(self) -> CalibrationProfile:
        """The microscope's calibration: the version measured here that is in use, else the configuration's. Raises ProfileError."""
        return self._calibrations.profile

    @cached_property
    def _calibrations(self) -> Versions:
        return versions_of(self.config)

    @cached_property
    def _corrected(self) -> FrameSource:
        """The camera's frames, corrected by what was measured of the optics; as they are where nothing was. Raises ProfileError."""
        correction = self._calibrations.correction(self.config.microscope.objective)
        return self.source if correction is None else CorrectedSource(self.source, correction)

    @cached_property
    def provenance(self) -> Provenance:
        """Where this run's numbers come from; a slide's own has the scale of its frames besides."""
        config, width_px = self.config, int(getattr(self.config.camera, "width_px", _DEFAULT_WIDTH_PX))
        return Provenance(
            self.engine.info,
            config.engine.identify_threshold,
            CalibrationProvenance.of(self.profile, config.microscope.objective, width_px),
            SourceProvenance.of(config.camera, self.source.status.name),
            config.device.id,
            read_boot_id(),
            time_trusted(self.clock.now()),
        )

    def recorder(self) -> FrameRecorder | None:
        """What keeps frames for a calibration set, not yet opened; None where none are kept."""
        section = self.config.frames
        return None if section.directory is None else FrameRecorder(section, section.directory, self.provenance, self.clock)

    def report_writer(self) -> ReportWriter:
        """What writes the reports of signed slides, not yet opened."""
        config = self.config
        return ReportWriter(config.record_path, config.reports_path, How(report_code=config.report.code))

    def pipeline(
        self,
        *,
        sent: Callable[[], None] = lambda: None,
        broker: Callable[[], BrokerStatus] = lambda: BrokerStatus("disabled"),
        requests: Callable[[], list[CommandRequest]] = list,
        recorder: FrameRecorder | None = None,
        reports: ReportWriter | None = None,
        free_mb: Callable[[Path], float] = free_mb,
        stays: bool = False,
    ) -> Pipeline:
        """Wire the parts together. A slide that was open when the appliance stopped is taken up again, paused.

        sent: called when a summary was put into the outbox. broker, requests: asked in each round. stays: quitting shows the
        start page.
        """
        config, clock = self.config, self.clock
        journal = Journal(config.record_path, clock, free_mb, config.record.min_free_mb)
        journal.fault = self.store.watch
        record = SlideRecord(self.store, journal, config, self.profile, self.provenance, clock, sent)
        session = SlideSession(
            self.engine.info.taxonomy,
            config.slide,
            config.engine.identify_threshold,
            config.record.crops,
            config.record.jpeg_quality,
            clock,
            self.engine.info.naming,
        )
        pipeline = Pipeline(
            self._corrected,
            self.engine,
            session,
            record,
            self.display,
            config,
            self.provenance,
            clock,
            um_per_px=partial(self.profile.um_per_px, config.microscope.objective),
            guide=Guide(
                self.profile,
                config.microscope.objective,
                config.camera.stored,
                record.known_slide_due,
                asks=not config.camera.stored,
            ),
            broker=broker,
            requests=requests,
            recorder=recorder,
            reports=reports,
            find=record.left_open,
            stays=stays,
        )
        if self.guard is not None:
            self.guard.attend(lambda: bool(pipeline.stopped), pipeline.engine_waits)
        return pipeline

"""Opens what the configuration names, runs the pipeline until it is asked to stop, and closes everything in reverse."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

from device.box.progress import RUNNING, read_step
from device.camera.base import SkippedPicture
from device.desk.ready import ready_page
from device.display.factory import parse_display
from device.display.pages import CountPage
from device.errors import StoreError
from device.language import speaking
from device.line import Line, Openers
from device.mqtt.publisher import Publisher
from device.pipeline import Pipeline
from device.rounds import Round
from device.service.control import ControlServer
from device.service.late_control import LateControl
from device.service.meanwhile import Meanwhile
from device.service.signals import ending_signals
from device.service.systemd import Notifier
from device.settings.config import Config
from device.slide.model import Slide, SlideState
from device.status import CurrentStatus, remote_of
from device.store import Store
from device.view import in_words
from engines.runtime.guarded import GuardedEngine

log = logging.getLogger(__name__)

_STATUS_EVERY_S = 1.0
_DRAIN_S = 10.0
"""How long the end of a run waits for the broker to take what is in the outbox."""
_SETTLE_S, _SETTLE_AT_TERMINAL_S = 25.0, 5.0
"""How long the end of a run goes on trying to write what a full or failing disk refuses: below TimeoutStopSec of the unit; less where a
person waits."""
_ANOTHER_ENGINE = "another engine counts from now on"
"""Why a line ends that another one follows at once."""
_BUILDER_SILENT = timedelta(minutes=15)
"""A plan's builder that has told nothing for so long has died."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended. saved: everything counted is on disk. sent: no message waits for the broker."""

    reason: str
    slide: Slide | None
    saved: bool
    sent: bool
    skipped: tuple[SkippedPicture, ...] = ()


def with_overrides(
    config: Config, display: str | None, start: bool, record: Path | None = None, record_every_s: float | None = None
) -> Config:
    """`config` with what the command line says instead: display ("screen", "none", "file:DIR"), start, record (a folder), its pace."""
    changes: dict[str, object] = {}
    if display is not None:
        changes["display"] = parse_display(display, config.display)
    if start:
        changes["slide"] = config.slide.model_copy(update={"auto_start": True})
    frames: dict[str, object] = {"directory": record, "every_s": record_every_s}
    changes["frames"] = config.frames.model_copy(update={key: value for key, value in frames.items() if value is not None})
    return config.model_copy(update=changes)


def run(
    config: Config,
    openers: Openers | None = None,
    *,
    each_round: Callable[[Round, Pipeline], None] | None = None,
    signals: bool = True,
    wait_for_devices: bool = False,
) -> Outcome:
    """Run the appliance until a signal, the end of a stored source, or the technician's quit.

    Raises ConfigError, CameraError, BundleError, DisplayError, StoreError or ControlError when a person must mend something before it
    can start: the configuration, a bundle, another program's record, another daemon. What may pass (a disk that is full, locked,
    read-only, failing or not mounted) is a state from the start, shown and tried again, as all later failures are. wait_for_devices: a
    camera device or a screen that is not there is such a state too (at boot it may come later). Started by systemd, the technician's
    quit only pauses the slide and shows the start page.
    """
    notifier = Notifier()
    ways = _Ways(each_round, signals, wait_for_devices)
    if openers is not None or config.camera.stored:  # its pictures would begin anew with a new line
        return _run(config, openers or Openers.of(config), notifier, ways)
    with Meanwhile(config, _building) as meanwhile:
        while True:
            meanwhile.new_line()
            outcome = _run(config, replace(Openers.of(config), engine=meanwhile.open), notifier, ways, meanwhile)
            if outcome.reason != _ANOTHER_ENGINE:
                return outcome
            log.info("no slide is open: the next one is counted with another engine")


@dataclass(frozen=True)
class _Ways:
    """How a line is run: as the arguments of `run`."""

    each_round: Callable[[Round, Pipeline], None] | None
    signals: bool
    wait_for_devices: bool


def _run(config: Config, openers: Openers, notifier: Notifier, ways: _Ways, meanwhile: Meanwhile | None = None) -> Outcome:
    """One line, from its opening to its end; with `meanwhile` it ends too when another engine shall count."""
    with ExitStack() as opened:
        line = opened.enter_context(Line.open(config, openers, ways.wait_for_devices))
        engine, record_path = line.engine.info, config.record_path
        layer = "no naming layer" if engine.naming is None else f"naming layer {engine.naming.label}"
        log.info("engine: %s on %s, %s", engine.label, engine.runtime, layer)
        if engine.gate_fault:
            log.warning("the engine %s %s. It counts because engine.ungated is true.", engine.label, engine.gate_fault)
        if engine.unchecked:
            log.warning("the engine %s has %s. Export it again with a golden picture.", engine.label, engine.unchecked)
        status = CurrentStatus(config, line.provenance, line.clock)
        remote = remote_of(config, status)
        publisher = Publisher(config.broker, status.value, lambda: Store.connect(record_path), commands=remote, clock=line.clock)
        control = LateControl(ControlServer(config.control_path, status.as_json), line.clock)
        recorder, reports = line.recorder(), line.report_writer()
        pipeline = line.pipeline(
            sent=publisher.notify,
            broker=lambda: publisher.status,
            requests=lambda: [*control.requests(), *remote.requests()],
            recorder=recorder,
            reports=reports,
            stays=notifier.listens,
        )
        if meanwhile is not None:
            pipeline.guard.engine_note = meanwhile.note
        for part in (publisher, recorder, control, reports):
            if part is not None:
                opened.enter_context(part)
        with ending_signals(pipeline.stop, pipeline.keep_elsewhere) if ways.signals else _unsignalled() as ends:
            notifier.ready(f"{engine.label}; waiting for a slide")
            try:
                _rounds(pipeline, notifier, status, publisher, ways.each_round, line.guard, meanwhile)
            finally:
                ends()
                if goes_on := pipeline.stopped == _ANOTHER_ENGINE:
                    notifier.status("opening another engine")  # to say that it stops would have it killed
                else:
                    notifier.stopping("writing what waits")
                saved = pipeline.close(_SETTLE_S if notifier.listens else _SETTLE_AT_TERMINAL_S)
        # A broker that cannot be reached is not waited for: the summary is in the record and goes at the next start.
        reached = publisher.status.state in ("connected", "connecting")
        sent = _waiting(line.store) == 0 or publisher.drain(_DRAIN_S if reached and saved and not goes_on else 0.0)
        if not saved:
            log.error("NOT SAVED: %s", pipeline.record_status.reason)
        if not sent and not goes_on:
            waiting = _waiting(line.store) or publisher.status.waiting
            words = "1 message waits" if waiting == 1 else f"{waiting} messages wait"
            log.warning("%s in %s for the broker: %s", words, record_path, publisher.status.why_waiting)
        return Outcome(pipeline.stopped, pipeline.slide, saved, sent, line.source.status.skipped)


def _tell(pipeline: Pipeline, notifier: Notifier, status: CurrentStatus, publisher: Publisher) -> None:
    """Broker and systemd how it stands."""
    with speaking("en"):  # both go to other machines, and to somebody at a terminal
        publisher.set_device_status(status.update(pipeline, publisher.status))
        if (health := status.health_due(pipeline, publisher.status)) is not None:
            publisher.set_health(health.to_bytes())
        notifier.status(in_words(pipeline.lamps, pipeline.slide, pipeline.white_cells))


def _better(meanwhile: Meanwhile, pipeline: Pipeline) -> bool:
    """Whether another engine shall count from here on: only where no slide is open and nobody is asked or reviews anything."""
    slide = pipeline.slide
    if slide is not None and slide.is_open:  # asked each round: what is shown is put together only where it decides
        return meanwhile.better(at_rest=False)
    page = pipeline.view().page
    return meanwhile.better(isinstance(page, CountPage) or page == ready_page(slide))


def _building() -> tuple[bool, int | None]:
    """Whether the unit of the plans is at work, by what it told last, and how far it is."""
    step = read_step("engine")
    if step is None or step.state != RUNNING:
        return False, None
    late = step.at is not None and datetime.now(timezone.utc) - step.at > _BUILDER_SILENT
    return not late, step.percent


@contextmanager
def _unsignalled() -> Iterator[Callable[[], None]]:
    """Where somebody else has the signals."""
    yield lambda: None


def _waiting(store: Store) -> int | None:
    """How many messages the broker has not taken, by the record itself; None where it cannot be read."""
    try:
        figures = store.figures(datetime.now(timezone.utc))
    except StoreError:
        return None
    return figures.pending - figures.unconfirmed


def _rounds(
    pipeline: Pipeline,
    notifier: Notifier,
    status: CurrentStatus,
    publisher: Publisher,
    each_round: Callable[[Round, Pipeline], None] | None,
    guard: GuardedEngine | None = None,
    meanwhile: Meanwhile | None = None,
) -> None:
    updated_s = float("-inf")
    while not pipeline.stopped:
        done = pipeline.round()
        # Fed by frames that went the whole way: a hung engine or driver lets systemd start the daemon anew. While an absent camera
        # is being tried again there is nothing to process, and a restart would mend nothing: that feeds it too. So does an engine that
        # is being opened anew, until that was in vain too often.
        if done.observation is not None or pipeline.camera_is_retried or pipeline.recovers or (guard is not None and guard.recovering):
            notifier.watchdog()
        if guard is not None and (pipeline.slide is None or pipeline.slide.state is not SlideState.COUNTING):
            pipeline.guard.run("golden picture", guard.idle, None)
        now = status.clock.monotonic_s()
        if now - updated_s >= _STATUS_EVERY_S:
            updated_s = now
            pipeline.guard.run("status", partial(_tell, pipeline, notifier, status, publisher), None)
            if meanwhile is not None and pipeline.guard.run("engine", partial(_better, meanwhile, pipeline), False):
                pipeline.stop(_ANOTHER_ENGINE)
        if each_round is not None:
            each_round(done, pipeline)

"""A frame's whole way, in one file: camera → newest frame → engine → slide → record and broker → screen.

Capturing and sending have threads of their own; everything between runs here, in one thread, at the engine's pace. How each part
works is its own room's business; in which order they act is decided here and nowhere else.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import median
from typing import Protocol

from device.camera.base import CameraState, CameraStatus, Frame
from device.clock import Clock
from device.desk.desk import Desk
from device.display.base import Display, PartState, ScreenView
from device.errors import DisplayError
from device.guidance.guide import Guide
from device.mqtt.publisher import BrokerStatus
from device.service.control import CommandRequest
from device.settings.config import Config
from device.slide.commands import Command, Wish
from device.slide.counting import Observation
from device.slide.model import Field, Slide, SlideState
from device.slide.picture_state import PictureState, shown_faults
from device.slide.session import RefusedError, SlideSession
from device.slide.tally import Differential
from device.store import Provenance
from device.store.events import SlideRecord
from device.store.recording import FrameRecorder
from device.view import EngineStatus, broker_lamp, camera_lamp, engine_lamp, record_lamp, skipped_words
from engines.detections import Detections
from engines.errors import InferenceError
from engines.runtime.base import Engine, EngineInfo

log = logging.getLogger(__name__)

WAIT_FOR_FRAME_S = 0.1
"""How long a round waits for a frame before it looks after keys, screen and record without one."""
MESSAGE_S = 6.0
"""How long a message to the technician stands."""


class FrameSource(Protocol):
    """The capture thread, as the pipeline sees it."""

    @property
    def status(self) -> CameraStatus: ...

    def newest(self, timeout_s: float) -> Frame | None: ...


@dataclass(frozen=True)
class Round:
    """What one round did: for the watchdog, the demo's progress and the benchmark."""

    frame: Frame | None
    observation: Observation | None
    timings_ms: dict[str, float]


class Pipeline:
    """Runs rounds until it is asked to stop, the source ends or the technician quits. Hardware is opened and closed by `line`.

    um_per_px: the scale of frames of a width in px, None where it is not known.

    A slide's states, and what leads from one to the next (`slide.session` keeps them, commands and the source's end change them):

                             pause
        idle ── start ──► counting ◄────► paused
         ▲                 │    │ │          │
         │     undo: the ──┘    │ └── finish, or the source ended ──► review ──► (signed, in a later version)
         │     last field       └── stop, quit, power cut ──────────► aborted (at the next start after a power cut)
         └──── start, from review and aborted, opens the next slide
    """

    def __init__(
        self,
        source: FrameSource,
        engine: Engine,
        session: SlideSession,
        record: SlideRecord,
        display: Display,
        config: Config,
        provenance: Provenance,
        clock: Clock,
        *,
        um_per_px: Callable[[int], float | None],
        guide: Guide,
        broker: Callable[[], BrokerStatus],
        requests: Callable[[], list[CommandRequest]] = list,
        recorder: FrameRecorder | None = None,
    ) -> None:
        self._source, self._engine, self._session, self._record, self._display = source, engine, session, record, display
        self._config, self._provenance, self._clock = config, provenance, clock
        self._um_per_px, self._broker, self._requests, self._recorder = um_per_px, broker, requests, recorder
        self._desk = Desk(clock.monotonic_s)
        self._guide = guide
        self._frame: Frame | None = None
        self._detections: Detections | None = None
        self._observation = Observation(resting=False, field_counted=False, blank=False)
        self._message, self._message_level, self._message_until_s = "", "ok", 0.0
        self._times_ms: deque[float] = deque(maxlen=60)
        self._done_s: deque[float] = deque(maxlen=60)
        self._failures, self._failing = 0, ""
        self._frames = 0
        self._display_works = True
        self.stopped = ""  # why the loop shall end; empty while it goes on
        self._skipped_shown = 0

    # ---- one round

    def round(self) -> Round:
        """Take the newest frame, if there is one, through all stations; then obey commands and show what there is."""
        frame = self._source.newest(WAIT_FOR_FRAME_S)
        observation, timings = (None, {}) if frame is None else self._process(frame)
        for request in self._requests():
            ok, text = self.obey(request.wish)
            request.answer(text, ok)
        for wish in self._show(timings):
            self.obey(wish)
        self._record.journal.tick()
        self._watch_source()
        return Round(frame, observation, timings)

    def _process(self, frame: Frame) -> tuple[Observation | None, dict[str, float]]:
        """Engine, slide and record for one frame."""
        started = self._clock.monotonic_s()
        self._frame = frame
        if self._frames == 0 and self._config.slide.auto_start and not self._session.is_open:
            self.obey(Wish(Command.START))
        self._frames += 1
        try:
            inference = self._engine.infer(frame.image)
        except InferenceError as error:
            self._engine_failed(error)
            return None, {}
        if self._failing:
            log.warning("the engine works again after %d failed frames", self._failures)
        self._failing = ""
        self._detections = inference.detections
        engine_done = self._clock.monotonic_s()
        held = self._guide.look(frame, engine_done, self._observation.resting)
        sharp = self._guide.sharpness
        observation = self._session.observe(frame, inference.detections, sharp, self._second_look, held)
        self._keep(observation)
        slide = self._session.slide
        if self._recorder is not None and slide is not None and slide.state is SlideState.COUNTING:
            self._recorder.offer(frame, slide.slide_id, observation, sharp)
        self._observation = observation
        now = self._clock.monotonic_s()
        self._times_ms.append((engine_done - started) * 1000)
        self._done_s.append(now)
        return observation, {**inference.timings_ms, "slide and record": (now - engine_done) * 1000}

    def _second_look(self, frame: Frame, found: Detections) -> tuple[Detections, str]:
        """The cells of a field that is counted, named; where the engine fails, as the first look named them, and the reason."""
        try:
            return self._engine.name_cells(frame.image, found, self._um_per_px(frame.size_px[0])), ""
        except InferenceError as error:
            self._failures += 1
            log.error("the second look failed on a frame: %s", error)
            return found, str(error)

    def _keep(self, observation: Observation) -> None:
        slide, event = self._session.slide, observation.event
        if slide is None or event is None:
            return
        self._record.counted(slide, event, None if self._frame is None else self._frame.image)
        if (field := event.field) is not None:
            again = "" if event.new else " again, sharper"
            self._say(f"Field {field.index} counted{again}: {_cells(field)}.", _level(field))

    def _engine_failed(self, error: InferenceError) -> None:
        self._failures += 1
        if str(error) != self._failing:
            log.error("the engine failed on a frame: %s", error)
        self._failing = str(error)
        self._detections = None
        self._say(f"The engine failed on a frame: {error}", "fail")

    def _watch_source(self) -> None:
        """Say which stored pictures were skipped; finish the slide when a stored source has shown its last one."""
        status = self._source.status
        if len(status.skipped) > self._skipped_shown:
            self._skipped_shown = len(status.skipped)
            self._say(f"Skipped, cannot be read: {skipped_words(status.skipped)}", "warn")
        if status.state is CameraState.ENDED and not self.stopped:
            if self._session.is_open and self._config.slide.finish_at_end:
                self.obey(Wish(Command.FINISH))
            self.stopped = "the source has ended"

    # ---- what a person asks

    def obey(self, wish: Wish) -> tuple[bool, str]:
        """Do what was asked, if the slide's state allows it; whether it was done, and one line that says so."""
        try:
            text = self._obeyed(wish)
        except RefusedError as error:
            self._say(f"{str(error)[:1].upper()}{str(error)[1:]}.", "warn")
            return False, str(error)
        self._say(text)
        return True, text

    def _obeyed(self, wish: Wish) -> str:
        session = self._session
        match wish.command:
            case Command.START:
                slide = session.start()
                self._guide.new_slide()
                self._record.started(slide, self._width_px)
                return f"Slide {slide.slide_id} started."
            case Command.FINISH:
                slide = session.finish(self._source.status.skipped)
                self._record.closed(slide, self._width_px)
                at_least = PictureState.of(slide).at_least
                return f"Slide {slide.slide_id} finished: {at_least}{session.differential.white_cells} white cells, for review."
            case Command.UNDO:
                undone = session.undo()
                self._observation = replace(self._observation, field_counted=False)  # until the next frame says what is seen now
                if session.slide is not None:
                    self._record.undone(session.slide, undone)
                return f"Field {undone.field.index} taken back."
            case Command.PAUSE:
                return f"Slide {session.pause().value}."
            case Command.QUIT:
                self.stop("the technician quit")
                return "Leukoscope stops."

    def stop(self, reason: str) -> None:
        """Ask the loop to end after this round; safe from a signal handler."""
        self.stopped = self.stopped or reason

    def close(self) -> bool:
        """Put down a slide that is still open as aborted, and write all that waits. False if something could not be written."""
        if self._session.is_open:
            slide = self._session.abort(self.stopped or "the appliance stopped", self._source.status.skipped)
            self._record.closed(slide, self._width_px)
            log.warning("slide %s aborted: %s", slide.slide_id, slide.abort_reason)
        return self._record.journal.flush()

    # ---- what is shown and reported

    @property
    def engine_status(self) -> EngineStatus:
        span = self._done_s[-1] - self._done_s[0] if len(self._done_s) > 1 else 0.0
        fps = (len(self._done_s) - 1) / span if span > 0 else 0.0
        median_ms = median(self._times_ms) if self._times_ms else 0.0
        ungated, slide = bool(self._engine.info.gate_fault), self._session.slide
        unnamed = slide is not None and bool(slide.fields) and bool(slide.fields[-1].naming_fault)
        foreign = slide is not None and bool(slide.foreign)
        precision = self._engine.info.precision
        return EngineStatus(self._frames, self._failures, self._failing, median_ms, fps, ungated, unnamed, foreign, precision)

    @property
    def lamps(self) -> tuple[PartState, ...]:
        """Camera, engine, broker and record, each in a few words."""
        return (
            camera_lamp(self._source.status),
            engine_lamp(self.engine_status),
            broker_lamp(self._broker()),
            record_lamp(self._record.journal.status),
        )

    @property
    def camera_is_retried(self) -> bool:
        """The camera is away and the capture thread waits for its next attempt; False while a driver hangs in an attempt."""
        return self._source.status.retry_in_s is not None

    @property
    def camera_reason(self) -> str:
        """Why the camera gives no picture, and the next step; empty while all is well. Without what must not leave the device."""
        status, source = self._source.status, self._provenance.source
        return status.reason.replace(status.name, source.name) if source and status.name else status.reason

    def in_words(self) -> str:
        """One line for `systemctl status`."""
        slide = self._session.slide
        counted = f"; slide {slide.slide_id} {slide.state.value}, {self.white_cells} white cells" if slide is not None else "; no slide"
        return ", ".join(f"{lamp.name.lower()} {lamp.level}" for lamp in self.lamps) + counted

    @property
    def record_reason(self) -> str:
        """Why the record cannot be written, or will not be for long; empty while all is well."""
        return self._record.journal.status.reason

    @property
    def slide(self) -> Slide | None:
        """The slide as it stands."""
        return self._session.slide

    @property
    def differential(self) -> Differential:
        """Of that slide."""
        return self._session.differential

    @property
    def white_cells(self) -> int:
        """White blood cells counted on it."""
        return self.differential.white_cells

    @property
    def engine_info(self) -> EngineInfo:
        """The engine that looks, and the layer that names."""
        return self._engine.info

    @property
    def _width_px(self) -> int:
        """Of the newest frame; before the first, of the camera's section."""
        return self._frame.size_px[0] if self._frame is not None else int(getattr(self._config.camera, "width_px", 1920))

    def _say(self, text: str, level: str = "ok") -> None:
        if text != self._message:
            log.log({"ok": logging.INFO, "warn": logging.WARNING}.get(level, logging.ERROR), "%s", text)
        self._message, self._message_level = text, level
        self._message_until_s = self._clock.monotonic_s() + MESSAGE_S

    def _messages(self) -> Iterator[tuple[str, str]]:
        """Text and level, first what cannot wait, then the newest message while it is fresh, then what the technician should do."""
        journal = self._record.journal.status
        if notice := self._desk.notice(self._session.slide):
            yield notice, "warn"
        if journal.waiting:
            yield f"NOT SAVED, {journal.waiting} waiting: {journal.reason}", "fail"
        if self._clock.monotonic_s() < self._message_until_s:
            yield self._message, self._message_level
        if self._failing:
            yield f"The engine fails: {self._failing}", "fail"
        if journal.reason:
            yield journal.reason, "warn"
        yield from ((sentence, "warn") for sentence in self._guide.advice())
        broker = self._broker()
        if broker.state in ("refused", "lost") and broker.reason:
            yield f"Summaries wait here: {broker.reason}", "warn"
        if self._recorder is not None and (reason := self._recorder.status.reason):
            yield f"No frames are recorded, the count goes on: {reason}", "warn"
        if self._session.slide is not None:
            yield from ((sentence, "warn") for sentence in PictureState.of(self._session.slide).sentences(only_grave=True))
        yield from ((sentence, "warn") for sentence in self._guide.late_advice())

    def view(self) -> ScreenView:
        """All that the screen shows now."""
        engine, slide = self._engine.info, self._session.slide
        found, certain = self._detections, self._config.engine.identify_threshold
        message, level = next(self._messages(), ("", "ok"))
        (shift_x, shift_y), focus = self._observation.shift_share, self._guide.focus
        return ScreenView(
            frame=self._frame,
            detections=found,
            identified=() if found is None else tuple(bool(v) for v in found.scores >= certain),
            engine=engine,
            camera=self._source.status,
            slide=slide,
            differential=self._session.differential if slide is not None else None,
            target_cells=self._config.slide.target_cells,
            focus=focus.level,
            focus_text=focus.text if self._observation.resting else "",
            focus_peak=focus.peak if self._observation.resting else 0.0,
            sharp=focus.sharp,
            held=self._observation.held,
            resting=self._observation.resting,
            field_counted=self._observation.field_counted,
            parts=self.lamps,
            calibration_label=self._provenance.calibration_label,
            message=message,
            message_level=level,
            description=self._session.description,
            page=self._desk.page,
            shift_px=(0.0, 0.0) if self._frame is None else (shift_x * self._frame.size_px[0], shift_y * self._frame.size_px[0]),
        )

    def _show(self, timings: dict[str, float]) -> list[Wish]:
        """Show the view, and what was asked at it; a screen that fails is reported once and the count goes on."""
        started = self._clock.monotonic_s()
        try:
            self._display.show(self.view())
            self._display_works = True
            wishes = self._desk.take(self._display.inputs(), self._session.slide)
        except DisplayError as error:
            if self._display_works:
                log.error("the screen failed, the count goes on: %s", error)
            self._display_works = False
            return []
        timings["screen"] = (self._clock.monotonic_s() - started) * 1000
        return wishes


def _cells(field: Field) -> str:
    cells = f"{'at least ' if field.limit_met else ''}{len(field.cells)} {'cell' if len(field.cells) == 1 else 'cells'}"
    poor = f"; the picture is {shown_faults(field.faults)}" if field.faults else ""
    return cells + poor + (f"; not named anew, the second look failed: {field.naming_fault}" if field.naming_fault else "")


def _level(field: Field) -> str:
    return "fail" if field.naming_fault else "warn" if field.faults else "ok"

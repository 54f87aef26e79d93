"""A frame's whole way, in one file: camera → newest frame → engine → slide → record and broker → screen.

Capturing and sending have threads of their own; everything between runs here, in one thread, at the engine's pace. How each part
works is its own room's business; in which order they act is decided here and nowhere else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

from device import messages, rounds
from device.camera.base import CameraState, CameraStatus, Frame, FrameSource
from device.clock import Clock
from device.desk.desk import Desk
from device.desk.review_room import ReviewRoom
from device.desk.scanner import ScannerGuard
from device.desk.service_room import ServiceRoom
from device.display.base import Display, PartState, ScreenView
from device.errors import DisplayError
from device.guidance.guide import Guide
from device.language import N_, _
from device.mqtt.publisher import BrokerStatus
from device.orders import Orders
from device.report.writer import ReportWriter
from device.rounds import REVIEW_WAIT_S, WAIT_FOR_FRAME_S, Round, RoundGuard
from device.service.control import CommandRequest
from device.settings.config import Config
from device.shelf import RecordShelf
from device.slide.commands import Command, Wish
from device.slide.counting import Observation
from device.slide.model import Slide, SlideState
from device.slide.session import RefusedError, SlideSession
from device.slide.tally import Differential
from device.store import Provenance
from device.store.events import LeftOpen, SlideRecord
from device.store.journal import JournalStatus
from device.store.recording import FrameRecorder
from device.view import EngineGauge, EngineStatus, broker_lamp, camera_lamp, engine_lamp, record_lamp, skipped_words
from engines.detections import Detections
from engines.errors import InferenceError
from engines.runtime.base import Engine, EngineInfo

log = logging.getLogger(__name__)


class Pipeline:
    """Runs rounds until it is asked to stop, the source ends or the technician quits. Hardware is opened and closed by `line`.

    um_per_px: the scale of frames of a width in px, None where it is not known.

    A slide's states, and what leads from one to the next (`slide.session` keeps them, commands and the source's end change them):

                           pause, or its target is reached
        idle ── start ──► counting ◄──────────► paused        undo takes back the last field of either
         ▲                 │  ▲   │ go on            │
         │          finish │  │   └───── abort ──────┴────► aborted
         │                 ▼  │ reopen
         │                review ────────────────────────► signed
         └──── start, from review, signed and aborted, opens the next slide

    Quitting, a signal and a power cut change no state: the slide that was open comes back paused at the next start (`find`).
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
        reports: ReportWriter | None = None,
        find: Callable[[], LeftOpen] = LeftOpen,
        stays: bool = False,
    ) -> None:
        self._source, self._engine, self._session, self._record, self._display = source, engine, session, record, display
        self._config, self._provenance, self._clock = config, provenance, clock
        self._um_per_px, self._broker, self._requests, self._recorder = um_per_px, broker, requests, recorder
        self._messages, self._scanner, self._reports = messages.Messages(clock.monotonic_s), ScannerGuard(), reports
        review = ReviewRoom(RecordShelf(record), clock.monotonic_s, self._reviewed)
        self._desk = Desk(clock.monotonic_s, config.slide, config.display.keys, engine.info.taxonomy, record.slides_of, review, stays)
        self._desk.service = ServiceRoom(config, engine.info, clock) if stays else None
        self._orders = Orders(session, record, config.slide, clock, find, stays)
        self._frame: Frame | None = None
        self._detections: Detections | None = None
        self._observation = Observation(resting=False, field_counted=False, blank=False)
        self._guide, self._gauge = guide, EngineGauge()
        self._display_works, self._skipped_shown = True, 0
        self.stopped = ""  # why the loop shall end; empty while it goes on
        say, put_aside = self._say_put_aside, partial(record.put_aside, "picture")
        self.guard = RoundGuard(clock, say, put_aside, config.camera.stored)

    # ---- one round

    def round(self) -> Round:
        """Take the newest frame, if there is one, through all stations; then obey commands and show what there is."""
        reviewing, guard = self._desk.reviewing, self.guard
        self._orders.recovery.attempt()
        held = self.recovers and self._config.camera.stored  # its pictures are not shown to nobody
        frame = guard.newest(self._source, REVIEW_WAIT_S if reviewing else WAIT_FOR_FRAME_S, held)
        look = self._pass_by if reviewing else self._process
        observation, timings = (None, {}) if frame is None else guard.run(rounds.PICTURE, partial(look, frame), (None, {}), frame)
        for request in self._requests():
            ok, text = guard.asked(partial(self.obey, request.wish))
            request.answer(text, ok)
        for wish in guard.run(rounds.SCREEN, partial(self._show, timings), []):
            guard.asked(partial(self.obey, wish))
        guard.run(rounds.RECORD, self._record.journal.tick, None)
        guard.run(rounds.REPORTS, self._tell_reports, None)
        guard.run(rounds.CAMERA, self._watch_source, None)
        return Round(frame, observation, timings)

    def _tell_reports(self) -> None:
        for report in () if self._reports is None else self._reports.news():
            self._say(partial(messages.of_report, report.folder, report.fault), "fail" if report.fault else "ok")

    def _pass_by(self, frame: Frame) -> tuple[Observation | None, dict[str, float]]:
        """A frame that comes during a review: nothing is counted, and the whole machine is there for the reviewer's keys."""
        self._frame, self._detections = frame, None
        self._observation = Observation(resting=False, field_counted=False, blank=False)
        return self._observation, {}

    def _process(self, frame: Frame) -> tuple[Observation | None, dict[str, float]]:
        """Engine, slide and record for one frame."""
        started = self._clock.monotonic_s()
        self._frame = frame
        if self._orders.starts_by_itself():
            self._say(self._orders.start(self._width_px))
        self._gauge.frames += 1
        try:
            inference = self._engine.infer(frame.image)
        except InferenceError as error:
            self._engine_failed(error)
            return None, {}
        self._gauge.works(inference.detections.non_finite)
        self._detections = inference.detections
        engine_done = self._clock.monotonic_s()
        held = self._guide.look(frame, engine_done, self._observation)
        sharp = self._guide.sharpness
        observation = self._session.observe(frame, inference.detections, sharp, self._second_look, held)
        self._keep(observation)
        slide = self._session.slide
        if self._recorder is not None and slide is not None and slide.state is SlideState.COUNTING:
            self._recorder.offer(frame, slide.slide_id, observation, sharp)
        self._observation = observation
        now = self._clock.monotonic_s()
        self._gauge.took((engine_done - started) * 1000, now)
        return observation, {**inference.timings_ms, "slide and record": (now - engine_done) * 1000}

    def engine_waits(self, waited_s: float) -> None:
        """The engine has not answered for so long, in the middle of a round: the screen says so; keys are obeyed after it."""
        self._gauge.waits, self._detections = waited_s, None
        with suppress(DisplayError):  # `_show` tells of it
            self._display.show(self.view())

    def _second_look(self, frame: Frame, found: Detections) -> tuple[Detections, str]:
        """The cells of a field that is counted, named; where the engine fails, as the first look named them, and the reason."""
        try:
            return self._engine.name_cells(frame.image, found, self._um_per_px(frame.size_px[0])), ""
        except InferenceError as error:
            self._gauge.failures += 1
            log.error("the second look failed on a frame: %s", error)
            return found, str(error)

    def _keep(self, observation: Observation) -> None:
        slide, event = self._session.slide, observation.event
        if slide is None or event is None:
            return
        self._record.counted(slide, event)
        if event.field is not None:
            self._say(partial(messages.counted_field, event.field, again=not event.new), messages.level_of(event.field))
        if event.apart:
            self._say(messages.place_lost, "warn")
        if event.field is not None and self._orders.pause_at_target():
            self._say(partial(messages.target_reached, slide, self._session.differential))

    def _engine_failed(self, error: InferenceError) -> None:
        self._detections = None
        if self._gauge.fails(str(error)):
            self._say(messages.told(N_("The engine failed on a frame: {reason}"), reason=error), "fail")

    def _watch_source(self) -> None:
        """Say which stored pictures were skipped. When a stored source has shown its last one the slide is finished and the run ends,
        unless a person finishes it (`finish_at_end` false)."""
        status = self._camera
        many, ended = len(status.skipped), status.state is CameraState.ENDED
        if many > self._skipped_shown and (many < 8 or many >= 2 * self._skipped_shown or ended):  # a folder may have thousands
            self._skipped_shown = many
            self._say(lambda: _("Skipped, cannot be read: {names}").format(names=skipped_words(status.skipped)), "warn")
        if ended and self._config.slide.finish_at_end and not self._desk.reviewing and not self.stopped:
            self._keep(self._session.settle(self._second_look))
            if self._session.is_open:
                self.obey(self._orders.end_of_source())
            self.stopped = "the source has ended"

    # ---- what a person asks

    def obey(self, wish: Wish) -> tuple[bool, str]:
        """Do what was asked, if the slide's state allows it; whether it was done, and one line that says so, in English."""
        self._keep(self._session.settle(self._second_look))  # a field that waits for its focus is counted before anything changes
        try:
            answers = wish.command is Command.ANSWER
            words = self._answered(wish) if answers else self._orders.obeyed(wish, self._camera.skipped, self._width_px)
        except RefusedError as error:
            self._say(partial(messages.refused, error), "warn")
            return False, str(error)
        match wish.command:
            case Command.START:
                self._guide.new_slide()
            case Command.UNDO:
                self._observation = replace(self._observation, field_counted=False)  # until the next frame says what is seen now
            case Command.QUIT if self._desk.stays:
                self._desk.rest()
            case Command.QUIT:
                self.stop("the technician quit")
        return True, self._say(words, "warn" if wish.command is Command.ABORT else "ok")

    def _reviewed(self, slide: Slide) -> None:
        """A signature, or a correction that is begun, changed this slide."""
        self._session.reviewed(slide)
        if self._reports is not None:
            self._reports.changed(slide)

    def _answered(self, wish: Wish) -> messages.Words:
        """Take a person's answer to the guide's question, and keep it. RefusedError where nothing is asked that it could answer."""
        answer, slide = self._guide.answer(wish.reason), self._session.slide
        if answer is None:
            raise RefusedError(N_("nothing is asked that this would answer"))
        self._record.checked("" if slide is None else slide.slide_id, not answer.doubtful, answer.kept)
        if answer.finish and self._session.is_open:
            return self._orders.obeyed(Wish(Command.FINISH, sure=True), self._camera.skipped, self._width_px)
        return messages.told(answer.words)

    def stop(self, reason: str) -> None:
        """Ask the loop to end after this round; safe from a signal handler."""
        self.stopped = self.stopped or reason

    def close(self, patience_s: float = 0.0) -> bool:
        """Leave an open slide paused, for the next start to take up; write all that waits, and go on trying for so long. False if
        something could not be written."""
        self.guard.run(rounds.RECORD, partial(self._orders.leave_open, self.stopped), None)
        return self._record.settle(patience_s)

    def keep_elsewhere(self) -> None:
        """Keep what is not on the disk in a file elsewhere, for the next start; from any thread."""
        self._record.keep_elsewhere()

    # ---- what is shown and reported

    @property
    def engine_status(self) -> EngineStatus:
        """How the network does."""
        return self._gauge.status(self._engine.info, self._session.slide)

    @property
    def lamps(self) -> tuple[PartState, ...]:
        """Camera, engine, broker and record, each in a few words."""
        camera, engine = camera_lamp(self._camera), engine_lamp(self.engine_status)
        return self.guard.lamps((camera, engine, broker_lamp(self._broker()), record_lamp(self._record.journal.status)))

    @property
    def _camera(self) -> CameraStatus:
        """The camera as it stands, with the pictures that could not be looked at among those that were skipped."""
        return self.guard.seen(self._source.status)

    @property
    def recovers(self) -> bool:
        """The record could not be read yet; it is tried again, and nothing is counted before."""
        return bool(self._orders.recovery.reason)

    @property
    def camera_is_retried(self) -> bool:
        """The camera is away, and to start anew would mend nothing; False while a driver hangs in an attempt."""
        return self._camera.retry_in_s is not None or self._camera.state is CameraState.BLOCKED

    @property
    def camera_reason(self) -> str:
        """Why the camera gives no picture, and the next step; empty while all is well. Without what must not leave the device."""
        status, source = self._camera, self._provenance.source
        return status.reason.replace(status.name, source.name) if source and status.name else status.reason

    @property
    def record_status(self) -> JournalStatus:
        """What is not on disk yet, and why."""
        return self._record.journal.status

    @property
    def slide(self) -> Slide | None:
        """The slide as it stands."""
        return self._session.slide

    @property
    def differential(self) -> Differential:
        """Of that slide."""
        return self._session.differential

    @property
    def target_cells(self) -> int:
        """White cells to count on this slide."""
        return (self._session.slide.target_cells if self._session.slide is not None else 0) or self._config.slide.target_cells

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

    def _say_put_aside(self, words: str, values: dict[str, object]) -> None:
        self._say(messages.told(words, **values), "warn")

    def _say(self, words: messages.Words, level: str = "ok") -> str:
        return self._messages.say(words, level)

    def _lines(self) -> Iterator[messages.Line]:
        """Text and level, first what cannot wait, then the newest message while it is fresh, then what the technician should do."""
        journal, slide, orders = self._record.journal.status, self._session.slide, self._orders
        if notice := self._desk.notice(slide):
            yield notice, "warn"
        yield from messages.of_journal(journal)
        yield from messages.of_ground(slide is not None and slide.is_open and self._observation.old_ground)
        yield from self._messages.fresh()
        yield from messages.of_slide(slide, self._session.differential, orders.resumed, orders.put_to_review, journal.damaged)
        recording = "" if self._recorder is None else self._recorder.status.reason
        failing = self._gauge.failing or self.guard.failing(rounds.PICTURE)
        yield from messages.of_parts(failing, journal, self._guide.advice(), self._broker(), recording, slide)
        yield from ((sentence, "warn") for sentence in self._guide.late_advice())

    def view(self) -> ScreenView:
        """All that the screen shows now."""
        engine, slide = self._engine.info, self._session.slide
        found, certain = self._detections, self._config.engine.identify_threshold
        message, level = next(self._lines(), ("", "ok"))
        focus = self._guide.focus
        return ScreenView(
            frame=self._frame,
            detections=found,
            identified=() if found is None else tuple(bool(v) for v in found.scores >= certain),
            engine=engine,
            camera=self._camera,
            slide=slide,
            differential=self._session.differential if slide is not None else None,
            target_cells=self.target_cells,
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
            page=self._guide.page(self._desk.page),
            sight=self._observation.sight,
            place=self._observation.place,
        )

    def _show(self, timings: dict[str, float]) -> list[Wish]:
        """Show the view, and what was asked at it; a screen that fails is reported once and the count goes on."""
        started = self._clock.monotonic_s()
        try:
            self._display.show(self.view())
            self._display_works = True
            page, desk = self._desk.page, self._desk
            given = self._scanner.given(self._display.inputs, self._clock, not desk.guarded, to_the_end=desk.reviewing)
            inputs, answers = self._guide.take(given, page)
            wishes = [*answers, *self._desk.take(inputs, self._session.slide)]
            if self._desk.reviewing and self._desk.page is not page:
                self._display.show(self.view())  # a reviewer does not wait for the next round
        except DisplayError as error:
            if self._display_works:
                log.error("the screen failed, the count goes on: %s", error)
            self._display_works = False
            return []
        timings["screen"] = (self._clock.monotonic_s() - started) * 1000
        return wishes

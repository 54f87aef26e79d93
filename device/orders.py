"""What becomes of a command: which the slide's state allows, what is asked for with it, and what the record is told.

The session changes the slide, the record keeps it; in which order both act on a command is decided here. When a command is obeyed
between two frames is the pipeline's matter.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from device import messages
from device.camera.base import SkippedPicture
from device.clock import Clock
from device.language import N_, speaking
from device.recovery import Recovery
from device.settings.config import SlideSection
from device.slide.commands import Command, Wish
from device.slide.ending import next_target, nothing_counted, unusual
from device.slide.identity import initials, specimen_id
from device.slide.keyframes import KeyframeError
from device.slide.model import Slide, SlideState
from device.slide.session import RefusedError, SlideSession
from device.store.events import EMPTY, LeftOpen, SlideRecord

log = logging.getLogger(__name__)


class Orders:
    """Obeys commands on one session and its record.

    resumed: the line that stands while a slide waits that was taken up again after a stop or a power cut; "" otherwise.
    put_to_review: the line on slides that could not be taken up, until the first one is started.
    """

    def __init__(
        self,
        session: SlideSession,
        record: SlideRecord,
        rules: SlideSection,
        clock: Clock,
        find: Callable[[], LeftOpen],
        stays: bool = False,
    ) -> None:
        self._session, self._record, self._rules = session, record, rules
        self.resumed = self.put_to_review = ""
        self._begun, self._stays = False, stays
        self.recovery = Recovery(find, self._take_up, clock)
        self.recovery.attempt()

    def _take_up(self, left: LeftOpen) -> None:
        """Open the slide again that was open when the appliance stopped, paused; where nobody is at the desk it is counted on."""
        self.put_to_review = messages.was_closed(left.closed)
        if left.resumed is None:
            return
        try:
            slide = self._restored(left.resumed, left)
            assert self._session.differential.white_cells >= 0 and self._session.description is not None
        except Exception as error:  # whatever is amiss with it, other slides can be counted
            log.exception("slide %s cannot be taken up", left.resumed.slide_id)
            self._session.let_go()
            self._record.damaged(left.resumed.slide_id, f"{type(error).__name__} when it was taken up")
            return
        self.resumed = messages.was_open(left.resumed)
        self._record.changed(slide)
        with speaking("en"):
            log.warning("%s", messages.was_open(left.resumed))
        if self._rules.auto_start:
            self._go_on()

    def _restored(self, slide: Slide, left: LeftOpen) -> Slide:
        """`slide` in the session, with its place on the film where that can be read."""
        try:
            return self._session.restore(slide, left.keyframes, left.last_cell_id)
        except KeyframeError as error:
            log.error("%s", error)
            return self._session.restore(slide, (), left.last_cell_id)

    def obeyed(self, wish: Wish, skipped: tuple[SkippedPicture, ...], width_px: int) -> messages.Words:
        """Do what was asked and say so in one line. RefusedError, in one line too, where the slide's state does not allow it.

        skipped: pictures of the source that were not read; width_px: of its frames.
        """
        session, words = self._session, messages.told("")
        match wish.command:
            case Command.START:
                words = self.start(width_px, *self._identity(wish))
            case Command.FINISH:
                self._refuse_unusual(wish)
                slide = session.finish(skipped)
                self._record.closed(slide, width_px)
                words = partial(messages.finished, slide, session.differential)
            case Command.ABORT:
                slide = session.abort(self._reason(wish), skipped)
                self._record.closed(slide, width_px)
                words = partial(messages.aborted, slide, session.differential)
            case Command.REOPEN:
                slide = self._reopened()
                self._record.changed(slide)
                words = messages.told(N_("Slide {id} is counted on."), id=slide.slide_id)
            case Command.UNDO:
                undone = session.undo()
                self._record.undone(self._slide, undone)
                words = messages.told(N_("Field {n} taken back."), n=undone.field.index)
            case Command.PAUSE if session.state is not SlideState.PAUSED:
                self.pause()
                words = messages.told(N_("Slide paused."))
            case Command.PAUSE | Command.GO_ON:
                words = self._go_on()
            case Command.IDENTIFY:
                words = messages.identified(wish.reason)
            case Command.QUIT if self._stays:
                self.leave_open("the technician quit")
                words = messages.told(N_("The box stays on."))
            case Command.QUIT:
                words = messages.told(N_("Leukoscope stops."))
        return words

    def start(self, width_px: int, specimen: str = "", operator: str = "") -> messages.Words:
        """Open a slide; without a specimen where nobody is at the desk. RefusedError while the record is not read: one may be open."""
        if why := self.recovery.reason:
            raise RefusedError(N_("no slide can be counted yet: {why}"), why=why)
        slide = self._session.start(specimen, operator)
        self._record.started(slide, width_px)
        return messages.told(N_("Slide {id} started."), id=slide.slide_id)

    def starts_by_itself(self) -> bool:
        """Whether a slide is to be opened without a person: once, when the record is read and none was taken up."""
        due = self._rules.auto_start and not self._begun and not self.recovery.reason
        self._begun = self._begun or due
        return due and not self._session.is_open

    def pause(self) -> None:
        """Stop counting for the time being."""
        self._session.pause()
        self._record.changed(self._slide)

    def pause_at_target(self) -> bool:
        """Stop counting where the slide's target is reached, unless nobody is at the desk or it is not wanted; whether it was done."""
        cells, target = self._session.differential.white_cells, self._slide.target_cells
        stops = self._rules.stop_at_target and not self._rules.auto_start and 0 < target <= cells
        if stops:
            self.pause()
        return stops

    def end_of_source(self) -> Wish:
        """What becomes of an open slide when a stored source has shown its last picture."""
        empty = nothing_counted(self._session.differential)
        return Wish(Command.ABORT, reason=EMPTY) if empty else Wish(Command.FINISH, sure=True)

    def leave_open(self, reason: str) -> None:
        """The appliance stops: a slide that is open stays so, paused, for the next start to take up."""
        if not self._session.is_open:
            return
        if self._session.state is SlideState.COUNTING:
            self.pause()
        elif self._stays:
            return
        log.warning("slide %s stays open (%s): the next start takes it up", self._slide.slide_id, reason or "the appliance stopped")

    def _reopened(self) -> Slide:
        """The slide that was finished last, counted on; after a start that of the run before, if nothing was begun since."""
        if self._session.slide is None and (left := self._record.last_finished()).resumed is not None:
            self._restored(replace(left.resumed, finished_at=None), left)
            self._session.pause()
            return self._slide
        return self._session.reopen()

    def _go_on(self) -> messages.Words:
        """Count on: after a pause as before it, at the target up to the next one."""
        session, slide, counted = self._session, self._session.slide, self._session.differential
        if session.state is SlideState.COUNTING:
            raise RefusedError(N_("the slide is being counted already"))
        if slide is not None and messages.reached(slide, counted):
            session.aim(next_target(slide.target_cells, counted))
        session.pause()
        self.resumed = ""
        self._record.changed(self._slide)
        return messages.told(N_("Slide goes on, up to {n} white cells."), n=self._slide.target_cells)

    def _identity(self, wish: Wish) -> tuple[str, str]:
        """Specimen and operator of a slide that a person starts; RefusedError where they are asked for and missing, or will not do."""
        if self._session.is_open or not (self._rules.ask_specimen or wish.specimen or wish.operator):
            return "", ""
        if not (wish.specimen and wish.operator):
            raise RefusedError("a specimen and an operator are asked for: leukoscope slide start --specimen ID --operator INITIALS")
        try:
            with speaking("en"):  # the desk asks in the screen's language; here somebody typed a command
                specimen, operator = specimen_id(wish.specimen, self._rules), initials(wish.operator)
        except ValueError as error:
            raise RefusedError(str(error).rstrip(".")) from None
        if not wish.sure and self._record.slides_of(specimen):
            raise RefusedError("this specimen has a slide already; --anyway starts another one of it")
        return specimen, operator

    def _refuse_unusual(self, wish: Wish) -> None:
        """RefusedError where nothing was counted, and where an end is unusual that nobody was asked about."""
        slide, counted = self._session.slide, self._session.differential
        if slide is None or not slide.is_open:
            return  # the session says why not
        if nothing_counted(counted):
            raise RefusedError(N_("nothing was counted on this slide, so there is nothing to review; abort it with A"))
        with speaking("en"):
            doubts = () if wish.sure else unusual(slide, counted)
        if doubts:
            raise RefusedError(f"{' '.join(doubts)} --anyway finishes the slide all the same")

    def _reason(self, wish: Wish) -> str:
        """Why a slide is aborted. It goes with the summary, so it must not hold what belongs to a patient."""
        slide, reason = self._session.slide, " ".join(wish.reason.split())
        if slide is None or not slide.is_open:
            return reason  # the session says why not
        if not reason:
            raise RefusedError("cannot abort without a reason: leukoscope slide abort --reason WORDS")
        if slide.specimen and slide.specimen.casefold() in reason.casefold():
            raise RefusedError(N_("the reason is sent with the summary: leave the specimen's number out of it"))
        return reason

    @property
    def _slide(self) -> Slide:
        """The session's slide, where there is one for certain."""
        assert self._session.slide is not None
        return self._session.slide

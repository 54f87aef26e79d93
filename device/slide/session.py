"""One slide from start to finish: its states, and which command each of them allows. What is counted is `counting`'s.

Nothing is drawn, stored or sent here: the pipeline does that with what `observe` and the commands hand back.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from device.camera.base import Frame, SkippedPicture
from device.clock import Clock
from device.errors import LeukoscopeError
from device.language import N_, _
from device.settings.config import SlideSection
from device.slide.changes import Undone, without_crops
from device.slide.counting import Counting, Observation
from device.slide.description import describe, majorities
from device.slide.keyframes import Keyframe
from device.slide.model import Slide, SlideState
from device.slide.rests import SecondLook
from device.slide.running import RunningTally
from device.slide.stopwatch import Stopwatch
from device.slide.tally import Differential, differential
from engines.detections import Detections
from engines.naming import NamingInfo
from engines.taxonomy import Taxonomy


class RefusedError(LeukoscopeError):
    """The slide's state does not allow the command. The message is one line and says what is possible.

    As a string it is what log and command line get: English where the words were only marked for translation (`N_`). values: what is
    put into their places, words among them marked too.
    """

    def __init__(self, words: str, **values: str) -> None:
        self._words, self._values = words, values
        super().__init__(words.format(**values) if values else words)

    @property
    def shown(self) -> str:
        """The same in the language in use."""
        words = _(self._words)
        return words.format(**{name: _(value) for name, value in self._values.items()}) if self._values else words


_CANNOT = {
    "undo": N_("cannot undo: {why}; start a slide first"),
    "pause": N_("cannot pause: {why}; start a slide first"),
    "go on": N_("cannot go on: {why}; start a slide first"),
    "finish": N_("cannot finish: {why}; start a slide first"),
    "abort": N_("cannot abort: {why}; start a slide first"),
}


def new_slide_id(now: datetime) -> str:
    """Sorts by time and is unique without a counter: "20261123-181512-4f9a2c" (UTC, random). Nothing of a patient."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


class SlideSession:
    """Follows the processed frames and keeps the slide that is open. Used by one thread.

    States: idle → counting ⇄ paused → review, or aborted; from idle, review and aborted a new slide can be started, and one in review
    can be opened again. naming: the layer that names the cells of counted fields, for the words on them.
    """

    def __init__(
        self,
        taxonomy: Taxonomy,
        config: SlideSection,
        identify_threshold: float,
        crops: bool,
        jpeg_quality: int,
        clock: Clock,
        naming: NamingInfo | None = None,
    ) -> None:
        self._taxonomy = taxonomy
        self._naming = naming
        self._clock = clock
        self._target_cells = config.target_cells
        self._watch = Stopwatch(clock)
        self._counting = Counting(taxonomy, config, identify_threshold, crops, jpeg_quality)
        self._slide: Slide | None = None
        self._tally: tuple[Slide | None, Differential] = (None, differential((), taxonomy))
        self._running = RunningTally(taxonomy)
        self._words: tuple[Slide | None, tuple[str, ...]] = (None, ())

    @property
    def slide(self) -> Slide | None:
        """The slide as it stands, also after it was finished or aborted; None before the first."""
        return self._slide

    @property
    def state(self) -> SlideState:
        return SlideState.IDLE if self._slide is None else self._slide.state

    @property
    def is_open(self) -> bool:
        return self._slide is not None and self._slide.is_open

    @property
    def differential(self) -> Differential:
        """Of `slide` as it stands; counted anew only when the slide changed."""
        if self._tally[0] is not self._slide:
            self._running.follow(() if self._slide is None else self._slide.fields)
            counted = differential((), self._taxonomy) if self._slide is None else self._running.differential(self._slide)
            self._tally = (self._slide, counted)
        return self._tally[1]

    @property
    def description(self) -> tuple[str, ...]:
        """`slide` in words as it stands, none before the first; written anew only when the slide changed."""
        slide = self._slide
        if self._words[0] is not slide:
            counted, running = self.differential, self._running
            words: tuple[str, ...] = ()
            if slide is not None:
                words = describe(slide, counted, self._taxonomy, self._naming, lambda told: majorities(*running.words(slide, told)))
            self._words = (slide, words)
        return self._words[1]

    def observe(
        self,
        frame: Frame,
        detections: Detections,
        sharpness: float,
        second_look: SecondLook = lambda _, found: (found, ""),
        held: str = "",
    ) -> Observation:
        """Take in a processed frame with what was detected on it; counts the field when it has come to rest and is new.

        second_look: asked only for a field that is counted, or counted again, with the sharpest frame since it came to rest. held: why
        nothing of this frame may be counted, in words; what lies under the objective is counted by a later frame.
        """
        self._slide, seen = self._counting.observe(self._slide, frame, detections, sharpness, second_look, held)
        if seen.event is not None and self._slide is not None:
            self._slide = self._watch.timed(self._slide)
        return seen

    def settle(self, second_look: SecondLook) -> Observation:
        """Count at once the field that waits for its focus to settle; to be called before a command changes the slide."""
        event = None
        if self._slide is not None:
            self._slide, event = self._counting.settle(self._slide, second_look)
            self._slide = self._watch.timed(self._slide) if event is not None else self._slide
        return Observation(resting=False, field_counted=False, blank=False, event=event)

    def start(self, specimen: str = "", operator: str = "") -> Slide:
        """Open a new slide; what lies under the objective is its first field once it rests, but not while it is the film of the slide
        before: that glass has to be changed first. RefusedError if a slide is open.
        """
        if self.is_open:
            raise RefusedError(N_("a slide is open: finish it first"))
        now = self._clock.now()
        self._slide = Slide(new_slide_id(now), now, specimen=specimen, operator=operator, target_cells=self._target_cells)
        self._watch.begin()
        self._counting.begin()
        return self._slide

    def restore(self, slide: Slide, keyframes: Iterable[Keyframe] = (), last_cell_id: int = 0) -> Slide:
        """Take up a slide that was open when the appliance stopped, paused. See `Counting.restore`."""
        fields = tuple(map(without_crops, slide.fields))
        self._slide = replace(slide, fields=fields, state=SlideState.PAUSED, target_cells=slide.target_cells or self._target_cells)
        self._watch.begin(slide)
        self._slide = self._watch.timed(self._slide)
        self._counting.restore(self._slide, keyframes, last_cell_id)
        return self._slide

    def let_go(self) -> None:
        """Have no slide in hand; the record keeps what it has of it."""
        self._slide = None
        self._counting.begin()

    def reopen(self) -> Slide:
        """Count on where the slide was finished, which nobody has ever signed. RefusedError otherwise."""
        if self._slide is None or self.state is not SlideState.REVIEW:
            why = {SlideState.IDLE: N_("no slide was finished"), SlideState.SIGNED: N_("the slide is signed")}
            why[SlideState.ABORTED] = N_("the slide was aborted")
            raise RefusedError(N_("cannot reopen: {why}"), why=why.get(self.state, N_("the slide is open")))
        if self._slide.revision:
            raise RefusedError(N_("cannot reopen: the slide was signed, and is open for a correction of its review only"))
        self._watch.begin(self._slide)
        self._slide = replace(self._slide, state=SlideState.COUNTING, finished_at=None)
        self._counting.reopen()
        return self._slide

    def reviewed(self, slide: Slide) -> None:
        """What a signature, or a correction that is begun, made of the slide; nothing happens where another one is in hand by now."""
        if self._slide is not None and not self._slide.is_open and self._slide.slide_id == slide.slide_id:
            self._slide = slide

    def aim(self, target_cells: int) -> Slide:
        """Set how many white cells are to be counted. RefusedError if no slide is open."""
        self._slide = replace(self._open("go on"), target_cells=target_cells)
        return self._slide

    def undo(self) -> Undone:
        """Take back the field counted last, again and again. RefusedError if there is none. See `Counting.undo`."""
        slide = self._open("undo")
        if not slide.fields:
            raise RefusedError(N_("nothing to undo: no field has been counted on this slide"))
        self._slide, undone = self._counting.undo(slide)
        return undone

    def pause(self) -> SlideState:
        """Stop counting, or go on; returns the new state. RefusedError if no slide is open."""
        slide = self._open("pause")
        state = SlideState.COUNTING if slide.state is SlideState.PAUSED else SlideState.PAUSED
        self._slide = self._watch.timed(replace(slide, state=state))
        return state

    def finish(self, skipped: tuple[SkippedPicture, ...] = ()) -> Slide:
        """Close the slide for review; `skipped` are the pictures of its source that were not read. RefusedError if none is open."""
        self._slide = self._watch.ended(replace(self._open("finish"), state=SlideState.REVIEW, skipped=skipped))
        self._counting.close()
        return self._slide

    def abort(self, reason: str, skipped: tuple[SkippedPicture, ...] = ()) -> Slide:
        """Close the slide as aborted, its fields kept; `reason` in words. RefusedError if none is open."""
        self._slide = self._watch.ended(replace(self._open("abort"), state=SlideState.ABORTED, abort_reason=reason, skipped=skipped))
        self._counting.close()
        return self._slide

    def _open(self, wish: str) -> Slide:
        if self._slide is None or not self.is_open:
            closed = {SlideState.REVIEW: N_("the slide is finished"), SlideState.ABORTED: N_("the slide was aborted")}
            raise RefusedError(_CANNOT[wish], why=closed.get(self.state, N_("no slide is open")))
        return self._slide

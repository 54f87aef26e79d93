"""One slide from start to finish: which fields are counted, improved and undone, and which command its state allows.

Nothing is drawn, stored or sent here: the pipeline does that with what `observe` and the commands hand back.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from device.camera.base import Frame, SkippedPicture
from device.camera.quality import picture_faults
from device.clock import Clock
from device.errors import LeukoscopeError
from device.settings.config import SlideSection
from device.slide.bank import crop_jpeg
from device.slide.cells import is_foreign, read_cells
from device.slide.description import describe
from device.slide.model import Field, Slide, SlideState
from device.slide.motion import FieldPicture, Motion, RestDetector
from device.slide.tally import Differential, differential, tally
from engines.detections import Detections
from engines.naming import NamingInfo
from engines.taxonomy import Taxonomy

CLEARLY_SHARPER = 1.15
"""A frame must be sharper than the counted one by this factor to take its place."""
STILL_RISING = 1.05
"""While each frame is sharper than the one before by this factor the focus is being turned: wait for its best."""
MOST_IMPROVEMENTS = 8
"""A field is replaced at most so often, so that a restless focus cannot keep the record busy for ever."""
_SAME_PLACE_SHARE = 0.02  # of the width: displaced further, cells at the edge would come and go with the sharper frame


SecondLook = Callable[[Frame, Detections], tuple[Detections, str]]
"""A counted frame and what was found there → the same cells, named, and why they could not be ("" where they were)."""


class RefusedError(LeukoscopeError):
    """The slide's state does not allow the command. The message is one line for the screen and says what is possible."""


@dataclass(frozen=True, eq=False)
class FieldCounted:
    """A new field was counted."""

    field: Field


@dataclass(frozen=True, eq=False)
class FieldImproved:
    """A sharper frame of the field counted last took its place; same index."""

    field: Field


@dataclass(frozen=True, eq=False)
class Observation:
    """What one frame did to the slide. field_counted: the field now seen, at rest, has been counted (now or before).

    shift_share: how far a counted field lies from where it was counted, in x and y, in shares of the frame's width.
    held: why nothing is counted of a resting frame, in words; "" while nothing is in the way.
    """

    resting: bool
    field_counted: bool
    blank: bool  # nothing of the film is to be seen: lamp off, cap on, no film
    event: FieldCounted | FieldImproved | None = None
    shift_share: tuple[float, float] = (0.0, 0.0)
    held: str = ""


def new_slide_id(now: datetime) -> str:
    """Sorts by time and is unique without a counter: "20261123-181512-4f9a2c" (UTC, random). Nothing of a patient."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


class SlideSession:
    """Follows the processed frames and keeps the slide that is open. Used by one thread.

    States: idle → counting ⇄ paused → review, or aborted; from idle, review and aborted a new slide can be started. naming: the layer
    that names the cells of counted fields, for the words on them.
    Field indices count from 1 and are never given twice within a slide, also after an undo.
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
        self._identify_threshold = identify_threshold
        self._crops = crops
        self._jpeg_quality = jpeg_quality
        self._clock = clock
        self._detector = RestDetector(config.rest_frames, config.moved_share)
        self._slide: Slide | None = None
        self._marks: list[FieldPicture | None] = []  # one for each field of the slide, for undo
        self._last_index = 0
        self._improvements = 0
        self._sharpness_before = 0.0
        self._blank_source: str | None = None  # what the blank view that was noted last came from; None while the film is in sight
        self._tally: tuple[Slide | None, Differential] = (None, differential((), taxonomy))
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
            counted = tally(self._slide, self._taxonomy) if self._slide else differential((), self._taxonomy)
            self._tally = (self._slide, counted)
        return self._tally[1]

    @property
    def description(self) -> tuple[str, ...]:
        """`slide` in words as it stands, none before the first; written anew only when the slide changed."""
        if self._words[0] is not self._slide:
            words = describe(self._slide, self.differential, self._taxonomy, self._naming) if self._slide else ()
            self._words = (self._slide, words)
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

        second_look: asked only for a field that is counted, or counted again. held: why nothing of this frame may be counted, in
        words; what lies under the objective stays uncounted, and is counted by a later frame.
        """
        motion = self._detector.observe(frame.image)
        self._note_blank(motion, frame.source)
        event: FieldCounted | FieldImproved | None = None
        if self._slide is not None and self._slide.state is SlideState.COUNTING and not held:
            if motion.new_field:
                self._last_index += 1
                self._improvements = 0
                self._marks.append(self._detector.mark())
                found = second_look(frame, detections)
                event = FieldCounted(self._put(self._slide, self._last_index, frame, *found, sharpness))
            elif self._is_clearly_sharper(self._slide, motion, sharpness):
                self._improvements += 1
                self._marks[-1] = self._detector.mark()
                found = second_look(frame, detections)
                event = FieldImproved(self._put(self._slide, self._slide.fields[-1].index, frame, *found, sharpness))
        self._sharpness_before = sharpness
        shift = motion.shift if motion.counted and event is None else None
        shift_share = (0.0, 0.0) if shift is None else (shift.x_share, shift.y_share)
        held = held if motion.resting else ""
        return Observation(
            motion.resting, motion.counted or event is not None, motion.blank, event, shift_share, held if motion.resting else ""
        )

    def start(self) -> Slide:
        """Open a new slide; what lies under the objective is its first field once it rests. RefusedError if a slide is open."""
        if self.is_open:
            raise RefusedError("a slide is open: finish it first")
        now = self._clock.now()
        self._slide = Slide(new_slide_id(now), now)
        self._detector.forget()
        self._marks.clear()
        self._last_index = self._improvements = 0
        return self._slide

    def undo(self) -> Field:
        """Take back the field counted last, again and again; returns it. RefusedError if there is none.

        It is not counted again while the stage stays where it is. It can be: move the picture away (by `moved_share` of its
        width, or to another field) and come back.
        """
        slide = self._open("undo")
        if not slide.fields:
            raise RefusedError("nothing to undo: no field has been counted on this slide")
        undone = slide.fields[-1]
        kept = replace(slide, fields=slide.fields[:-1], fields_undone=slide.fields_undone + 1)
        self._slide = replace(kept, foreign=is_foreign(kept.cells, self._taxonomy))
        self._marks.pop()
        self._detector.unmark(self._marks[-1] if self._marks else None)
        self._improvements = MOST_IMPROVEMENTS  # the field before was left; coming back to it does not replace it
        return undone

    def pause(self) -> SlideState:
        """Stop counting, or go on; returns the new state. RefusedError if no slide is open."""
        slide = self._open("pause")
        state = SlideState.COUNTING if slide.state is SlideState.PAUSED else SlideState.PAUSED
        self._slide = replace(slide, state=state)
        return state

    def finish(self, skipped: tuple[SkippedPicture, ...] = ()) -> Slide:
        """Close the slide for review; `skipped` are the pictures of its source that were not read. RefusedError if none is open."""
        self._slide = replace(self._open("finish"), state=SlideState.REVIEW, finished_at=self._clock.now(), skipped=skipped)
        return self._slide

    def abort(self, reason: str, skipped: tuple[SkippedPicture, ...] = ()) -> Slide:
        """Close the slide as aborted, its fields kept; `reason` in words. RefusedError if none is open."""
        slide, now = self._open("abort"), self._clock.now()
        self._slide = replace(slide, state=SlideState.ABORTED, finished_at=now, abort_reason=reason, skipped=skipped)
        return self._slide

    def _open(self, wish: str) -> Slide:
        if self._slide is None or not self.is_open:
            closed = {SlideState.REVIEW: "the slide is finished", SlideState.ABORTED: "the slide was aborted"}
            raise RefusedError(f"cannot {wish}: {closed.get(self.state, 'no slide is open')}; start a slide first")
        return self._slide

    def _note_blank(self, motion: Motion, source: str) -> None:
        """Count a rest where nothing is to be seen once, and each blank picture of a stored source."""
        if not motion.blank:
            self._blank_source = None
        elif motion.resting and source != self._blank_source and self._slide is not None and self._slide.state is SlideState.COUNTING:
            self._blank_source = source
            self._slide = replace(self._slide, blank_views=self._slide.blank_views + 1)

    def _is_clearly_sharper(self, slide: Slide, motion: Motion, sharpness: float) -> bool:
        if not (motion.counted and slide.fields and motion.shift and motion.shift.share <= _SAME_PLACE_SHARE):
            return False
        if self._improvements >= MOST_IMPROVEMENTS or sharpness > STILL_RISING * self._sharpness_before:
            return False
        return sharpness > CLEARLY_SHARPER * slide.fields[-1].focus

    def _put(self, slide: Slide, index: int, frame: Frame, detections: Detections, naming_fault: str, sharpness: float) -> Field:
        """Put the frame's field into `slide`, as a new one or in the place of that with the same index."""
        cells = read_cells(detections, self._taxonomy, self._identify_threshold)
        if self._crops:
            cells = tuple(replace(cell, crop_jpeg=crop_jpeg(frame.image, cell.box_px, self._jpeg_quality)) for cell in cells)
        field = Field(
            index,
            frame.captured_at,
            frame.source,
            frame.size_px,
            sharpness,
            cells,
            detections.limit_met,
            picture_faults(frame.image),
            naming_fault,
        )
        changed = slide.with_field(field)
        self._slide = replace(changed, foreign=is_foreign(changed.cells, self._taxonomy))
        return field

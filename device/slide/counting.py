"""What of the film is counted: which rest of the stage brings a field, and which cells on it are new to the slide.

A cell is counted once, by its best sighting, however often the stage comes back (`census`); where on the film a frame lies is told by
`registration`. Nothing is drawn, stored or sent here; the life of a slide is the session's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from device.camera.base import Frame
from device.settings.config import SlideSection
from device.slide.changes import FieldsChanged, Undone, at_index, merged_fields
from device.slide.keyframes import Keyframe
from device.slide.model import Field, Place, Slide, SlideState
from device.slide.motion import FieldPicture, Motion, RestDetector
from device.slide.registration import Fix, Merge, Registration
from device.slide.rests import SAME_PLACE_SHARE, STILL_RISING, Rest, RestCounter, SecondLook, Taken, View, apart, moved, same_field
from engines.detections import Detections
from engines.taxonomy import Taxonomy

OLD_GROUND = "old ground"
_STILL_SHARE = 0.004  # of the width: what the bench's vibration moves the picture by
_AT_ONCE = 3  # so many frames after a rest its chart may still be joined, and the rest was not lost: the search took its time
_NOWHERE = Fix(None, "lost", -1.0)


@dataclass(frozen=True, eq=False)
class Observation:
    """What one frame did to the slide. field_counted: the ground now seen, at rest, has been counted (now or before).

    sight: the counted cells that are now in view, as a field with boxes in px of this frame; None while the stage moves or nothing is
    known of the place. place: where on the film the frame lies; None while that is not known; state: as in `Fix`, "old ground" on the
    film of the slide before, of which nothing is counted, "" where the stage is not followed. held: why nothing is counted of a resting
    frame, in words; "" while nothing is in the way.
    """

    resting: bool
    field_counted: bool
    blank: bool  # nothing of the film is to be seen: lamp off, cap on, no film
    event: FieldsChanged | None = None
    sight: Field | None = None
    place: Place | None = None
    state: str = ""
    held: str = ""

    @property
    def old_ground(self) -> bool:
        """The film of the slide before still lies under the objective."""
        return self.state == OLD_GROUND


class Counting:
    """Follows the frames and counts into the slide that it is handed. Used by one thread.

    Field indices count from 1 and are never given twice within a slide, also after an undo.
    """

    def __init__(self, taxonomy: Taxonomy, config: SlideSection, identify_threshold: float, crops: bool, jpeg_quality: int) -> None:
        self._moved_share, self._rest_frames = config.moved_share, config.rest_frames
        self._detector = RestDetector(config.rest_frames)
        self._registration = Registration()
        self._rests = RestCounter(taxonomy, identify_threshold, config.moved_share, crops, jpeg_quality)
        self._rest: Rest | None = None  # the present one, while the place is known
        self._looked_s = 0.0  # when the frame before was taken
        self._here: Place | None = None
        self._charts = set[int]()  # with fields
        self._alone: int | None = None  # the chart that the present rest began, counted as lost
        self._moving = 0  # so many frames since the last rest
        self._shown: tuple[tuple[Field, ...], Field] | None = None  # the sight that was told last, and of which fields
        self._sharpness_before = 0.0
        self._blank_source: str | None = None  # what the blank view that was noted last came from; None while the film is in sight
        self._undone: Place | None = None  # nothing is counted until the stage has left this place
        self._away = 0
        self._mapped = False  # the film of a slide that was counted is known
        self._left = True  # that film is no longer under the objective
        self._waiting = False  # for another film

    # ---- the life of a slide, as the session goes through it

    def begin(self, old_ground: bool = True) -> None:
        """Another slide is counted from now on.

        old_ground: while the film of a finished slide is still under the objective nothing is counted (`Observation.old_ground`), until
        the glass is away (a blank picture rests) or another film comes to rest; False counts at once, whatever is there.
        """
        self._waiting = old_ground and self._mapped and not self._left
        if not self._waiting:
            self._registration.forget()
        self._rests.clear()
        self._charts.clear()
        self._rest, self._undone, self._alone = None, None, None
        self._mapped = False

    def close(self) -> None:
        """The slide was finished: what is under the objective is its film until another comes into sight."""
        self._mapped, self._left = True, False

    def reopen(self) -> None:
        """The slide that was finished last is counted on."""
        self._mapped, self._left = False, True

    def restore(self, slide: Slide, keyframes: Iterable[Keyframe], last_cell_id: int = 0) -> None:
        """Go on with a slide that was recorded, open or finished: by its fields with all sightings, and its keyframes.

        The place is lost until visited ground is seen at rest. last_cell_id: the highest that was given, also in undone fields.
        KeyframeError if a keyframe cannot be read; the slide then goes on without them, on charts of its own.
        """
        self.begin(old_ground=False)
        self._rests.restore(slide, last_cell_id)
        self._charts = {each.place.chart for each in slide.fields if each.place is not None}
        if not slide.is_open:
            self.close()
        self._registration.restore(keyframes)

    def observe(
        self, slide: Slide | None, frame: Frame, found: Detections, sharpness: float, second_look: SecondLook, held: str = ""
    ) -> tuple[Slide | None, Observation]:
        """Take in a processed frame with what was detected on it: the slide as it is now, and what was done.

        Of a slide that is not COUNTING nothing is counted, but the stage is followed. second_look: asked only of a frame that brings
        something. held: why nothing of this frame may be counted, in words; what lies under the objective is counted by a later frame.
        """
        motion = self._detector.observe(frame.image)
        slide = self._note_blank(slide, motion, frame.source)
        if slide is None or (not slide.is_open and self._left):  # nothing to be followed
            self._sharpness_before, self._looked_s = sharpness, frame.captured_s
            return slide, Observation(motion.resting, False, motion.blank, held=held if motion.resting else "")
        fix, state = self._locate(slide, motion)
        if self._moving > _AT_ONCE or (self._moving and motion.resting):
            self._alone = None
        self._moving = 0 if motion.resting else self._moving + 1
        slide, others = self._merge(slide, fix.merged)
        seen = motion.resting and not motion.blank and fix.place is not None and state != OLD_GROUND
        free = self._is_free(fix.place, motion, frame.size_px)
        rest = self._rest or Rest()
        self._rest = rest if seen else None
        next_s = 2 * frame.captured_s - self._looked_s  # a frame takes as long as the one before did
        taken = Taken(slide)
        if seen and free and not held and slide.state is SlideState.COUNTING and fix.place is not None:
            view = View.of(frame, found, fix.place, sharpness, self._rests.census)
            rising = sharpness > STILL_RISING * self._sharpness_before
            taken = self._rests.take(slide, view, rest, rising, next_s, second_look)
        elif slide.state is SlideState.COUNTING and (not seen or rest.is_due(next_s)):
            taken = self._rests.settle(slide, rest, second_look)
        slide, event = self._told(taken, others, fix.merged)
        self._sharpness_before, self._looked_s = sharpness, frame.captured_s
        counted = seen and free and slide.is_open and fix.place is not None and self._rests.is_counted(slide, fix.place, frame.size_px)
        sight = self._in_sight(slide, fix.place, frame) if counted and fix.place is not None else None
        return slide, Observation(motion.resting, counted, motion.blank, event, sight, fix.place, state, held if motion.resting else "")

    def settle(self, slide: Slide, second_look: SecondLook) -> tuple[Slide, FieldsChanged | None]:
        """Count at once what waits for its focus to settle, because nothing more may come."""
        if self._rest is None or slide.state is not SlideState.COUNTING:
            return slide, None
        return self._told(self._rests.settle(slide, self._rest, second_look), {}, ())

    def undo(self, slide: Slide) -> tuple[Slide, Undone]:
        """`slide` (which has fields) without the rest that was counted last; what other rests saw of its cells counts now.

        It is not counted again while the stage stays where it is. It can be: move the picture away (by `moved_share` of its
        width, or to another field) and come back.
        """
        slide, undone, others = self._rests.undo(slide)
        self._alone = None
        if self._undone is None:
            self._undone, self._away = self._here or undone.place, 0
        self._rest = None
        return slide, Undone(undone, tuple(others.values()))

    # ---- where the stage is

    def _locate(self, slide: Slide, motion: Motion) -> tuple[Fix, str]:
        picture = self._detector.picture
        if picture is None:
            return _NOWHERE, "lost"
        fix = self._registration.observe(picture, motion.resting)
        if fix.state == "new chart" or (motion.blank and motion.resting):
            if not slide.is_open:
                self._left = True
            elif self._waiting:
                fix = self._start_anew(picture, motion)
        self._here = fix.place
        return fix, OLD_GROUND if self._waiting else fix.state

    def _start_anew(self, picture: FieldPicture, motion: Motion) -> Fix:
        """Another film has come: its first chart is the slide's first."""
        self._waiting = False
        self._registration.forget()
        return self._registration.observe(picture, motion.resting)

    def _is_free(self, place: Place | None, motion: Motion, size_px: tuple[int, int]) -> bool:
        """Whether the stage has left the place of an undone field: measured, or out of sight for several frames."""
        held = self._undone
        if held is None or motion.blank:
            return held is None
        if place is None:
            self._away += 1
        elif place.chart == held.chart and apart(place, held) < max(self._moved_share, SAME_PLACE_SHARE) * size_px[0]:
            self._away = 0
        else:
            self._away = self._rest_frames + 1
        if self._away > self._rest_frames:
            self._undone = None
        return self._undone is None

    def _merge(self, slide: Slide, merged: tuple[Merge, ...]) -> tuple[Slide, dict[int, Field]]:
        """Charts that are one: their fields move, cells that were counted on both become one."""
        changed: dict[int, Field] = {}
        for merge in merged:
            slide, more = merged_fields(slide, merge, self._rests.census, self._rests.ground)
            changed.update(more)
            self._charts.discard(merge.old_chart)
            if self._rest is not None and self._rest.waiting is not None:
                self._rest.waiting = self._rest.waiting.moved(merge)
            if self._undone is not None and self._undone.chart == merge.old_chart:
                self._undone = merge.moved(self._undone)
            if self._alone in (merge.old_chart, merge.into_chart):  # only a search that was not done yet made it look lost
                self._alone, slide = None, replace(slide, lost_rests=slide.lost_rests - 1)
        return (self._rests.judged(slide), changed) if merged else (slide, changed)

    def _note_chart(self, slide: Slide, field: Field) -> bool:
        """Whether a field lies apart from all ground counted before: the way to it was lost. Stored pictures have none to lose."""
        if field.place is None or field.place.chart in self._charts:
            return False
        self._charts.add(field.place.chart)
        return len(slide.fields) > 1 and slide.fields[-2].source == field.source

    # ---- what is told

    def _told(self, taken: Taken, others: dict[int, Field], merged: tuple[Merge, ...]) -> tuple[Slide, FieldsChanged | None]:
        """The slide after what was counted, and what that changed beside the `others`; None for nothing."""
        slide, changed, others = taken.slide, taken.changed, {**others, **taken.others}
        keyframes = self._registration.changed_keyframes() if slide.is_open and not self._waiting else ()
        if changed is None:
            told = FieldsChanged(None, others=tuple(others.values()), merged=merged, keyframes=keyframes)
            return slide, told if slide.is_open and (others or merged or keyframes) else None
        others.pop(changed.index, None)
        apart_now = self._note_chart(slide, changed)
        self._alone = changed.place.chart if apart_now and changed.place is not None else self._alone
        told = FieldsChanged(changed, taken.new, apart_now, tuple(others.values()), merged, keyframes, taken.image)
        return replace(slide, lost_rests=slide.lost_rests + apart_now), told

    def _in_sight(self, slide: Slide, place: Place, frame: Frame) -> Field | None:
        """All counted cells in view, in px of this frame; the same as before while slide and place are, so that nothing trembles."""
        if self._shown is not None and self._shown[0] is slide.fields and self._shown[1].place is not None:
            before = self._shown[1].place
            if before.chart == place.chart and apart(before, place) < _STILL_SHARE * frame.size_px[0]:
                return self._shown[1]
        cells, nearest = [], same_field(slide, place)
        for known in self._rests.census.in_sight(place, frame.size_px):
            counted_by = at_index(slide, known.field)
            nearest = nearest or counted_by
            for cell in counted_by.cells:
                if cell.cell_id == known.cell_id and counted_by.place is not None:
                    cells.append(moved(cell, counted_by.place, place, None))
        nearest = nearest or (slide.fields[-1] if slide.fields else None)
        if nearest is None:
            return None
        sight = replace(nearest, cells=tuple(cells), seen=(), place=place, size_px=frame.size_px)
        self._shown = slide.fields, sight
        return sight

    def _note_blank(self, slide: Slide | None, motion: Motion, source: str) -> Slide | None:
        """Count a rest where nothing is to be seen once, and each blank picture of a stored source."""
        if not motion.blank:
            self._blank_source = None
        elif motion.resting and source != self._blank_source and slide is not None and slide.state is SlideState.COUNTING:
            self._blank_source = source
            return replace(slide, blank_views=slide.blank_views + 1)
        return slide

"""What of the film is counted: which rest of the stage brings a field, and which cells on it are new to the slide.

Nothing is drawn, stored or sent here; the life of a slide is the session's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from device.camera.base import Frame
from device.camera.quality import picture_faults
from device.settings.config import SlideSection
from device.slide.bank import crop_jpeg
from device.slide.cells import is_foreign, read_cells
from device.slide.keyframes import Keyframe
from device.slide.model import Field, Place, Slide, SlideState
from device.slide.motion import FieldPicture, Motion, RestDetector
from engines.detections import Detections
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


@dataclass(frozen=True, eq=False)
class FieldsChanged:
    """What a frame changed on the slide. field: that of the present rest, if it is counted or counted again; new: for the first time.

    others: fields of earlier rests that lost a cell to this one, or got one back; all of them are to be written again.
    """

    field: Field | None
    new: bool = False
    others: tuple[Field, ...] = ()

    @property
    def fields(self) -> tuple[Field, ...]:
        """All that are to be written."""
        return self.others if self.field is None else (self.field, *self.others)


@dataclass(frozen=True, eq=False)
class Undone:
    """A field that was taken back, and the fields of other rests that its cells are counted by now."""

    field: Field
    others: tuple[Field, ...] = ()


@dataclass(frozen=True, eq=False)
class Observation:
    """What one frame did to the slide. field_counted: the field now seen, at rest, has been counted (now or before).

    shift_share: how far a counted field lies from where it was counted, in x and y, in shares of the frame's width. place: where on
    the film the frame lies; None while that is not known. held: why nothing is counted of a resting frame, in words; "" while nothing
    is in the way. old_ground: it is the film of the slide before, of which nothing is counted.
    """

    resting: bool
    field_counted: bool
    blank: bool  # nothing of the film is to be seen: lamp off, cap on, no film
    event: FieldsChanged | None = None
    shift_share: tuple[float, float] = (0.0, 0.0)
    place: Place | None = None
    held: str = ""
    lost: bool = False
    old_ground: bool = False


class Counting:
    """Follows the frames and counts into the slide that it is handed. Used by one thread.

    Field indices count from 1 and are never given twice within a slide, also after an undo.
    """

    def __init__(self, taxonomy: Taxonomy, config: SlideSection, identify_threshold: float, crops: bool, jpeg_quality: int) -> None:
        self._taxonomy = taxonomy
        self._identify_threshold = identify_threshold
        self._crops = crops
        self._jpeg_quality = jpeg_quality
        self._detector = RestDetector(config.rest_frames, config.moved_share)
        self._marks: list[FieldPicture | None] = []  # one for each field of the slide, for undo
        self._last_index = 0
        self._improvements = 0
        self._sharpness_before = 0.0
        self._blank_source: str | None = None  # what the blank view that was noted last came from; None while the film is in sight

    def begin(self) -> None:
        """Another slide is counted from now on; the field that the one before counted last is not, until the stage has left it."""
        self._detector.retire()
        self._marks.clear()
        self._last_index = self._improvements = 0

    def close(self) -> None:
        """The slide was finished or aborted: what is under the objective is its film until another comes into sight."""

    def reopen(self) -> None:
        """The slide that was finished last is counted on."""

    def restore(self, slide: Slide, keyframes: Iterable[Keyframe], last_cell_id: int = 0) -> None:
        """Go on with a slide that was recorded: by its fields with all sightings, and its keyframes.

        last_cell_id: the highest that was given, also in undone fields.
        """
        self._detector.forget()
        self._marks = [None] * len(slide.fields)
        self._improvements = MOST_IMPROVEMENTS
        self._last_index = max(slide.fields[-1].index if slide.fields else 0, len(slide.fields) + slide.fields_undone)

    def observe(
        self, slide: Slide | None, frame: Frame, detections: Detections, sharpness: float, second_look: SecondLook, held: str = ""
    ) -> tuple[Slide | None, Observation]:
        """Take in a processed frame with what was detected on it: the slide as it is now, and what was done.

        Of a slide that is not COUNTING nothing is counted, but the stage is followed. second_look: asked only for a field that is
        counted, or counted again. held: why nothing of this frame may be counted, in words; what lies under the objective stays
        uncounted, and is counted by a later frame.
        """
        motion = self._detector.observe(frame.image)
        slide = self._note_blank(slide, motion, frame.source)
        event: FieldsChanged | None = None
        if slide is not None and slide.state is SlideState.COUNTING and not held:
            if motion.new_field:
                self._last_index += 1
                self._improvements = 0
                self._marks.append(self._detector.mark())
                slide, field = self._put(slide, self._last_index, frame, *second_look(frame, detections), sharpness)
                event = FieldsChanged(field, new=True)
            elif self._is_clearly_sharper(slide, motion, sharpness):
                self._improvements += 1
                self._marks[-1] = self._detector.mark()
                slide, field = self._put(slide, slide.fields[-1].index, frame, *second_look(frame, detections), sharpness)
                event = FieldsChanged(field)
        self._sharpness_before = sharpness
        shift = motion.shift if motion.counted and event is None else None
        shift_share = (0.0, 0.0) if shift is None else (shift.x_share, shift.y_share)
        old = slide is not None and not slide.fields and self._detector.holds
        held = held if motion.resting else ""
        return slide, Observation(
            motion.resting,
            motion.counted or event is not None,
            motion.blank,
            event,
            shift_share,
            held=held if motion.resting else "",
            old_ground=old,
        )

    def undo(self, slide: Slide) -> tuple[Slide, Undone]:
        """`slide` (which has fields) without the field counted last.

        It is not counted again while the stage stays where it is. It can be: move the picture away (by `moved_share` of its
        width, or to another field) and come back.
        """
        undone = slide.fields[-1]
        kept = replace(slide, fields=slide.fields[:-1], fields_undone=slide.fields_undone + 1)
        self._marks.pop()
        self._detector.unmark(self._marks[-1] if self._marks else None)
        self._improvements = MOST_IMPROVEMENTS  # the field before was left; coming back to it does not replace it
        return replace(kept, foreign=is_foreign(kept.cells, self._taxonomy)), Undone(undone)

    def _note_blank(self, slide: Slide | None, motion: Motion, source: str) -> Slide | None:
        """Count a rest where nothing is to be seen once, and each blank picture of a stored source."""
        if not motion.blank:
            self._blank_source = None
        elif motion.resting and source != self._blank_source and slide is not None and slide.state is SlideState.COUNTING:
            self._blank_source = source
            return replace(slide, blank_views=slide.blank_views + 1)
        return slide

    def _is_clearly_sharper(self, slide: Slide, motion: Motion, sharpness: float) -> bool:
        if not (motion.counted and slide.fields and motion.shift and motion.shift.share <= _SAME_PLACE_SHARE):
            return False
        if self._improvements >= MOST_IMPROVEMENTS or sharpness > STILL_RISING * self._sharpness_before:
            return False
        return sharpness > CLEARLY_SHARPER * slide.fields[-1].focus

    def _put(
        self, slide: Slide, index: int, frame: Frame, detections: Detections, naming_fault: str, sharpness: float
    ) -> tuple[Slide, Field]:
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
        return replace(changed, foreign=is_foreign(changed.cells, self._taxonomy)), field

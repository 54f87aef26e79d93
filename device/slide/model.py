"""What a slide is made of: cells, fields, the slide's state. Plain frozen data, shared by session, store, screen and summary."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

import numpy as np

from device.camera.base import SkippedPicture
from device.camera.quality import PictureFault
from engines.detections import Float32
from engines.taxonomy import Taxonomy


class SlideState(str, Enum):
    IDLE = "idle"  # no slide is open
    COUNTING = "counting"
    PAUSED = "paused"
    REVIEW = "review"  # finished; waits for a person
    SIGNED = "signed"
    ABORTED = "aborted"


OPEN_STATES = (SlideState.COUNTING, SlideState.PAUSED)


class ReviewState(str, Enum):
    UNREVIEWED = "unreviewed"
    REVIEWED = "reviewed"


@dataclass(frozen=True, slots=True)
class Place:
    """Where on the film a field lies: its upper left corner in px of the camera's frames, on the axes of its chart.

    A chart is a connected piece of film; places of two charts say nothing of each other.
    """

    chart: int
    x_px: float
    y_px: float


@dataclass(frozen=True, eq=False, slots=True)
class Cell:
    """One sighting of a cell: the one that it is counted by (`Field.cells`), or another (`Field.seen`).

    box_px: (x1, y1, x2, y2) in the field's pixels. attributes: (A,) float32 probabilities (see engines.taxonomy), NaN if unknown.
    identified: whether its type is told; class_index is then that type, otherwise the white cell (of its group, where that is told)
    that it is most like. The artefact is one whatever this says. crop_jpeg: the cell with a margin, JPEG; empty where there are none.
    What follows is the second look's; without one it is empty. group: key of `Taxonomy.told_groups`, "" where not even the group is
    sure; a told type's group stands here too. probability: of its type; blast_probability: of being a blast or equivalent; distance:
    to what the naming layer knows, beyond 1 unlike all of it, 0 where the layer cannot tell.
    cell_id: the same for all sightings of one cell of a slide, from 1; 0 in records that knew none. provisional: cut by the border of
    the field, so that a whole sighting takes its place.
    verdict: what a person said it is, by the name of a class, or by the key of a told group or of a person's class (`Taxonomy`); "" if
    nobody has yet.
    """

    class_index: int
    score: float
    identified: bool
    box_px: tuple[float, float, float, float]
    attributes: Float32
    crop_jpeg: bytes = b""
    group: str = ""
    probability: float | None = None
    blast_probability: float | None = None
    distance: float | None = None
    cell_id: int = 0
    provisional: bool = False
    verdict: str = ""

    def told(self, groups_only: bool = False) -> int | str:
        """What this cell is counted as, if it is no artefact: index of its type, or key of its group, or "" (unidentified).

        groups_only: no type may be told by the engine, as on a foreign film; what a person said stands.
        """
        return self.class_index if self.identified and (self.verdict or not groups_only) else self.group

    def certainty(self, told: int | str) -> float:
        """How probable it is that what is told is right: of blasts, to be one; of others, to be none; of an unidentified cell, the type
        that it is most like. Without a second look its score.
        """
        if self.probability is None or self.blast_probability is None:
            return self.score
        return {"blasts": self.blast_probability, "others": 1 - self.blast_probability}.get(str(told), self.probability)

    def attribute_words(self, taxonomy: Taxonomy) -> dict[str, str]:
        """Attribute key to the word of its most probable value; unknown ones are left out."""
        words = {}
        for attribute, group in zip(taxonomy.attributes, taxonomy.groups, strict=True):
            values = self.attributes[group]
            if len(values) and not np.isnan(values).any():
                words[attribute.key] = attribute.values[int(values.argmax())]
        return words


@dataclass(frozen=True, eq=False, slots=True)
class Field:
    """One rest of the stage that brought something to count. `index` counts from 1 within the slide.

    cells: those that are counted by their sighting here; seen: sightings of cells that are counted in another field. place: None where
    the place on the film is not known (records of versions that did not follow it). picture: file of the whole field, relative to the
    folder of pictures beside the record; "" where none was kept.

    limit_met: the network found more boxes than it may give, so there are at least so many cells. faults: of the picture's light and
    colour; None in records of versions that did not judge them. naming_fault: why the second look failed, in the engine's words; the
    cells then bear the first look's names. non_finite: boxes and attributes that the engine told and that were no numbers.
    """

    index: int
    captured_at: datetime
    source: str
    size_px: tuple[int, int]
    focus: float  # sharpness measure of device.camera.quality, larger is sharper
    cells: tuple[Cell, ...]
    limit_met: bool = False
    faults: tuple[PictureFault, ...] | None = None
    naming_fault: str = ""
    place: Place | None = None
    seen: tuple[Cell, ...] = ()
    picture: str = ""
    non_finite: int = 0


@dataclass(frozen=True, eq=False)
class Slide:
    """A slide as it stands: header, state and the fields that count (undone ones are only in the record).

    blank_views: how often the stage rested where nothing of the film was to be seen, so that nothing was counted.
    skipped: pictures of a stored source that were not read; known when the slide is closed.
    foreign: its first cells are unlike all that the naming layer knows, so that groups only are counted; None: too few cells yet, or
    the engine cannot tell.
    specimen, operator: what the tube's label says, and the initials of who counts; neither leaves the device in a topic or a log.
    target_cells: white cells to count, as it was when the slide was begun or a person last went on; 0 in records that knew none.
    lost_rests: rests that were counted while the place on the film was unknown, on a chart of their own.
    revision: 0 as counted, then one more with each signature. reviewer, signed_at: of the last signature.
    duration_s: how long it was open, by the monotonic clock; None in records that did not keep it. clock_fault: what shows that the
    wall clock was set meanwhile, in words; "" where nothing does. The record keeps of it that the slide's time is not trusted.
    """

    slide_id: str
    started_at: datetime
    state: SlideState = SlideState.COUNTING
    finished_at: datetime | None = None
    abort_reason: str = ""
    fields: tuple[Field, ...] = ()
    fields_undone: int = 0
    review_state: ReviewState = ReviewState.UNREVIEWED
    blank_views: int = 0
    skipped: tuple[SkippedPicture, ...] = ()
    foreign: bool | None = None
    specimen: str = ""
    operator: str = ""
    target_cells: int = 0
    lost_rests: int = 0
    revision: int = 0
    reviewer: str = ""
    signed_at: datetime | None = None
    duration_s: float | None = None
    clock_fault: str = ""

    @property
    def charts(self) -> int:
        """Pieces of film that were never joined; more than one: cells on them may be counted twice."""
        return len({field.place.chart for field in self.fields if field.place is not None})

    @property
    def separate_pictures(self) -> bool:
        """Its fields are stored pictures, between which no stage was followed: on charts of their own, and no place was ever lost."""
        return self.charts > 1 and not self.lost_rests

    @property
    def unjoined_charts(self) -> tuple[int, ...]:
        """Pieces of film, but for the one with the most cells, to which the way was lost and never found again, by their numbers."""
        if not self.lost_rests:
            return ()
        cells = Counter[int]()
        for field in self.fields:
            if field.place is not None:
                cells[field.place.chart] += len(field.cells)
        main = min(cells, key=lambda chart: (-cells[chart], chart), default=0)
        return tuple(sorted(set(cells) - {main}))

    @property
    def possible_doubles(self) -> int:
        """So many cells at most were counted twice: those on unjoined charts."""
        unjoined = self.unjoined_charts
        return sum(len(field.cells) for field in self.fields if field.place is not None and field.place.chart in unjoined)

    @property
    def is_open(self) -> bool:
        """Neither finished nor aborted."""
        return self.state in OPEN_STATES

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(cell for field in self.fields for cell in field.cells)

    def told(self, cell: Cell) -> int | str:
        """What one of its cells is counted as: `Cell.told`, on a foreign film by groups only."""
        return cell.told(bool(self.foreign))

    def with_field(self, field: Field) -> Slide:
        """The slide with `field` added, or put in the place of the one with the same index."""
        kept = tuple(f for f in self.fields if f.index != field.index)
        return replace(self, fields=tuple(sorted((*kept, field), key=lambda f: f.index)))

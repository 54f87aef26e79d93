"""What a slide is made of: cells, fields, the slide's state. Plain frozen data, shared by session, store, screen and summary."""

from __future__ import annotations

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


@dataclass(frozen=True, eq=False)
class Cell:
    """One counted cell.

    box_px: (x1, y1, x2, y2) in the field's pixels. attributes: (A,) float32 probabilities (see engines.taxonomy), NaN if unknown.
    identified: False where the score is too low to name a type; the cell is then counted as unidentified.
    crop_jpeg: the cell with a margin, JPEG; empty where crops are switched off.
    """

    class_index: int
    score: float
    identified: bool
    box_px: tuple[float, float, float, float]
    attributes: Float32
    crop_jpeg: bytes = b""

    def attribute_words(self, taxonomy: Taxonomy) -> dict[str, str]:
        """Attribute key to the word of its most probable value; unknown ones are left out."""
        words = {}
        for attribute, group in zip(taxonomy.attributes, taxonomy.groups, strict=True):
            values = self.attributes[group]
            if len(values) and not np.isnan(values).any():
                words[attribute.key] = attribute.values[int(values.argmax())]
        return words


@dataclass(frozen=True, eq=False)
class Field:
    """One field of view that was counted once, while the stage rested. `index` counts from 1 within the slide.

    limit_met: the network found more boxes than it may give, so there are at least so many cells. faults: of the picture's light and
    colour; None in records of versions that did not judge them.
    """

    index: int
    captured_at: datetime
    source: str
    size_px: tuple[int, int]
    focus: float  # sharpness measure of device.camera.quality, larger is sharper
    cells: tuple[Cell, ...]
    limit_met: bool = False
    faults: tuple[PictureFault, ...] | None = None


@dataclass(frozen=True, eq=False)
class Slide:
    """A slide as it stands: header, state and the fields that count (undone ones are only in the record).

    blank_views: how often the stage rested where nothing of the film was to be seen, so that nothing was counted.
    skipped: pictures of a stored source that were not read; known when the slide is closed.
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

    @property
    def is_open(self) -> bool:
        """Neither finished nor aborted."""
        return self.state in OPEN_STATES

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(cell for field in self.fields for cell in field.cells)

    def with_field(self, field: Field) -> Slide:
        """The slide with `field` added, or put in the place of the one with the same index."""
        kept = tuple(f for f in self.fields if f.index != field.index)
        return replace(self, fields=tuple(sorted((*kept, field), key=lambda f: f.index)))

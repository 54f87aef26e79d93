"""What a resting frame brings to a slide: new ground, cells that nobody knew, better sights of known ones.

A field is one rest that brought something. While its focus is being turned and gets better it waits to be counted, for a second at
most, so that it is looked at, measured and written once. It is written again when a clearly sharper frame of the same rest comes all
the same, or one that shows more; a rest that brings nothing leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from typing import TypeVar

import numpy as np

from device.camera.base import Frame
from device.camera.quality import picture_faults
from device.slide.bank import crop_jpeg
from device.slide.cells import is_foreign, read_cells
from device.slide.census import CLEARLY_SHARPER, Boxes, Census, Sight, alike, completed, on_film
from device.slide.changes import put_back, refreshed, sightings_elsewhere, without_crops
from device.slide.ground import Ground
from device.slide.model import Cell, Field, Place, Slide
from device.slide.registration import Merge
from engines.detections import Detections, Image
from engines.taxonomy import Taxonomy

STILL_RISING = 1.05
"""While each frame is sharper than the one before by this factor the focus is being turned: wait for its best."""
SETTLES_S = 1.0
"""A field whose focus still gets better is counted so long after its first frame that may be, at the latest."""
MOST_LOOKS = 8
"""A field is written again at most so often during a rest, so that a restless focus cannot keep the record busy for ever."""
SAME_PLACE_SHARE = 0.02
"""Of the width: a rest no farther than this from the field counted last goes on with that field."""

_Value = TypeVar("_Value")
SecondLook = Callable[[Frame, Detections], tuple[Detections, str]]
"""A frame and its cells → the same cells in the same order, named, and why they could not be ("" where they were)."""


@dataclass(frozen=True, eq=False)
class View:
    """A resting frame with what was found on it; N boxes completed at the border, on the film; fit: those that are no slivers."""

    frame: Frame
    found: Detections
    place: Place
    sharpness: float
    film: Boxes
    whole: list[bool]
    fit: list[int]
    ids: list[int]

    @classmethod
    def of(cls, frame: Frame, found: Detections, place: Place, sharpness: float, census: Census) -> View:
        boxes, whole, fit = completed(found.boxes_px.astype(np.float64), frame.size_px)
        film = on_film(boxes, place)
        ids = census.match(place.chart, film)
        return cls(frame, found, place, sharpness, film, whole.tolist(), np.flatnonzero(fit).tolist(), ids)

    def sight(self, at: int) -> Sight:
        return Sight(self.whole[at], self.sharpness, float(self.found.scores[at]))


@dataclass(frozen=True, eq=False)
class Waiting:
    """The sharpest frame of a field that is not counted yet. new: what it shows that nobody knows; since_s: when the waiting began."""

    view: View
    new: list[int]
    since_s: float

    def moved(self, merge: Merge) -> Waiting:
        """The same after two charts became one."""
        view = self.view
        return self if view.place.chart != merge.old_chart else replace(self, view=replace(view, place=merge.moved(view.place)))


@dataclass(eq=False)
class Rest:
    """The present rest. newcomers: boxes on the film of the last frame that nobody knew; waiting: for the focus to settle."""

    looks: int = 0
    newcomers: list[list[float]] = field(default_factory=list)
    waiting: Waiting | None = None

    def is_due(self, next_s: float) -> bool:
        """Whether what waits cannot wait for a frame that comes at this monotonic time."""
        return self.waiting is not None and next_s > self.waiting.since_s + SETTLES_S


@dataclass(frozen=True, eq=False)
class Taken:
    """What a frame brought: the slide now. changed: the field that was counted (new) or counted again, None for nothing; others: more
    fields that changed, by index; image: of the field (H, W, 3), None where only cells were added to it."""

    slide: Slide
    changed: Field | None = None
    others: dict[int, Field] = field(default_factory=dict)
    new: bool = False
    image: Image | None = None


class RestCounter:
    """Counts what resting frames bring to the slide that it is handed. moved_share: of a field's ground, so much must be new for a rest
    without new cells to be a field. last_index: of the field counted last; an index is never given twice.
    """

    def __init__(self, taxonomy: Taxonomy, identify_threshold: float, moved_share: float, crops: bool, jpeg_quality: int) -> None:
        self._taxonomy, self._identify_threshold, self._moved_share = taxonomy, identify_threshold, moved_share
        self._crops, self._jpeg_quality = crops, jpeg_quality
        self.census, self.ground = Census(), Ground()
        self.last_index = 0
        self._second_look = False  # some cell was seen by one, so that the first cells say something of the film

    def clear(self) -> None:
        """Another slide."""
        self.census.clear()
        self.ground.clear()
        self.last_index = 0
        self._second_look = False

    def restore(self, slide: Slide, last_cell_id: int) -> None:
        """Go on with a slide that was recorded."""
        self.clear()
        self.census.restore(slide, last_cell_id)
        for each in slide.fields:
            self._second_look |= any(cell.distance is not None for cell in (*each.cells, *each.seen))
            if each.place is not None:
                self.ground.add(each.place, each.size_px)
        self.last_index = max(len(slide.fields) + slide.fields_undone, slide.fields[-1].index if slide.fields else 0)

    def is_counted(self, slide: Slide, place: Place, size_px: tuple[int, int]) -> bool:
        """Whether the ground of a field at a place has been counted."""
        return same_field(slide, place) is not None or not self._is_new_ground(place, size_px)

    def undo(self, slide: Slide) -> tuple[Slide, Field, dict[int, Field]]:
        """`slide` (which has fields) without the field counted last; that field; those by which its cells are counted now."""
        undone = slide.fields[-1]
        slide = replace(slide, fields=slide.fields[:-1], fields_undone=slide.fields_undone + 1)
        touched = self._forget_sightings(slide, (*undone.cells, *undone.seen), undone.index)
        if undone.place is not None:
            self.ground.add(undone.place, undone.size_px, -1)
        slide, others = put_back(slide, refreshed(slide, touched, self.census))
        return self.judged(slide), undone, others

    def take(self, slide: Slide, view: View, rest: Rest, rising: bool, next_s: float, second_look: SecondLook) -> Taken:
        """Count what the frame brings, or let it wait.

        rising: the focus is being turned and gets better. next_s: when the next frame is to be expected.
        """
        new = self._newcomers(view, rest)
        if same_field(slide, view.place) is None:
            waiting = rest.waiting
            if waiting is None or view.sharpness > waiting.view.sharpness:
                rest.waiting = Waiting(view, new, view.frame.captured_s if waiting is None else waiting.since_s)
            return Taken(slide) if rising and not rest.is_due(next_s) else self.settle(slide, rest, second_look, rising)
        return self._count(slide, view, new, rest, rising, second_look)

    def settle(self, slide: Slide, rest: Rest, second_look: SecondLook, rising: bool = False) -> Taken:
        """Count what waits for a better frame, by the best that there was; as `take`."""
        if (waiting := rest.waiting) is None:
            return Taken(slide)
        rest.waiting, seen = None, waiting.view
        view = View.of(seen.frame, seen.found, seen.place, seen.sharpness, self.census)
        return self._count(slide, view, [at for at in waiting.new if not view.ids[at]], rest, rising, second_look)

    def _count(self, slide: Slide, view: View, new: list[int], rest: Rest, rising: bool, second_look: SecondLook) -> Taken:
        here = same_field(slide, view.place)
        better = [
            at for at in view.fit if view.ids[at] and view.sight(at).better_than(self.census.cells[view.ids[at]].sight) and not rising
        ]
        if here is None:
            if not (new or better or self._is_new_ground(view.place, view.frame.size_px)):
                return Taken(slide)
            unsure = {at for at in view.fit if not view.ids[at]} - set(new)
            return self._add_field(slide, view, [at for at in view.fit if at not in unsure], second_look)
        if rest.looks >= MOST_LOOKS:
            return Taken(slide)
        if not rising and view.sharpness > CLEARLY_SHARPER * here.focus:
            rest.looks += 1
            return self._replace_field(slide, here, view, second_look)
        better = [at for at in better if view.whole[at] and not self.census.cells[view.ids[at]].sight.whole]
        if new or better:
            rest.looks += 1
            return self._extend_field(slide, here, view, [*new, *better], second_look)
        return Taken(slide)

    def _newcomers(self, view: View, rest: Rest) -> list[int]:
        """Cells that nobody knows. On ground that was counted before one must be found by two frames of the rest."""
        new, unknown = [], []
        for at in view.fit:
            if view.ids[at]:
                continue
            x0, y0, x1, y1 = box = view.film[at].tolist()
            if not self.ground.covers(view.place.chart, (x0 + x1) / 2, (y0 + y1) / 2, view.frame.size_px) or any(
                alike(box, before) is not None for before in rest.newcomers
            ):
                new.append(at)
            unknown.append(box)
        rest.newcomers = unknown
        return new

    def _add_field(self, slide: Slide, view: View, chosen: list[int], second_look: SecondLook) -> Taken:
        self.last_index += 1
        cells, touched, fault = self._sightings(view, chosen, self.last_index, second_look)
        counted = self._new_field(view, self.last_index, cells, fault)
        self.ground.add(view.place, view.frame.size_px)
        slide = replace(slide, fields=(*slide.fields, without_crops(counted)))
        slide, others = put_back(slide, refreshed(slide, touched, self.census))
        return Taken(self.judged(slide), counted, others, new=True, image=view.frame.image)

    def _replace_field(self, slide: Slide, here: Field, view: View, second_look: SecondLook) -> Taken:
        """A clearly sharper frame takes the field's place. What it no longer shows is gone, but for cells at the border, which come and
        go with the bench's vibration."""
        found = {view.ids[at] for at in view.fit}
        lost = [cell for cell in (*here.cells, *here.seen) if cell.cell_id not in found]
        kept = [moved(cell, here.place, view.place, here.size_px) for cell in lost if cell.provisional]
        gone = [cell for cell in lost if not cell.provisional]
        cells, touched, fault = self._sightings(view, view.fit, here.index, second_look)
        touched |= self._forget_sightings(slide, gone, here.index)
        counted = self._new_field(view, here.index, [*cells, *kept], fault, here.picture)
        if here.place is not None:
            self.ground.add(here.place, here.size_px, -1)
        self.ground.add(view.place, view.frame.size_px)
        slide, _ = put_back(slide, [without_crops(counted)])
        slide, others = put_back(slide, refreshed(slide, touched - {here.index}, self.census))
        return Taken(self.judged(slide), counted, others, image=view.frame.image)

    def _extend_field(self, slide: Slide, here: Field, view: View, chosen: list[int], second_look: SecondLook) -> Taken:
        """Cells that came into sight while the stage crept, or that only a later frame shows, join the field of the rest."""
        cells, touched, fault = self._sightings(view, chosen, here.index, second_look)
        cells = [moved(cell, view.place, here.place, here.size_px) for cell in cells]
        ids = {cell.cell_id for cell in cells}
        old = [cell for cell in (*here.cells, *here.seen) if cell.cell_id not in ids]
        made = replace(
            here,
            limit_met=here.limit_met or view.found.limit_met,
            naming_fault=fault or here.naming_fault,
            non_finite=max(here.non_finite, view.found.non_finite),
        )
        counted = self._sorted(made, [*old, *cells])
        slide, _ = put_back(slide, [without_crops(counted)])
        slide, others = put_back(slide, refreshed(slide, touched - {here.index}, self.census))
        return Taken(self.judged(slide), counted, others)

    def _sightings(self, view: View, chosen: list[int], index: int, second_look: SecondLook) -> tuple[list[Cell], set[int], str]:
        """The chosen cells as sightings by the field `index`; indices of other fields that lost a cell to it; why naming failed."""
        named, fault = second_look(view.frame, view.found.select(np.array(chosen, np.int64)))
        cells, touched = [], set[int]()
        for at, cell in zip(chosen, read_cells(named, self._taxonomy, self._identify_threshold), strict=True):
            cell_id = view.ids[at] or self.census.new_id()
            before = self.census.cells.get(cell_id)
            counted_by = index if before is None else before.field
            known = self.census.seen(cell_id, view.place.chart, view.film[at].tolist(), view.sight(at), index)
            if known.field == index and counted_by != index:
                touched.add(counted_by)
            self._second_look |= cell.distance is not None
            crop = crop_jpeg(view.frame.image, cell.box_px, self._jpeg_quality) if self._crops else b""
            cells.append(replace(cell, cell_id=cell_id, provisional=not view.whole[at], crop_jpeg=crop))
        return cells, touched, fault

    def _forget_sightings(self, slide: Slide, cells: Iterable[Cell], index: int) -> set[int]:
        """Take back a field's sightings; indices of the fields by which their cells are counted now."""
        touched = set()
        for cell in cells:
            if cell.cell_id in self.census.cells:
                known = self.census.cells[cell.cell_id]
                was = known.field
                still = self.census.unseen(cell.cell_id, index, sightings_elsewhere(slide, known, index))
                if still is not None and still.field != was:
                    touched.add(still.field)
        return touched

    def _new_field(self, view: View, index: int, cells: list[Cell], fault: str, picture: str = "") -> Field:
        frame = view.frame
        made = Field(
            index,
            frame.captured_at,
            frame.source,
            _shared(frame.size_px),
            view.sharpness,
            (),
            view.found.limit_met,
            _shared(picture_faults(frame.image)),
            fault,
            view.place,
            (),
            picture,
            view.found.non_finite,
        )
        return self._sorted(made, cells)

    def _sorted(self, made: Field, cells: list[Cell]) -> Field:
        """The field with its sightings: those that their cells are counted by, and the others."""
        known = self.census.cells
        counted = tuple(cell for cell in cells if known[cell.cell_id].field == made.index)
        return replace(made, cells=counted, seen=tuple(cell for cell in cells if known[cell.cell_id].field != made.index))

    def judged(self, slide: Slide) -> Slide:
        """With what its first cells say of the film."""
        cells = chain.from_iterable(f.cells for f in slide.fields) if self._second_look else ()
        return replace(slide, foreign=is_foreign(cells, self._taxonomy))

    def _is_new_ground(self, place: Place, size_px: tuple[int, int]) -> bool:
        share = self.ground.new_share(place, size_px)
        return share > 0 and share >= self._moved_share


@lru_cache(maxsize=64)
def _shared(value: _Value) -> _Value:
    """The same object for equal values: thousands of fields bear them."""
    return value


def same_field(slide: Slide, place: Place) -> Field | None:
    """The field counted last, if the stage rests where it was counted."""
    last = slide.fields[-1] if slide.fields else None
    if last is None or last.place is None or last.place.chart != place.chart:
        return None
    return last if apart(last.place, place) <= SAME_PLACE_SHARE * last.size_px[0] else None


def apart(first: Place, second: Place) -> float:
    return float(np.hypot(first.x_px - second.x_px, first.y_px - second.y_px))


def moved(cell: Cell, before: Place | None, now: Place | None, size_px: tuple[int, int] | None) -> Cell:
    """A sighting at one place as it lies in the frame at another; cut at that frame's border, if its size is given."""
    if before is None or now is None:
        return cell
    dx, dy = before.x_px - now.x_px, before.y_px - now.y_px
    x0, y0, x1, y1 = cell.box_px
    box = x0 + dx, y0 + dy, x1 + dx, y1 + dy
    if size_px is not None:
        right, bottom = size_px
        box = min(max(box[0], 0.0), right), min(max(box[1], 0.0), bottom), min(max(box[2], 0.0), right), min(max(box[3], 0.0), bottom)
    return replace(cell, box_px=box)

"""How a slide's fields change together when a cell is seen again: pure functions on slide and census, and what a change is told as."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from device.slide.census import Census, Known, Sight, film_box, sight_of
from device.slide.ground import Ground
from device.slide.keyframes import Keyframe
from device.slide.model import Cell, Field, Slide
from device.slide.registration import Merge
from engines.detections import Image


@dataclass(frozen=True, eq=False)
class FieldsChanged:
    """What a frame changed on the slide. field: that of the present rest, if it is counted, or counted again; new: counted first;
    apart: on ground of which nothing joins it to what was counted before; image: of `field` (H, W, 3), by this frame or one shortly
    before it; None where cells were only added to what an earlier one shows.

    others: fields of earlier rests that lost a cell to this one, or got one back. merged: charts that were joined, before all else,
    with effect on the places of all their fields. keyframes: those that were added or changed. `field` alone bears crops of its cells;
    where a cell of `others` has none, the one that was written with it stays.
    """

    field: Field | None
    new: bool = False
    apart: bool = False
    others: tuple[Field, ...] = ()
    merged: tuple[Merge, ...] = ()
    keyframes: tuple[Keyframe, ...] = ()
    image: Image | None = None

    @property
    def fields(self) -> tuple[Field, ...]:
        """All that are to be written."""
        return self.others if self.field is None else (self.field, *self.others)


@dataclass(frozen=True, eq=False)
class Undone:
    """A field that was taken back, and the fields of other rests that its cells are counted by now."""

    field: Field
    others: tuple[Field, ...] = ()


def at_index(slide: Slide, index: int) -> Field:
    """The field of that index; KeyError if it does not count."""
    at = _position(slide.fields, index)
    if at == len(slide.fields) or slide.fields[at].index != index:
        raise KeyError(index)
    return slide.fields[at]


def put_back(slide: Slide, fields: Iterable[Field]) -> tuple[Slide, dict[int, Field]]:
    """The slide with these fields in the places of those with their indices, and they by index."""
    by_index = {field.index: field for field in fields}
    if not by_index:
        return slide, by_index
    kept = list(slide.fields)
    for index, field in by_index.items():
        kept[_position(slide.fields, index)] = field
    return replace(slide, fields=tuple(kept)), by_index


def refreshed(slide: Slide, indices: Iterable[int], census: Census, renamed: dict[int, int] | None = None) -> list[Field]:
    """Fields with their sightings sorted anew into those that cells are counted by and the others. renamed: cell ids that changed."""
    fields = []
    for index in sorted(indices):
        field = at_index(slide, index)
        cells = [
            replace(cell, cell_id=renamed[cell.cell_id]) if renamed and cell.cell_id in renamed else cell
            for cell in (*field.cells, *field.seen)
        ]
        counted = tuple(cell for cell in cells if _counted_by(census, cell) == index)
        fields.append(replace(field, cells=counted, seen=tuple(cell for cell in cells if _counted_by(census, cell) != index)))
    return fields


def sightings_elsewhere(slide: Slide, known: Known, index: int) -> list[tuple[int, Sequence[float], Sight]]:
    """The cell's sightings by other fields than `index`: field, box on the film, how well it was seen."""
    found: list[tuple[int, Sequence[float], Sight]] = []
    for other in known.fields:
        if other != index:
            field = at_index(slide, other)
            for cell in (*field.cells, *field.seen):
                if cell.cell_id == known.cell_id and field.place is not None:
                    found.append((other, film_box(cell, field, field.place), sight_of(cell, field)))
    return found


def merged_fields(slide: Slide, merge: Merge, census: Census, ground: Ground) -> tuple[Slide, dict[int, Field]]:
    """The slide after two charts became one, and the fields whose cells changed by that; the places of others change as well."""
    fields = list(slide.fields)
    for at, field in enumerate(fields):
        if field.place is not None and field.place.chart == merge.old_chart:
            ground.add(field.place, field.size_px, -1)
            fields[at] = replace(field, place=merge.moved(field.place))
            ground.add(merge.moved(field.place), field.size_px)
    slide = replace(slide, fields=tuple(fields))
    renamed, touched = dict[int, int](), set[int]()
    for pair in census.move_chart(merge.old_chart, merge.into_chart, merge.dx_px, merge.dy_px):
        into_id, cell_id = sorted(pair)
        gone, kept = census.join(cell_id, into_id)
        renamed[cell_id] = into_id
        touched.update(gone.fields, kept.fields)
    return put_back(slide, refreshed(slide, touched, census, renamed))


def without_crops(field: Field) -> Field:
    """The field as it is kept in memory: pictures of cells are the record's."""
    return replace(field, cells=tuple(map(_bare, field.cells)), seen=tuple(map(_bare, field.seen)))


def _bare(cell: Cell) -> Cell:
    return replace(cell, crop_jpeg=b"") if cell.crop_jpeg else cell


def _counted_by(census: Census, cell: Cell) -> int:
    known = census.cells.get(cell.cell_id)
    return 0 if known is None else known.field


def _position(fields: Sequence[Field], index: int) -> int:
    return bisect_left(fields, index, key=lambda field: field.index)

"""What the record keeps of a slide whose cells are seen by several fields, and of its map; with a real count behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from film_bench import FilmBench

from device.slide.keyframes import Keyframe
from device.slide.model import Cell, Slide
from device.slide.registration import Merge
from device.store import Store
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.provenance import provenance

HERE, THERE = (100, 100), (1400, 900)
CELLS = [(300, 200, 370, 270), (500, 300, 580, 380), (690, 250, 770, 330), (1600, 1000, 1680, 1080)]
MADE = provenance(EngineInfo("stand-in", "0", "0" * 64, "none", "exact", (640, 640), LEUKEMIA_ATTRI, 0.25))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "record.sqlite") as opened:
        yield opened


class Kept:
    """A count whose events go to the record as they come."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.bench = FilmBench(CELLS, crops=True)
        self.bench.session.start()
        store.start_slide(self.bench.slide, MADE)

    def show(self, place: tuple[int, int], frames: int = 4) -> None:
        self.bench.show(place, frames)
        self.write()

    def write(self) -> None:
        for event in self.bench.events:
            for _ in range(2):  # a write may be repeated
                self.store.put_fields(self.bench.slide.slide_id, event.fields, None, event.merged, event.keyframes)
        self.bench.events.clear()

    @property
    def stored(self) -> Slide:
        return self.store.slide(self.bench.slide.slide_id, with_crops=True).slide


def sightings(slide: Slide) -> object:
    """All that tells where which cell was seen and where it is counted."""

    def cell(seen: Cell) -> object:
        return seen.cell_id, seen.provisional, seen.box_px

    return [(f.index, f.place, [cell(c) for c in f.cells], [cell(c) for c in f.seen]) for f in slide.fields]


def test_a_cell_that_is_seen_better_moves_in_the_record_and_keeps_its_crops(store: Store) -> None:
    kept = Kept(store)
    kept.show(HERE)
    kept.show((HERE[0] + 70, HERE[1]))
    assert [[cell.cell_id for cell in field.cells] for field in kept.stored.fields] == [[1, 2], [3]]
    assert sightings(kept.stored) == sightings(kept.bench.slide)
    assert all(cell.crop_jpeg for field in kept.stored.fields for cell in (*field.cells, *field.seen))
    widths = {cell.cell_id: cv2.imdecode(np.frombuffer(cell.crop_jpeg, np.uint8), 1).shape[1] for cell in kept.stored.fields[0].seen}
    assert widths[3] < 90, "the crop of the first field, where the border cut the cell"


def test_nothing_of_a_picture_stays_in_memory(store: Store) -> None:
    kept = Kept(store)
    kept.show(HERE)
    kept.show((HERE[0] + 70, HERE[1]))
    assert not any(cell.crop_jpeg for field in kept.bench.slide.fields for cell in (*field.cells, *field.seen))


def test_undo_puts_the_cells_back_in_one_write(store: Store) -> None:
    kept = Kept(store)
    kept.show(HERE)
    kept.show((HERE[0] + 70, HERE[1]))
    undone = kept.bench.session.undo()
    store.undo_field(kept.bench.slide.slide_id, undone.field.index, undone.others)
    assert sightings(kept.stored) == sightings(kept.bench.slide)
    assert [cell.cell_id for cell in kept.stored.cells] == [1, 2, 3] and kept.stored.fields_undone == 1
    assert all(cell.crop_jpeg for cell in kept.stored.cells)
    assert store.last_cell_id(kept.bench.slide.slide_id) == 3


def test_joined_charts_are_joined_in_the_record(store: Store) -> None:
    kept = Kept(store)
    kept.show(HERE)
    kept.show(THERE)
    assert kept.stored.charts == 2
    for start, place in ((HERE, (500, 300)), ((500, 300), (900, 600)), ((900, 600), (1150, 780)), ((1150, 780), THERE)):
        kept.bench.slide_to(place, start)
        kept.show(place)
    assert kept.bench.slide.charts == 1
    assert sightings(kept.stored) == sightings(kept.bench.slide)
    keyframes = store.keyframes(kept.bench.slide.slide_id)
    assert {frame.chart for frame in keyframes} == {kept.bench.slide.fields[0].place.chart}  # type: ignore[union-attr]


def test_with_what_the_record_has_the_place_is_found_again(store: Store) -> None:
    kept = Kept(store)
    kept.show(HERE)
    kept.bench.slide_to((420, 200), HERE)
    kept.show((420, 200))
    stored, slide_id = kept.stored, kept.bench.slide.slide_id
    kept.bench.session = kept.bench.new_session()
    kept.bench.session.restore(stored, store.keyframes(slide_id), store.last_cell_id(slide_id))
    kept.bench.session.pause()
    kept.show((420, 200))
    kept.show((HERE[0] + 20, HERE[1]))
    assert sorted(cell.cell_id for cell in kept.bench.slide.cells) == [1, 2, 3]
    assert kept.bench.slide.charts == 1


def test_a_merge_and_a_keyframe_may_be_written_twice(store: Store) -> None:
    kept = Kept(store)
    kept.show(HERE)
    slide_id, chart = kept.bench.slide.slide_id, 1
    frame = Keyframe(7, 1, 5.0, -6.0, b"picture")
    for _ in range(2):
        store.put_fields(slide_id, (), None, (Merge(chart, 9, 10.0, 20.0),), (frame, replace(frame, x_px=8.0)))
    place = kept.stored.fields[0].place
    assert place is not None and (place.chart, round(place.x_px), round(place.y_px)) == (9, 10, 20)
    assert [key for key in store.keyframes(slide_id) if key.number == 7] == [replace(frame, x_px=8.0)]


def test_closing_makes_up_for_a_cell_that_moved(store: Store) -> None:
    kept = Kept(store)
    kept.show(HERE)
    kept.bench.show((HERE[0] + 70, HERE[1]), 4)  # not written
    slide = kept.bench.session.finish()
    store.close_slide(slide, None)
    assert sightings(kept.stored) == sightings(slide)

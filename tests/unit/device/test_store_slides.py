"""The record gives back what was put in: slides, fields, cells, crops, provenance, and the outbox beside them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from device.errors import StoreError
from device.slide.bank import morphology_bank
from device.slide.model import Cell, Field, Slide, SlideState
from device.store import OutboxMessage, Store
from engines.naming import NamingInfo
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI, Attribute, Taxonomy
from tests.support.provenance import provenance

NOW = datetime(2026, 11, 23, 18, 15, 12, 345678, tzinfo=timezone.utc)
MODEL = EngineInfo("attridet-n", "1.0.0", "ab" * 32, "onnxruntime 1.23.2 CPU", "fp32", (640, 640), LEUKEMIA_ATTRI, 0.25)


def field(index: int, cells: int = 3, seconds: float = 0.0, crops: bool = True) -> Field:
    rng = np.random.default_rng(index)
    made = []
    for at in range(cells):
        attributes = rng.random(LEUKEMIA_ATTRI.n_logits).astype(np.float32)
        attributes[:at] = np.nan
        box = (float(rng.random()), 0.1, 50.5, 60.25)
        made.append(Cell(at + 1, float(rng.random()), at != 1, box, attributes, b"\xff\xd8" + bytes([index, at]) if crops else b""))
    return Field(index, NOW + timedelta(seconds=index + seconds), f"field_{index:03}.png", (1920, 1080), 0.9 + index / 7, tuple(made))


def slide_of(*fields: Field, slide_id: str = "20261123-181512-4f9a2c") -> Slide:
    return Slide(slide_id, NOW, fields=fields)


def message(number: int = 1) -> OutboxMessage:
    return OutboxMessage(f"m-{number}", "leukoscope/box-1/slides", b'{"n": %d}' % number, NOW)


def begin(store: Store, slide: Slide, model: EngineInfo = MODEL) -> None:
    store.start_slide(slide, provenance(model))


def crops_of(store: Store) -> list[bytes]:
    """The pictures of the slide's cells that have one, in the order of fields and cells."""
    cells = store.slide(slide_of().slide_id, with_crops=True).slide.cells
    return [cell.crop_jpeg for cell in cells if cell.crop_jpeg]


def plain(slide: Slide) -> object:
    """A slide without arrays, so that two can be compared."""

    def cell(c: Cell) -> object:
        known = [None if np.isnan(v) else v for v in c.attributes.tolist()]
        return {**parts(c), "attributes": (c.attributes.dtype.name, known)}

    def field(f: Field) -> object:
        return {**parts(f), "cells": [cell(c) for c in f.cells], "seen": [cell(c) for c in f.seen]}

    return {**parts(slide), "fields": [field(f) for f in slide.fields]}


def parts(one: Slide | Field | Cell) -> dict[str, object]:
    return {part.name: getattr(one, part.name) for part in fields(one)}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "deep" / "record.sqlite") as opened:
        yield opened


def test_a_slide_comes_back_as_it_was(store: Store) -> None:
    slide = slide_of(field(1), field(2, 0), field(3, 5))
    begin(store, slide_of())
    for f in slide.fields:
        store.put_field(slide.slide_id, f)
    stored = store.slide(slide.slide_id, with_crops=True)
    assert plain(stored.slide) == plain(slide)
    assert stored.provenance == provenance(MODEL)
    assert stored.summary is None


def test_it_is_there_for_the_next_process_and_for_a_reader(store: Store) -> None:
    begin(store, slide_of())
    store.put_field(slide_of().slide_id, field(1))
    with Store.read(store.path) as reader:
        assert plain(reader.slide(slide_of().slide_id, with_crops=True).slide) == plain(slide_of(field(1)))
        with pytest.raises(StoreError, match=r"cannot begin slide .*: it may only be read"):
            begin(reader, slide_of(slide_id="other"))
    store.close()
    with Store.open(store.path) as again:
        assert plain(again.slide(slide_of().slide_id, with_crops=True).slide) == plain(slide_of(field(1)))
        assert again.put_aside is None


def test_crops_are_read_only_when_asked_for(store: Store) -> None:
    begin(store, slide_of())
    store.put_field(slide_of().slide_id, field(1))
    assert {c.crop_jpeg for c in store.slide(slide_of().slide_id).slide.cells} == {b""}
    assert crops_of(store) == [b"\xff\xd8" + bytes([1, at]) for at in range(3)]
    rows = morphology_bank(store.slide(slide_of().slide_id, with_crops=True).slide, LEUKEMIA_ATTRI)
    assert sum(len(row.cells) for row in rows) == 3
    store.put_field(slide_of().slide_id, field(2, crops=False))
    assert len(crops_of(store)) == 3


def test_an_improved_field_replaces_the_whole_of_the_old_one(store: Store) -> None:
    begin(store, slide_of())
    store.put_field(slide_of().slide_id, field(1, 5))
    store.put_field(slide_of().slide_id, field(1, 2, seconds=0.5))
    assert plain(store.slide(slide_of().slide_id, with_crops=True).slide) == plain(slide_of(field(1, 2, seconds=0.5)))
    assert len(crops_of(store)) == 2


def test_an_undone_field_is_kept_and_does_not_count(store: Store) -> None:
    begin(store, slide_of())
    for index in (1, 2):
        store.put_field(slide_of().slide_id, field(index))
    store.undo_field(slide_of().slide_id, 2)
    store.undo_field(slide_of().slide_id, 2)
    slide = store.slide(slide_of().slide_id).slide
    assert ([f.index for f in slide.fields], slide.fields_undone) == ([1], 1)
    assert crops_of(store) == [b"\xff\xd8" + bytes([1, at]) for at in range(3)]
    (listed,) = store.slides()
    assert len(listed.slide.cells) == 3
    with sqlite3.connect(store.path) as db:
        assert db.execute("SELECT count(*) FROM cells WHERE field_index = 2").fetchone() == (3,)
        assert db.execute("SELECT count(*) FROM crops WHERE field_index = 2").fetchone() == (3,)
    db.close()


def test_headers_list_the_newest_slide_first_even_if_the_clock_was_wrong(store: Store) -> None:
    for slide_id, day in (("20261123-181512-aaaaaa", 23), ("19700101-000010-bbbbbb", 1), ("20261124-090000-cccccc", 24)):
        begin(store, replace(slide_of(slide_id=slide_id), started_at=NOW.replace(day=day)))
    assert [slide_id[-6:] for slide_id in store.slide_ids()] == ["cccccc", "bbbbbb", "aaaaaa"]
    assert [slide_id[-6:] for slide_id in store.slide_ids(limit=1)] == ["cccccc"]
    assert store.slides()[0].provenance.model.label == MODEL.label


def test_closing_writes_state_summary_and_outbox_together(store: Store) -> None:
    begin(store, slide_of())
    store.put_field(slide_of().slide_id, field(1))
    finished = replace(slide_of(field(1)), state=SlideState.REVIEW, finished_at=NOW + timedelta(minutes=9))
    store.close_slide(finished, message())
    stored = store.slide(finished.slide_id, with_crops=True)
    assert plain(stored.slide) == plain(finished)
    assert stored.summary == message().payload
    assert store.pending() == (replace(message(), number=1, slide_id=finished.slide_id),)
    assert store.unfinished() == ()


def test_a_close_that_fails_leaves_nothing_half_done(store: Store) -> None:
    begin(store, slide_of())
    finished = replace(slide_of(field(1)), state=SlideState.REVIEW, finished_at=NOW)
    broken = replace(message(), topic=None)  # type: ignore[arg-type]  # the table refuses it, after all else was written
    with pytest.raises(StoreError, match="cannot close slide"):
        store.close_slide(finished, broken)
    stored = store.slide(finished.slide_id)
    assert (stored.slide.state, stored.slide.fields, stored.summary) == (SlideState.COUNTING, (), None)
    assert store.pending_count() == 0
    store.close_slide(finished, message())
    assert plain(store.slide(finished.slide_id, with_crops=True).slide) == plain(finished)


def test_close_and_sync_make_up_for_writes_that_failed(store: Store) -> None:
    """A field missed, one replaced, one undone, while the record could not be written."""
    begin(store, slide_of())
    for index in (1, 2, 3):
        store.put_field(slide_of().slide_id, field(index))
    now = replace(slide_of(field(1), field(2, 4, seconds=0.25), field(5)), fields_undone=2, state=SlideState.PAUSED)
    store.close_slide(now, None)
    assert plain(store.slide(now.slide_id, with_crops=True).slide) == plain(now)
    before = store._db.total_changes
    store.close_slide(now, None)
    assert store._db.total_changes - before == 1  # only the slide's own row is written again
    finished = replace(now.with_field(field(6)), state=SlideState.REVIEW, finished_at=NOW)
    store.close_slide(finished, None)
    assert plain(store.slide(now.slide_id, with_crops=True).slide) == plain(finished)
    assert store.pending_count() == 0


def test_what_a_crash_left_open_is_found_with_its_header(store: Store) -> None:
    counted, empty, done = (slide_of(slide_id=f"20261123-18151{n}-000000") for n in range(3))
    for slide in (counted, empty, done):
        begin(store, slide)
    for index in (4, 5):
        store.put_fields(counted.slide_id, (field(index),), replace(counted, blank_views=3, target_cells=400))
    store.undo_field(counted.slide_id, 5)
    store.put_state(replace(empty, state=SlideState.PAUSED))
    store.close_slide(replace(done, state=SlideState.REVIEW, finished_at=NOW), None)
    newest, oldest = store.unfinished()
    assert (newest.slide.slide_id, newest.slide.state) == (empty.slide_id, SlideState.PAUSED)
    assert (oldest.slide.blank_views, oldest.slide.target_cells, [f.index for f in oldest.slide.fields]) == (3, 400, [4])
    assert (store.last_cell_id(counted.slide_id), store.keyframes(counted.slide_id)) == (0, ())


def test_slides_of_one_specimen_are_counted_whatever_the_case_of_their_letters(store: Store) -> None:
    for n, (specimen, state) in enumerate(
        [("b-7", "review"), ("B-7", "counting"), ("B-7", "aborted"), ("B-70", "review"), ("", "review")]
    ):
        slide = replace(slide_of(slide_id=f"20261123-18151{n}-000000"), specimen=specimen)
        begin(store, slide)
        store.put_state(replace(slide, state=SlideState(state)))
    assert [store.of_specimen(each) for each in ("B-7", "B-70", "B-8")] == [2, 1, 0]


def test_a_slide_of_an_older_model_stays_readable_in_its_own_words(store: Store) -> None:
    taxonomy = Taxonomy(("None", "Plasma cell"), (Attribute("granules", "Granules", ("few", "many")),), blasts=("Plasma cell",))
    older = replace(MODEL, name="before", taxonomy=taxonomy, digest="cd" * 32)
    cell = Cell(1, 0.9, True, (0.0, 0.0, 9.0, 9.0), np.array([0.25, 0.75], np.float32))
    begin(store, slide_of(slide_id="old"), older)
    begin(store, slide_of(slide_id="new"))
    store.put_field("old", replace(field(1), cells=(cell,)))
    stored = store.slide("old")
    assert stored.provenance.model == older
    assert stored.slide.cells[0].attribute_words(stored.provenance.model.taxonomy) == {"granules": "many"}
    assert store.slide("new").provenance.model == MODEL


def test_what_the_second_look_told_comes_back(store: Store) -> None:
    told = {"group": "blasts", "probability": 0.625, "blast_probability": 0.9, "distance": 1.25}
    cells = tuple(replace(cell, class_index=1, identified=False, **told) for cell in field(1, 31).cells)  # type: ignore[arg-type]  # fields of Cell
    named = replace(field(1), cells=cells, naming_fault="no memory")
    model = replace(MODEL, naming=NamingInfo("site-3", "2", "ef" * 32, site=True, said="88 of 100."))
    slide = slide_of(named)
    begin(store, slide_of(), model)
    store.put_field(slide.slide_id, named)
    stored = store.slide(slide.slide_id)
    assert stored.provenance.model == model
    assert {name: getattr(stored.slide.cells[0], name) for name in told} == told
    assert stored.slide.fields[0].naming_fault == "no memory"
    assert stored.slide.foreign is True  # of a slide that is open its cells tell
    store.close_slide(replace(slide, state=SlideState.REVIEW, finished_at=NOW, foreign=None), None)
    assert store.slide(slide.slide_id).slide.foreign is None  # closed, it stays as it was judged


def test_unknown_slides_are_named(store: Store) -> None:
    with pytest.raises(StoreError, match=r"no slide nothing; `leukoscope slides` lists them"):
        store.slide("nothing")
    for write in (lambda: store.put_field("nothing", field(1)), lambda: store.close_slide(slide_of(), message())):
        with pytest.raises(StoreError, match="must be started first"):
            write()
    assert store.pending_count() == 0


def test_starting_a_slide_twice_changes_nothing(store: Store) -> None:
    begin(store, slide_of())
    store.put_field(slide_of().slide_id, field(1))
    begin(store, slide_of())
    assert [f.index for f in store.slide(slide_of().slide_id).slide.fields] == [1]


def test_outbox_keeps_the_order_and_forgets_what_was_acknowledged(store: Store) -> None:
    for number in (3, 1, 2):
        slide = slide_of(slide_id=f"s-{number}")
        begin(store, slide)
        store.close_slide(replace(slide, state=SlideState.REVIEW, finished_at=NOW), message(number))
    assert [m.message_id for m in store.pending()] == ["m-3", "m-1", "m-2"]
    assert [m.message_id for m in store.pending(2)] == ["m-3", "m-1"]
    store.acknowledge("m-1")
    store.acknowledge("m-1")
    store.acknowledge("unknown")
    assert store.pending_count() == 2
    assert store.slide("s-1").summary == message(1).payload  # the record keeps what was sent


def test_a_message_waits_only_once(store: Store) -> None:
    begin(store, slide_of())
    for _ in range(2):
        store.close_slide(replace(slide_of(), state=SlideState.REVIEW, finished_at=NOW), message())
    assert store.pending_count() == 1


def test_the_publishers_thread_has_its_own_connection(store: Store) -> None:
    begin(store, slide_of())
    store.close_slide(replace(slide_of(), state=SlideState.REVIEW, finished_at=NOW), message())
    seen: list[object] = []

    def publisher() -> None:
        try:
            store.pending()
        except sqlite3.ProgrammingError as error:
            seen.append(error)
        with Store.connect(store.path) as mine:
            seen.extend(mine.pending())
            mine.acknowledge("m-1")

    thread = threading.Thread(target=publisher)
    thread.start()
    thread.join()
    assert isinstance(seen[0], sqlite3.ProgrammingError)  # sharing a connection is a fault of the program, and shown as one
    assert seen[1] == replace(message(), number=1, slide_id=slide_of().slide_id)
    assert store.pending_count() == 0


def test_every_commit_is_durable(store: Store) -> None:
    for opened in (store, Store.connect(store.path)):
        names = ("journal_mode", "synchronous", "foreign_keys")
        assert [opened._db.execute(f"PRAGMA {name}").fetchone()[0] for name in names] == ["wal", 2, 1]  # 2: FULL
        opened.close()

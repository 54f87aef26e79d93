"""Checksums of fields and slides: right after every kind of write, wrong after every change of a value by anybody else."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from device.mqtt.summary import build_summary
from device.slide.keyframes import Keyframe
from device.slide.model import Cell, Field, Place, Slide, SlideState
from device.slide.registration import Merge
from device.store import OutboxMessage, Store, checksums
from tests.support.flips import chosen, flip, values
from tests.support.kept import MODEL, keep, sign
from tests.support.provenance import provenance
from tests.support.review import BEGUN, ordinary

OPEN = Slide("20261130-120000-aaaaaa", BEGUN, specimen="H26-104", operator="AB", target_cells=200)
ID = OPEN.slide_id


def field(index: int, cells: int = 5, chart: int = 1, seed: int = 0) -> Field:
    rng = np.random.default_rng([index, seed])
    found = tuple(
        Cell(
            int(rng.integers(10)),
            float(rng.random()),
            bool(rng.integers(2)),
            (*map(float, rng.random(4) * 900),),  # type: ignore[arg-type]
            rng.random(15).astype(np.float32),
            rng.bytes(600),
            "others",
            float(rng.random()),
            float(rng.random()),
            0.5,
            100 * index + at,
        )
        for at in range(cells)
    )
    at = BEGUN + timedelta(seconds=2 * index)
    return Field(index, at, "a", (1920, 1080), 90.5, found[1:], place=Place(chart, 10.5 * index, 0.25), seen=found[:1])


def keyframe(number: int, chart: int = 1) -> Keyframe:
    return Keyframe(number, chart, 3.5 * number, 1.25, bytes([number % 256]) * 900)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """With an open slide of three fields on two charts and two keyframes."""
    with Store.open(tmp_path / "record.sqlite") as opened:
        opened.start_slide(OPEN, provenance(MODEL))
        opened.put_fields(ID, (field(1), field(2), field(3, chart=2)), OPEN, keyframes=(keyframe(1), keyframe(2, chart=2)))
        yield opened


def sound(store: Store, slide_id: str = ID) -> None:
    checked = store.check_slide(slide_id)
    assert checked.checked
    assert checked.words == ""


def counted(*fields: Field) -> Slide:
    return replace(OPEN, fields=fields)


def finished(slide: Slide) -> tuple[Slide, OutboxMessage]:
    slide = replace(slide, state=SlideState.REVIEW, finished_at=BEGUN + timedelta(minutes=9))
    summary = build_summary(slide, provenance(MODEL), message_id=uuid4(), target_cells=200)
    return slide, OutboxMessage(str(summary.message_id), "t", summary.to_bytes(), BEGUN)


def test_they_are_right_after_every_kind_of_write(store: Store) -> None:
    sound(store)
    store.start_slide(OPEN, provenance(MODEL))  # tried again
    sound(store)
    store.put_fields(ID, (field(2, 7, seed=1),))  # a sharper sight in its place
    sound(store)
    store.put_fields(ID, (field(4),), OPEN, (Merge(2, 1, 100.0, -3.5),), (keyframe(2), keyframe(3)))
    sound(store)
    store.undo_field(ID, 4, (field(1, 6, seed=2),))
    store.undo_field(ID, 9)
    sound(store)
    store.put_state(replace(OPEN, state=SlideState.PAUSED, target_cells=300))
    sound(store)
    slide, message = finished(counted(field(1, 6, seed=2), field(3, chart=1), field(5)))
    assert not store.close_slide(slide, message).faults
    sound(store)
    store.close_slide(slide, message)
    sound(store)
    assert store.pending_count() == 1


def test_they_are_right_after_a_review(tmp_path: Path) -> None:
    path = tmp_path / "record.sqlite"
    slide = ordinary("Myeloblast", "")
    keep(path, slide)
    sign(path, slide.slide_id)
    with Store.open(path) as store:
        sound(store, slide.slide_id)


BY_HAND = {
    "field 2": "UPDATE cells SET score = score + 1e-9 WHERE field_index = 2 AND position = 1",
    "field 3": "UPDATE crops SET jpeg = zeroblob(600) WHERE field_index = 3 AND position = 0",
    "field 1": "UPDATE fields SET focus = 90.25 WHERE field_index = 1",
    "header": "UPDATE slides SET specimen = 'H26-105'",
    "header or model": "UPDATE models SET taxonomy = replace(taxonomy, 'Myeloblast', 'Myeloblasu')",
    "a field is missing": "DELETE FROM fields WHERE field_index = 2",
    "a summary": "UPDATE slides SET summary = x'7b7d'",
    "the map": "UPDATE keyframes SET x_px = 3 WHERE number = 1",
    "its checksum": "UPDATE slides SET checksum = replace(checksum, '1 ', '2 ')",
}


@pytest.mark.parametrize("what", BY_HAND)
def test_what_is_changed_by_another_hand_is_named_and_writing_on_makes_nothing_good(
    store: Store, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(store.path)) as db, db:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute(BY_HAND[what])
    assert any(fault.startswith(what) for fault in store.check_slide(ID).faults)
    store.put_fields(ID, (field(5),), OPEN, (Merge(2, 1, 4.0, 4.0),), (keyframe(4),))
    store.put_state(OPEN)
    assert any(fault.startswith(what) for fault in store.check_slide(ID).faults)
    slide, message = finished(store.slide(ID, with_crops=True).slide)
    assert store.close_slide(slide, message).faults
    store.close_slide(slide, message)
    assert store.pending_count() == 0
    assert store.summaries(ID) == ()
    assert [(row.kind, row.name) for row in store.quarantine()] == [("slide", ID)]
    assert caplog.text.count("no summary of it leaves") == 1


def test_a_damaged_slide_is_not_counted_on_after_a_restart(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with closing(sqlite3.connect(store.path)) as db, db:
        db.execute("UPDATE cells SET class_index = (class_index + 1) % 10 WHERE field_index = 2 AND position = 1")
    assert len(store.slides()) == 1  # readable, and wrong
    for _ in range(2):
        assert store.unfinished() == ()
    assert store.quarantined() == 1
    assert caplog.text.count("field 2 is not as it was written") == 1


def test_every_column_is_part_of_them(store: Store) -> None:
    """A column that comes later belongs to a new form, or is named here with the reason."""
    left_out = {"slides": {"checksum", "model_id", "summary"}, "fields": {"checksum"}, "cells": set(), "models": {"model_id"}}
    for table, named in (
        ("slides", checksums._SLIDE),
        ("fields", checksums._FIELD),
        ("cells", checksums._CELL),
        ("models", checksums._MODEL),
    ):
        columns = {row[1] for row in store._db.execute(f"PRAGMA table_info({table})")}
        assert set(named.split(", ")) == columns - left_out[table]


def test_a_message_that_was_damaged_while_it_waited_is_not_sent(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    slide, message = finished(store.slide(ID, with_crops=True).slide)
    store.close_slide(slide, message)
    assert store.message(message.message_id) is not None
    with closing(sqlite3.connect(store.path)) as db, db:
        db.execute("UPDATE outbox SET payload = CAST(replace(CAST(payload AS TEXT), 'unreviewed', 'unreviewee') AS BLOB)")
    for _ in range(2):
        assert store.message(message.message_id) is None
    assert store.pending_count() == 0
    (row,) = store.quarantine(with_content=True)
    assert (row.kind, row.name) == ("message", message.message_id)
    assert b"unreviewee" in row.content
    assert caplog.text.count("is damaged in the record") == 1


def test_of_an_older_record_nothing_is_promised(tmp_path: Path) -> None:
    path = tmp_path / "record.sqlite"
    shutil.copyfile(Path(__file__).parents[2] / "records" / "4-f503a33.sqlite", path)
    for opened in (Store.read, Store.open):
        with opened(path) as store:
            for slide_id in store.slide_ids():
                checked = store.check_slide(slide_id)
                assert not checked.checked
                assert "not checked" in checked.words
                assert not checked.faults
    with Store.open(path) as store:
        (left,) = store.unfinished()
        store.put_fields(left.slide.slide_id, (field(99),), left.slide)
        assert not store.check_slide(left.slide.slide_id).checked
        assert store.check_slide(left.slide.slide_id).unchecked == len(left.slide.fields) + left.slide.fields_undone


def test_every_flipped_bit_that_changes_a_value_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """100 bits by chance; of 60 such the version before opened 57 without a word.

    A key that the table has twice, in its rows and in its index, is SQLite's to compare: what is read through the other is unchanged.
    """
    caplog.set_level(logging.CRITICAL)
    path = tmp_path / "record.sqlite"
    with Store.open(path) as store:
        store.start_slide(OPEN, provenance(MODEL))
        for index in range(1, 41):
            store.put_fields(ID, (field(index, 12),), OPEN, keyframes=(keyframe(index),))
        slide, message = finished(store.slide(ID).slide)
        store.close_slide(slide, message)
    sign(path, ID)
    sound_values = values(path)
    silent, found, harmless, by_sqlite = list[int](), 0, 0, 0
    copy = tmp_path / "copy.sqlite"
    for bit in chosen(path, 100):
        shutil.copyfile(path, copy)
        flip(copy, bit)
        now = values(copy)
        if now == sound_values:
            harmless += 1  # free space within a page, an index, a table that makes no slide
            continue
        try:
            with Store.read(copy) as store:
                told = [each for each in store.slide_ids() if store.check_slide(each).faults]
                by_sqlite += (
                    not told and (told := [words for (words,) in store._db.execute("PRAGMA integrity_check(1)") if words != "ok"]) != []
                )
        except Exception as error:  # SQLite itself, or the header of the file
            told = [str(error)]
        found += bool(told)
        if not told:
            silent.append(bit)
    assert silent == []
    assert found > 60
    assert by_sqlite < 10
    assert found + harmless == 100


def test_a_checksum_that_became_bytes_is_damage_and_no_fault_of_the_program() -> None:
    assert checksums._parts(b"\x00") is None  # type: ignore[arg-type]  # as SQLite gives it
    assert checksums._last(b"\x00") == 0  # type: ignore[arg-type]

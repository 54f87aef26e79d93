"""A record of every version is opened, migrated or only read, and its slides and pages have all that was in it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from device.mqtt.payloads import read_summary
from device.mqtt.summary import build_summary
from device.report.page import page
from device.slide.model import SlideState
from device.store import Store, StoredSlide
from device.store.schema import SCHEMA

RECORDS = sorted((Path(__file__).parents[2] / "records").glob("*.sqlite"))


@pytest.fixture(params=RECORDS, ids=lambda path: path.stem)
def record(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copy(request.param, tmp_path / "record.sqlite"))


def rows(record: Path, query: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(f"file:{record}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(query)]


def assert_complete(store: Store, stored: dict[str, Any]) -> None:
    """All of `stored`, plain rows read before by SQLite alone, is in the slides that the store gives."""
    assert store.slide_ids() == [row["slide_id"] for row in reversed(stored["slides"])]
    for row in stored["slides"]:
        slide_id = row["slide_id"]
        read = store.slide(slide_id, with_crops=True)
        fields = [field for field in stored["fields"] if field["slide_id"] == slide_id]
        assert [(f.index, f.source, *f.size_px, f.focus) for f in read.slide.fields] == [
            (f["field_index"], f["source"], f["width_px"], f["height_px"], f["focus"]) for f in fields
        ]
        cells = [
            (c["class_index"], c["score"], c["x1_px"], c["jpeg"])
            for c in stored["cells"]
            if c["slide_id"] == slide_id and c.get("counted", 1)
        ]
        assert [(c.class_index, c.score, c.box_px[0], c.crop_jpeg) for c in read.slide.cells] == cells
        judged = [json.loads(f["faults"]) if f.get("faults") else None for f in fields]  # None: nobody judged them then
        assert [f.faults for f in read.slide.fields] == [None if faults is None else tuple(faults) for faults in judged]
        assert read.slide.blank_views == row.get("blank_views", 0)
        assert [list(picture) for picture in read.slide.skipped] == json.loads(row.get("skipped", "[]"))
        assert read.summary == row["summary"]
        calibration = read.provenance.calibration
        assert calibration is not None
        assert calibration.model_dump(mode="json") == json.loads(row["calibration"])
        if "source" in row:
            assert read.provenance.source is not None
            assert read.provenance.source.model_dump(mode="json") == json.loads(row["source"])
        assert_page_complete(read)


def assert_page_complete(read: StoredSlide) -> None:
    text = page(read)
    assert all(field.source in text for field in read.slide.fields)
    assert ("were not judged</b>" in text) == any(field.faults is None for field in read.slide.fields)
    if read.summary is not None:
        summary = read_summary(read.summary).payload
        assert f"of {summary.target_cells} wanted" in text
        assert str(summary.message_id) in text
        assert (" unreadable</div>" in text) == bool(summary.skipped_pictures)


def test_there_is_a_record_of_each_version_with_a_slide_of_each_end() -> None:
    for path in RECORDS:
        states = {row["state"] for row in rows(path, "SELECT state FROM slides")}
        assert states == {"review", "aborted", "counting"}
    versions = {rows(path, "SELECT max(version) AS v FROM schema_version")[0]["v"] for path in RECORDS}
    assert versions == set(range(1, len(SCHEMA) + 1)), "freeze a record of the new version (tests/messages/README.md)"


def content(record: Path) -> dict[str, Any]:
    cells = """SELECT cells.*, jpeg FROM cells JOIN fields USING (slide_id, field_index)
        LEFT JOIN crops USING (slide_id, field_index, position) WHERE undone = 0 ORDER BY slide_id, field_index, position"""
    fields = "SELECT * FROM fields WHERE undone = 0 ORDER BY slide_id, field_index"
    return {
        "slides": rows(record, "SELECT * FROM slides ORDER BY sequence"),
        "fields": rows(record, fields),
        "cells": rows(record, cells),
    }


def test_a_record_that_may_only_be_read_is_read_as_it_is(record: Path) -> None:
    before, stored = record.read_bytes(), content(record)
    record.chmod(0o444)
    with Store.read(record) as store:
        assert_complete(store, stored)
    assert record.read_bytes() == before


def test_a_record_is_migrated_once_and_keeps_everything(record: Path) -> None:
    stored = content(record)
    with Store.open(record) as store:
        assert store.put_aside is None
        assert_complete(store, stored)
        (unfinished,) = store.unfinished()
        ended = replace(unfinished.slide, state=SlideState.REVIEW, finished_at=unfinished.slide.started_at)
        store.close_slide(ended, None)
        assert not store.unfinished()
        if unfinished.provenance.source is not None:
            summary = build_summary(ended, unfinished.provenance, message_id=uuid4(), target_cells=200)
            assert summary.pictures is not None
            assert summary.pictures.judged == sum(field.faults is not None for field in ended.fields)
    versions = [row["version"] for row in rows(record, "SELECT version FROM schema_version ORDER BY version")]
    assert versions == list(range(1, len(SCHEMA) + 1))
    with Store.open(record) as store:
        assert len(store.slides()) == len(stored["slides"])


@pytest.mark.parametrize("record", [path for path in RECORDS if path.stem.startswith("1-")], indirect=True)
def test_a_full_field_of_an_old_record_had_met_the_limit(record: Path) -> None:
    with closing(sqlite3.connect(record)) as db:
        slide_id = db.execute("SELECT slide_id FROM slides ORDER BY sequence").fetchone()[0]
        cell = db.execute("SELECT * FROM cells WHERE slide_id = ?", (slide_id,)).fetchone()
        db.execute("DELETE FROM cells WHERE slide_id = ? AND field_index = ?", cell[:2])
        db.executemany(f"INSERT INTO cells VALUES ({', '.join('?' * len(cell))})", ((*cell[:2], at, *cell[3:]) for at in range(300)))
        db.commit()
    with Store.read(record) as store:
        assert [field.limit_met for field in store.slide(slide_id).slide.fields].count(True) == 1
        assert "at least 30" in page(store.slide(slide_id))

"""What of a record can be begun anew is, at the start; the slide that was open and those before it are there as they were."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from device.clock import SystemClock
from device.slide.commands import Command, Wish
from device.store import Store
from device.store.late import LateStore
from tests.support.picture_line import DESK, OneNeutrophil, Pictures, counted, pipeline_of

pytestmark = pytest.mark.integration

LEAST = ("schema_version", "outbox", "review", "summaries", "quality_checks", "deletions")
LATER = ("identity", "sequences", "receipts", "quarantine", "brokers")


def sql(*statements: str) -> Callable[[Path], object]:
    def damage(record: Path) -> None:
        with closing(sqlite3.connect(record, isolation_level=None)) as db:
            for statement in statements:
                db.execute(statement)

    return damage


def in_the_way(tail: str, what: str) -> Callable[[Path], object]:
    def damage(record: Path) -> None:
        place = Path(f"{record}{tail}")
        place.unlink(missing_ok=True)
        if what == "folder":
            place.mkdir()
        elif what == "pipe":
            os.mkfifo(place)
        else:
            place.symlink_to(place.name)

    return damage


DAMAGE: dict[str, Callable[[Path], object]] = {
    **{f"no {table}": sql(f"DROP TABLE {table}") for table in (*LEAST, *LATER)},
    **{f"empty {table}": sql(f"DELETE FROM {table}") for table in ("schema_version", "identity", "sequences")},
    **{f"a view for {table}": sql(f"DROP TABLE {table}", f"CREATE VIEW {table} AS SELECT 1 AS x") for table in ("outbox", "sequences")},
    **{
        f"{table} without its key": sql(
            f"CREATE TABLE copy AS SELECT * FROM {table}", f"DROP TABLE {table}", f"ALTER TABLE copy RENAME TO {table}"
        )
        for table in ("outbox", "summaries", "sequences", "receipts", "quarantine")
    },
    **{f"a column more in {table}": sql(f"ALTER TABLE {table} ADD COLUMN later TEXT") for table in ("crops", "summaries", "sequences")},
    **{
        f"a trigger on {t}": sql(f"CREATE TRIGGER t BEFORE INSERT ON {t} BEGIN SELECT raise(abort, 'no'); END")
        for t in ("fields", "outbox")
    },
    "a unique index": sql("CREATE UNIQUE INDEX one ON outbox (topic) WHERE sequence < 0"),
    "numbers used up": sql("UPDATE sqlite_sequence SET seq = 9223372036854775807"),
    "sequences used up": sql("UPDATE sequences SET last = 9223372036854775807"),
    "a stream that is none": sql("UPDATE identity SET value = char(27) WHERE key = 'stream'"),
    "no mark of the program": sql("PRAGMA application_id = 0"),
    **{f"a {what} at {tail}": in_the_way(tail, what) for tail in ("-wal", "-shm") for what in ("folder", "loop")},
    "a folder at -journal": in_the_way("-journal", "folder"),
    "a pipe at -shm": in_the_way("-shm", "pipe"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_the_open_slide_goes_on_and_its_summary_is_put_into_the_outbox(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = tmp_path / "record.sqlite"
    with Store.open(record) as store:
        finished = counted(tmp_path, store, [1, 1, 1, 2, 2, 2], finish=True)
        left = counted(tmp_path, store, [3, 3, 3, 4, 4, 4], finish=False)
    DAMAGE[what](record)
    with LateStore(record, SystemClock()) as store:
        pipeline = pipeline_of(tmp_path, Pictures([5, 5, 5, 6, 6, 6]), OneNeutrophil(), store=store, rules=DESK)
        for _ in range(6):
            pipeline.round()
        assert not pipeline.recovers, store.fault
        assert pipeline.slide is not None and pipeline.slide.slide_id == left and len(pipeline.slide.fields) >= 2
        assert pipeline.obey(Wish(Command.FINISH, sure=True))[0]
        assert pipeline.close(), pipeline.record_status.reason
        kept = store.slide(left).slide
        assert len(kept.fields) == len(pipeline.slide.fields) and store.check_slide(left).faults == ()
        assert store.slide(finished).slide.slide_id == finished
        assert store.put_aside is None
        assert any(row.slide_id == left and row.kind == "summary" for row in store.pending())
    assert not [row for row in caplog.records if row.exc_info]
    with Store.open(record) as store:  # nothing is left to be mended
        caplog.clear()
    assert not [row for row in caplog.records if row.levelname == "ERROR"]


@pytest.mark.parametrize(
    "column", ["models.name", "models.score_threshold", "slides.started_at", "fields.source", "fields.focus", "cells.score"]
)
def test_a_text_that_became_bytes_puts_the_slide_aside_and_others_are_counted(column: str, tmp_path: Path) -> None:
    record, (table, name) = tmp_path / "record.sqlite", column.split(".")
    with Store.open(record) as store:
        left = counted(tmp_path, store, [3, 3, 3, 4, 4, 4], finish=False)
    loose = "replace(replace(sql, 'STRICT, WITHOUT ROWID', 'WITHOUT ROWID'), ' STRICT', '')"
    sql("PRAGMA writable_schema = 1", f"UPDATE sqlite_master SET sql = {loose} WHERE name = '{table}'")(record)
    sql(f"UPDATE {table} SET {name} = x'fffe00'")(record)
    with LateStore(record, SystemClock()) as store:
        pipeline = pipeline_of(tmp_path, Pictures([5, 5, 5, 6, 6, 6]), OneNeutrophil(), store=store, rules=DESK)
        assert not pipeline.recovers, "the box must not wait for ever"
        assert pipeline.slide is None or pipeline.slide.slide_id != left
        assert [row.name for row in store.quarantine() if row.kind == "slide"] == [left]
        assert pipeline.obey(Wish(Command.START, sure=True))[0]
        for _ in range(6):
            pipeline.round()
        assert pipeline.obey(Wish(Command.FINISH, sure=True))[0] and pipeline.close()


def test_an_id_whose_bytes_are_damaged_keeps_no_slide_from_being_counted(tmp_path: Path) -> None:
    record = tmp_path / "record.sqlite"
    with Store.open(record) as store:
        counted(tmp_path, store, [3, 3, 3, 4, 4, 4], finish=False)
    sql("UPDATE slides SET slide_id = CAST(x'ff41' AS TEXT)")(record)
    for _ in range(2):
        with LateStore(record, SystemClock()) as store:
            pipeline = pipeline_of(tmp_path, Pictures([5, 5, 5, 6, 6, 6]), OneNeutrophil(), store=store, rules=DESK)
            assert not pipeline.recovers
            assert len([row for row in store.quarantine() if row.kind == "slide"]) == 1
            assert pipeline.obey(Wish(Command.START, sure=True))[0]
            for _ in range(6):
                pipeline.round()
            assert pipeline.obey(Wish(Command.FINISH, sure=True))[0] and pipeline.close()

"""What the record does when its file is broken, foreign, newer, in use, locked or out of room: nothing lost, one clear line."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from device.errors import StoreError
from device.slide.model import Cell, Field, Slide, SlideState
from device.store import OutboxMessage, Store, faults, free_mb, schema
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.provenance import provenance

NOW = datetime(2026, 11, 23, 18, 15, tzinfo=timezone.utc)
MODEL = EngineInfo("attridet-n", "1.0.0", "ab" * 32, "onnxruntime 1.23.2 CPU", "fp32", (640, 640), LEUKEMIA_ATTRI, 0.25)
SLIDE = Slide("20261123-181512-4f9a2c", NOW)


def field(index: int, crop: bytes = b"jpeg") -> Field:
    cell = Cell(1, 0.9, True, (0.0, 0.0, 9.0, 9.0), np.zeros(15, np.float32), crop)
    return Field(index, NOW.replace(second=index % 60), "test", (640, 480), 1.0, (cell,) * 3)


def begin(store: Store) -> None:
    store.start_slide(SLIDE, provenance(MODEL))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.sqlite"


@pytest.fixture
def full(path: Path) -> Path:
    """A closed record of one slide with 20 fields."""
    with Store.open(path) as store:
        begin(store)
        for index in range(1, 21):
            store.put_field(SLIDE.slide_id, field(index, crop=bytes(2000)))
    return path


def asides(path: Path) -> list[Path]:
    return sorted(path.parent.glob("*.damaged-*"))


@pytest.mark.parametrize("content", [b"slide;cells\n1;24\n" * 400, b"SQLite format 3\0" + bytes(5000), b"\0" * 70_000])
def test_a_file_that_is_no_database_is_put_aside_and_kept(path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(content)
    with caplog.at_level(logging.ERROR), Store.open(path) as store:
        assert store.put_aside is not None
        begin(store)
        assert len(store.slides()) == 1
        assert asides(path) == [store.put_aside]
        assert store.put_aside.read_bytes() == content
    assert "is damaged" in caplog.text
    assert str(store.put_aside) in caplog.text
    with Store.open(path) as again:
        assert again.put_aside is None
        assert len(again.slides()) == 1


def test_a_page_overwritten_in_the_middle_is_found_at_the_start(full: Path) -> None:
    damaged = bytearray(full.read_bytes())
    for page in range(6, len(damaged) // 4096):
        damaged[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
    full.write_bytes(damaged)
    with Store.open(full) as store:
        assert store.put_aside is not None
        assert store.put_aside.read_bytes() == damaged
        assert store.slides() == ()


def test_a_torn_off_end_is_found_at_the_start(full: Path) -> None:
    content = full.read_bytes()
    full.write_bytes(content[: len(content) // 2])
    with Store.open(full) as store:
        assert store.put_aside is not None


def test_the_log_goes_aside_with_the_file(full: Path, tmp_path: Path) -> None:
    with Store.open(full) as store:
        store.put_field(SLIDE.slide_id, field(21))
        wal = Path(f"{full}-wal").read_bytes()
        assert wal
        copy = tmp_path / "copy" / "record.sqlite"
        copy.parent.mkdir()
        copy.write_bytes(b"no database " * 1000)
        Path(f"{copy}-wal").write_bytes(wal)
    with Store.open(copy) as store:
        assert store.put_aside is not None
        assert Path(f"{store.put_aside}-wal").read_bytes() == wal


def test_two_damaged_files_in_one_second_get_two_names(path: Path) -> None:
    for number in range(3):
        path.write_bytes(b"broken %d " % number * 500)
        Store.open(path).close()
    assert sorted(a.read_bytes()[:8] for a in asides(path)) == [b"broken 0", b"broken 1", b"broken 2"]


def test_damage_met_while_running_is_told_and_looked_into_at_the_next_start(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_CHECK_WHOLE_BELOW_BYTES", 0)  # as for a record too large to be read through at every start
    with closing(sqlite3.connect(full)) as db:
        root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'models'").fetchone()[0]
    damaged = bytearray(full.read_bytes())
    damaged[(root - 1) * 4096 : root * 4096] = b"\xa5" * 4096
    full.write_bytes(damaged)
    with Store.open(full) as store:
        assert store.put_aside is None
        with pytest.raises(StoreError, match=r"is damaged .*start the appliance again"):
            store.slides()
    assert schema.suspect(full).exists()
    with Store.open(full) as store:
        assert store.put_aside is not None
        assert not schema.suspect(full).exists()


def test_an_empty_file_is_a_new_record(path: Path) -> None:
    path.touch()
    with Store.open(path) as store:
        assert store.put_aside is None
        assert store.slides() == ()


def test_another_programs_database_is_neither_written_nor_renamed(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE bookmarks (url TEXT)")
    content = path.read_bytes()
    with pytest.raises(StoreError, match=r"record\.sqlite: is another program's database; choose another record\.path") as caught:
        Store.open(path)
    assert caught.value.exit_code == 2
    assert path.read_bytes() == content
    assert asides(path) == []


def test_a_newer_record_is_refused_untouched(full: Path) -> None:
    with closing(sqlite3.connect(full)) as db:
        db.execute("INSERT INTO schema_version VALUES (99, 'later')")
        db.commit()
    for way in (Store.open, Store.connect, Store.read):
        knows = rf"written by a newer version \(schema 99, this one knows {len(schema.SCHEMA)}\); update the appliance"
        with pytest.raises(StoreError, match=knows):
            way(full)
    assert asides(full) == []


def test_an_older_record_is_brought_up_to_date(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "SCHEMA", (*schema.SCHEMA, ("ALTER TABLE slides ADD COLUMN note TEXT",)))
    with pytest.raises(StoreError, match="older version; `leukoscope run` brings it up to date"):
        Store.connect(full)
    with Store.read(full) as store:
        assert len(store.slide(SLIDE.slide_id).slide.fields) == 20
    with Store.open(full) as store:
        assert len(store.slide(SLIDE.slide_id).slide.fields) == 20
    with closing(sqlite3.connect(full)) as db:
        assert db.execute("SELECT max(version) FROM schema_version").fetchone() == (len(schema.SCHEMA),)
        assert db.execute("SELECT note FROM slides").fetchall() == [(None,)]


def test_an_upgrade_that_fails_leaves_the_old_record(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = ("ALTER TABLE slides ADD COLUMN note TEXT", "ALTER TABLE nowhere ADD COLUMN x")
    monkeypatch.setattr(schema, "SCHEMA", (*schema.SCHEMA, second))
    with pytest.raises(StoreError, match="no such table"):
        Store.open(full)
    monkeypatch.undo()
    with Store.open(full) as store:
        assert len(store.slide(SLIDE.slide_id).slide.fields) == 20


def test_places_that_cannot_hold_a_record(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match=r"folder: is not a file; name a file in record\.path"):
        Store.open(tmp_path / "folder")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"its folder .*/file cannot be made: there is a file in its place; choose another"):
        Store.open(tmp_path / "file" / "record.sqlite")
    with pytest.raises(StoreError, match=r"cannot be made: Not a directory; choose another record\.path"):
        Store.open(tmp_path / "file" / "deeper" / "record.sqlite")
    with pytest.raises(StoreError, match="there is none yet; `leukoscope run` begins it"):
        Store.read(tmp_path / "record.sqlite")
    assert not (tmp_path / "record.sqlite").exists()


def test_one_daemon_a_record(path: Path) -> None:
    """Also across processes; a process that ends, however, frees it."""
    with Store.open(path), pytest.raises(StoreError, match=r"in use by another leukoscope \(process \d+\): stop it"):
        Store.open(path)
    code = "import sys; from device.store import Store; s = Store.open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StoreError, match=rf"in use by another leukoscope \(process {other.pid}\)"):
            Store.open(path)
        other.kill()
    Store.open(path).close()


def test_a_lock_by_another_program_is_told_and_passes(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", 0.05)
    with Store.open(full) as store, closing(sqlite3.connect(full, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"cannot keep field 21 .*another program has locked it"):
            store.put_field(SLIDE.slide_id, field(21))
        assert len(store.slide(SLIDE.slide_id).slide.fields) == 20
        other.execute("ROLLBACK")
        store.put_field(SLIDE.slide_id, field(21))
        assert len(store.slide(SLIDE.slide_id).slide.fields) == 21


def test_no_room_is_told_changes_nothing_and_passes(full: Path) -> None:
    with Store.open(full) as store:
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages}")
        large = field(21, crop=bytes(40_000))
        with pytest.raises(StoreError, match=r"record\.sqlite: cannot keep field 21 .*disk is full \(\d+ MB free\): free space on it"):
            store.put_field(SLIDE.slide_id, large)
        assert len(store.slide(SLIDE.slide_id).slide.fields) == 20
        kept = store.slide(SLIDE.slide_id, with_crops=True).slide
        finished = replace(kept.with_field(large), state=SlideState.REVIEW, finished_at=NOW)
        message = OutboxMessage("m-1", "t", b"{}", NOW)
        with pytest.raises(StoreError, match="disk is full"):
            store.close_slide(finished, message)
        assert store.pending_count() == 0
        assert store.slide(SLIDE.slide_id).slide.state is SlideState.COUNTING
        store._db.execute("PRAGMA max_page_count = 1000000")
        store.close_slide(finished, message)
        assert len(store.slide(SLIDE.slide_id).slide.fields) == 21
        assert store.pending_count() == 1


def test_free_space_is_asked_of_the_disk_that_will_hold_the_record(tmp_path: Path) -> None:
    expected = shutil.disk_usage(tmp_path).free // 1_000_000
    assert free_mb(tmp_path / "not" / "yet" / "record.sqlite") == pytest.approx(expected, abs=200)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("database or disk is full", "free space on it, then it goes on"),
        ("attempt to write a readonly database", "mount its disk read-write"),
        ("database is locked", "close that program"),
        ("unable to open database file", "cannot be opened"),
        ("disk I/O error", "its disk fails"),
        ("file is not a database", "start the appliance again"),
        ("something else", "cannot test: something else"),
    ],
)
def test_every_fault_names_the_file_and_the_next_step(tmp_path: Path, words: str, told: str) -> None:
    line = faults.advice(tmp_path / "record.sqlite", "test", sqlite3.DatabaseError(words))
    assert line.startswith(f"record {tmp_path}/record.sqlite: cannot test: ")
    assert told in line
    assert "\n" not in line


def test_a_name_of_a_table_that_is_no_text_is_damage(full: Path) -> None:
    """SQLite's own words about it cannot be read then."""
    full.write_bytes(full.read_bytes().replace(b"CREATE TABLE outbox", b"CREATE TABLE \xac\xffbox", 1).replace(b"STRICT", b"ST\xacICT"))
    with pytest.raises(StoreError, match="is damaged"):
        Store.read(full)
    with Store.open(full) as store:
        assert store.put_aside is not None


def test_a_column_whose_name_is_damaged_is_found_at_the_start(full: Path) -> None:
    full.write_bytes(full.read_bytes().replace(b"provisional INTEGER", b"provisionam INTEGER", 1))
    with Store.open(full) as store:
        assert store.put_aside is not None
        begin(store)


def test_nobody_else_may_read_a_record(tmp_path: Path) -> None:
    path = tmp_path / "state" / "record.sqlite"
    before = os.umask(0o022)
    try:
        with Store.open(path) as store:
            begin(store)
            modes = {each.name: each.stat().st_mode & 0o777 for each in (path.parent, *path.parent.iterdir())}
    finally:
        os.umask(before)
    assert modes.pop("state") == 0o750
    assert {"record.sqlite", "record.sqlite-wal", "record.sqlite.lock"} <= set(modes)
    assert set(modes.values()) == {0o640}

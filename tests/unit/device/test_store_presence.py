"""The record deleted, moved or replaced while it is open: nothing counted is lost, and it is said once."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from device.errors import StoreError
from device.store import Store, presence, schema, verifying
from tests.support.kept import MODEL, keep
from tests.support.provenance import provenance
from tests.support.review import ordinary
from tests.unit.device.test_store_checksums import ID, OPEN, field, keyframe


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Open, with a slide of three fields, most of it in the log only."""
    with Store.open(tmp_path / "state" / "record.sqlite") as opened:
        opened.start_slide(OPEN, provenance(MODEL))
        for index in (1, 2, 3):
            opened.put_fields(ID, (field(index),), OPEN, keyframes=(keyframe(index),))
        yield opened


def delete(record: Path) -> None:
    record.unlink()


def delete_all(record: Path) -> None:
    shutil.rmtree(record.parent)


def delete_log(record: Path) -> None:
    Path(f"{record}-wal").unlink()


def move(record: Path) -> None:
    record.rename(record.with_name("elsewhere.sqlite"))


def replace(record: Path) -> None:
    other = record.with_name("other.sqlite")
    keep(other, ordinary("Myeloblast"))
    other.replace(record)


HANDS = {"deleted or moved": [delete, move, delete_all], "lost its log": [delete_log], "replaced": [replace]}
CASES = [(hand, words) for words, hands in HANDS.items() for hand in hands]


@pytest.mark.parametrize(("hand", "words"), CASES)
def test_all_that_was_counted_is_saved_again(
    store: Store, hand: Callable[[Path], None], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = Store.connect(store.path)
    hand(store.path)
    with pytest.raises(StoreError, match="the appliance that counts saves it again"):
        publisher.pending()
    store.put_fields(ID, (field(4),), OPEN)
    publisher.close()
    with Store.connect(store.path) as publisher:
        assert publisher.pending() == ()
    store.put_fields(ID, (field(5),), OPEN)
    assert store.watch() == ""
    assert [row.index for row in store.slide(ID).slide.fields] == [1, 2, 3, 4, 5]
    assert verifying.verify(store.path).sound
    (row,) = store.quarantine()
    assert row.kind == "write"
    assert words in row.why
    assert caplog.text.count("saved again with all that was counted") == 1
    assert len(list(store.path.parent.glob("record.sqlite.replaced-*"))) == (hand is replace)
    with pytest.raises(StoreError, match="in use by another"):
        Store.open(store.path)
    store.close()
    with Store.open(store.path) as again:  # also what was written last is in the new file
        assert len(again.slide(ID).slide.fields) == 5
        assert again.put_aside is None


def test_it_is_noticed_while_nothing_is_counted(store: Store) -> None:
    delete(store.path)
    assert store.watch() == ""
    with closing(sqlite3.connect(store.path)) as db:
        assert db.execute("SELECT count(*) FROM fields").fetchone() == (3,)


def test_without_room_it_is_a_state_told_once_and_tried_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    move(store.path)
    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr(presence, "copy_database", full)
        for _ in range(3):
            with pytest.raises(StoreError, match=r"was deleted or moved away, and cannot be saved again: .*disk is full"):
                store.put_fields(ID, (field(4),), OPEN)
            assert "cannot be saved again" in store.watch()
        assert caplog.text.count("cannot be saved again") == 1
    store._look_again_s = 0.0
    store.put_fields(ID, (field(4),), OPEN)
    assert len(store.slide(ID).slide.fields) == 4


def test_a_disk_that_does_not_answer_is_no_deletion(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Path) -> os.stat_result:
        raise OSError(errno.EIO, "Input/output error")

    inode = store.path.stat().st_ino
    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", fails)
        store.put_fields(ID, (field(4),), OPEN)
        assert store.watch() == ""
    assert store.path.stat().st_ino == inode
    assert store.quarantined() == 0


def test_what_happened_is_listed_also_where_another_program_holds_the_new_file_just_then(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, held = schema.connect, list[sqlite3.Connection]()

    def held_by_another(path: Path) -> sqlite3.Connection:
        made = connect(path)
        made.execute("PRAGMA busy_timeout = 0")
        held.append(sqlite3.connect(path, isolation_level=None))
        held[0].execute("BEGIN IMMEDIATE")
        return made

    move(store.path)
    with monkeypatch.context() as patched:
        patched.setattr(schema, "connect", held_by_another)
        assert store.watch() == ""
    assert store.quarantined() == 0
    held[0].execute("ROLLBACK")
    held[0].close()
    for index in (4, 5):
        store.put_fields(ID, (field(index),), OPEN)
    (row,) = store.quarantine()
    assert "deleted or moved" in row.why


def test_twice_in_one_second_is_listed_twice(store: Store) -> None:
    for _ in range(2):
        delete(store.path)
        assert store.watch() == ""
    assert store.quarantined() == 2

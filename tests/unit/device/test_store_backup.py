"""Verify, backup and restore by their commands, on a real record, beside a real process that writes."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from device.errors import StoreError
from device.slide.model import SlideState
from device.store import Store, verifying
from device.store import backup as backups
from tests.support.box_commands import leukoscope
from tests.support.kept import keep, sign
from tests.support.review import ordinary, slide

SIGNED, OPEN = "20261123-181512-4f9a2c", "20261130-120000-aaaaaa"

WRITER = """
import sys, time
from pathlib import Path
from device.store import Store
from tests.unit.device.test_store_checksums import ID, MODEL, OPEN, field, keyframe
from tests.support.provenance import provenance
with Store.open(Path(sys.argv[1])) as store:
    store.start_slide(OPEN, provenance(MODEL))
    print("begun", flush=True)
    for index in range(1, 101):
        store.put_fields(ID, (field(index, 20),), OPEN, keyframes=(keyframe(index),))
    print("done", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A signed slide whose summary waits, and an open one with pictures."""
    path = tmp_path / "state" / "record.sqlite"
    keep(path, ordinary("Myeloblast"), unsent=True, pictures=True)
    sign(path, SIGNED)
    keep(path, replace(slide(("Neutrophil",) * 3), slide_id=OPEN, state=SlideState.COUNTING, finished_at=None), pictures=True)
    (tmp_path / "device.yaml").write_text(f"device: {{id: x, state_dir: {path.parent}}}\ncamera: {{kind: simulator}}\n")
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "device.yaml"


def by_hand(record: Path, statement: str) -> None:
    with closing(sqlite3.connect(record)) as db, db:
        db.execute(statement)


def test_verify_says_what_is_sound_and_what_is_damaged(record: Path, config: Path) -> None:
    said = leukoscope("verify", "--config", config)
    assert said.code == 0
    assert "2 slides with 3 fields read: no damage found" in said.text
    by_hand(record, "UPDATE cells SET class_index = 3 WHERE field_index = 1 AND position = 7")
    said = leukoscope("verify", "--config", config)
    assert said.code == 1
    assert f"DAMAGED slide {SIGNED}: field 1 is not as it was written" in said.text
    assert "leukoscope restore" in said.text
    assert leukoscope("verify", OPEN, "--config", config).code == 0
    assert leukoscope("verify", SIGNED, "--config", config).code == 1
    said = leukoscope("verify", "nobody", "--config", config)
    assert said.code == 2
    assert "no slide nobody" in said.text


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE outbox SET payload = CAST(replace(CAST(payload AS TEXT), 'attridet-n', 'attridet-m') AS BLOB)", "outbox: message"),
        ("UPDATE review SET said = 'Monocyte' WHERE number = 2", "review: entry 2 was changed after it was written"),
        ("DELETE FROM fields WHERE field_index = 2", "a field is missing"),
        ("UPDATE fields SET slide_id = 'x' WHERE field_index = 2", "belongs to no row of"),
    ],
)
def test_verify_looks_at_all_of_it(record: Path, config: Path, statement: str, words: str) -> None:
    by_hand(record, statement)
    said = leukoscope("verify", "--config", config)
    assert said.code == 1
    assert words in said.text


def test_a_picture_that_is_gone_is_told(record: Path, config: Path) -> None:
    shutil.rmtree(record.parent / "pictures" / OPEN)
    said = leukoscope("verify", "--config", config)
    assert said.code == 0
    assert f"slide {OPEN}: the pictures of fields 1 are gone" in said.text


def test_a_record_cut_short_is_damage(record: Path, config: Path) -> None:
    by_hand(record, "PRAGMA user_version = 0")
    content = record.read_bytes()
    record.write_bytes(content[: len(content) // 2])
    said = leukoscope("verify", "--config", config)
    assert said.code == 1
    assert "DAMAGED record" in said.text


def test_of_an_old_record_it_says_that_nothing_was_checked(tmp_path: Path, config: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    config.write_text(f"device: {{id: x, state_dir: {state}}}\ncamera: {{kind: simulator}}\n")
    shutil.copyfile(Path(__file__).parents[2] / "records" / "4-f503a33.sqlite", state / "record.sqlite")
    said = leukoscope("verify", "--config", config)
    assert said.code == 0
    assert "3 not checked, from versions without checksums" in said.text


def test_there_and_back(record: Path, config: Path, tmp_path: Path) -> None:
    to = tmp_path / "stick" / "monday"
    said = leukoscope("backup", to, "--config", config)
    assert said.code == 0
    manifest = json.loads((to / "manifest.json").read_bytes())
    assert len(manifest["pictures"]) == 3
    assert manifest["damage"] == {}
    assert "AB" not in (to / "manifest.json").read_text()
    with Store.read(record) as store:
        before, stream = store.pending(), store.fact("stream")
        assert store.fact("backup_at")
    assert leukoscope("backup", to, "--config", config).code == 2  # overwrites nothing

    record.unlink()
    shutil.rmtree(record.parent / "pictures")
    keep(record, replace(slide(("Monocyte",)), slide_id="20261201-080000-bbbbbb"))
    said = leukoscope("restore", to, "--config", config)
    assert said.code == 0
    (former,) = record.parent.glob("record.sqlite.before-restore-*")
    with Store.read(former) as store:
        assert store.slide_ids() == ["20261201-080000-bbbbbb"]
    assert leukoscope("verify", "--config", config).code == 0
    with Store.open(record) as store:
        assert store.put_aside is None
        assert store.slide_ids() == [OPEN, SIGNED]
        assert [(message.message_id, message.payload) for message in store.pending()] == [
            (message.message_id, message.payload) for message in before
        ]
        assert store.fact("stream") not in ("", stream)
        assert store.put_aside_row("slide", "x", "y")
    assert len(list((record.parent / "pictures").rglob("*.jpg"))) == 3


def test_restore_changes_nothing_where_it_cannot(record: Path, config: Path, tmp_path: Path) -> None:
    to = tmp_path / "backup"
    assert leukoscope("backup", to, "--no-pictures", "--config", config).code == 0
    with Store.open(record):
        said = leukoscope("restore", to, "--config", config)
        assert said.code == 2
        assert "is in use by another leukoscope" in said.text
    with (to / "record.sqlite").open("r+b") as file:
        file.seek(5000)
        file.write(b"x")
    said = leukoscope("restore", to, "--config", config)
    assert said.code == 2
    assert "is not as it was when the backup was made" in said.text
    assert "manifest.json" in leukoscope("restore", tmp_path, "--config", config).text
    with Store.read(record) as store:
        assert store.slide_ids() == [OPEN, SIGNED]
    assert not list(record.parent.glob("*before-restore*"))
    assert not list(record.parent.glob(".*restoring*"))


def test_a_manifest_of_another_shape_is_refused(record: Path, config: Path, tmp_path: Path) -> None:
    assert leukoscope("backup", tmp_path / "b", "--config", config).code == 0
    path = tmp_path / "b" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"pictures": ["a.jpg"]}))
    said = leukoscope("restore", tmp_path / "b", "--config", config)
    assert said.code == 2
    assert f"{path}: is no manifest that this version knows" in said.text
    with Store.read(record) as store:
        assert store.slide_ids() == [OPEN, SIGNED]


def test_a_damaged_record_is_backed_up_and_the_damage_named(record: Path, config: Path, tmp_path: Path) -> None:
    by_hand(record, "UPDATE slides SET specimen = 'x'")
    said = leukoscope("backup", tmp_path / "b", "--config", config)
    assert said.code == 1
    assert f"DAMAGED slide {OPEN}" in said.text
    said = leukoscope("restore", tmp_path / "b", "--config", config)
    assert said.code == 2
    assert "--damaged-too" in said.text
    assert leukoscope("restore", tmp_path / "b", "--damaged-too", "--config", config).code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")
def test_what_root_brings_back_belongs_to_the_service(record: Path, config: Path, tmp_path: Path) -> None:
    assert leukoscope("backup", tmp_path / "b", "--config", config).code == 0
    shutil.rmtree(record.parent)
    record.parent.mkdir()
    os.chown(record.parent, 4711, 4712)
    assert leukoscope("restore", tmp_path / "b", "--config", config).code == 0
    made = list(record.parent.rglob("*"))
    assert len(made) > 5
    assert {(each.stat().st_uid, each.stat().st_gid) for each in made} == {(4711, 4712)}


def test_without_room_nothing_is_made(record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups, "free_mb", lambda place: 3)
    with pytest.raises(StoreError, match="MB are needed there and 3 MB are free"):
        backups.backup(record, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_backup_while_a_hundred_fields_are_written_is_of_one_moment(tmp_path: Path) -> None:
    record = tmp_path / "record.sqlite"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(record)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert writer.stdout is not None
    try:
        assert writer.stdout.readline() == "begun\n"
        counts = []
        for number in range(4):
            time.sleep(0.05)
            done = backups.backup(record, tmp_path / f"b{number}")
            assert done.report.sound, done.report.damage
            with Store.read(done.folder / "record.sqlite") as store:
                counts.append(len(store.slides()[0].slide.fields))
        assert writer.stdout.readline() == "done\n"
        assert counts == sorted(counts)
        assert counts[0] < 100
    finally:
        writer.communicate("")
    assert verifying.verify(record).sound


def test_what_was_put_aside_is_listed_and_taken_off(record: Path, config: Path) -> None:
    with Store.open(record) as store:
        store.put_aside_row("message", "m 1", "topic\nwith a wildcard")
    said = leukoscope("quarantine", "--config", config)
    assert "message m 1: topic with a wildcard" in said.text
    assert leukoscope("quarantine", "done", "message", "m 1", "--config", config).code == 0
    assert leukoscope("quarantine", "done", "message", "m 1", "--config", config).code == 2
    assert "nothing was put aside" in leukoscope("quarantine", "--config", config).text

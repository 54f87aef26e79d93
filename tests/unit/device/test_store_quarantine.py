"""What of one slide cannot be read is named and put aside; the rest of the record goes on, and no command ends with a traceback."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from device.slide.model import SlideState
from device.store import DamagedSlideError, Store
from device.store.journal import JournalStatus
from device.view import record_lamp
from tests.support.box_commands import leukoscope
from tests.support.kept import keep
from tests.support.review import slide

OPEN, FINISHED = "20261130-120000-aaaaaa", "20261123-181512-4f9a2c"
DAMAGES = {
    "attributes": "UPDATE cells SET attributes = '[0.1, ' WHERE slide_id = :slide",
    "class out of range": "UPDATE cells SET class_index = 99 WHERE slide_id = :slide",
    "state": "UPDATE slides SET state = 'aborNed' WHERE slide_id = :slide",
    "review state": "UPDATE slides SET review_state = 'maybe' WHERE slide_id = :slide",
    "start": "UPDATE slides SET started_at = 'yesterday' WHERE slide_id = :slide",
    "a time without a zone": "UPDATE fields SET captured_at = '2026-11-30T12:00:00' WHERE slide_id = :slide",
    "skipped": "UPDATE slides SET skipped = '[[' WHERE slide_id = :slide",
    "naming": "UPDATE slides SET naming = '{\"no\": 1}' WHERE slide_id = :slide",
    "NUL": "UPDATE slides SET specimen = 'S' || char(0) WHERE slide_id = :slide",
    "not UTF-8": "UPDATE slides SET specimen = CAST(x'48ff32' AS TEXT) WHERE slide_id = :slide",
    "a fault that is none": "UPDATE fields SET faults = '[\"blue\"]' WHERE slide_id = :slide",
}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Two slides: one finished, and a newer one that is open."""
    path = tmp_path / "state" / "record.sqlite"
    sound = slide(("Lymphocyte",) * 3, ("Neutrophil", "Myeloblast"))
    keep(path, sound)
    keep(path, replace(sound, slide_id=OPEN, state=SlideState.COUNTING, finished_at=None, specimen="H26-104"))
    return path


def damage(record: Path, statement: str, slide_id: str = OPEN) -> None:
    with closing(sqlite3.connect(record)) as db, db:
        db.execute(statement, {"slide": slide_id})


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_slide_is_put_aside_once_and_the_others_stay(record: Path, what: str, caplog: pytest.LogCaptureFixture) -> None:
    damage(record, DAMAGES[what])
    for _ in range(2):  # two starts
        with Store.open(record) as store:
            assert store.unfinished() == ()
            assert store.quarantined() == 1
            (row,) = store.quarantine()
            assert (row.kind, row.name) == ("slide", OPEN)
            read, damaged = store.readable(store.slide_ids())
            assert [stored.slide.slide_id for stored in read] == [FINISHED]
            assert [error.slide_id for error in damaged] == [OPEN]
            with pytest.raises(DamagedSlideError, match=r"slide 20261130-120000-aaaaaa is damaged .* `leukoscope verify`"):
                store.slide(OPEN)
    assert caplog.text.count("is damaged (") == 1
    assert "H26-104" not in caplog.text
    assert "H" + "\ufffd" not in caplog.text


@pytest.mark.parametrize("what", DAMAGES)
def test_no_command_ends_with_a_traceback(record: Path, tmp_path: Path, what: str) -> None:
    damage(record, DAMAGES[what], FINISHED)
    config = tmp_path / "device.yaml"
    config.write_text(f"device: {{id: x, state_dir: {record.parent}}}\ncamera: {{kind: simulator}}\n")
    said = leukoscope("slides", "--config", str(config))
    assert said.code == 0
    assert OPEN in said.text
    for words in (["slides", "show", FINISHED], ["report", FINISHED, "--out", str(tmp_path / "x.html")]):
        said = leukoscope(*words, "--config", str(config))
        assert said.code == 2
        assert f"slide {FINISHED} is damaged" in said.text
        assert "leukoscope verify" in said.text
    said = leukoscope("slides", "export", "--all", "--out", str(tmp_path / "out"), "--config", str(config))
    assert f"slide {FINISHED} is damaged" in said.text
    assert said.code == 1


def test_numbers_that_changed_are_shown_with_a_warning_and_not_handed_on(record: Path, tmp_path: Path) -> None:
    damage(record, "UPDATE cells SET class_index = 1 - class_index % 2 WHERE slide_id = :slide", FINISHED)
    config = tmp_path / "device.yaml"
    config.write_text(f"device: {{id: x, state_dir: {record.parent}}}\ncamera: {{kind: simulator}}\n")
    assert "DAMAGED IN THE RECORD" in leukoscope("slides", "show", FINISHED, "--config", config).text
    assert leukoscope("report", FINISHED, "--out", tmp_path / "x.html", "--config", config).code == 0
    assert "DAMAGED IN THE RECORD" in (tmp_path / "x.html").read_text()
    for wanted in (FINISHED, "--all"):
        said = leukoscope("slides", "export", wanted, "--out", tmp_path / "out", "--config", config)
        assert said.code != 0
        assert f"slide {FINISHED} is damaged (field 1 is not as it was written" in said.text
    with Store.open(record) as store:
        store.put_aside_row("slide", FINISHED, "field 1 is not as it was written")
    assert f"slide {FINISHED} is damaged and was put aside" in leukoscope("slides", "--config", config).text


@pytest.mark.parametrize("statement", ["DELETE FROM schema_version", "UPDATE schema_version SET version = 37 WHERE version = 5"])
def test_a_damaged_list_of_versions_is_told_by_the_tables(record: Path, statement: str, caplog: pytest.LogCaptureFixture) -> None:
    damage(record, statement)
    with Store.read(record) as store:
        assert len(store.slides()) == 2
    with caplog.at_level(logging.ERROR), Store.open(record) as store:
        assert store.put_aside is None
        assert len(store.slides()) == 2
    assert "list of versions was damaged" in caplog.text
    with Store.connect(record) as store:
        assert len(store.slides()) == 2


def test_what_was_put_aside_is_counted_and_named_once(record: Path) -> None:
    with Store.open(record) as store:
        assert store.put_aside_row("message", "m1", "topic with a wildcard", b"payload")
        assert not store.put_aside_row("message", "m1", "again")
        assert store.put_aside_row("picture", "caf\udce9.png", "unreadable")
        assert store.quarantined() == 2
        assert [(row.kind, row.name, row.why, row.content) for row in store.quarantine(with_content=True)] == [
            ("picture", "caf\\udce9.png", "unreadable", b""),
            ("message", "m1", "topic with a wildcard", b"payload"),
        ]


def test_the_lamp_says_how_much_was_put_aside() -> None:
    lamp = record_lamp(JournalStatus(put_aside=2))
    assert (lamp.level, lamp.text) == ("warn", "2 things put aside, call the field team")

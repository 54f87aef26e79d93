"""Old slides go with all that hangs on them and leave a line in the log; what must stay stays, whoever asks."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from rich.console import Console

from device.cli import call
from device.errors import StoreError
from device.report import keeping
from device.report.keeping import candidates, check_words, delete
from device.report.terminal import print_deletion, print_deletions, print_slide
from device.slide.model import Slide, SlideState
from device.store import Store
from tests.support.kept import keep, sign
from tests.support.review import BEGUN, ordinary

NOW = BEGUN + timedelta(days=100)
IDS = [f"2026112{n}-181512-aaaaaa" for n in range(6)]
SPECIMEN = "26-004711"


def slide(slide_id: str, age_days: int = 100, **changed: object) -> Slide:
    begun = NOW - timedelta(days=age_days)
    made = replace(ordinary("Myeloblast"), slide_id=slide_id, specimen=SPECIMEN, started_at=begun, finished_at=begun)
    return replace(made, **changed)  # type: ignore[arg-type]


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """plain and old, signed, unsent, open, with a doubtful clock, young."""
    monkeypatch.setattr(keeping, "time_trusted", lambda now: True)
    path = tmp_path / "record.sqlite"
    keep(path, slide(IDS[0]), pictures=True)
    keep(path, slide(IDS[1]), pictures=True)
    keep(path, slide(IDS[2]), unsent=True)
    keep(path, slide(IDS[4]), trusted=False)
    keep(path, slide(IDS[5], age_days=10))
    keep(path, slide(IDS[3], state=SlideState.COUNTING, finished_at=None))
    sign(path, IDS[1], at=NOW - timedelta(days=90))
    return path


def chosen(record: Path, signed: bool = False) -> dict[str, str]:
    with Store.read(record) as store:
        return {one.slide_id: one.stays for one in candidates(store, 60, signed, NOW)}


def test_what_goes_and_why_the_rest_stays(record: Path) -> None:
    assert chosen(record) == {
        IDS[0]: "",
        IDS[1]: "is signed: say --signed to delete signed slides too",
        IDS[2]: "waits to be sent to the broker",
        IDS[3]: "is still open",
        IDS[4]: "its dates are not to be relied on: the clock was not synchronised",
    }
    assert chosen(record, signed=True)[IDS[1]] == ""
    assert chosen(record, signed=True)[IDS[2]] != ""


def test_a_slide_goes_with_everything_and_leaves_a_line(record: Path) -> None:
    with Store.read(record) as store:
        old = candidates(store, 60, True, NOW)
    done = delete(record, old, "km", "older than  sixty days", NOW)
    assert (set(done.slides), done.pictures, done.left) == ({IDS[0], IDS[1]}, 4, ())
    assert not [path for path in (record.parent / "pictures").iterdir() if path.name in IDS[:2]]
    with closing(sqlite3.connect(record)) as db:
        for table in ("slides", "fields", "cells", "crops", "review", "summaries", "keyframes"):
            left = {row[0] for row in db.execute(f"SELECT DISTINCT slide_id FROM {table}")}
            assert not left & set(IDS[:2]), table
        [first, second] = db.execute("SELECT slide_id, who, why, what FROM deletions ORDER BY slide_id").fetchall()
    assert first[:3] == (IDS[0], "KM", "older than sixty days") and '"cells": 101' in first[3]
    assert '"state": "signed"' in second[3] and '"review": 10' in second[3]
    raw = record.read_bytes() + b"".join(path.read_bytes() for path in record.parent.glob("record.sqlite-*"))
    assert IDS[0].encode() in raw  # the log's line


def test_the_file_forgets_what_was_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "time_trusted", lambda now: True)
    path = tmp_path / "record.sqlite"
    keep(path, slide(IDS[0]))
    before = path.stat().st_size
    with Store.read(path) as store:
        old = candidates(store, 60, False, NOW)
    delete(path, old, "KM", "old", NOW)
    raw = path.read_bytes() + b"".join(each.read_bytes() for each in tmp_path.glob("record.sqlite-*"))
    assert SPECIMEN.encode() not in raw
    assert path.stat().st_size <= before


def test_a_slide_that_is_sent_later_is_not_deleted_in_between(record: Path) -> None:
    with Store.read(record) as store:
        old = candidates(store, 60, False, NOW)
    with Store.open(record) as store:
        message = store.pending()[0]
        store.acknowledge(message.message_id)
    with closing(sqlite3.connect(record)) as db, db:  # the first slide waits again
        db.execute(
            "INSERT INTO outbox (message_id, topic, payload, created_at) VALUES ('m', 't', ?, '2026')",
            (f'{{"slide_id": "{IDS[0]}"}}'.encode(),),
        )
    done = delete(record, old, "KM", "old", NOW)
    assert done.slides == () and "waits to be sent to the broker, so it is kept" in done.left[0]
    with Store.read(record) as store:
        assert store.slide(IDS[0]).slide.cells


def test_it_works_beside_a_running_appliance(record: Path) -> None:
    with Store.open(record) as daemon:
        with Store.read(record) as store:
            old = candidates(store, 60, False, NOW)
        assert delete(record, old, "KM", "old", NOW).slides == (IDS[0],)
        daemon.put_field(IDS[3], slide(IDS[3]).fields[0])
        assert IDS[0] not in daemon.slide_ids()


def test_pictures_that_a_power_cut_left_behind_go_next_time(record: Path) -> None:
    with Store.open(record) as store:
        store.delete_slide(IDS[0], "KM", "old", NOW)
    assert (record.parent / "pictures" / IDS[0]).is_dir()
    done = delete(record, (), "KM", "old", NOW)
    assert done.pictures == 2 and not (record.parent / "pictures" / IDS[0]).exists()
    assert (record.parent / "pictures" / IDS[1]).is_dir()


@pytest.mark.parametrize(
    ("who", "why", "said"),
    [
        ("K", "old", "--who: initials are needed, 2 to 4 letters"),
        ("Karl Meier", "old", "--who: initials"),
        ("KM", "  ", "--reason: say why"),
        ("KM", f"asked for {SPECIMEN}", "--reason: names a specimen"),
    ],
)
def test_the_log_takes_initials_and_a_reason_and_no_specimen(record: Path, who: str, why: str, said: str) -> None:
    with Store.read(record) as store:
        old = candidates(store, 60, False, NOW)
    with pytest.raises(StoreError, match=said):
        check_words(who, why, old)
    with pytest.raises(StoreError, match=said):
        delete(record, old, who, why, NOW)
    assert chosen(record)[IDS[0]] == ""


def test_with_a_clock_that_is_not_to_be_believed_nothing_is_old(tmp_path: Path) -> None:
    keep(tmp_path / "r.sqlite", slide(IDS[0]))
    with Store.read(tmp_path / "r.sqlite") as store, pytest.raises(StoreError, match="clock of this device is not synchronised"):
        candidates(store, 60, False, datetime(1970, 1, 2, tzinfo=timezone.utc))


def printed(act: object, *given: object, **how: object) -> str:
    console = Console(file=io.StringIO(), width=140)
    act(*given, console=console, **how)  # type: ignore[operator]
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


def test_without_yes_nothing_is_deleted(record: Path) -> None:
    said = printed(print_deletion, record, 60, "KM", "old", signed=False, do_it=False, now=NOW)
    assert f"{IDS[0]} 2026-11-23 review, 101 cells: goes" in said
    assert "1 slide of 5 older than 60 days; say --yes to delete them." in said
    assert chosen(record)[IDS[0]] == ""
    done = printed(print_deletion, record, 60, "KM", "old", signed=False, do_it=True, now=NOW)
    assert "1 slide deleted, with 2 pictures" in done
    assert f"{IDS[0]} KM: old (state review, revision 0, " in printed(print_deletions, record)


def test_one_slide_in_the_terminal(record: Path) -> None:
    said = printed(print_slide, record, IDS[1])
    assert said.startswith("REVIEWED For review, not a diagnosis.")
    for words in (
        f"Specimen: {SPECIMEN}",
        "Signed by: AB,",
        "revision 1",
        "Myeloblast 1 1.0 1 1.0",
        "Blasts and equivalents together 1",
    ):
        assert words in said
    assert printed(print_slide, record, IDS[0]).startswith("UNREVIEWED")


def test_the_commands_say_what_is_wrong_and_end_with_2(record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "device.yaml"
    config.write_text(f"camera: {{kind: simulator}}\nrecord: {{path: {record}}}\n", encoding="utf-8")
    out, given = str(tmp_path / "out"), ["--config", str(config)]
    assert call(["slides", *given]) == 0
    listed = " ".join(capsys.readouterr().out.split())
    assert SPECIMEN in listed and "signed AB, r1" in listed
    assert call(["slides", "show", IDS[1], *given]) == 0
    assert call(["slides", "export", IDS[1], "--out", out, *given]) == 0
    assert capsys.readouterr().out.strip().endswith(f"{out}/{IDS[1]}-r1")
    assert call(["slides", "export", "--since", "2026-11-01", "--out", out, *given]) == 0
    assert "(unchanged)" in capsys.readouterr().out
    assert call(["export", "--labels", str(tmp_path / "labels"), *given]) == 0
    assert "101 cells on 2 fields of 1 slide" in capsys.readouterr().out
    wrong = {
        "name one slide, or say --since DATE, or --all": ["slides", "export", "--out", out],
        "no slide 'x'; the newest are": ["slides", "export", "x", "--out", out],
        "--older-than takes days": ["slides", "delete", "--older-than", "0", "--who", "KM", "--reason", "old"],
        "--who: initials are needed": ["slides", "delete", "--older-than", "60", "--who", "K", "--reason", "old"],
        "exists already": ["export", "--labels", out],
        "no slide 'y'": ["slides", "show", "y"],
    }
    for said, words in wrong.items():
        assert call([*words, *given]) == 2, words
        told = capsys.readouterr().err
        assert said in told and told.count("\n") == 1, told

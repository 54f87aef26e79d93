"""`leukoscope resend`: what is put back into the outbox, what is said of it, and what is refused."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from device.cli import call
from device.errors import StoreError
from device.mqtt.outbox import BROKER, Delivered, OutboxMessage
from device.mqtt.receipt import Receipt
from device.settings import broker as broker_settings
from device.slide.counting import FieldsChanged
from device.slide.model import SlideState
from device.store.record import Store
from device.store.resend import Wanted
from tests.integration.mqtt.test_mqtt_record import keep_slide
from tests.support.record_room import SLIDE_ID, done, room_at
from tests.support.review import ordinary

NOW = datetime(2026, 11, 30, 8, tzinfo=timezone.utc)


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A configuration whose record has three slides, all of which have left the outbox: the broker has s-1, "ward" s-2, nobody s-3."""
    record = tmp_path / "record.sqlite"
    config = tmp_path / "device.yaml"
    config.write_text(f"camera: {{kind: simulator}}\ndevice: {{id: clinic-7, state_dir: {tmp_path}}}\nrecord: {{path: {record}}}\n")
    with Store.open(record) as store:
        ids = [str(keep_slide(store, f"s-{n}").message_id) for n in (1, 2, 3)]
        store.delivered(ids[0], NOW)
        assert store.confirm([ids[1]], "ward", NOW + timedelta(hours=1), frozenset(), False) == (ids[1],)
        store.acknowledge(ids[2])
        assert store.pending_count() == 0
        assert store.last_delivered() == Delivered("s-2", NOW + timedelta(hours=1))
    return config


def waiting(box: Path) -> list[tuple[str, int, bytes]]:
    with Store.read(box.parent / "record.sqlite") as store:
        return [(message.slide_id, message.number, message.payload) for message in store.pending()]


def stored(box: Path, slide_id: str) -> bytes:
    with Store.read(box.parent / "record.sqlite") as store:
        ((_, payload),) = store.summaries(slide_id)
        return payload


def test_a_slide_goes_again_with_its_id_and_bytes(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["resend", "s-2", "--config", str(box)]) == 0
    assert capsys.readouterr().out == "slide s-2, revision 0: goes again\n1 summary put into the outbox\n"
    assert waiting(box) == [("s-2", 2, stored(box, "s-2"))]
    assert call(["resend", "s-2", "--config", str(box)]) == 0  # once more: still one row
    assert len(waiting(box)) == 1
    with Store.connect(box.parent / "record.sqlite") as store:  # who had it before does not count again
        assert store.last_delivered().slide_id == "s-1"


def test_since_leaves_out_what_a_receiver_has(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["resend", "--since", "2025-06-03", "--config", str(box)]) == 0
    assert [slide for slide, *_ in waiting(box)] == ["s-1", "s-3"]
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == "2 summaries put into the outbox; 1 left out, which a receiver has confirmed (--all sends them too)"
    assert call(["resend", "--since", "2025-06-03", "--all", "--config", str(box)]) == 0
    assert [slide for slide, *_ in waiting(box)] == ["s-1", "s-2", "s-3"]
    assert call(["resend", "--since", "2035-06-03", "--config", str(box)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "0 summaries put into the outbox"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["s-9"], "no slide s-9; `leukoscope slides` lists them"),
        ([], "name one slide, or say --since DATE"),
        (["s-1", "--since", "2025-06-03"], "name one slide, or say --since DATE"),
        (["s-1", "--all"], "--all goes with --since"),
        (["\x1b[2J"], "no slide ?[2J"),
    ],
)
def test_what_cannot_be_sent_is_refused(box: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["resend", *arguments, "--config", str(box)]) == 2
    assert said in capsys.readouterr().err
    assert waiting(box) == []


def test_a_slide_in_quarantine_can_be_sent_again(box: Path) -> None:
    with Store.connect(box.parent / "record.sqlite") as store:
        store.resend(Wanted("s-1"), "leukoscope")
        (message,) = store.pending()
        store.put_message_aside(message.message_id, "its topic is damaged")
        assert (store.pending_count(), store.quarantined()) == (0, 1)
        assert store.resend(Wanted("s-1"), "leukoscope").summaries == (("s-1", 0),)
        assert (store.pending(), store.quarantined()) == ((message,), 0)


def test_a_damaged_summary_is_named_and_the_others_go(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(box.parent / "record.sqlite") as db:
        db.execute("UPDATE summaries SET payload = CAST('{' AS BLOB) WHERE slide_id = 's-1'")
    assert call(["resend", "--since", "2025-06-03", "--all", "--config", str(box)]) == 1
    assert "what slide s-1 handed over is damaged" in capsys.readouterr().err
    assert [slide for slide, *_ in waiting(box)] == ["s-2", "s-3"]


def test_a_summary_whose_bytes_changed_on_the_disk_does_not_leave(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Still JSON, so that only the slide's checksum knows."""
    with sqlite3.connect(box.parent / "record.sqlite") as db:
        changed = (
            """UPDATE summaries SET payload = CAST(replace(CAST(payload AS TEXT), '"white_cells":1,', '"white_cells":7,') AS BLOB)"""
        )
        assert db.execute(f"{changed} WHERE slide_id = 's-1'").rowcount == 1
    assert b'"white_cells":7,' in stored(box, "s-1")
    assert call(["resend", "s-1", "--config", str(box)]) == 1
    said = capsys.readouterr()
    assert said.out == "0 summaries put into the outbox\n" and "what slide s-1 handed over is damaged" in said.err
    assert waiting(box) == []


def test_what_was_told_of_a_review_goes_again_behind_its_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "device.yaml"
    config.write_text(f"camera: {{kind: simulator}}\ndevice: {{id: box-1, state_dir: {tmp_path}}}\n")
    for room in room_at(tmp_path):
        room.put(ordinary("Eosinophil"))
        review, kept = room.record.open_review(SLIDE_ID, "AB")
        done(done(done(review, kept, "name", [101], "Basophil"), kept, "sign").by("CD"), kept, "sign", "CD")
        first = room.store.pending()
        assert [row.kind for row in first] == ["summary", "summary", "review", "review"]
        for row in first:
            room.store.acknowledge(row.message_id)
        assert room.store.check_slide(SLIDE_ID).words == ""
        assert call(["resend", SLIDE_ID, "--config", str(config)]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "2 summaries and 2 reviews put into the outbox"
        again = {row.message_id: row for row in room.store.pending()}
        assert {key: (row.topic, row.payload, row.number, row.slide_id) for key, row in again.items()} == {
            row.message_id: (row.topic, row.payload, row.number, row.slide_id) for row in first
        }
        assert [row.kind for row in again.values()] == ["summary", "summary", "review", "review"]
        room.store._db.execute("UPDATE review SET told = CAST(replace(CAST(told AS TEXT), 'seconded', 'reopened') AS BLOB)")
        assert "review is not as it was written" in room.store.check_slide(SLIDE_ID).words
        assert room.store.resend(Wanted(SLIDE_ID), "leukoscope").damaged == (SLIDE_ID,)


@pytest.mark.parametrize("left_by", ["waits", "broker", "acknowledged", "quarantine"])
def test_a_write_that_is_repeated_takes_no_number(tmp_path: Path, left_by: str) -> None:
    for room in room_at(tmp_path):
        of = ordinary("Myeloblast")
        writes = list[Callable[[], object]]()

        def keep(name: str, write: Callable[[], object], after: Callable[[], object] = str, writes: Any = writes) -> None:
            writes.append(write)
            write()
            after()

        room.record.journal.add = keep  # type: ignore[method-assign,assignment]
        opened = replace(of, state=SlideState.COUNTING, finished_at=None)
        room.record.started(replace(opened, fields=()), 1920)
        for field in of.fields:
            room.record.counted(opened, FieldsChanged(field, new=True))
        room.record.closed(of, 1920)
        review, kept = room.record.open_review(SLIDE_ID, "AB")
        for cell in review.cells.values():
            review = review.after(review.open(cell.cell_id))
        entries = [*review.entries]
        signing = review.sign()
        kept.keep(review.after(signing), [*entries, *signing])
        first = room.store.pending()
        assert [row.kind for row in first] == ["event", "summary", "summary", "review"]
        for row in first if left_by != "waits" else ():
            if left_by == "quarantine":
                room.store.put_message_aside(row.message_id, "too large")
            elif left_by == "broker" and row.kind != "event":
                room.store.delivered(row.message_id, NOW)
            else:
                room.store.acknowledge(row.message_id)
        for write in writes:
            write()
        assert room.store.pending() == (first if left_by == "waits" else ())
        numbers = dict(room.store._db.execute("SELECT kind, last FROM sequences").fetchall())
        assert numbers == {"event": 1, "summary": 2, "review": 1}
        assert room.store.check_slide(SLIDE_ID).words == ""


def test_receipts_of_what_was_never_here_are_not_kept(box: Path) -> None:
    with Store.connect(box.parent / "record.sqlite") as store:
        assert store.confirm([str(uuid4()) for _ in range(50)], "ward", NOW, frozenset(), False) == ()
        assert store._db.execute("SELECT count(*) FROM receipts").fetchone()[0] == 2


def test_any_or_all_of_the_receivers(box: Path) -> None:
    with Store.connect(box.parent / "record.sqlite") as store:
        store.resend(Wanted("s-1"), "leukoscope")
        (message,) = store.pending()
        key, both = [message.message_id], frozenset({"ward", "lab"})
        assert store.confirm(key, "corridor", NOW, both, False) == ()
        assert store.confirm(key, "lab", NOW, both, True) == ()
        assert store.confirm(key, "lab", NOW, both, True) == ()  # twice the same is not both
        assert store.confirm(key, "ward", NOW, both, True) == (message.message_id,)


def test_a_message_of_its_own_gets_a_number_of_its_kind(box: Path) -> None:
    payload = json.dumps({"sequence": 0, "stream": ""}).encode()
    with Store.connect(box.parent / "record.sqlite") as store:
        put = [store.put_message(OutboxMessage(f"m-{n}", "leukoscope/clinic-7/event", payload, NOW, "event", "s-1")) for n in (1, 2)]
        assert [each.number for each in put] == [1, 2]
        assert [json.loads(each.payload)["sequence"] for each in put] == [1, 2]
        with pytest.raises(StoreError):
            store.resend(Wanted("none"), "leukoscope")


def test_the_names_of_receivers_are_those_of_receipts() -> None:
    assert Receipt.model_json_schema()["properties"]["receiver"]["pattern"] == broker_settings.RECEIVER
    with pytest.raises(ValueError, match="receivers"):
        broker_settings.BrokerSection(receivers=(BROKER,))

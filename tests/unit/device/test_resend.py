"""`leukoscope resend`: what is put back into the outbox, what is said of it, and what is refused."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime, timedelta, timezone
from pathlib import Path
from uuid import uuid4

import pytest

from device.cli import call
from device.errors import StoreError
from device.mqtt.outbox import BROKER, Delivered, OutboxMessage
from device.mqtt.receipt import RECEIVER
from device.settings import broker as broker_settings
from device.store.record import Store
from device.store.resend import Wanted
from tests.integration.mqtt.test_mqtt_record import keep_slide

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
    assert "the summary of slide s-1 is damaged" in capsys.readouterr().err
    assert [slide for slide, *_ in waiting(box)] == ["s-2", "s-3"]


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
    assert broker_settings.RECEIVER == RECEIVER
    with pytest.raises(ValueError, match="receivers"):
        broker_settings.BrokerSection(receivers=(BROKER,))

"""Brokers that offer less than others, and rows that no summary has: what can be delivered is, and the rest is put aside."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from device.demo.broker import MosquittoBroker
from device.mqtt.payloads import SlideSummary
from device.mqtt.publisher import Publisher
from device.settings.broker import BrokerSection
from device.store.record import Store

pytestmark = pytest.mark.integration

Publishing = Callable[..., Publisher]
Until = Callable[[Callable[[], object], str], None]
Fresh = Callable[[], SlideSummary]
OPEN = ("allow_anonymous true",)


@pytest.mark.parametrize("protocol", ["auto", "3.1.1"])
def test_a_broker_that_keeps_no_messages_gets_the_summaries(
    protocol: str,
    mosquitto: object,
    outbox: Any,
    receive: Any,
    publisher_to: Publishing,
    until: Until,
    fresh: Fresh,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It refuses a last will that it should keep: with a word in MQTT 5, without one in 3.1.1."""
    with MosquittoBroker(lines=(*OPEN, "retain_available false")) as broker:
        section = BrokerSection(host="127.0.0.1", port=broker.port, protocol=protocol)
        with receive(section) as receiver, publisher_to(section) as publisher:
            until(lambda: publisher.status.state == "connected", "the connection")
            outbox.put(fresh())
            publisher.notify()
            until(lambda: "For review" in receiver.said and "ONLINE" in receiver.said.upper(), "summary and status")
            until(lambda: publisher.status.state == "connected", "no complaint")
    assert sum("keeps no messages" in r.message for r in caplog.records) == 1, "told once"


DAMAGE = {
    "no device's topic": ("topic = '$SYS/x'", "topic"),
    "another kind of topic": ("topic = 'leukoscope/other/cmd/resend'", "topic"),
    "a control character": ("topic = 'leukoscope/b' || char(1) || '/summary'", "topic"),
    "a topic of 70,000 bytes": ("topic = printf('%.*c', 70000, 'a') || '/b/summary'", "topic"),
    "a kind that is none": ("kind = '../x'", "topic"),
    "far too large": ("payload = zeroblob(40000000)", "40000000 bytes"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_row_that_no_summary_has_is_put_aside(
    what: str, mosquitto: object, outbox: Any, publisher_to: Publishing, until: Until, fresh: Fresh
) -> None:
    change, why = DAMAGE[what]
    outbox.put(fresh())
    with contextlib.closing(sqlite3.connect(outbox.path)) as db, db:
        db.execute(f"UPDATE outbox SET {change}, checksum = ''")  # of a version that had none
    with MosquittoBroker() as broker, publisher_to(BrokerSection(host="127.0.0.1", port=broker.port)) as publisher:
        until(lambda: publisher.status.quarantined == 1 and outbox.pending_count() == 0, "the quarantine")
        assert publisher.status.state == "connected"
    with Store.read(outbox.path) as store:
        (row,) = store.quarantine()
    assert why in row.why


def test_a_row_whose_place_was_damaged_is_sent(
    mosquitto: object, outbox: Any, receive: Any, publisher_to: Publishing, until: Until, fresh: Fresh
) -> None:
    outbox.put(fresh())
    with contextlib.closing(sqlite3.connect(outbox.path)) as db, db:
        db.execute("UPDATE outbox SET sequence = -5")
    with MosquittoBroker() as broker:
        section = BrokerSection(host="127.0.0.1", port=broker.port)
        with receive(section), publisher_to(section):
            until(lambda: outbox.pending_count() == 0, "its delivery")


COLUMNS = ("message_id", "topic", "payload", "created_at", "kind", "slide_id", "number", "attempts", "sent_at", "said", "checksum")


@pytest.mark.parametrize("value", ["CAST(x'ff41' AS TEXT)", "x'fffe00'"])
@pytest.mark.parametrize("column", COLUMNS)
def test_one_row_of_damaged_bytes_hides_no_other(column: str, value: str, outbox: Any, fresh: Fresh) -> None:
    first, second = outbox.put(fresh()), outbox.put(fresh())
    with contextlib.closing(sqlite3.connect(outbox.path, isolation_level=None)) as db:
        db.execute("PRAGMA writable_schema = 1")
        db.execute("UPDATE sqlite_master SET sql = replace(sql, ' STRICT', '') WHERE name = 'outbox'")
    with contextlib.closing(sqlite3.connect(outbox.path, isolation_level=None)) as db:
        db.execute(f"UPDATE outbox SET {column} = {value} WHERE message_id = ?", (str(first.message_id),))
    with Store.connect(outbox.path) as store:
        found = [store.message(head.message_id) for head in store.heads(-(1 << 63), 10)]
        assert found[-1] is not None and found[-1].payload == second.to_bytes()
        kept = len([message for message in found if message is not None])
        assert kept + store.quarantined() == 2 and store.pending_count() == kept, "put aside, or sent as it was written"

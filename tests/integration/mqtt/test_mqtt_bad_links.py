"""Brokers that freeze, links that are long, slow or cut, messages that no broker takes: nothing is lost, and one does not stop all."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from device.demo.broker import MosquittoBroker
from device.mqtt.client import open_link
from device.mqtt.pace import Limits
from device.mqtt.payloads import SlideSummary
from device.mqtt.publisher import Publisher
from device.mqtt.sending import Pauses
from device.settings.broker import BrokerSection
from device.store.record import Store
from tests.support.bad_link import BadLink

pytestmark = pytest.mark.integration
LONG = bool(os.environ.get("LEUKOSCOPE_LONG"))
PATIENCE_S = 60.0
WIDE_OPEN = ("allow_anonymous true",)
SOON = Pauses(refused_s=0.3, nobody_s=(0.3, 0.6), unconfirmed_s=(30.0, 60.0), suspect_s=(0.1, 0.2))
Publishing = Callable[..., Publisher]
Until = Callable[[Callable[[], object], str], None]
Fresh = Callable[[], SlideSummary]


def section_of(port: int, **more: Any) -> BrokerSection:
    return BrokerSection(host="127.0.0.1", port=port, **more)


def put(outbox: Any, fresh: Fresh, publisher: Publisher | None = None, count: int = 1) -> list[SlideSummary]:
    sent = [outbox.put(fresh()) for _ in range(count)]
    if publisher is not None:
        publisher.notify()
    return sent


def quarantine(outbox: Any) -> list[tuple[str, str, str]]:
    with Store.connect(outbox.path) as store:
        return [(row.kind, row.name, row.why) for row in store.quarantine()]


# ---- the version


def test_a_broker_that_freezes_is_spoken_to_in_mqtt_5_ever_after(
    mosquitto: tuple[str, ...],
    tmp_path: Path,
    outbox: Any,
    audience: Any,
    publisher_to: Publishing,
    until: Until,
    fresh: Fresh,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And so a right that is taken away is told, and the summary kept, also after the device was started anew."""
    rights, settings = tmp_path / "acl", {"pauses": SOON, "ack_timeout_s": 0.5}
    rights.write_text("topic readwrite leukoscope/#\n")
    with MosquittoBroker(lines=(*WIDE_OPEN, f"acl_file {rights}", *mosquitto)) as broker:
        assert broker.pid is not None
        section = section_of(broker.port)
        audience(section)
        with publisher_to(section, limits=Limits(0.2, 0.4), **settings) as publisher:
            put(outbox, fresh, publisher)
            until(lambda: outbox.pending_count() == 0, "the first")
            with Store.connect(outbox.path) as store:
                assert store.protocol_of(f"127.0.0.1:{broker.port}") == "5"
            os.kill(broker.pid, signal.SIGSTOP)
            put(outbox, fresh, publisher)
            with caplog.at_level(logging.INFO):
                until(lambda: "It spoke MQTT 5 before" in publisher.status.reason, "the silence at a new connection")
                reasons = [r.message for r in caplog.records if "within" in r.message]
            os.kill(broker.pid, signal.SIGCONT)
            until(lambda: outbox.pending_count() == 0, "the second")
            assert publisher.status.protocol == "5"
            assert not [r for r in caplog.records if "trying MQTT 3.1.1" in r.message]
            assert len(reasons) == len(set(reasons))
        os.kill(broker.pid, signal.SIGSTOP)
        with publisher_to(section, limits=Limits(0.2, 0.4), **settings) as publisher:  # started while it is frozen
            put(outbox, fresh, publisher)
            until(lambda: "It spoke MQTT 5 before" in publisher.status.reason, "the silence")
            rights.write_text("topic read leukoscope/#\ntopic write leukoscope/+/status\n")
            os.kill(broker.pid, signal.SIGCONT)
            os.kill(broker.pid, signal.SIGHUP)
            until(lambda: publisher.status.state == "refused", "the refusal")
            assert "Not authorized; allow leukoscope/clinic-7/summary" in publisher.status.reason
            assert (publisher.status.protocol, outbox.pending_count()) == ("5", 1)


@pytest.mark.parametrize(
    ("rtt_s", "limits"),
    [
        (1.0, (0.15, 0.35)),
        pytest.param(12.0, (3.0, 10.0), marks=pytest.mark.skipif(not LONG, reason="set LEUKOSCOPE_LONG=1")),
    ],
)
def test_a_long_link_connects_in_mqtt_5_and_delivers(
    rtt_s: float, limits: tuple[float, float], mosquitto: object, outbox: Any, audience: Any, publisher_to: Publishing, fresh: Fresh
) -> None:
    with MosquittoBroker() as broker, BadLink(broker.port, delay_s=rtt_s / 2) as link:
        audience(section_of(broker.port))
        with publisher_to(section_of(link.port), limits=Limits(*limits), ack_timeout_s=rtt_s) as publisher:
            put(outbox, fresh, publisher, 3)
            assert publisher.drain(4 * PATIENCE_S)
            assert (publisher.status.protocol, outbox.pending_count()) == ("5", 0)


@pytest.mark.parametrize(
    ("bytes_per_s", "ack_timeout_s"),
    [
        (6144.0, 0.25),
        pytest.param(256.0, 20.0, marks=pytest.mark.skipif(not LONG, reason="set LEUKOSCOPE_LONG=1")),
    ],
)
def test_a_slow_link_delivers(
    bytes_per_s: float, ack_timeout_s: float, mosquitto: object, outbox: Any, audience: Any, publisher_to: Publishing, fresh: Fresh
) -> None:
    """A summary takes eight times as long as a broker on a quick link is given, 50 s in the long form."""
    with MosquittoBroker() as broker, BadLink(broker.port, bytes_per_s=bytes_per_s) as link:
        audience(section_of(broker.port))
        put(outbox, fresh, count=2)
        with publisher_to(section_of(link.port), ack_timeout_s=ack_timeout_s) as publisher:
            assert publisher.drain(5 * PATIENCE_S)
        assert outbox.pending_count() == 0


def test_summaries_go_before_the_status(mosquitto: object, outbox: Any, publisher_to: Publishing, until: Until, fresh: Fresh) -> None:
    came: list[str] = []
    with MosquittoBroker() as broker:
        hearing = open_link(section_of(broker.port), "hearing", on_message=lambda m: came.append(m.topic.rpartition("/")[2]))
        hearing.subscribe(["leukoscope/#"])
        put(outbox, fresh, count=12)
        with publisher_to(section_of(broker.port)):
            until(lambda: hearing.service(0.05) or "status" in came, "the status")
        hearing.close()
    assert came == ["summary"] * 12 + ["status"]


# ---- what no broker takes


def test_rows_that_cannot_be_sent_are_put_aside_and_the_rest_goes_on(
    mosquitto: object, outbox: Any, receive: Any, publisher_to: Publishing, until: Until, fresh: Fresh, caplog: pytest.LogCaptureFixture
) -> None:
    sent = put(outbox, fresh, count=8)
    damage = (
        "topic = 'leukoscope/+/summary'",
        "payload = CAST('{\"half' AS BLOB)",
        "payload = x''",
        "topic = ''",
        "created_at = 'noon'",
    )
    with contextlib.closing(sqlite3.connect(outbox.path)) as db, db:
        for place, what in enumerate(damage, 1):
            older = ", checksum = ''" if place <= 2 else ""  # of a version that had none
            db.execute(f"UPDATE outbox SET {what}{older} WHERE sequence = {place}")
    with MosquittoBroker() as broker, receive(section_of(broker.port)) as receiver, publisher_to(section_of(broker.port)) as publisher:
        assert publisher.drain(PATIENCE_S)
        until(lambda: publisher.status.quarantined == 4, "the count")
        assert (publisher.status.state, publisher.status.pending) == ("connected", 0)
        until(lambda: receiver.said.count("For review, not a diagnosis.") == 4, "the rest")
    assert {s.message_id for s in receiver.received} == {s.message_id for s in sent[4:]}  # a damaged date keeps nothing back
    aside = quarantine(outbox)
    assert {(kind, name) for kind, name, _ in aside} == {("message", str(s.message_id)) for s in sent[:4]}
    assert sum("put aside" in r.message for r in caplog.records) == 4
    assert not [r for r in caplog.records if r.exc_info]


def test_a_message_above_the_brokers_limit_is_put_aside_and_named(
    mosquitto: object, outbox: Any, receive: Any, publisher_to: Publishing, until: Until, fresh: Fresh
) -> None:
    """mosquitto hangs up on what is larger than its message_size_limit, and says nothing to the device."""
    small = fresh().model_copy(update={"morphology": (), "description": ()})
    (large,) = put(outbox, fresh)
    rest = [outbox.put(small.model_copy(update={"message_id": fresh().message_id, "slide_id": f"small-{n}"})) for n in range(3)]
    limit = len(rest[0].to_bytes()) + 200
    assert len(large.to_bytes()) > limit
    with MosquittoBroker(lines=(*WIDE_OPEN, f"message_size_limit {limit}")) as broker:
        section = section_of(broker.port)
        with receive(section) as receiver, publisher_to(section, pauses=SOON) as publisher:
            until(lambda: outbox.pending_count() == 1, "the rest")
            until(lambda: "message_size_limit" in publisher.status.reason, "the reason")
            assert "device id used twice" not in publisher.status.reason
            while not quarantine(outbox):  # others must pass before it is condemned
                rest.append(outbox.put(small.model_copy(update={"message_id": fresh().message_id})))
                publisher.notify()
                until(lambda: outbox.pending_count() <= 1, "another one")
            until(lambda: publisher.status.quarantined == 1 and outbox.pending_count() == 0, "peace")
        ((kind, name, why),) = quarantine(outbox)
        assert (kind, name, outbox.pending_count()) == ("message", str(large.message_id), 0)
        assert "message_size_limit" in why
    assert {s.message_id for s in receiver.received} == {s.message_id for s in rest}


def test_a_bad_link_condemns_nothing(
    mosquitto: object, outbox: Any, audience: Any, publisher_to: Publishing, until: Until, fresh: Fresh
) -> None:
    """A link that is cut after 1,500 bytes ends each connection when a summary is sent, whichever it is."""
    with MosquittoBroker() as broker, BadLink(broker.port, cut_after=6000) as link:
        audience(section_of(broker.port))
        put(outbox, fresh, count=3)
        with publisher_to(section_of(link.port), pauses=SOON) as publisher:
            until(lambda: link.connections >= 25, "many attempts")
            assert (quarantine(outbox), outbox.pending_count()) == ([], 3)
            link.cut_after = None
            assert publisher.drain(PATIENCE_S)
        assert (quarantine(outbox), outbox.pending_count()) == ([], 0)


def test_acknowledgements_that_are_swallowed_cost_nothing(
    mosquitto: object, outbox: Any, receive: Any, publisher_to: Publishing, until: Until, fresh: Fresh
) -> None:
    with MosquittoBroker() as broker, BadLink(broker.port) as link, receive(section_of(broker.port)) as receiver:
        with publisher_to(section_of(link.port), ack_timeout_s=0.3, limits=Limits(0.3, 0.5), pauses=SOON) as publisher:
            until(lambda: publisher.status.state == "connected", "the connection")
            link.answers = False
            sent = put(outbox, fresh, publisher, 2)
            until(lambda: "acknowledged nothing" in publisher.status.reason, "the silence")
            link.answers = True
            assert publisher.drain(PATIENCE_S)
        until(lambda: receiver.said.count("For review, not a diagnosis.") == 2, "both")
    assert {s.message_id for s in receiver.received} == {s.message_id for s in sent}


# ---- the count


def test_the_count_at_the_end_is_true(outbox: Any, publisher_to: Publishing, fresh: Fresh) -> None:
    """Whatever little time is given: what waits is counted, and why."""
    with MosquittoBroker() as broker:
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGSTOP)
        with publisher_to(section_of(broker.port), poll_s=3600.0) as publisher:
            for n in (1, 2, 3):
                outbox.put(fresh())
                assert not publisher.drain(0.0)
                assert publisher.status.waiting == n
            assert publisher.status.why_waiting
        os.kill(broker.pid, signal.SIGCONT)

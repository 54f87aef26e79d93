"""Delivered end to end: a summary leaves the device when a receiver has it, is sent again until then, and what is missing shows."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from device.demo.broker import EmbeddedBroker, LocalBroker, MosquittoBroker
from device.mqtt.client import Incoming, open_link
from device.mqtt.device_status import DeviceStatus
from device.mqtt.payloads import SlideSummary
from device.mqtt.publisher import Publisher
from device.mqtt.receipt import receipts
from device.mqtt.sending import Pauses
from device.settings.broker import BrokerSection
from device.store.record import Store
from tests.support.shipped_broker import ShippedBroker

pytestmark = pytest.mark.integration
PATIENCE_S = 60.0
Publishing = Callable[..., Publisher]
Until = Callable[[Callable[[], object], str], None]
Fresh = Callable[[], SlideSummary]
SOON = Pauses(refused_s=0.3, nobody_s=(0.3, 0.6), unconfirmed_s=(1.0, 2.0), suspect_s=(0.1, 0.2))
LONG = bool(os.environ.get("LEUKOSCOPE_LONG"))
WIDE_OPEN = ("allow_anonymous true",)


@pytest.fixture(params=["mosquitto-5", "mosquitto-3.1.1"])
def section(request: pytest.FixtureRequest, mosquitto: object) -> Iterator[BrokerSection]:
    """A running mosquitto, and the version that it is spoken to in."""
    version = request.param.partition("-")[2]
    broker: LocalBroker = MosquittoBroker()
    with broker:
        yield BrokerSection(host=broker.host, port=broker.port, protocol=version)


def named(section: BrokerSection, *receivers: str, receipts: str = "any") -> BrokerSection:
    return section.model_copy(update={"receivers": receivers, "receipts": receipts})


def put(outbox: Any, fresh: Fresh, publisher: Publisher, count: int) -> list[SlideSummary]:
    sent = [outbox.put(fresh()) for _ in range(count)]
    publisher.notify()
    return sent


def test_a_summary_waits_for_the_receiver_that_is_named(
    section: BrokerSection, outbox: Any, audience: Any, receive: Any, publisher_to: Publishing, until: Until, fresh: Fresh
) -> None:
    audience(section)  # somebody subscribes, which is not enough
    with publisher_to(named(section, "ward"), pauses=SOON) as publisher:
        sent = put(outbox, fresh, publisher, 3)
        assert publisher.drain(PATIENCE_S)
        assert (publisher.status.pending, publisher.status.unconfirmed, publisher.status.receivers) == (3, 3, "ward")
        assert publisher.status.delivered_at is None
        with receive(section, client_id="corridor"):  # confirms, and is not the one that is wanted
            time.sleep(1.0)
            assert outbox.pending_count() == 3
        with receive(section, client_id="ward") as receiver:
            until(lambda: outbox.pending_count() == 0, "the receipts")
            until(lambda: publisher.status.pending == 0, "the count")
        assert {s.message_id for s in receiver.received} == {s.message_id for s in sent}
        assert publisher.status.delivered_slide in {s.slide_id for s in sent}
        assert publisher.status.delivered_at is not None


def test_all_that_are_named_must_have_it(
    mosquitto: object, outbox: Any, receive: Any, publisher_to: Publishing, until: Until, fresh: Fresh
) -> None:
    with MosquittoBroker() as broker:
        section = BrokerSection(host=broker.host, port=broker.port)
        with publisher_to(named(section, "ward", "lab", receipts="all"), pauses=SOON) as publisher:
            with receive(section, client_id="ward") as ward:
                put(outbox, fresh, publisher, 2)
                until(lambda: "once more; dropped" in ward.said, "the device to ask again")
            assert outbox.pending_count() == 2
            with receive(section, client_id="lab"):
                until(lambda: outbox.pending_count() == 0, "the second receiver's word")


def test_nobody_subscribed_is_not_delivered(
    mosquitto: object, outbox: Any, receive: Any, publisher_to: Publishing, until: Until, fresh: Fresh
) -> None:
    with MosquittoBroker() as broker, publisher_to(BrokerSection(host=broker.host, port=broker.port), pauses=SOON) as publisher:
        (sent,) = put(outbox, fresh, publisher, 1)
        until(lambda: publisher.status.unheard == 1, "the broker's word")
        assert (publisher.status.state, publisher.status.pending) == ("connected", 1)
        assert "nobody is subscribed to leukoscope/clinic-7/summary" in publisher.status.reason
        assert not publisher.drain(0.1)
        with receive(BrokerSection(host=broker.host, port=broker.port)) as receiver:
            until(lambda: outbox.pending_count() == 0, "the delivery")
            until(lambda: publisher.status.reason == "", "the good end")
        assert receiver.received == [sent]


def test_in_3_1_1_the_acknowledgement_is_no_proof(
    outbox: Any, receive: Any, publisher_to: Publishing, until: Until, fresh: Fresh
) -> None:
    """Also after a restart of the device: the row is not sent again at once, and leaves with anybody's receipt."""
    with EmbeddedBroker() as broker:
        section = BrokerSection(host=broker.host, port=broker.port, protocol="3.1.1")
        with receive(section) as first:
            with publisher_to(section) as publisher:
                (sent,) = put(outbox, fresh, publisher, 1)
                assert publisher.drain(PATIENCE_S)
                until(lambda: "For review" in first.said, "the summary")
            with publisher_to(section) as publisher:
                until(lambda: publisher.status.state == "connected", "the connection")
                assert publisher.drain(PATIENCE_S)
                time.sleep(0.5)
                assert (publisher.status.unconfirmed, "once more" in first.said) == (1, False)
                confirm(section, sent)
                until(lambda: outbox.pending_count() == 0, "the receipt")


def confirm(section: BrokerSection, *sent: SlideSummary) -> None:
    link = open_link(section, f"confirming-{uuid4().hex[:6]}", versions=("3.1.1",))
    for receipt in receipts("clinic-7", "anybody", [s.message_id for s in sent], sent[0].finished_at):
        link.publish("leukoscope/clinic-7/receipt", receipt.to_bytes())
    until_s = time.monotonic() + PATIENCE_S
    while not link.take_acks() and time.monotonic() < until_s:
        link.service(0.05)
    link.close()


@contextlib.contextmanager
def shipped_broker(folder: Path) -> Iterator[tuple[BrokerSection, BrokerSection]]:
    """As systemd/mosquitto has it, with TLS, passwords and rights; the sections of a device and of a supervisor."""
    folder.mkdir()
    shipped = ShippedBroker(folder)
    with shipped.running() as broker:
        sections = []
        for user in ("clinic-7", "supervisor"):
            password = folder / f"{user}.password"
            password.write_text(f"of {user}\n")
            password.chmod(0o600)
            sections.append(
                BrokerSection(
                    host="127.0.0.1", port=broker.port, tls=True, ca_file=shipped.ca_file, username=user, password_file=password
                )
            )
        yield sections[0], sections[1]


@contextlib.contextmanager
def limited_broker(mosquitto: tuple[str, ...], queue: int) -> Iterator[tuple[BrokerSection, BrokerSection]]:
    """One whose queues hold so many messages, 1,000 being mosquitto's own limit."""
    with MosquittoBroker(lines=(*WIDE_OPEN, *mosquitto, f"max_queued_messages {queue}")) as broker:
        section = BrokerSection(host=broker.host, port=broker.port)
        yield section, section


@pytest.mark.parametrize("count", [150, pytest.param(1500, marks=pytest.mark.skipif(not LONG, reason="set LEUKOSCOPE_LONG=1"))])
@pytest.mark.parametrize("kind", ["shipped", "limited"])
def test_a_supervisor_who_was_away_misses_nothing(
    count: int,
    kind: str,
    mosquitto: tuple[str, ...],
    tmp_path: Path,
    outbox: Any,
    receive: Any,
    publisher_to: Publishing,
    status: DeviceStatus,
    until: Until,
    fresh: Fresh,
) -> None:
    """A backlog and a day of statuses while the supervisor is away. Where the broker's queues have a limit, here two thirds of the
    backlog, it drops the rest without a word to the device; that is made good because nobody confirms it."""
    again = Pauses(unconfirmed_s=(8.0 if count < 1000 else 25.0, 120.0))
    broker = shipped_broker(tmp_path / "broker") if kind == "shipped" else limited_broker(mosquitto, 2 * count // 3)
    with broker as (device, supervisor):
        with receive(supervisor, client_id="supervisor"):
            pass
        with publisher_to(named(device, "supervisor"), pauses=again) as publisher:
            statuses(device, status, 1440)
            sent = put(outbox, fresh, publisher, count)
            assert publisher.drain(5 * PATIENCE_S)
            assert publisher.status.pending == publisher.status.unconfirmed == count
            with receive(supervisor, client_id="supervisor") as receiver:
                until(lambda: outbox.pending_count() < count, "a first receipt")
                until(lambda: outbox.pending_count() < count // 2, "half of the receipts")
                until(lambda: outbox.pending_count() < count // 5, "most receipts")
                until(lambda: outbox.pending_count() == 0, "all receipts")
            assert {s.message_id for s in receiver.received} == {s.message_id for s in sent}
            assert len(receiver.received) == count  # each once


def statuses(section: BrokerSection, status: DeviceStatus, count: int) -> None:
    """As many as a device sends in a day, one a minute, as fast as they go."""
    link = open_link(section, "chatter")
    for n in range(count):
        link.publish(
            f"leukoscope/{status.device_id}/status", status.model_copy(update={"uptime_s": 60.0 * n}).to_bytes(), retain=True, qos=0
        )
        link.service(0.0)
    until_s = time.monotonic() + PATIENCE_S
    while link.writing and time.monotonic() < until_s:
        link.service(0.05)
    link.close()


def test_a_gap_is_shown_and_closed_by_sending_again(
    mosquitto: object, outbox: Any, receive: Any, publisher_to: Publishing, until: Until, fresh: Fresh
) -> None:
    with MosquittoBroker() as broker:
        section = BrokerSection(host=broker.host, port=broker.port)
        with publisher_to(section, poll_s=3600.0) as publisher, receive(section, client_id="boss") as receiver:
            first = put(outbox, fresh, publisher, 2)
            until(lambda: outbox.pending_count() == 0, "the first two")
            with Store.connect(outbox.path) as store:  # three that another broker took and lost
                lost = [outbox.put(fresh()) for _ in range(3)]
                for each in lost:
                    store.acknowledge(str(each.message_id))
            last = put(outbox, fresh, publisher, 1)
            words = "3 summaries of clinic-7 are missing (3 to 5); leukoscope resend --since"
            until(lambda: words in " ".join(receiver.said.split()), "the gap")
            for each in lost:
                outbox.put_again(each)
            publisher.notify()
            until(lambda: "none is missing any more" in " ".join(receiver.said.split()), "the end of the gap")
        assert {s.message_id for s in receiver.received} == {s.message_id for s in (*first, *lost, *last)}


def test_requests_are_answered_and_health_is_sent(section: BrokerSection, publisher_to: Publishing, until: Until) -> None:
    asked: list[Incoming] = []
    heard: dict[str, bytes] = {}

    def answer(incoming: Incoming) -> bytes | None:
        asked.append(incoming)
        if incoming.topic.endswith("identify"):
            raise RuntimeError("a fault in an answer")
        return b'{"ok": true}'

    link = open_link(section, "asking", versions=(section.protocol,), on_message=lambda m: heard.update({m.topic: m.payload}))
    link.subscribe(["leukoscope/clinic-7/health", "leukoscope/clinic-7/cmd/answer", "answers/mine"])
    with publisher_to(section, commands=answer) as publisher:
        publisher.set_health(b'{"old": 1}')
        publisher.set_health(b'{"new": 1}')
        until(lambda: publisher.status.state == "connected", "the connection")

        def answered() -> bool:
            link.publish("leukoscope/clinic-7/cmd/identify", b"{}")
            link.publish("leukoscope/clinic-7/cmd/status", b"{}")
            link.service(0.2)
            return "leukoscope/clinic-7/cmd/answer" in heard

        until(answered, "the answer")
        until(lambda: link.service(0.1) or "leukoscope/clinic-7/health" in heard, "the health")
        assert heard["leukoscope/clinic-7/health"] == b'{"new": 1}'
        assert publisher.status.state == "connected"
        assert not [each for each in asked if each.topic.endswith("answer")]
    link.close()


def test_a_receiver_that_may_not_be_heard_is_told_and_does_not_stop_the_sending(
    outbox: Any, publisher_to: Publishing, until: Until, fresh: Fresh
) -> None:
    """mosquitto grants every subscription and keeps the messages back; this one says no, as others do."""
    outbox.put(fresh())
    with socket.create_server(("127.0.0.1", 0)) as server:
        section = BrokerSection(host="127.0.0.1", port=server.getsockname()[1], protocol="5", receivers=("ward",))
        with publisher_to(section) as publisher:
            visitor, _ = server.accept()
            with visitor:
                visitor.recv(4096)
                visitor.sendall(b"\x20\x03\x00\x00\x00")
                came = b""
                while b"leukoscope/clinic-7/summary" not in came:
                    came += visitor.recv(65536)
                subscribe = came.index(b"\x82")
                visitor.sendall(b"\x90\x05" + came[subscribe + 2 : subscribe + 4] + b"\x00\x87\x87")
                until(lambda: publisher.status.state == "refused", "the refusal")
                assert "does not let us subscribe to leukoscope/clinic-7/receipt: Not authorized" in publisher.status.reason
    assert len(outbox.rows) == 1

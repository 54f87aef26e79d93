"""Summaries and status through real brokers, and what remains when a connection, a device or the broker dies."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from device.clock import SystemClock
from device.demo.broker import EmbeddedBroker, LocalBroker, MosquittoBroker, free_port
from device.mqtt.client import open_link
from device.mqtt.device_status import DeviceStatus, read_status
from device.mqtt.faults import BrokerLostError
from device.mqtt.outbox import Spool
from device.mqtt.pace import Pace
from device.mqtt.payloads import SlideSummary
from device.mqtt.publisher import Publisher
from device.mqtt.sending import Pauses, Sending, Wanted
from device.mqtt.topics import Topics
from device.settings.broker import BrokerSection
from device.store.record import Store

pytestmark = pytest.mark.integration
PATIENCE_S = 60.0
Publishing = Callable[..., Publisher]
Fresh = Callable[[], SlideSummary]
Until = Callable[[Callable[[], object], str], None]
Heard = Callable[[Callable[[DeviceStatus], bool]], tuple[DeviceStatus, bool]]
TOPIC = "leukoscope/clinic-7/status"


@pytest.fixture(params=["amqtt", "mosquitto-5", "mosquitto-3.1.1"])
def section(request: pytest.FixtureRequest) -> Iterator[BrokerSection]:
    """A running broker of each kind, and the version it is spoken to in."""
    kind, _, version = request.param.partition("-")
    if kind == "mosquitto":
        request.getfixturevalue("mosquitto")
    broker: LocalBroker = EmbeddedBroker() if kind == "amqtt" else MosquittoBroker()
    with broker:
        yield BrokerSection(host=broker.host, port=broker.port, protocol=version or broker.protocol)


@contextlib.contextmanager
def heard(section: BrokerSection, until: Until) -> Iterator[Heard]:
    """A subscription to the status; called with a condition it waits for a status like that, and tells whether it was retained."""
    seen: list[tuple[bytes, bool]] = []
    link = open_link(section, f"test-{uuid4().hex[:8]}", versions=("3.1.1",), on_message=lambda m: seen.append((m.payload, m.retained)))
    link.subscribe([TOPIC])

    def wait_for(condition: Callable[[DeviceStatus], bool]) -> tuple[DeviceStatus, bool]:
        def fitting() -> list[tuple[DeviceStatus, bool]]:
            link.service(0.05)
            return [(status, retained) for payload, retained in seen if condition(status := read_status(payload).payload)]

        until(fitting, "such a status")
        return fitting()[0]

    try:
        yield wait_for
    finally:
        link.close()


def test_summary_and_status_arrive_and_the_outbox_empties(
    section: BrokerSection, outbox: Any, receive: Any, publisher_to: Publishing, until: Until, fresh: Callable[[], SlideSummary]
) -> None:
    sent = [fresh() for _ in range(20)]  # more than are under way at once
    with receive(section) as receiver, publisher_to(section) as publisher:
        until(lambda: publisher.status.state == "connected", "the connection")
        assert publisher.status.protocol == section.protocol
        sent = [outbox.put(each) for each in sent]
        publisher.notify()
        assert publisher.drain(PATIENCE_S)
        left = 0 if section.protocol == "5" else len(sent)  # in 3.1.1 an acknowledgement proves nothing: see test_mqtt_receipts
        until(lambda: outbox.pending_count() == publisher.status.pending == publisher.status.unconfirmed == left, "the outbox")
        until(lambda: "clinic-7 ONLINE" in " ".join(receiver.said.split()), "the status")
        until(lambda: receiver.said.count("For review, not a diagnosis.") == len(sent), "the summaries")
    assert len(receiver.received) == len(sent)
    assert {s.slide_id: s for s in receiver.received} == {s.slide_id: s for s in sent}


def test_a_row_whose_connection_breaks_as_it_is_sent_is_sent_at_the_next(section: BrokerSection, outbox: Any, fresh: Fresh) -> None:
    sent, clock = outbox.put(fresh()), SystemClock()
    spool = Spool(lambda: Store.connect(outbox.path), clock)
    sending = Sending(spool, Topics("clinic-7"), clock, Wanted(), Pauses(), Pace(20.0))
    sending.refresh()
    with contextlib.closing(open_link(section, "first")) as link:
        link.drop()
        sending.begin(link.version)
        with pytest.raises(BrokerLostError):
            sending.send(link)
        sending.end(hung_up=True)
    with contextlib.closing(open_link(section, "second")) as link:
        sending.begin(link.version)
        sending.send(link)
        assert sending.under_way and outbox.rows[0].message_id == str(sent.message_id)
    spool.close()


def test_status_is_retained_and_the_stop_is_told(
    section: BrokerSection, publisher_to: Publishing, until: Until, status: DeviceStatus
) -> None:
    with publisher_to(section) as publisher:
        until(lambda: publisher.status.state == "connected", "the connection")
        with heard(section, until) as status_like:
            online, _ = status_like(lambda s: s.slide is not None)
            assert (online.state, online.offline_reason) == ("online", None)
            assert online.since is not None
            publisher.set_device_status(status.model_copy(update={"slide": None}))  # something new: it does not wait for the minute
            status_like(lambda s: s.slide is None and s.state == "online")
        with heard(section, until) as status_like:
            assert status_like(lambda s: s.slide is None)[1]  # it was there before we came
            publisher.__exit__(None, None, None)
            stopped, _ = status_like(lambda s: s.state == "offline")
            assert stopped.offline_reason == "stopped"
            assert stopped.since is not None
    with heard(section, until) as status_like:
        assert status_like(lambda _: True) == (stopped, True)


_DEVICE = """
import pathlib, sys, time
from device.store.record import Store
from device.settings.broker import BrokerSection
from device.mqtt.device_status import read_status
from device.mqtt.publisher import Publisher
section = BrokerSection.model_validate_json(sys.argv[1])
status = read_status(open(sys.argv[2], "rb").read()).payload
path = pathlib.Path(sys.argv[3])
Store.open(path).close()
with Publisher(section, status, lambda: Store.connect(path)):
    time.sleep(60)
"""


def test_a_killed_device_leaves_its_last_will(section: BrokerSection, until: Until, repository: Path, tmp_path: Path) -> None:
    example, record = repository / "docs/schema/status-1.example.json", tmp_path / "record.sqlite"
    arguments = [sys.executable, "-c", _DEVICE, section.model_dump_json(), str(example), str(record)]
    with heard(section, until) as status_like:
        device = subprocess.Popen(arguments, cwd=repository)
        try:
            status_like(lambda s: s.state == "online")
            device.send_signal(signal.SIGKILL)
            will, _ = status_like(lambda s: s.state == "offline")
        finally:
            device.kill()
            device.wait()
    assert (will.offline_reason, will.since, will.slide) == ("lost", None, None)
    with heard(section, until) as status_like:
        assert status_like(lambda _: True) == (will, True)


def test_a_row_waits_for_its_acknowledgement_and_doubles_are_dropped(
    section: BrokerSection,
    outbox: Any,
    receive: Any,
    proxy_to: Any,
    publisher_to: Publishing,
    until: Until,
    fresh: Callable[[], SlideSummary],
) -> None:
    with receive(section) as receiver, proxy_to(section.port) as proxy:
        with publisher_to(section.model_copy(update={"port": proxy.port})) as publisher:
            until(lambda: publisher.status.state == "connected", "the connection")
            proxy.answers = False
            outbox.put(fresh())
            publisher.notify()
            until(lambda: "For review" in receiver.said, "the summary")  # the broker has it, the device does not know
            assert not publisher.drain(0.3)
            assert outbox.pending_count() == 1
            proxy.answers = True
            proxy.hang_up()
            assert publisher.drain(PATIENCE_S)
            assert outbox.pending_count() == (0 if section.protocol == "5" else 1)
        until(lambda: "came once more; dropped" in receiver.said, "the double")
    assert len(receiver.received) == 1


def test_a_broker_that_acknowledges_nothing_is_left(
    section: BrokerSection,
    outbox: Any,
    audience: Callable[[BrokerSection], None],
    proxy_to: Any,
    publisher_to: Publishing,
    until: Until,
    fresh: Callable[[], SlideSummary],
) -> None:
    audience(section)
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(proxy_to(section.port))
        publisher = stack.enter_context(publisher_to(section.model_copy(update={"port": proxy.port}), ack_timeout_s=0.5))
        until(lambda: publisher.status.state == "connected", "the connection")
        proxy.answers = False
        outbox.put(fresh())
        publisher.notify()
        until(lambda: "acknowledged nothing" in publisher.status.reason, "the reason")
        assert (publisher.status.state, outbox.pending_count()) == ("lost", 1)
        proxy.answers = True
        assert publisher.drain(PATIENCE_S)


def test_nothing_is_lost_when_the_broker_is_killed(
    mosquitto: tuple[str, ...],
    tmp_path: Path,
    outbox: Any,
    receive: Any,
    proxy_to: Any,
    publisher_to: Publishing,
    until: Until,
    fresh: Callable[[], SlideSummary],
) -> None:
    """The receiver has a session at the broker, the broker keeps it on disk, and the device whatever was not acknowledged."""
    port, sent, kept = free_port(), list[SlideSummary](), tmp_path / "mosquitto.db"
    keeping = ("persistence true", f"persistence_location {tmp_path}/", "autosave_on_changes true", "autosave_interval 1")
    lines = ("allow_anonymous true", *mosquitto, *keeping)
    section = BrokerSection(host="127.0.0.1", port=port)

    def put(publisher: Publisher, count: int) -> None:
        for _ in range(count):
            sent.append(outbox.put(fresh()))
        publisher.notify()

    with contextlib.ExitStack() as stack:
        first = stack.enter_context(MosquittoBroker(port=port, lines=lines))
        receiver = stack.enter_context(receive(section, client_id="supervisor"))
        proxy = stack.enter_context(proxy_to(port))
        publisher = stack.enter_context(publisher_to(section.model_copy(update={"port": proxy.port})))
        put(publisher, 5)
        assert publisher.drain(PATIENCE_S)
        until(lambda: receiver.said.count("For review, not a diagnosis.") == 5, "the first five")
        until(lambda: kept.exists() and b"supervisor" in kept.read_bytes(), "the session on disk")
        proxy.answers = False  # in the middle: the broker has them, their acknowledgement does not come through
        put(publisher, 3)
        assert not publisher.drain(0.3)
        first.kill()
        proxy.hang_up()
        put(publisher, 5)
        until(lambda: publisher.status.state == "lost", "the loss")
        assert outbox.pending_count() == 8
        proxy.answers = True
        stack.enter_context(MosquittoBroker(port=port, lines=lines))
        assert publisher.drain(PATIENCE_S)
        until(lambda: receiver.said.count("For review, not a diagnosis.") == len(sent), "all of them")
    assert {s.message_id for s in receiver.received} == {s.message_id for s in sent}
    assert len(receiver.received) == len(sent)
    assert list(tmp_path.glob("mosquitto*")) == [kept]

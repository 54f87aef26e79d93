"""The spool's patience with the record, and the publisher where there is no broker."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import pytest

from device.clock import Backoff, SystemClock
from device.demo import broker as embedded_broker
from device.demo.broker import EmbeddedBroker, MosquittoBroker, free_port, local_broker
from device.errors import BrokerError, StoreError
from device.mqtt.client import open_link
from device.mqtt.device_status import DeviceStatus, read_status
from device.mqtt.faults import BrokerRefusedError
from device.mqtt.outbox import Figures, OutboxMessage, Spool
from device.mqtt.publisher import Publisher
from device.settings.broker import BrokerSection
from device.store import schema
from device.store.record import Store


class Record:
    """A real record whose disk can be made to fail, with so many messages in its outbox."""

    def __init__(self, path: Path, *waiting: str) -> None:
        self.path, self.broken, self.opened, self.closed = path / "record.sqlite", False, 0, 0
        with Store.open(self.path) as store:
            for key in waiting:
                store.put_message(OutboxMessage(key, "leukoscope/clinic-7/summary", b"{}", datetime(2025, 6, 3, tzinfo=timezone.utc)))

    def open(self) -> Failing:
        self.opened += 1
        return Failing(self)

    @property
    def waiting(self) -> list[str]:
        with Store.read(self.path) as store:
            return [row.message_id for row in store.pending()]


class Failing(Store):
    """A connection to it."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.path, schema.connect(record.path))
        self._record = record

    @contextmanager
    def _touching(self, doing: str) -> Iterator[None]:
        if self._record.broken:
            raise StoreError("record.sqlite: disk is full")
        with super()._touching(doing):
            yield

    def close(self) -> None:
        self._record.closed += 1
        super().close()


@dataclass
class HandClock:
    """A clock that is moved by hand."""

    now_s: float = 100.0

    def monotonic_s(self) -> float:
        return self.now_s

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.now_s, timezone.utc)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def status(repository: Path) -> DeviceStatus:
    return read_status((repository / "docs/schema/status-1.example.json").read_bytes()).payload


# ---- the spool


def test_a_row_that_cannot_be_removed_is_removed_later_and_told_once(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    record, clock = Record(tmp_path, "a", "b"), HandClock()
    spool = Spool(record.open, clock)
    assert [head.message_id for head in spool.read(lambda outbox: outbox.heads(0, 5)) or ()] == ["a", "b"]
    record.broken = True
    with caplog.at_level(logging.INFO):
        spool.write("a", lambda outbox: outbox.acknowledge("a"))
        clock.now_s += 2
        assert not spool.write_waiting()
        assert spool.unwritten.keys() == {"a"}
        record.broken = False
        assert not spool.write_waiting()  # not pressed: a second has not passed
        assert spool.read(lambda outbox: outbox.figures(datetime.now(timezone.utc))) is not None
        assert "disk is full" in spool.fault  # it can be read, but not yet be written
        clock.now_s += 2
        assert spool.write_waiting()
    assert [r.message for r in caplog.records] == [
        "the outbox cannot be written: record.sqlite: disk is full",
        "the outbox can be used again",
    ]
    assert (spool.unwritten, record.waiting) == ({}, ["b"])
    spool.close()
    assert record.opened == record.closed == 3  # anew after each fault


def test_an_outbox_that_cannot_be_read_is_told_and_read_again(tmp_path: Path) -> None:
    record = Record(tmp_path, "a")
    record.broken = True
    spool = Spool(record.open, HandClock())
    assert spool.read(lambda outbox: outbox.figures(datetime.now(timezone.utc))) is None
    assert spool.fault == "the outbox cannot be read: record.sqlite: disk is full"
    record.broken = False
    assert spool.read(lambda outbox: outbox.figures(datetime.now(timezone.utc))) == Figures(pending=1)
    assert spool.fault == ""


# ---- the publisher without a broker


def test_a_broker_switched_off_needs_no_thread(status: DeviceStatus, tmp_path: Path) -> None:
    record = Record(tmp_path, "a")
    with Publisher(BrokerSection(enabled=False), status, record.open) as publisher:
        publisher.notify()
        publisher.set_device_status(status)
        assert publisher.status.state == "disabled"
        assert publisher.drain(5.0)
    assert record.opened == 0


def test_an_absent_broker_is_told_and_the_outbox_is_kept(status: DeviceStatus, tmp_path: Path) -> None:
    record = Record(tmp_path, "a", "b")
    port = free_port()
    publisher = Publisher(BrokerSection(host="127.0.0.1", port=port), status, record.open, backoff=Backoff(0.05, 0.1))
    assert publisher.status.state == "connecting"
    assert not publisher.drain(0.1)  # not begun
    with publisher:
        assert not publisher.drain(0.3)
        seen = publisher.status
        assert (seen.state, seen.pending, seen.protocol) == ("lost", 2, None)
        assert seen.reason == f"no broker listens on 127.0.0.1:{port}; start it, or mend broker.host and broker.port"
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 2.0
    assert record.opened == record.closed == 1
    assert record.waiting == ["a", "b"]
    publisher.notify()  # after its end: nobody listens, nothing breaks


def test_a_host_that_does_not_resolve_is_told(status: DeviceStatus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_answer(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_answer)
    with Publisher(BrokerSection(host="broker.invalid"), status, Record(tmp_path).open, backoff=Backoff(0.05, 0.1)) as publisher:
        publisher.drain(0.2)
        wait_for_state(publisher, "lost")
        assert "'broker.invalid' cannot be resolved" in publisher.status.reason


def test_what_is_no_broker_is_told(status: DeviceStatus, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        section = BrokerSection(host="127.0.0.1", port=server.getsockname()[1], protocol="3.1.1")
        with Publisher(section, status, Record(tmp_path).open, backoff=Backoff(0.05, 0.1)) as publisher:
            server.settimeout(10)
            for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b""):
                visitor, _ = server.accept()
                with visitor:
                    visitor.recv(1024)
                    visitor.sendall(answer)
            wait_for_state(publisher, "lost")
            assert "is it a broker" in publisher.status.reason


def test_silence_ends_with_the_stop(status: DeviceStatus, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        section = BrokerSection(host="127.0.0.1", port=server.getsockname()[1])
        with Publisher(section, status, Record(tmp_path).open) as publisher:
            visitor, _ = server.accept()
            assert publisher.status.state == "connecting"
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 2.0
        visitor.close()


def test_credentials_that_cannot_be_used_are_told_without_a_connection(tmp_path: Path) -> None:
    missing, empty = tmp_path / "password", tmp_path / "ca.pem"
    empty.touch()
    for section, said in (
        (BrokerSection(username="box", password_file=missing), f"cannot read the broker's password file {missing}"),
        (BrokerSection(tls=True, ca_file=missing), f"cannot use broker.ca_file {missing}"),
        (BrokerSection(tls=True, ca_file=empty), f"cannot use broker.ca_file {empty}"),
    ):
        with pytest.raises(BrokerRefusedError) as caught:
            open_link(section, "test")
        assert said in str(caught.value)


def test_a_fault_of_ours_does_not_end_the_thread(status: DeviceStatus, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    class Moody(SystemClock):
        """Fails the first two times the publisher asks for the date."""

        def now(self) -> datetime:
            asked.append(1)
            if len(asked) <= 2:
                raise OverflowError("date out of range")
            return super().now()

    asked: list[int] = []
    section = BrokerSection(host="127.0.0.1", port=free_port())
    with Publisher(section, status, Record(tmp_path).open, clock=Moody(), backoff=Backoff(0.02, 0.02)) as publisher:
        until_s = time.monotonic() + 10
        while "no broker listens" not in publisher.status.reason and time.monotonic() < until_s:
            time.sleep(0.01)
        assert "no broker listens" in publisher.status.reason
    assert sum("the publisher failed" in r.message for r in caplog.records) == 2


def wait_for_state(publisher: Publisher, state: str) -> None:
    until_s = time.monotonic() + 10
    while publisher.status.state != state and time.monotonic() < until_s:
        time.sleep(0.01)
    assert publisher.status.state == state


# ---- local brokers


def test_a_local_broker_is_always_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_broker, "find_mosquitto", lambda: None)
    assert isinstance(local_broker(), EmbeddedBroker)
    with pytest.raises(BrokerError, match="apt install mosquitto"), MosquittoBroker():
        pass
    monkeypatch.setattr(embedded_broker, "find_mosquitto", lambda: "/usr/sbin/mosquitto")
    assert isinstance(local_broker(), MosquittoBroker)


def test_a_program_that_is_no_broker_is_told() -> None:
    with pytest.raises(BrokerError, match="mosquitto did not start"), MosquittoBroker("/bin/false"):
        pass

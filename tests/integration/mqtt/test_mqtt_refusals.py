"""Which version of MQTT is spoken, and how refusals show: wrong password, missing right, too large, thrown out, TLS."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from rich.console import Console

from device.demo.broker import EmbeddedBroker, MosquittoBroker
from device.errors import BrokerError
from device.mqtt.client import open_link
from device.mqtt.faults import BrokerRefusedError
from device.mqtt.payloads import SlideSummary
from device.mqtt.publisher import Publisher
from device.mqtt.sending import Pauses
from device.settings.broker import BrokerSection
from device.supervisor.watch import watch

pytestmark = pytest.mark.integration
PATIENCE_S = 60.0
OPEN = ("allow_anonymous true",)
Publishing = Callable[..., Publisher]
Until = Callable[[Callable[[], object], str], None]


def section_of(broker: EmbeddedBroker | MosquittoBroker, **more: Any) -> BrokerSection:
    return BrokerSection(host=broker.host, port=broker.port, **more)


# ---- the version


def test_auto_finds_the_version_that_a_broker_speaks(publisher_to: Publishing, until: Until) -> None:
    with EmbeddedBroker() as broker, publisher_to(section_of(broker)) as publisher:
        until(lambda: publisher.status.state == "connected", "the connection")
        assert publisher.status.protocol == "3.1.1"


def test_auto_prefers_the_newer_version(mosquitto: object, publisher_to: Publishing, until: Until) -> None:
    with MosquittoBroker() as broker, publisher_to(section_of(broker)) as publisher:
        until(lambda: publisher.status.state == "connected", "the connection")
        assert publisher.status.protocol == "5"


@pytest.mark.parametrize("refusal", [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00", b""], ids=["code 1", "code 0x84", "hangs up"])
def test_auto_falls_back_where_mqtt_5_is_refused(refusal: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        section = BrokerSection(host="127.0.0.1", port=server.getsockname()[1])

        def answer() -> None:
            for reply, level in ((refusal, 5), (b"\x20\x02\x00\x00", 4)):
                visitor, _ = server.accept()
                with visitor:
                    connect = visitor.recv(1024)
                    assert connect[connect.index(b"MQTT") + 4] == level
                    visitor.sendall(reply)
                    if level == 4:
                        visitor.recv(1024)

        broker = threading.Thread(target=answer)
        broker.start()
        link = open_link(section, "test")
        assert link.version == "3.1.1"
        link.close()
        broker.join(PATIENCE_S)


def test_amqtt_refuses_who_has_no_name() -> None:
    with EmbeddedBroker(allow_anonymous=False) as broker, pytest.raises(BrokerRefusedError, match="Not authorized"):
        open_link(section_of(broker), "test", versions=("3.1.1",))


# ---- refusals


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_refused_credentials_are_told_the_outbox_is_kept_and_a_mended_password_works(
    protocol: str,
    mosquitto: tuple[str, ...],
    tmp_path: Path,
    outbox: Any,
    audience: Callable[[BrokerSection], None],
    publisher_to: Publishing,
    until: Until,
    fresh: Callable[[], SlideSummary],
) -> None:
    known, password = tmp_path / "known", tmp_path / "password"
    known.touch()
    subprocess.run(["mosquitto_passwd", "-b", str(known), "box", "right"], check=True)
    password.write_text("wrong\n")
    outbox.put(fresh())
    with MosquittoBroker(lines=("allow_anonymous false", f"password_file {known}", *mosquitto)) as broker:
        with publisher_to(section_of(broker, username="box", password_file=password, protocol=protocol)) as publisher:
            until(lambda: publisher.status.state == "refused", "the refusal")
            assert "refuses: Not authorized; check username and password file" in publisher.status.reason
            assert publisher.status.protocol is None
            assert not publisher.drain(0.3)
            assert (publisher.status.pending, outbox.pending_count()) == (1, 1)
            password.write_text("right\n")
            audience(section_of(broker, username="box", password_file=password, protocol=protocol))
            assert publisher.drain(PATIENCE_S)
            until(lambda: (publisher.status.state, publisher.status.reason) == ("connected", ""), "the good end")
        with pytest.raises(BrokerRefusedError, match="Not authorized"):
            watch(section_of(broker, protocol=protocol), timeout_s=PATIENCE_S, console=Console(file=io.StringIO()))


def test_a_device_that_may_not_publish_keeps_its_summaries(
    mosquitto: tuple[str, ...],
    tmp_path: Path,
    outbox: Any,
    audience: Callable[[BrokerSection], None],
    publisher_to: Publishing,
    until: Until,
    fresh: Callable[[], SlideSummary],
) -> None:
    rights = tmp_path / "acl"
    rights.write_text("topic write leukoscope/+/status\ntopic read leukoscope/+/summary\n")
    outbox.put(fresh())
    broker = MosquittoBroker(lines=(*OPEN, f"acl_file {rights}", *mosquitto))
    with broker, publisher_to(section_of(broker), pauses=Pauses(refused_s=0.3)) as publisher:
        until(lambda: publisher.status.state == "refused", "the refusal")
        assert publisher.status.reason == "the broker refuses summaries: Not authorized; allow leukoscope/clinic-7/summary"
        assert publisher.status.pending == 1
        audience(section_of(broker))
        rights.write_text("topic write leukoscope/#\ntopic read leukoscope/+/summary\n")
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGHUP)
        assert publisher.drain(PATIENCE_S)
        until(lambda: publisher.status.state == "connected", "the good end")


def test_one_message_that_is_too_large_does_not_stop_the_others(
    mosquitto: object, outbox: Any, receive: Any, publisher_to: Publishing, until: Until, fresh: Callable[[], SlideSummary]
) -> None:
    small = fresh().model_copy(update={"morphology": (), "description": (), "message_id": UUID(int=2)})
    large = fresh()
    limit = len(small.to_bytes()) + 600
    assert len(large.to_bytes()) > limit
    outbox.put(large)
    small = outbox.put(small)
    broker = MosquittoBroker(lines=(*OPEN, f"max_packet_size {limit}"))
    with broker, receive(section_of(broker)) as receiver, publisher_to(section_of(broker)) as publisher:
        until(lambda: outbox.pending_count() == 1, "the small one's way")
        assert outbox.rows[0].message_id == str(large.message_id)
        until(lambda: publisher.status.state == "refused", "the refusal")
        assert f"takes at most {limit} bytes a message (max_packet_size)" in publisher.status.reason
        until(lambda: "For review" in receiver.said, "the small one")
    assert receiver.received == [small]


# ---- thrown out


def test_a_device_id_used_twice_is_told(mosquitto: object, publisher_to: Publishing, until: Until) -> None:
    with MosquittoBroker() as broker, publisher_to(section_of(broker)) as one, publisher_to(section_of(broker)) as other:
        until(lambda: any("is the device id used twice?" in each.status.reason for each in (one, other)), "the reason")


def test_a_taken_over_session_is_told_where_the_broker_says_so(publisher_to: Publishing, until: Until) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        section = BrokerSection(host="127.0.0.1", port=server.getsockname()[1], protocol="5")
        with publisher_to(section) as publisher:
            visitor, _ = server.accept()
            with visitor:
                visitor.recv(1024)
                visitor.sendall(b"\x20\x03\x00\x00\x00" + b"\xe0\x01\x8e")
                until(lambda: "Session taken over; is the device id used twice?" in publisher.status.reason, "the reason")
            assert publisher.status.state == "lost"


# ---- TLS


def test_tls_is_checked(
    mosquitto: tuple[str, ...],
    tmp_path: Path,
    outbox: Any,
    audience: Callable[[BrokerSection], None],
    publisher_to: Publishing,
    until: Until,
    fresh: Callable[[], SlideSummary],
) -> None:
    certificate, key = tmp_path / "broker.pem", tmp_path / "broker.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=broker.example",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    outbox.put(fresh())
    with MosquittoBroker(lines=(*OPEN, f"certfile {certificate}", f"keyfile {key}", *mosquitto)) as broker:
        section = section_of(broker, tls=True)
        with pytest.raises(BrokerRefusedError, match=r"is not trusted: it is signed by itself.* set broker\.ca_file"):
            open_link(section, "test")
        with pytest.raises(BrokerRefusedError, match=r"is not trusted: .*'localhost'"):
            open_link(section.model_copy(update={"host": "localhost", "ca_file": certificate}), "test")
        audience(section.model_copy(update={"ca_file": certificate}))
        with publisher_to(section.model_copy(update={"ca_file": certificate})) as publisher:
            assert publisher.drain(PATIENCE_S)
        with publisher_to(section.model_copy(update={"tls": False})) as publisher:
            until(lambda: publisher.status.state == "refused", "the refusal")
            assert "speaks TLS; set broker.tls: true" in publisher.status.reason
    with MosquittoBroker() as plain, pytest.raises(BrokerError, match="is it a TLS port"):
        open_link(section.model_copy(update={"port": plain.port, "ca_file": certificate}), "test")

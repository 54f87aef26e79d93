"""The broker as systemd/mosquitto has it: a real mosquitto on a free port, with our own authority and passwords; and a peer of it."""

from __future__ import annotations

import contextlib
import os
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import trustme
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from device.demo.broker import MosquittoBroker

SHIPPED = Path(__file__).resolve().parents[2] / "systemd" / "mosquitto"
USERS = ("clinic-7", "clinic-8", "supervisor", "reader")
PATIENCE_S = 60.0


@dataclass
class ShippedBroker:
    """One folder with certificates, passwords and queue; `running()` starts mosquitto on it, again and again."""

    folder: Path
    file: str = "leukoscope.conf"
    authority: trustme.CA = field(default_factory=trustme.CA)

    def __post_init__(self) -> None:
        self.ca_file = self.folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca_file)
        issued = self.authority.issue_cert("127.0.0.1", "localhost")
        for number, pem in enumerate(issued.cert_chain_pems):
            pem.write_to_path(self.folder / "leukoscope.pem", append=number > 0)
        issued.private_key_pem.write_to_path(self.folder / "leukoscope.key")
        for number, user in enumerate(USERS):
            passwd = [
                "mosquitto_passwd",
                *(["-c"] if number == 0 else []),
                "-b",
                str(self.folder / "leukoscope.passwd"),
                user,
                f"of {user}",
            ]
            subprocess.run(passwd, check=True, capture_output=True)

    @property
    def lines(self) -> tuple[str, ...]:
        """The shipped file without its listener, whose port is the test's, behind what Debian's own mosquitto.conf says."""
        text = (SHIPPED / self.file).read_text()
        text = text.replace("/etc/mosquitto/leukoscope.acl", str(SHIPPED / "leukoscope.acl"))
        text = text.replace("/etc/mosquitto/certs/", f"{self.folder}/").replace("/etc/mosquitto/", f"{self.folder}/")
        debian = ("persistence true", f"persistence_location {self.folder}/", *(("user root",) if os.geteuid() == 0 else ()))
        return (*[line for line in text.splitlines() if not line.startswith("listener ")], *debian)

    @contextlib.contextmanager
    def running(self, more: tuple[str, ...] = ()) -> Iterator[MosquittoBroker]:
        with MosquittoBroker(lines=(*self.lines, *more)) as broker:
            yield broker

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))

    @contextlib.contextmanager
    def peer(self, broker: MosquittoBroker, user: str, *, stays: bool = False, **more: Any) -> Iterator[Peer]:
        """A client that has logged in as `user`; stays: its session outlives its absence. Raises PermissionError."""
        context = self.context() if self.file == "leukoscope.conf" else None
        with Peer(broker.port, user, context, stays, **more) as peer:
            yield peer


class Peer:
    """One connection in MQTT 5. inbox: topics and payloads that came; farewells: how often it broke; largest: what the broker takes."""

    def __init__(self, port: int, user: str, context: ssl.SSLContext | None, stays: bool, password: str | None = None) -> None:
        self.inbox: list[tuple[str, bytes]] = []
        self._reasons: dict[int, str] = {}
        self.largest: int | None = None
        self.farewells = 0
        answer: list[str] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, f"test-{user}", protocol=MQTTProtocolVersion.MQTTv5)
        if user:
            self._client.username_pw_set(user, password or f"of {user}")
        if context is not None:
            self._client.tls_set_context(context)

        def connected(_c: Any, _d: Any, _f: Any, reason: Any, properties: Any) -> None:
            self.largest = getattr(properties, "MaximumPacketSize", None)
            answer.append(str(reason))

        self._client.on_connect = connected
        self._client.on_publish = lambda _c, _d, mid, reason, _p: self._reasons.update({mid: str(reason)})
        self._client.on_subscribe = lambda _c, _d, mid, reasons, _p: self._reasons.update({mid: str(reasons[0])})
        self._client.on_message = lambda _c, _d, message: self.inbox.append((message.topic, message.payload))
        self._client.on_disconnect = lambda *_: setattr(self, "farewells", self.farewells + 1)
        kept = Properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = 3600 if stays else 0
        self._client.connect("127.0.0.1", port, clean_start=not stays, properties=kept)
        self._client.loop_start()
        self.until(lambda: answer, "the broker's answer")
        if answer[0] != "Success":
            self.leave()
            raise PermissionError(answer[0])

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_error: object) -> None:
        self.leave()

    def publish(self, topic: str, payload: bytes = b"x", qos: int = 1, retain: bool = False) -> str:
        """The broker's word for it; empty at QoS 0."""
        mid = self._client.publish(topic, payload, qos, retain).mid
        if qos:
            self.until(lambda: mid in self._reasons, f"the acknowledgement of {topic}")
        return self._reasons.get(mid, "")

    def publish_all(self, messages: Sequence[tuple[str, bytes, int]]) -> None:
        [self._client.publish(*message) for message in messages][-1].wait_for_publish(PATIENCE_S)

    def subscribe(self, topic: str, qos: int = 1) -> str:
        mid = self._client.subscribe(topic, qos)[1]
        self.until(lambda: mid in self._reasons, f"the subscription of {topic}")
        return self._reasons[mid]

    def leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @staticmethod
    def until(happened: Callable[[], object], what: str) -> None:
        give_up_s = time.monotonic() + PATIENCE_S
        while not happened():
            assert time.monotonic() < give_up_s, f"waited {PATIENCE_S:.0f} s for {what}"
            time.sleep(0.01)

"""One MQTT connection, serviced by the thread that opened it: protocol, refusals, acknowledgements, loss. No retrying, no outbox.

paho-mqtt speaks the protocol; its own threads and reconnects are not used, so that the state reported here is the connection's own.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.exception import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from device.mqtt.credentials import password
from device.mqtt.faults import (
    BrokerLostError,
    BrokerRefusedError,
    HungUpError,
    NoAnswerError,
    NotSendableError,
    ProtocolRefusedError,
    RetainRefusedError,
)
from device.mqtt.pace import Limits
from device.mqtt.tls import TlsContext, tls_context, unanswered, unreachable
from device.settings.broker import BrokerSection

log = logging.getLogger(__name__)

Version = Literal["5", "3.1.1"]
Will = tuple[str, bytes]
"""Topic and payload of the last will: published by the broker, retained, when the connection breaks without a farewell."""

_PAHO_VERSION = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}
_UNSUPPORTED_VERSION: Final = 0x84
_TAKEN_OVER: Final = 0x8E
_NO_RETAIN: Final = 0x9A
_SUBSCRIPTION_FAILED: Final = 0x80
_PACKET_OVERHEAD: Final = 64  # fixed header, packet id and our two properties, generously
_UNCONFIRMED_AT_MOST: Final = 200  # messages that the broker sends before the first of them is confirmed by hand
SESSION_EXPIRY_S: Final = 7 * 24 * 3600
_CONNECT_TIMEOUT_S: Final = 5.0
_LONGEST_CONNECT_S: Final = 30.0  # of the network's own part, which nothing can interrupt


@dataclass(frozen=True)
class Ack:
    """The broker's answer to one published message."""

    mid: int
    accepted: bool
    reason: str


@dataclass(frozen=True)
class Incoming:
    """A message that arrived. retained: the broker had kept it. response_topic, correlation: where its sender wants an answer, and what
    the answer must bear (MQTT 5); empty where none is wanted. number: what `Link.confirm` asks for, 0 at QoS 0."""

    topic: str
    payload: bytes
    retained: bool = False
    response_topic: str = ""
    correlation: bytes = b""
    number: int = 0


OnMessage = Callable[[Incoming], None]
"""Called with each message that arrives, in the thread that services the link; must not raise."""


def open_link(
    section: BrokerSection,
    client_id: str,
    *,
    versions: Sequence[Version] = ("5", "3.1.1"),
    resume: bool = False,
    on_message: OnMessage | None = None,
) -> Link:
    """One connection that the broker has accepted, by the first of `versions` that it speaks; who connects again and again, and to a
    link that may be slow, uses `device.mqtt.connecting`.

    resume: the broker keeps subscriptions and missed messages under `client_id` while the client is away.
    Raises BrokerRefusedError or BrokerLostError, each with the reason and the next step.
    """
    limits = Limits()
    for position, version in enumerate(versions):
        link = Link(section, version, client_id, resume=resume, on_message=on_message)
        last = position == len(versions) - 1
        try:
            link.open(lambda: False, limits.last_s if last else limits.first_s)
        except BaseException as error:
            link.drop()
            if last and isinstance(error, NoAnswerError):
                raise unanswered(error, section) from error
            if last or not isinstance(error, (ProtocolRefusedError, NoAnswerError)):
                raise
            log.info("%s; trying MQTT %s", error, versions[position + 1])
        else:
            return link
    raise ValueError("no protocol version to try")


class Link:
    """One connection. Used by one thread; when it is gone, it is gone: open another.

    by_hand: what arrives is acknowledged by `confirm` alone; what is not, the broker sends again at the next connection.
    """

    def __init__(
        self,
        section: BrokerSection,
        version: Version,
        client_id: str,
        *,
        will: Will | None = None,
        resume: bool = False,
        on_message: OnMessage | None = None,
        by_hand: bool = False,
        keepalive_s: int = 0,
        retains: bool = True,
    ) -> None:
        self.version: Version = version
        self.retains = retains  # False: the broker keeps no messages, and ends the connection at one that it should keep
        self.max_packet_bytes: int | None = None
        self.max_in_flight = 8
        self._section, self._resume, self._on_message = section, resume, on_message
        self._where = section.address
        self._acks: deque[Ack] = deque()
        self._granted: dict[int, list[ReasonCode]] = {}
        self._by_hand = by_hand
        self._asked: dict[int, tuple[str, ...]] = {}  # subscriptions that were not answered yet
        self._keepalive_s = max(section.keepalive_s, keepalive_s)
        self._answer_s = 0.0  # what `open` was given
        self._accepted = False
        self._refusal: BrokerRefusedError | None = None
        self._gone = ""
        self._tls: TlsContext | None = None
        v5 = version == "5"
        self._paho = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if v5 else not resume,
            protocol=_PAHO_VERSION[version],
            reconnect_on_failure=False,
            manual_ack=by_hand,
        )
        self._paho.on_connect = self._connected
        self._paho.on_disconnect = self._disconnected
        self._paho.on_publish = self._acknowledged
        self._paho.on_subscribe = self._subscribed
        self._paho.on_message = self._arrived
        if will is not None:
            self._paho.will_set(*will, qos=0, retain=retains)  # as the status: nobody's queue fills with it

    # ---- opening and closing

    def open(self, cancelled: Callable[[], bool], answer_s: float) -> None:
        """Connect and wait up to `answer_s` for the broker's yes. Raises BrokerRefusedError or BrokerLostError."""
        self._authenticate()
        self._answer_s = answer_s
        patience_s = min(max(_CONNECT_TIMEOUT_S, answer_s), _LONGEST_CONNECT_S)
        self._paho.connect_timeout = patience_s
        options: dict[str, Any] = {}
        if self.version == "5":
            session = {"SessionExpiryInterval": SESSION_EXPIRY_S} if self._resume else {}
            session |= {"ReceiveMaximum": _UNCONFIRMED_AT_MOST} if self._by_hand else {}
            options = {"clean_start": not self._resume, "properties": _properties(PacketTypes.CONNECT, **session)}
        try:
            self._paho.connect(self._section.host, self._section.port, self._keepalive_s, **options)
        except (OSError, ValueError) as error:
            raise unreachable(error, self._section, patience_s) from error
        deadline_s = time.monotonic() + answer_s
        while not self._accepted:
            if cancelled():
                raise BrokerLostError("stopped while connecting")
            if time.monotonic() > deadline_s:
                said = f"{self._where} says nothing to MQTT {self.version} within {answer_s:.0f} s"
                raise NoAnswerError(f"{said}; is it a broker, and no TLS port?")
            try:
                self.service(0.1)
            except BrokerLostError as error:
                if self._refusal:
                    raise self._refusal from error
                if self._tls is not None and (alert := self._tls.alert) is not None:
                    raise unreachable(alert, self._section, answer_s) from error
                reason = f"{self._where} hung up on MQTT {self.version} without a word; is it a broker, and no TLS port?"
                raise HungUpError(reason) from error
        if self._refusal:
            raise self._refusal

    def _authenticate(self) -> None:
        section = self._section
        if section.username is not None:
            self._paho.username_pw_set(section.username, password(section))
        if section.tls:
            self._tls = tls_context(section)
            self._paho.tls_set_context(self._tls)

    def close(self) -> None:
        """Leave in order: the broker does not publish the last will."""
        if self._paho.socket() is not None:
            self._paho.disconnect()
        self.drop()

    def drop(self) -> None:
        """Break off; where the broker had accepted us, it publishes the last will."""
        self._gone = self._gone or "closed"
        for sock in (cast("socket.socket | None", self._paho.socket()), self._tls.last if self._tls else None):
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.close()

    @property
    def certificate_ends(self) -> datetime | None:
        """When the broker's certificate ends; None without TLS."""
        return self._tls.ends if self._tls is not None else None

    # ---- the open connection

    def service(self, timeout_s: float, wake_fd: int | None = None) -> None:
        """Wait up to `timeout_s` for the network (or for `wake_fd` to become readable), then read, write and keep alive.

        Raises BrokerLostError once the connection is gone.
        """
        sock = cast("socket.socket | None", self._paho.socket())
        if sock is not None and sock.fileno() >= 0:
            waiting = sock.pending() if isinstance(sock, ssl.SSLSocket) else 0
            poll = select.poll()
            poll.register(sock.fileno(), select.POLLIN | (select.POLLOUT if self._paho.want_write() else 0))
            if wake_fd is not None:
                poll.register(wake_fd, select.POLLIN)
            ready = dict(poll.poll(0 if waiting else int(1000 * timeout_s))).get(sock.fileno(), 0)
            try:
                if waiting or ready & ~select.POLLOUT:
                    self._paho.loop_read()
                if self._paho.want_write():
                    self._paho.loop_write()
                self._paho.loop_misc()
            except (ValueError, OSError, MQTTException) as error:  # what a broken peer can make the decoder say
                self._gone = f"{self._where} sent what is not MQTT: {error}"
        self._raise_if_gone()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1, correlation: bytes = b"") -> int:
        """Send; at QoS 1 the number returned comes back in an `Ack`. correlation: of the request that this answers (MQTT 5).

        Raises BrokerRefusedError where the broker does not take messages of this size, NotSendableError for one that no broker could
        take, BrokerLostError when the connection is gone.
        """
        try:
            size = len(payload) + len(topic.encode()) + _PACKET_OVERHEAD
            if self.max_packet_bytes is not None and size > self.max_packet_bytes:
                limit = f"{self._where} takes at most {self.max_packet_bytes} bytes a message (max_packet_size)"
                raise BrokerRefusedError(f"{limit}, this one has {size}; raise the broker's limit")
            properties = None
            if self.version == "5":
                more = {"CorrelationData": correlation} if correlation else {}
                properties = _properties(
                    PacketTypes.PUBLISH, ContentType="application/json", PayloadFormatIndicator=1, **more
                )  # 1: UTF-8
            info = self._paho.publish(topic, payload, qos=qos, retain=retain and self.retains, properties=properties)
        except (ValueError, MQTTException) as error:
            raise NotSendableError(f"{error}") from error
        self._raise_if_gone()
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise BrokerLostError(f"{self._where}: {paho.error_string(info.rc)}")
        return info.mid

    def largest_payload(self, topic: str) -> int | None:
        """Bytes of the largest payload that the broker takes on this topic; None where it names no limit."""
        return None if self.max_packet_bytes is None else self.max_packet_bytes - len(topic.encode()) - _PACKET_OVERHEAD

    @property
    def writing(self) -> bool:
        """Whether something is still on its way into the network."""
        return bool(self._paho.want_write())

    def confirm(self, incoming: Incoming) -> None:
        """Acknowledge a message of this connection; the broker then forgets it. Nothing happens at QoS 0."""
        if incoming.number:
            self._paho.ack(incoming.number, 1)

    def take_acks(self) -> list[Ack]:
        """The answers that arrived since the last call."""
        acks = list(self._acks)
        self._acks.clear()
        return acks

    def ask_for(self, filters: Sequence[tuple[str, int]]) -> None:
        """Subscribe to each (filter, QoS) and do not wait for the broker's word, which `refused_filters` tells. BrokerLostError."""
        rc, mid = self._paho.subscribe(list(filters))
        if rc != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise BrokerLostError(f"{self._where}: {paho.error_string(rc)}")
        self._asked[mid] = tuple(each for each, _ in filters)

    @property
    def answered_filters(self) -> bool:
        """Whether the broker has answered all that was asked for."""
        return not self._asked.keys() - self._granted.keys()

    def refused_filters(self) -> list[str]:
        """What it has refused since the last call, each with its reason."""
        refused = []
        for mid in [mid for mid in self._asked if mid in self._granted]:
            for each, code in zip(self._asked.pop(mid), self._granted.pop(mid), strict=True):
                if code.value >= _SUBSCRIPTION_FAILED:
                    refused.append(f"{self._where} does not let us subscribe to {each}: {code}; ask for that right")
        return refused

    def subscribe(self, filters: Sequence[str], cancelled: Callable[[], bool] = lambda: False, qos: int = 1) -> None:
        """Subscribe and wait for the broker's word. Raises BrokerRefusedError where it grants less, or BrokerLostError."""
        self.ask_for([(each, qos) for each in filters])
        deadline_s = time.monotonic() + max(_CONNECT_TIMEOUT_S, self._answer_s)
        while not self.answered_filters:
            if cancelled() or time.monotonic() > deadline_s:
                raise BrokerLostError(f"{self._where} did not answer the subscription")
            self.service(0.1)
        for refused in self.refused_filters():
            raise BrokerRefusedError(refused)

    def _raise_if_gone(self) -> None:
        sock = self._paho.socket()
        if sock is None or self._gone:
            raise BrokerLostError(self._gone or f"connection to {self._where} lost")

    # ---- what paho tells

    def _connected(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, properties: Properties | None) -> None:
        self._accepted = not reason.is_failure
        if reason.is_failure:
            if reason.value == _UNSUPPORTED_VERSION:
                self._refusal = ProtocolRefusedError(f"{self._where} does not speak MQTT {self.version}")
            elif reason.value == _NO_RETAIN:
                self._refusal = RetainRefusedError(f"{self._where} keeps no messages; set retain_available in its configuration")
            else:
                self._refusal = BrokerRefusedError(f"{self._where} refuses: {reason}; check username and password file")
            return
        self.retains = self.retains and bool(getattr(properties, "RetainAvailable", 1))
        self.max_packet_bytes = getattr(properties, "MaximumPacketSize", None)
        self.max_in_flight = min(self.max_in_flight, getattr(properties, "ReceiveMaximum", self.max_in_flight))
        if getattr(properties, "MaximumQoS", 1) < 1:
            self._refusal = BrokerRefusedError(f"{self._where} offers QoS 0 only; summaries need QoS 1")

    def _disconnected(self, _client: Any, _data: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            twice = "; is the device id used twice?" if reason.value == _TAKEN_OVER else ""
            self._gone = f"{self._where} ended the connection: {reason}{twice}"
        else:
            self._gone = self._gone or f"connection to {self._where} lost ({str(reason).lower()})"

    def _acknowledged(self, _client: Any, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        self._acks.append(Ack(mid, not reason.is_failure, str(reason)))

    def _subscribed(self, _client: Any, _data: Any, mid: int, reasons: list[ReasonCode], _properties: Any) -> None:
        self._granted[mid] = reasons

    def _arrived(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        if self._on_message is not None:
            properties = message.properties
            wanted = str(getattr(properties, "ResponseTopic", "")), bytes(getattr(properties, "CorrelationData", b""))
            try:
                topic = message.topic
            except UnicodeDecodeError:  # a broker that does not look; the message must not break the connection at each try
                topic = "\N{REPLACEMENT CHARACTER}"
            self._on_message(Incoming(topic, bytes(message.payload), bool(message.retain), *wanted, message.mid if message.qos else 0))


def _properties(packet: int, **values: Any) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]  # paho leaves its constructor without types
    for name, value in values.items():
        setattr(properties, name, value)
    return properties

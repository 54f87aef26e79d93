"""The doctor's look at the way to the supervisor: connection, certificate, rights, what waits. Nothing is sent of a slide."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from typing import Final

from device.clock import SystemClock
from device.mqtt.client import Link, open_link
from device.mqtt.commands import CommandAnswer
from device.mqtt.credentials import OutsideUnitError, careless
from device.mqtt.device_status import read_status
from device.mqtt.faults import BrokerRefusedError
from device.mqtt.message import PayloadError
from device.mqtt.tls import WARN_DAYS, client_expiry, soon_expired
from device.mqtt.topics import Topics
from device.service.control import ControlError, ask_status
from device.service.finding import Finding
from device.settings.config import Config
from device.store import Store

_ACK_S: Final = 5.0
_LATE: Final = timedelta(days=1)
"""What a receiver has not confirmed by then deserves a look."""


def broker_findings(config: Config) -> list[Finding]:
    """Connection, rights and outbox. Raises BrokerError where there is no connection; what waits is then told by `outbox_finding`."""
    section = config.broker
    if not section.enabled:
        return [Finding("Broker", "ok", "switched off by the configuration")]
    try:
        link = open_link(section, f"leukoscope-doctor-{os.getpid()}")
    except OutsideUnitError as error:  # a person's shell is no unit
        return [Finding("Broker", "warn", str(error).partition("; ")[0], "not tried by hand: see leukoscope status --words")]
    try:
        return [_connection(config, link), _rights(config, link)]
    finally:
        link.close()


def outbox_finding(config: Config) -> Finding:
    """What the record says of its messages: how many wait, how many nobody confirmed, what was delivered last. Raises StoreError."""
    if not config.record_path.exists():
        return Finding("Outbox", "ok", "no slide was counted here yet")
    with Store.read(config.record_path) as store:
        figures, last = store.figures(SystemClock().now() - _LATE), store.last_delivered()
    seen = [f"{figures.pending} wait" if figures.pending else "nothing waits"]
    if figures.unconfirmed:
        seen.append(f"{figures.unconfirmed} of them are with the broker and confirmed by no receiver")
    if figures.unheard:
        seen.append(f"{figures.unheard} reached the broker while nobody was subscribed")
    if figures.quarantined:
        seen.append(f"{figures.quarantined} put aside (see Record)")
    if last.slide_id and last.at is not None:
        seen.append(f"delivered last: slide {last.slide_id}, {last.at:%Y-%m-%d %H:%M} UTC")
    if figures.unheard or figures.late:
        return Finding(
            "Outbox", "warn", "; ".join(seen), "start the receiver, or mend its rights; leukoscope status --words tells the rest"
        )
    return Finding("Outbox", "ok", "; ".join(seen))


def _connection(config: Config, link: Link) -> Finding:
    section, now = config.broker, SystemClock().now()
    seen = f"{section.address} accepts us, MQTT {link.version}"
    told = careless(section)
    if section.tls and (ends := link.certificate_ends) is not None:
        seen += f", TLS, certificate valid until {ends:%Y-%m-%d}"
        if words := soon_expired(ends, now, WARN_DAYS):
            told.append(f"the broker's certificate {words}; renew it at the broker")
    if words := client_expiry(section, now):
        told.append(words)
    return Finding("Broker", "warn" if told else "ok", seen, " ".join(f"{line}." for line in told))


def _rights(config: Config, link: Link) -> Finding:
    """Whether receipts and requests can be heard, and an answer be sent; of summaries the running daemon tells."""
    topics = Topics(config.device.id, config.broker.topic_root)
    missing = []
    for topic in (topics.receipt, topics.cmd_any):
        try:
            link.subscribe([topic])
        except BrokerRefusedError as error:
            missing.append(str(error))
    words = "leukoscope doctor tries its rights"
    answer = CommandAnswer.to(config.device.id, "doctor", "", True, words, SystemClock().now())
    reason = _published(link, topics.cmd_answer, answer.to_bytes(), time.monotonic() + _ACK_S)
    if reason:
        missing.append(f"may not publish to {topics.cmd_answer} ({reason})")
    if said := _daemon_says(config):
        missing.append(said)
    if missing:
        wanted = f"let it write {topics.root}/{topics.device_id}/… and read {topics.receipt}, {topics.cmd_any} (docs/broker.md)"
        return Finding("Rights", "warn", "; ".join(missing), wanted)
    if link.version == "3.1.1":
        return Finding("Rights", "ok", "no refusal seen, but MQTT 3.1.1 does not tell of most: receipts alone are a proof")
    return Finding("Rights", "ok", f"{topics.receipt} and {topics.cmd_any} can be heard, answers can be sent")


def _published(link: Link, topic: str, payload: bytes, until_s: float) -> str:
    """Why the broker did not take it; empty where it did."""
    mid = link.publish(topic, payload)
    while time.monotonic() < until_s:
        link.service(0.1)
        for ack in link.take_acks():
            if ack.mid == mid:
                return "" if ack.accepted else ack.reason
    return f"no answer in {_ACK_S:.0f} s"


def _daemon_says(config: Config) -> str:
    """What the running daemon has against the broker; empty where none runs or all is well."""
    try:
        report = read_status(json.dumps(ask_status(config.control_path, timeout_s=2.0)).encode()).payload.broker
    except (ControlError, PayloadError):
        return ""
    return f"the daemon says: {report.reason}" if report is not None and report.reason else ""

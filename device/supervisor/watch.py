"""The supervisor's terminal: subscribes to summaries and device status and prints them; with a name it confirms them to the devices.

It has two connections: one for summaries, which the broker keeps for it under its name, and one for statuses, of which only the newest
matters and none may take a summary's place in the broker's queue.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from typing import Final

from rich.console import Console

from device.clock import Backoff
from device.errors import BrokerError
from device.mqtt.client import Link
from device.mqtt.connecting import Connector
from device.mqtt.faults import BrokerLostError, BrokerRefusedError
from device.mqtt.payloads import SlideSummary
from device.mqtt.topics import ANY_DEVICE, Topics
from device.settings.broker import RECEIVER, BrokerSection
from device.supervisor.inbox import Inbox

_TICK_S: Final = 0.1


def watch(
    section: BrokerSection,
    *,
    device: str = ANY_DEVICE,
    count: int | None = None,
    timeout_s: float | None = None,
    console: Console | None = None,
    client_id: str | None = None,
    ready: threading.Event | None = None,
    stop: threading.Event | None = None,
    heard: Callable[[SlideSummary], object] | None = None,
) -> list[SlideSummary]:
    """Print what arrives until `count` summaries came, `timeout_s` passed, `stop` is set or Ctrl-C; returns the summaries, each once.

    client_id: with it the broker keeps what is published while nobody watches under this name, and sends it the next time; what was
    shown is confirmed to its device under this name. ready: set once the subscription stands; what is published before is not seen
    (summaries are not retained). heard: called with each summary as it arrives, in this thread.
    Raises BrokerRefusedError when the broker refuses at first, BrokerError for a device or a client id that cannot be one; a broker
    that is away is waited for.
    """
    stop = stop or threading.Event()
    try:
        topics = Topics(device, section.topic_root)
    except ValueError as error:
        raise BrokerError(str(error)) from error
    if client_id is not None and not re.fullmatch(RECEIVER, client_id):
        raise BrokerError(f"client id {client_id[:80]!r}: 1 to 64 letters, digits, '_', '.' or '-', a letter or digit first")
    inbox = Inbox(topics, console or Console(), heard or (lambda summary: None), client_id or "")
    until_s = None if timeout_s is None else time.monotonic() + timeout_s

    def done() -> bool:
        enough = count is not None and len(inbox.summaries) >= count
        return enough or (until_s is not None and time.monotonic() >= until_s) or stop.is_set()

    name = client_id or f"leukoscope-watch-{uuid.uuid4().hex[:12]}"
    connector = Connector(section, name, resume=client_id is not None, on_message=inbox.take, cancelled=done)
    statuses = _Statuses(section, inbox, done)
    statuses.start()
    backoff, known, reported = Backoff(0.5, 15.0), False, ""
    try:
        while not done():
            try:
                with closing(connector.open()) as link:
                    link.subscribe([topics.summary, topics.review, topics.event], done)
                    known, reported = True, ""
                    inbox.note(f"watching {topics.summary} on {section.address} (MQTT {link.version})")
                    backoff.reset()
                    if ready is not None:
                        ready.set()
                    statuses.wanted.set()
                    _listen(link, inbox, done)
            except BrokerRefusedError as error:
                if not known:
                    raise
                reported = inbox.note_once(reported, f"{error}; trying again")
            except BrokerLostError as error:
                if not done():
                    reported = inbox.note_once(reported, f"{error}; trying again")
            statuses.wanted.clear()
            if not done():
                pause_s = backoff.next_s()
                stop.wait(pause_s if until_s is None else max(0.0, min(pause_s, until_s - time.monotonic())))
    except KeyboardInterrupt:
        inbox.note("stopped")
    finally:
        statuses.end()
    inbox.tell_gaps(at_once=True)
    return inbox.summaries


def _listen(link: Link, inbox: Inbox, done: Callable[[], bool]) -> None:
    """Hear and confirm until it is enough. A receipt that is lost is made good by the device, which then sends again."""
    while not done():
        link.service(_TICK_S)
        for topic, payload in inbox.confirmations():
            link.publish(topic, payload)
        inbox.tell_gaps()
    for topic, payload in inbox.confirmations():
        link.publish(topic, payload)
    until_s = time.monotonic() + 1.0
    while link.writing and time.monotonic() < until_s:
        link.service(_TICK_S)


class _Statuses(threading.Thread):
    """The second connection: statuses at QoS 0, in a session that keeps nothing. Its failures hold no summary up."""

    def __init__(self, section: BrokerSection, inbox: Inbox, done: Callable[[], bool]) -> None:
        super().__init__(name="watch-statuses", daemon=True)
        self._inbox, self._done, self._ended = inbox, done, threading.Event()
        self.wanted = threading.Event()
        """Set while summaries are heard."""
        name = f"leukoscope-status-{uuid.uuid4().hex[:12]}"
        self._connector = Connector(section, name, on_message=inbox.take, cancelled=self._over)

    def _over(self) -> bool:
        return self._ended.is_set() or self._done()

    def run(self) -> None:
        """Connect, listen, connect again."""
        backoff, reported = Backoff(0.5, 15.0), ""
        while not self._over():
            try:
                with closing(self._connector.open()) as link:
                    link.subscribe([self._inbox.topics.status], self._over, qos=0)
                    backoff.reset()
                    reported = ""
                    while not self._over():
                        link.service(_TICK_S)
            except BrokerError as error:
                if self.wanted.is_set() and not self._over():  # else the other connection has the same to say
                    reported = self._inbox.note_once(reported, f"no statuses: {error}; trying again")
            self._ended.wait(backoff.next_s())

    def end(self) -> None:
        self._ended.set()
        self.join(5.0)

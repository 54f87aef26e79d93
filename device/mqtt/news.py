"""What is sent only while it is news: the device's status and its health. At QoS 0 and never before summaries that wait, so that
nobody's queue and no slow link fills with it."""

from __future__ import annotations

import logging
import threading
from datetime import datetime
from typing import Final

from device.clock import Clock
from device.mqtt.client import Link
from device.mqtt.device_status import DeviceStatus
from device.mqtt.faults import BrokerRefusedError, NotSendableError
from device.mqtt.topics import Topics

log = logging.getLogger(__name__)

_AT_MOST_EVERY_S: Final = 1.0


class News:
    """Newest status and health. `set_…` from any thread, the rest from the publisher's."""

    def __init__(self, topics: Topics, status: DeviceStatus, clock: Clock, period_s: float) -> None:
        self._topics, self._clock, self._period_s = topics, clock, period_s
        self._lock = threading.Lock()
        self._status, self._health = status, b""  # guarded by the lock
        self._sent: DeviceStatus | None = None  # on this connection
        self._sent_s = 0.0
        self._since: datetime | None = None
        self._complained = False

    def set_status(self, status: DeviceStatus) -> None:
        with self._lock:
            self._status = status

    def set_health(self, payload: bytes) -> None:
        with self._lock:
            self._health = payload

    def last_will(self) -> bytes:
        """What the broker shall publish when the connection breaks."""
        with self._lock:
            return self._status.last_will(self._clock.now()).to_bytes()

    def begin(self) -> None:
        """A new connection: the last will may have been published meanwhile."""
        self._sent, self._sent_s, self._since = None, self._clock.monotonic_s(), self._clock.now()

    def send(self, link: Link, pending: int, *, busy: bool) -> None:
        """What is due; while summaries wait (busy) only once a period, and never behind what the network has not taken yet."""
        if link.writing:
            return
        now_s = self._clock.monotonic_s()
        waited_s = now_s - self._sent_s
        if busy and waited_s < self._period_s:
            return
        with self._lock:
            newest, health = self._status, self._health
            self._health = b""
        if health:
            self._publish(link, self._topics.health, health, retain=False)
        if self._sent is not None and waited_s < (self._period_s if newest.says_the_same_as(self._sent) else _AT_MOST_EVERY_S):
            return
        filled = {
            "state": "online",
            "offline_reason": None,
            "since": self._since,
            "sent_at": self._clock.now(),
            "outbox_pending": pending,
        }
        self._publish(link, self._topics.status, newest.model_copy(update=filled).to_bytes(), retain=True)
        self._sent, self._sent_s = newest, now_s

    def send_farewell(self, link: Link, pending: int) -> None:
        """The device leaves in order."""
        with self._lock:
            status = self._status
        farewell = status.stopped(self._clock.now()).model_copy(update={"outbox_pending": pending})
        self._publish(link, self._topics.status, farewell.to_bytes(), retain=True)

    def _publish(self, link: Link, topic: str, payload: bytes, *, retain: bool) -> None:
        try:
            link.publish(topic, payload, retain=retain, qos=0)
        except (BrokerRefusedError, NotSendableError) as error:  # summaries may be smaller, and go on
            if not self._complained:
                log.warning("%s cannot be sent: %s", topic, error)
            self._complained = True

"""A device's outbox in memory: the same rules as the record's (`device.store.outbox`), and when each message went which way.

Nothing outlives the process; a thousand real records would measure the disk of this machine, which no fleet shares.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from device.mqtt.outbox import Delivered, Figures, Head, OutboxMessage, Said, enough


@dataclass
class Journey:
    """When a message was made, first sent, taken by the broker and confirmed: seconds of a clock that all processes share; 0: not yet.

    sent_at: by the wall clock, as seconds of Unix. tries: how often it was sent.
    """

    message_id: str
    made_s: float
    sent_s: float = 0.0
    acknowledged_s: float = 0.0
    confirmed_s: float = 0.0
    sent_at: float = 0.0
    tries: int = 0


@dataclass
class _Row:
    message: OutboxMessage
    head: Head
    journey: Journey
    have: set[str]


class MemoryOutbox:
    """Put into by one thread, used by the publisher's. done: called with each message's journey when it leaves."""

    def __init__(self, done: Callable[[Journey], None]) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, _Row] = {}
        self._last = 0
        self._done = done
        self.with_the_broker = 0
        """Messages that the broker took at least once."""
        self._delivered = Delivered()
        self._protocols: dict[str, str] = {}
        self._aside = 0

    def put(self, message: OutboxMessage) -> None:
        """At the end of the queue."""
        with self._lock:
            self._last += 1
            head = Head(self._last, message.message_id, message.kind, message.slide_id)
            self._rows[message.message_id] = _Row(message, head, Journey(message.message_id, time.monotonic()), set())

    def __len__(self) -> int:
        return len(self._rows)

    def waiting(self) -> list[Journey]:
        """Of those that have not left."""
        with self._lock:
            return [row.journey for row in self._rows.values()]

    # ---- what the publisher asks (device.mqtt.outbox.Outbox)

    def heads(self, after: int, limit: int) -> Sequence[Head]:
        with self._lock:
            return [row.head for row in self._rows.values() if row.head.sequence > after][:limit]

    def message(self, message_id: str) -> OutboxMessage | None:
        with self._lock:
            row = self._rows.get(message_id)
            if row is None:
                return None
            journey = row.journey
            if not journey.tries:
                journey.sent_s, journey.sent_at = time.monotonic(), time.time()
            journey.tries += 1
            return row.message

    def taken(self, message_id: str, said: Said, at: datetime) -> None:
        with self._lock:
            if row := self._rows.get(message_id):
                row.head = replace(row.head, attempts=row.head.attempts + 1, sent_at=at, said=said)
                self._broker_has(row.journey)

    def delivered(self, message_id: str, at: datetime) -> None:
        with self._lock:
            self._leaves(message_id, at, confirmed=False)

    def acknowledge(self, message_id: str) -> None:
        with self._lock:
            self._rows.pop(message_id, None)

    def confirm(
        self, message_ids: Sequence[str], receiver: str, at: datetime, wanted: frozenset[str], needs_all: bool
    ) -> Sequence[str]:
        left = []
        with self._lock:
            for message_id in message_ids:
                if (row := self._rows.get(message_id)) is None:
                    continue
                row.have.add(receiver)
                if enough(row.have, wanted, needs_all):
                    self._leaves(message_id, at, confirmed=True)
                    left.append(message_id)
        return left

    def _leaves(self, message_id: str, at: datetime, *, confirmed: bool) -> None:
        if (row := self._rows.pop(message_id, None)) is None:
            return
        journey = row.journey
        self._broker_has(journey)
        journey.confirmed_s = time.monotonic() if confirmed else 0.0
        self._delivered = Delivered(row.message.slide_id, at)
        self._done(journey)

    def _broker_has(self, journey: Journey) -> None:
        if not journey.acknowledged_s:
            journey.acknowledged_s = time.monotonic()
            self.with_the_broker += 1

    def put_message_aside(self, message_id: str, why: str) -> None:
        with self._lock:
            self._rows.pop(message_id, None)
            self._aside += 1

    def figures(self, late_before: datetime) -> Figures:
        with self._lock:
            heads = [row.head for row in self._rows.values()]
            sent = [head for head in heads if head.said == "sent"]
            late = [head for head in sent if head.attempts > 1 or (head.sent_at is not None and head.sent_at < late_before)]
            unheard = sum(head.said == "nobody" for head in heads)
            return Figures(len(heads), len(sent), len(late), unheard, self._aside)

    def last_delivered(self) -> Delivered:
        return self._delivered

    def protocol_of(self, address: str) -> str:
        return self._protocols.get(address, "")

    def remember_protocol(self, address: str, protocol: str, at: datetime) -> None:
        self._protocols[address] = protocol

    def close(self) -> None:
        """It stays: the publisher opens it again."""

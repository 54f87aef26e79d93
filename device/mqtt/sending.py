"""Which rows of the outbox are sent, held and let go: what the publisher does with them on a connection, whatever becomes of it.

A row leaves when it is delivered: when the receivers that are named have confirmed it; where none is named, when the broker took it and
had a subscriber (MQTT 5), or when anybody confirmed it (3.1.1, in which an acknowledgement proves nothing).
"""

from __future__ import annotations

import heapq
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from device.clock import Clock, doubled_s
from device.mqtt.client import Ack, Link, Version
from device.mqtt.crops import fitted
from device.mqtt.faults import BrokerRefusedError, NotSendableError
from device.mqtt.message import one_line
from device.mqtt.outbox import FIRST_PLACE, LARGEST_BYTES, Delivered, Head, Outbox, OutboxMessage, Said, Spool
from device.mqtt.pace import Pace
from device.mqtt.receipt import Receipt
from device.mqtt.suspects import Suspects
from device.mqtt.topics import Topics, is_of_a_device

log = logging.getLogger(__name__)

NO_SUBSCRIBER: Final = "No matching subscribers"
_HEADS: Final = 500  # rows taken into memory at a time, without their content
_STRANGE_COUNTS: Final = 20
_PLURAL: Final = {"summary": "summaries", "review": "reviews", "event": "events"}


@dataclass(frozen=True)
class Pauses:
    """How long a row waits for its next attempt, in seconds; pairs double from the first to the second.

    refused: by the broker. nobody: taken, but nobody was subscribed. unconfirmed: by the receivers that are named. unproven: taken by a
    broker of MQTT 3.1.1, where no receiver is named. suspect: the connection ended when it was sent.
    """

    refused_s: float = 60.0
    nobody_s: tuple[float, float] = (60.0, 900.0)
    unconfirmed_s: tuple[float, float] = (900.0, 6 * 3600.0)
    unproven_s: float = 24 * 3600.0
    suspect_s: tuple[float, float] = (60.0, 3600.0)


@dataclass(frozen=True)
class Wanted:
    """receivers: whose confirmation a row needs; all_of_them: of each, else of any."""

    receivers: frozenset[str] = frozenset()
    all_of_them: bool = False


@dataclass
class _Row:
    head: Head
    due_s: float  # by the monotonic clock
    refused: bool = False
    under_way: bool = False


@dataclass(frozen=True)
class _Sent:
    message_id: str
    topic: str
    at_s: float
    bytes: int
    under_way_bytes: int  # with those that were sent before it


class Sending:
    """The outbox's rows in memory, without their content, and what is under way of them. Of the publisher's thread.

    complaint: of the broker, about a message; "" where there is none. delivered: the slide that was delivered last.
    """

    def __init__(self, spool: Spool, topics: Topics, clock: Clock, wanted: Wanted, pauses: Pauses, pace: Pace) -> None:
        self.complaint = ""
        self.delivered: Delivered | None = None
        self._spool, self._topics, self._clock, self._wanted, self._pauses, self.pace = spool, topics, clock, wanted, pauses, pace
        self._rows: dict[str, _Row] = {}
        self._strange = 0  # counts in a row that did not fit
        self._seen = FIRST_PLACE  # the last place in the queue that was taken into memory
        self._later: list[tuple[float, int, str]] = []  # heaps; entries that their row has outlived are passed over
        self._ready: list[tuple[bool, int, str]] = []  # events first
        self._suspected: list[tuple[int, str]] = []
        self._sent: dict[int, _Sent] = {}
        self._suspects = Suspects(pauses.suspect_s)
        self._version: Version = "5"

    # ---- a connection's life

    def begin(self, version: Version) -> None:
        """A new connection: it may have new rights, and somebody may be subscribed by now."""
        self._version, self.complaint = version, ""
        self._suspects.linked(self._clock.monotonic_s())
        for row in self._rows.values():
            proven_now = row.head.said == "sent" and version == "5" and not self._wanted.receivers
            if row.refused or row.head.said == "nobody" or proven_now:
                self._hurry(row)

    def end(self, *, hung_up: bool) -> None:
        """The connection is gone: what was under way is sent again. hung_up: the other side ended it, perhaps because of a message."""
        under_way, self._sent = [sent.message_id for sent in self._sent.values()], {}
        pauses = self._suspects.ended(under_way, self._clock.monotonic_s()) if hung_up else {}
        for message_id in under_way:
            if (row := self._rows.get(message_id)) is not None:
                row.under_way = False
                self._schedule(row, pauses.get(message_id, 0.0))

    def not_connected(self) -> None:
        """An attempt to connect failed: so it was not a message that ended the connection before."""
        self._suspects.link_is_bad()

    @property
    def suspicion(self) -> str:
        """What is known of a message that may end the connection; "" where none is suspected."""
        return self._suspects.words

    @property
    def under_way(self) -> bool:
        return bool(self._sent)

    @property
    def busy(self) -> bool:
        """Whether rows are under way or could be sent now."""
        self._take_due()
        return bool(self._sent or self._ready)

    def refresh(self) -> None:
        """Take into memory what was put into the outbox since."""
        if self.delivered is None:
            self.delivered = self._spool.read(lambda outbox: outbox.last_delivered())
        while True:
            heads = self._spool.read(self._next_heads) or ()
            for head in heads:
                row = self._rows[head.message_id] = _Row(head, 0.0)
                self._schedule(row, self._pause_s(head))
                self._seen = head.sequence
            if len(heads) < _HEADS:
                return

    def compare(self, pending: int) -> None:
        """How many rows the record counts: with more than are known here for a while, it is another record now (a backup put back)."""
        strange = pending > len(self._rows) and not self._sent and not self._spool.unwritten
        self._strange = self._strange + 1 if strange else 0
        if self._strange > _STRANGE_COUNTS:
            self._strange, self._seen = 0, FIRST_PLACE
            self._rows.clear()
            self.refresh()

    def _next_heads(self, outbox: Outbox) -> Sequence[Head]:
        return outbox.heads(self._seen, _HEADS)

    # ---- sending

    def send(self, link: Link) -> None:
        """Publish what is due and fits into the window. Raises BrokerLostError."""
        self._spool.write_waiting()
        while len(self._sent) < min(self.pace.window, link.max_in_flight):
            row = self._next()
            if row is None:
                return
            message_id = row.head.message_id
            message, gone = self._message(message_id)
            if message is None:
                if gone:  # deleted, or confirmed by another connection
                    self._forget(message_id)
                    continue
                self._schedule(row, self._pauses.refused_s)  # the record cannot be read; told by the spool
                return
            try:
                self._publish(link, row, message)
            except BrokerRefusedError as error:
                self._hold(row, str(error))
            except NotSendableError as error:
                self._put_aside(row, str(error))
            except BaseException:  # the connection is gone: the row was taken out of the queue, and is not under way
                self._schedule(row, 0.0)
                raise

    def _publish(self, link: Link, row: _Row, message: OutboxMessage) -> None:
        if fault := _fault(message):
            raise NotSendableError(fault)
        room = link.largest_payload(message.topic)
        payload = message.payload if room is None else fitted(message.payload, room)  # pictures of cells go first
        mid = link.publish(message.topic, payload)
        size = len(payload) + len(message.topic)
        under_way = size + sum(sent.bytes for sent in self._sent.values())
        self._sent[mid] = _Sent(message.message_id, message.topic, self._clock.monotonic_s(), size, under_way)
        row.under_way = True
        self._suspects.tried(message.message_id, size, self._clock.monotonic_s())

    def _message(self, message_id: str) -> tuple[OutboxMessage | None, bool]:
        """The row's content; None with whether it is gone for certain."""
        answered = self._spool.read(lambda outbox: (outbox.message(message_id),))
        return (None, False) if answered is None else (answered[0], answered[0] is None)

    def _next(self) -> _Row | None:
        """The oldest row that is due, events before all others; a suspect only when nothing else is, and alone."""
        self._take_due()
        while self._ready:
            row = self._still(*heapq.heappop(self._ready)[1:])
            if row is not None and self._suspects.is_one(row.head.message_id):
                heapq.heappush(self._suspected, (row.head.sequence, row.head.message_id))
            elif row is not None:
                return row
        if self._sent:
            return None
        while self._suspected:
            row = self._still(*heapq.heappop(self._suspected))
            if row is not None:
                return row
        return None

    def _still(self, sequence: int, message_id: str) -> _Row | None:
        row = self._rows.get(message_id)
        if row is None or row.head.sequence != sequence or row.under_way:
            return None
        return row if row.due_s <= self._clock.monotonic_s() else None

    def _take_due(self) -> None:
        now_s = self._clock.monotonic_s()
        while self._later and self._later[0][0] <= now_s:
            _, sequence, message_id = heapq.heappop(self._later)
            if (row := self._still(sequence, message_id)) is not None:
                heapq.heappush(self._ready, (row.head.kind != "event", sequence, message_id))

    def _schedule(self, row: _Row, pause_s: float) -> None:
        row.due_s, row.refused = self._clock.monotonic_s() + pause_s, False
        heapq.heappush(self._later, (row.due_s, row.head.sequence, row.head.message_id))

    def _hurry(self, row: _Row) -> None:
        """It need not wait any longer; one that is due stands in line already."""
        row.refused = False
        if row.due_s > self._clock.monotonic_s():
            self._schedule(row, 0.0)

    def _pause_s(self, head: Head) -> float:
        """How long a row still waits, by the wall clock, which may have been set: never longer than the whole pause."""
        if head.sent_at is None:
            return 0.0
        if head.said == "nobody":
            whole_s = doubled_s(*self._pauses.nobody_s, head.attempts - 1)
        elif self._wanted.receivers:
            whole_s = doubled_s(*self._pauses.unconfirmed_s, head.attempts - 1)
        else:
            whole_s = self._pauses.unproven_s
        age_s = (self._clock.now() - head.sent_at).total_seconds()
        return max(0.0, whole_s - max(0.0, age_s))

    # ---- settling

    def settle(self, acks: Sequence[Ack], most: int) -> None:
        """Take in the broker's answers. most: so many messages it lets be under way."""
        for ack in acks:
            sent = self._sent.pop(ack.mid, None)
            if sent is None:
                continue
            self.pace.acknowledged(self._clock.monotonic_s() - sent.at_s, sent.under_way_bytes, most)
            self._suspects.passed(sent.message_id)
            row = self._rows.get(sent.message_id)
            if row is None:  # confirmed meanwhile
                continue
            row.under_way = False
            self._answered(row, ack, sent.topic)
        self._spool.write_waiting()

    def _answered(self, row: _Row, ack: Ack, topic: str) -> None:
        head, now = row.head, self._clock.now()
        if not ack.accepted:
            named = _PLURAL.get(head.kind, head.kind)
            self._hold(row, f"the broker refuses {named}: {ack.reason}; allow {one_line(topic)}")
        elif head.kind == "event":
            self._let_go(head.message_id, lambda outbox: outbox.acknowledge(head.message_id))
        elif ack.reason != NO_SUBSCRIBER and self._version == "5" and not self._wanted.receivers:
            self._let_go(head.message_id, lambda outbox: outbox.delivered(head.message_id, now))
            self._was_delivered(head)
        else:
            said: Said = "nobody" if ack.reason == NO_SUBSCRIBER else "sent"
            row.head = replace(head, attempts=head.attempts + 1, sent_at=now, said=said)
            self._spool.write(head.message_id, lambda outbox: outbox.taken(head.message_id, said, now))
            self._schedule(row, self._pause_s(row.head))

    def confirmed(self, receipt: Receipt) -> None:
        """A receiver has messages: what enough receivers have leaves; and somebody listens, so what nobody heard is sent now."""
        ids = [str(each) for each in receipt.message_ids]
        wanted, at = self._wanted, self._clock.now()

        def keep(outbox: Outbox) -> None:
            for message_id in outbox.confirm(ids, receipt.receiver, at, wanted.receivers, wanted.all_of_them):
                if (row := self._rows.pop(message_id, None)) is not None:
                    self._was_delivered(row.head)

        self._spool.write(f"receipt {receipt.receiver} {ids[0]} {len(ids)}", keep)
        for row in list(self._rows.values()):
            if row.head.said == "nobody" and not row.under_way:
                self._hurry(row)

    def overdue_s(self) -> float:
        """How long nothing was acknowledged, once that is longer than this link may take; else 0."""
        if not self._sent:
            return 0.0
        oldest = min(self._sent.values(), key=lambda sent: sent.at_s)
        waited_s = self._clock.monotonic_s() - oldest.at_s
        under_way = sum(sent.bytes for sent in self._sent.values())
        return waited_s if waited_s > self.pace.limit_s(under_way) else 0.0

    def _hold(self, row: _Row, reason: str) -> None:
        self._schedule(row, self._pauses.refused_s)
        row.refused = True
        self.complaint = reason

    def forget_complaint(self) -> None:
        """No row is held for it any more."""
        if self.complaint and not any(row.refused for row in self._rows.values()):
            self.complaint = ""

    def condemn(self) -> None:
        """Put aside what was shown to end the connection by itself."""
        for message_id, why in self._suspects.condemned():
            if (row := self._rows.get(message_id)) is not None:
                self._put_aside(row, why)

    def _put_aside(self, row: _Row, why: str) -> None:
        message_id = row.head.message_id
        slide = one_line(row.head.slide_id) or "(none)"
        log.error("message %s of slide %s cannot be sent and is put aside: %s", one_line(message_id)[:80], slide, one_line(why))
        self._suspects.forget(message_id)
        self._let_go(message_id, lambda outbox: outbox.put_message_aside(message_id, why))

    def _let_go(self, message_id: str, change: Callable[[Outbox], object]) -> None:
        self._forget(message_id)
        self._spool.write(message_id, change)

    def _forget(self, message_id: str) -> None:
        self._rows.pop(message_id, None)

    def _was_delivered(self, head: Head) -> None:
        if head.slide_id:
            self.delivered = Delivered(head.slide_id, self._clock.now())


def _fault(message: OutboxMessage) -> str:
    """Why no broker or receiver could take a row; "" where nothing is wrong with it."""
    if not 0 < len(message.payload) <= LARGEST_BYTES:
        return f"its content has {len(message.payload)} bytes"
    try:
        content = json.loads(message.payload)
    except (ValueError, RecursionError) as error:
        return f"its content is damaged: {error}"
    if not isinstance(content, dict):
        return "its content is no message"
    if message.kind not in _PLURAL or not is_of_a_device(
        message.topic, message.kind
    ):  # of another id or root, before they were changed
        return "its topic is damaged"
    return ""

"""The outbox as the publisher sees it: what it needs of the record, and how it goes on when the record cannot answer.

Rows are written by the record, in the slide's own transaction; sending them is the publisher's work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol, TypeVar

from device.clock import Clock

log = logging.getLogger(__name__)

BROKER: Final = "(broker)"
"""Who has a message that the broker took and handed on to a subscriber, where no receivers are named; no receiver can be called so."""
FIRST_PLACE: Final = -(1 << 63)
"""Before every place in the queue, also that of a row whose number was damaged."""
LARGEST_BYTES: Final = 16 << 20
"""Of a message's content: no summary has that, with all its crops."""
_WRITE_AGAIN_S: Final = 1.0  # a record that is busy is not pressed
_T = TypeVar("_T")

Said = Literal["", "sent", "nobody"]
"""What the broker said last to a row: nothing yet; taken; taken, but nobody is subscribed."""


@dataclass(frozen=True)
class OutboxMessage:
    """One message. message_id: unique for ever, receivers drop doubles by it; payload: the bytes to be sent.

    kind: what it is, the last part of its topic. slide_id: whose it is, "" for none. number: its place among those of its kind in this
    record's stream; 0 before the record has given it one.
    """

    message_id: str
    topic: str
    payload: bytes
    created_at: datetime
    kind: str = "summary"
    slide_id: str = ""
    number: int = 0


@dataclass(frozen=True)
class Head:
    """A row without its content. sequence: its place in the queue; attempts, sent_at, said: how often the broker took it, when it
    did so last (by the wall clock), and what it said then."""

    sequence: int
    message_id: str
    kind: str
    slide_id: str
    attempts: int = 0
    sent_at: datetime | None = None
    said: Said = ""


@dataclass(frozen=True)
class Figures:
    """pending: rows in the outbox; unconfirmed: those of them that the broker took and nobody confirmed; late: those that were
    sent more than once, or before the moment asked for; unheard: those that it took
    while nobody was subscribed; quarantined: what lies in quarantine, of all kinds."""

    pending: int = 0
    unconfirmed: int = 0
    late: int = 0
    unheard: int = 0
    quarantined: int = 0


@dataclass(frozen=True)
class Delivered:
    """The slide whose message was delivered last, and when; "" and None before the first."""

    slide_id: str = ""
    at: datetime | None = None


def enough(have: Set[str], wanted: frozenset[str], needs_all: bool) -> bool:
    """Whether a row may leave that these receivers have: one (or all) of `wanted`, or anybody where none is wanted."""
    if not wanted:
        return bool(have)
    return wanted <= have if needs_all else bool(wanted & have)


class Outbox(Protocol):
    """What the publisher needs of the record (`device.store` has it). Opened, used and closed in the publisher's own thread."""

    def heads(self, after: int, limit: int) -> Sequence[Head]:
        """The first `limit` rows behind place `after`, in order."""
        ...

    def message(self, message_id: str) -> OutboxMessage | None:
        """A row with its content; None if it is gone."""
        ...

    def taken(self, message_id: str, said: Said, at: datetime) -> None:
        """The broker took a row that stays in the outbox."""
        ...

    def delivered(self, message_id: str, at: datetime) -> None:
        """The broker took a row and handed it on, which is enough: remove it. Nothing happens if it is gone already."""
        ...

    def acknowledge(self, message_id: str) -> None:
        """Remove a row of which nothing need be kept; nothing happens if it is gone already."""
        ...

    def confirm(
        self, message_ids: Sequence[str], receiver: str, at: datetime, wanted: frozenset[str], needs_all: bool
    ) -> Sequence[str]:
        """A receiver has these. Rows leave once `enough` have them; which left."""
        ...

    def put_message_aside(self, message_id: str, why: str) -> None:
        """Into quarantine: it cannot be sent."""
        ...

    def figures(self, late_before: datetime) -> Figures: ...

    def last_delivered(self) -> Delivered: ...

    def protocol_of(self, address: str) -> str:
        """The version of MQTT that the broker at `address` ("host:port") was seen to speak; "" where that is not known."""
        ...

    def remember_protocol(self, address: str, protocol: str, at: datetime) -> None:
        """`protocol` "": forget it."""
        ...

    def close(self) -> None: ...


class Spool:
    """An outbox with retry: a fault is reported once, and the outbox is opened again when it is next needed.

    unwritten: ids of rows whose change could not be written yet; they are not sent again. fault: one line on what the record could not
    do; empty while it answers.
    """

    def __init__(self, open_outbox: Callable[[], Outbox], clock: Clock) -> None:
        self.unwritten: dict[str, Callable[[Outbox], object]] = {}
        self.fault = ""
        self._open_outbox, self._clock = open_outbox, clock
        self._outbox: Outbox | None = None
        self._write_again_s = 0.0

    def read(self, question: Callable[[Outbox], _T]) -> _T | None:
        """The record's answer; None where it cannot be read now."""
        try:
            answer = question(self._opened())
        except Exception as error:
            self._failed("read", error)
            return None
        if not self.unwritten:
            self._works()
        return answer

    def write(self, message_id: str, change: Callable[[Outbox], object]) -> None:
        """Change a row, now or as soon as the record can be written. Changes can be made twice without harm."""
        self.unwritten[message_id] = change
        self.write_waiting()

    def write_waiting(self) -> bool:
        """Write what could not be written before; whether anything was."""
        written = False
        if self._clock.monotonic_s() < self._write_again_s:
            return written
        for message_id, change in list(self.unwritten.items()):
            try:
                change(self._opened())
            except Exception as error:
                self._failed("written", error)
                self._write_again_s = self._clock.monotonic_s() + _WRITE_AGAIN_S
                return written
            del self.unwritten[message_id]
            written = True
        if written:
            self._works()
        return written

    def close(self) -> None:
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            try:
                outbox.close()
            except Exception as error:
                log.warning("the outbox cannot be closed: %s", error)

    def _opened(self) -> Outbox:
        if self._outbox is None:
            self._outbox = self._open_outbox()
        return self._outbox

    def _works(self) -> None:
        if self.fault:
            log.info("the outbox can be used again")
        self.fault = ""

    def _failed(self, what: str, error: Exception) -> None:
        fault = f"the outbox cannot be {what}: {error}"
        if not self.fault:  # one line when it begins; what the disk says changes with each free megabyte
            log.warning("%s", fault)
        self.fault = fault
        self.close()

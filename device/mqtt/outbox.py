"""The outbox as the publisher sees it: what it needs of the record, and how it goes on when the record cannot answer.

Rows are written by the record, in the slide's own transaction; sending them is the publisher's work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from device.clock import Clock

log = logging.getLogger(__name__)

_CLEAR_AGAIN_S: Final = 1.0  # a record that is busy is not pressed


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


class Outbox(Protocol):
    """What the publisher needs of the record (`device.store` has it). Opened, used and closed in the publisher's own thread."""

    def pending(self, limit: int) -> Sequence[OutboxMessage]:
        """The oldest `limit` rows that wait."""
        ...

    def acknowledge(self, message_id: str) -> None:
        """Remove a row that the broker has taken; nothing happens if it is gone already."""
        ...

    def pending_count(self) -> int: ...

    def close(self) -> None: ...


class Spool:
    """An outbox with retry: a fault is reported once, and the outbox is opened again when it is next needed.

    acknowledged: ids that the broker has acknowledged and that could not be removed yet; they are not sent again.
    fault: one line on what the record could not do; empty while it answers.
    """

    def __init__(self, open_outbox: Callable[[], Outbox], clock: Clock) -> None:
        self.acknowledged: set[str] = set()
        self.fault = ""
        self._open_outbox, self._clock = open_outbox, clock
        self._outbox: Outbox | None = None
        self._clear_again_s = 0.0

    def rows(self, limit: int) -> Sequence[OutboxMessage]:
        """The oldest rows; none where the outbox cannot be read now."""
        try:
            rows = self._opened().pending(limit)
        except Exception as error:
            self._failed("read", error)
            return ()
        self.fault = ""
        return rows

    def count(self) -> int | None:
        """How many rows wait; None where the outbox cannot be read now."""
        try:
            return self._opened().pending_count()
        except Exception as error:
            self._failed("read", error)
            return None

    def take(self, message_id: str) -> None:
        """The broker has acknowledged this row; `remove_taken` takes it out."""
        self.acknowledged.add(message_id)

    def remove_taken(self) -> bool:
        """Remove the rows that were acknowledged; whether any was. What cannot be removed now is tried again later."""
        removed = False
        if self._clock.monotonic_s() < self._clear_again_s:
            return removed
        for message_id in sorted(self.acknowledged):
            try:
                self._opened().acknowledge(message_id)
            except Exception as error:
                self._failed("cleared", error)
                self._clear_again_s = self._clock.monotonic_s() + _CLEAR_AGAIN_S
                break
            self.acknowledged.discard(message_id)
            removed = True
        return removed

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

    def _failed(self, what: str, error: Exception) -> None:
        fault = f"the outbox cannot be {what}: {error}"
        if fault != self.fault:
            log.warning("%s", fault)
        self.fault = fault
        self.close()

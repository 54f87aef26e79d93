"""The part of the record that waits: the outbox, who confirmed what, which version of MQTT a broker speaks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from device.mqtt.message import one_line
from device.mqtt.outbox import LARGEST_BYTES, Delivered, Figures, Head, OutboxMessage, Said
from device.store import outbox, quarantine, resend
from device.store.record_file import RecordFile
from device.store.resend import PutBack, Wanted

log = logging.getLogger(__name__)


class Waiting(RecordFile):
    """`device.mqtt.outbox.Outbox`, and what puts messages in."""

    def put_message(self, message: OutboxMessage) -> OutboxMessage:
        """Put a message outside a slide's end or signature (a review, an event) into the outbox; as it now is, with its number."""
        with self._transaction(f"keep {message.kind} {message.message_id}") as db:
            return outbox.put(db, message)

    def resend(self, wanted: Wanted, topic_root: str) -> PutBack:
        """Put summaries into the outbox once more, with the message id and bytes that they had, and take them out of quarantine.

        Also beside a running daemon, whose publisher finds them within seconds. StoreError for a slide that is not in the record.
        """
        with self._transaction("send summaries again") as db:
            return resend.put_back(db, self.path, wanted, topic_root)

    def pending(self, limit: int = 50) -> tuple[OutboxMessage, ...]:
        """The oldest messages that wait, oldest first."""
        with self._reading("read the outbox"):
            return outbox.oldest(self._db, limit)

    def pending_count(self) -> int:
        with self._reading("read the outbox"):
            return outbox.count(self._db)

    def heads(self, after: int, limit: int) -> tuple[Head, ...]:
        """The first `limit` rows behind place `after`, in order. One that is damaged so that it cannot be looked for is put aside."""
        with self._reading("read the outbox"):
            found = outbox.heads(self._db, after, limit)
        damaged = [head for head in found if not outbox.is_sound(head)]
        for head in damaged:
            name = one_line(str(head.message_id))[:80]
            log.error("message %s is damaged in the record: it is put aside and not sent", name)
            with self._transaction("put a damaged message aside") as db:
                quarantine.put(
                    db, "message", f"{name}, place {head.sequence}", "its row is damaged", outbox.take_out(db, head.sequence)
                )
        return tuple(head for head in found if head not in damaged)

    def message(self, message_id: str) -> OutboxMessage | None:
        """A row with its content; None if it is gone. One that is not as it was written is put aside, and is gone then."""
        with self._reading("read the outbox"):
            why = _too_large(outbox.size_of(self._db, message_id))
            message = None if why else outbox.one(self._db, message_id)
            if not why and (message is None or outbox.is_as_written(self._db, message)):
                return message
        why = why or "is not as it was written"
        log.error("message %s is damaged in the record (%s): it is put aside and not sent", one_line(message_id)[:80], why)
        self.put_message_aside(message_id, why)
        return None

    def figures(self, late_before: datetime) -> Figures:
        """How many rows wait, and for whom. late_before: what was sent before that, and is not confirmed, is late."""
        with self._reading("read the outbox"):
            return outbox.figures(self._db, late_before)

    def last_delivered(self) -> Delivered:
        """The slide that was delivered last."""
        with self._reading("read the receipts"):
            return outbox.last_delivered(self._db)

    def taken(self, message_id: str, said: Said, at: datetime) -> None:
        """The broker took a row, which stays until somebody has it."""
        with self._transaction(f"note message {message_id} as sent") as db:
            outbox.mark_taken(db, message_id, said, at)

    def delivered(self, message_id: str, at: datetime) -> None:
        """The broker handed it on, which is enough: remove it. Nothing happens if it is gone already."""
        with self._transaction(f"clear message {message_id}") as db:
            outbox.deliver(db, message_id, at)

    def acknowledge(self, message_id: str) -> None:
        """Remove a message. Nothing happens if it is gone already."""
        with self._transaction(f"clear message {message_id}") as db:
            outbox.remove(db, message_id)

    def confirm(
        self, message_ids: Sequence[str], receiver: str, at: datetime, wanted: frozenset[str], needs_all: bool
    ) -> tuple[str, ...]:
        """A receiver has these messages; the ids of those that left the outbox by it."""
        with self._transaction("keep a receipt") as db:
            return outbox.confirm(db, message_ids, receiver, at, wanted, needs_all)

    def put_message_aside(self, message_id: str, why: str) -> None:
        """Take a message that cannot be sent out of the queue and into quarantine; nothing happens if it is gone already.

        The content of one that is larger than any message is not kept: it would stop the record, and memory, for long.
        """
        with self._transaction(f"put message {one_line(message_id)[:80]} aside") as db:
            too_large = _too_large(outbox.size_of(db, message_id))
            message = None if too_large else outbox.one(db, message_id)
            if message is not None or too_large:
                quarantine.put(db, "message", message_id, why, message.payload if message is not None else b"")
                outbox.remove(db, message_id)

    def protocol_of(self, address: str) -> str:
        """The version of MQTT that the broker at "host:port" was seen to speak; "" where that is not known."""
        with self._reading("read the brokers"):
            return outbox.protocol_of(self._db, address)

    def remember_protocol(self, address: str, protocol: str, at: datetime) -> None:
        """`protocol` "": forget it."""
        with self._transaction("keep the broker's version") as db:
            outbox.remember_protocol(db, address, protocol, at)


def _too_large(size: int) -> str:
    """Why no message has so many bytes; "" for what one may have."""
    return f"its content has {size} bytes, more than any message" if size > LARGEST_BYTES else ""

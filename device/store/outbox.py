"""The outbox: messages written in a slide's own transaction that wait for the broker's acknowledgement. Sending is done elsewhere."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from device.mqtt.outbox import OutboxMessage


def add(db: sqlite3.Connection, message: OutboxMessage) -> None:
    """Within the caller's transaction. A message that already waits is left as it is."""
    db.execute(
        "INSERT INTO outbox (message_id, topic, payload, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (message_id) DO NOTHING",
        (message.message_id, message.topic, message.payload, message.created_at.isoformat()),
    )


def pending(db: sqlite3.Connection, limit: int) -> tuple[OutboxMessage, ...]:
    """The oldest `limit` messages, in the order in which they were written."""
    rows = db.execute("SELECT message_id, topic, payload, created_at FROM outbox ORDER BY sequence LIMIT ?", (limit,))
    return tuple(OutboxMessage(message_id, topic, payload, datetime.fromisoformat(at)) for message_id, topic, payload, at in rows)


def pending_count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM outbox").fetchone()[0])


def acknowledge(db: sqlite3.Connection, message_id: str) -> None:
    db.execute("DELETE FROM outbox WHERE message_id = ?", (message_id,))

"""The outbox's table: messages that wait for the broker, each with its number in the stream of this record."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from datetime import datetime

from device.mqtt.outbox import OutboxMessage


def put(db: sqlite3.Connection, message: OutboxMessage) -> OutboxMessage:
    """Give a message the next number of its kind and put it into the outbox; as it now is. One that is there already stays as it is."""
    stream = str(db.execute("SELECT value FROM identity WHERE key = 'stream'").fetchone()[0])
    number = int(
        db.execute(
            "INSERT INTO sequences VALUES (?, 1) ON CONFLICT (kind) DO UPDATE SET last = last + 1 RETURNING last", (message.kind,)
        ).fetchone()[0]
    )
    message = replace(message, number=number, payload=_numbered(message.payload, stream, number))
    db.execute(
        """INSERT INTO outbox (message_id, topic, payload, created_at, kind, slide_id, number) VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT DO NOTHING""",
        (
            message.message_id,
            message.topic,
            message.payload,
            message.created_at.isoformat(),
            message.kind,
            message.slide_id,
            message.number,
        ),
    )
    return message


def _numbered(payload: bytes, stream: str, number: int) -> bytes:
    """The payload with its stream and number, which are known only inside the transaction that gives them; others stay as they are."""
    content = json.loads(payload)
    if "sequence" not in content:
        return payload
    return json.dumps(content | {"stream": stream, "sequence": number}, ensure_ascii=False, separators=(",", ":")).encode()


def oldest(db: sqlite3.Connection, limit: int) -> tuple[OutboxMessage, ...]:
    """The oldest messages that wait, oldest first."""
    rows = db.execute(
        "SELECT message_id, topic, payload, created_at, kind, slide_id, number FROM outbox ORDER BY sequence LIMIT ?", (limit,)
    )
    return tuple(OutboxMessage(key, topic, payload, datetime.fromisoformat(at), *rest) for key, topic, payload, at, *rest in rows)


def count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM outbox").fetchone()[0])


def remove(db: sqlite3.Connection, message_id: str) -> None:
    """Nothing happens if it is gone already."""
    db.execute("DELETE FROM outbox WHERE message_id = ?", (message_id,))

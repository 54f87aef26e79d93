"""The outbox's table: messages that wait for the broker or for a receiver, each with its number in the stream of this record."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from hashlib import sha256

from device.mqtt.outbox import BROKER, Delivered, Figures, Head, OutboxMessage, Said, enough
from device.store import quarantine

log = logging.getLogger(__name__)

_STREAM = re.compile("[0-9a-zA-Z_.-]{1,64}")
_LARGEST_NUMBER = 1 << 53  # what every receiver's JSON keeps whole


def put(db: sqlite3.Connection, message: OutboxMessage) -> OutboxMessage:
    """Give a message the next number of its kind and put it into the outbox; as it now is. One that was put before takes no number."""
    if was_put(db, message):
        return one(db, message.message_id) or message
    stream, number = _next_number(db, message.kind)
    message = replace(message, number=number, payload=_numbered(message.payload, stream, number))
    insert(db, message)
    return message


def was_put(db: sqlite3.Connection, message: OutboxMessage) -> bool:
    """Whether it was put into the outbox before, wherever it is by now: a write is repeated when nobody knows that it succeeded.

    Of an event that the broker took nothing is left; whoever makes one says when it is the first.
    """
    key = (message.message_id,)
    asked = (
        "SELECT 1 FROM outbox WHERE message_id = ?",
        "SELECT 1 FROM receipts WHERE message_id = ? LIMIT 1",
    )
    if any(db.execute(statement, key).fetchone() for statement in asked) or quarantine.is_in(db, "message", message.message_id):
        return True
    statement = "SELECT 1 FROM summaries WHERE slide_id = ? AND instr(payload, CAST(? AS BLOB)) LIMIT 1"
    return bool(message.slide_id) and db.execute(statement, (message.slide_id, message.message_id)).fetchone() is not None


def _next_number(db: sqlite3.Connection, kind: str) -> tuple[str, int]:
    """The record's stream and the next number of this kind in it. Where either was damaged, a new stream begins at 1: a number
    that came twice in one stream would hide that a summary is missing."""
    row = db.execute("SELECT value FROM identity WHERE key = 'stream'").fetchone()
    before = db.execute("SELECT last FROM sequences WHERE kind = ?", (kind,)).fetchone()
    last = 0 if before is None else before[0]
    if row is None or not _STREAM.fullmatch(str(row[0])) or not isinstance(last, int) or not 0 <= last < _LARGEST_NUMBER:
        log.error("the record's stream or its numbers are damaged: a new stream begins, receivers are told by it")
        db.execute("DELETE FROM sequences")
        db.execute("INSERT OR REPLACE INTO identity (key, value) VALUES ('stream', lower(hex(randomblob(16))))")
        row, last = db.execute("SELECT value FROM identity WHERE key = 'stream'").fetchone(), 0
    db.execute("INSERT OR REPLACE INTO sequences (kind, last) VALUES (?, ?)", (kind, last + 1))
    return str(row[0]), last + 1


def insert(db: sqlite3.Connection, message: OutboxMessage) -> None:
    """Put a message at the end of the queue as it is. One that is there already stays where it is."""
    message_id, at = message.message_id, message.created_at.isoformat()
    db.execute(
        """INSERT INTO outbox (message_id, topic, payload, created_at, kind, slide_id, number, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT DO NOTHING""",
        (message_id, message.topic, message.payload, at, message.kind, message.slide_id, message.number, _checksum(message)),
    )


@contextmanager
def _lenient(db: sqlite3.Connection) -> Iterator[None]:
    """Texts that are not UTF-8 are read all the same, so that one damaged row does not hide the others."""
    db.text_factory = lambda data: data.decode(errors="surrogateescape")
    try:
        yield
    finally:
        db.text_factory = str


def _checksum(message: OutboxMessage) -> str:
    """SHA-256 of what is sent and where to (docs/record.md)."""
    head = [message.message_id, message.topic, message.kind, message.slide_id, message.number]
    return sha256(json.dumps(head, separators=(",", ":")).encode() + b"\n" + message.payload).hexdigest()


def is_as_written(db: sqlite3.Connection, message: OutboxMessage) -> bool:
    """Whether a row is what was put in; also True for one of a version without checksums, of which nothing is known."""
    with _lenient(db):
        row = db.execute("SELECT checksum FROM outbox WHERE message_id = ?", (message.message_id,)).fetchone()
    if not all(_is_text(each) for each in (message.topic, message.kind, message.slide_id)) or not isinstance(message.number, int):
        return False
    return row is None or row[0] in ("", _checksum(message))


def _numbered(payload: bytes, stream: str, number: int) -> bytes:
    """The payload with its stream and number, which are known only inside the transaction that gives them; others stay as they are."""
    content = json.loads(payload)
    if "sequence" not in content:
        return payload
    return json.dumps(content | {"stream": stream, "sequence": number}, ensure_ascii=False, separators=(",", ":")).encode()


_HEAD = "sequence, message_id, kind, slide_id, attempts, sent_at, said"
_MESSAGE = "SELECT message_id, topic, payload, created_at, kind, slide_id, number FROM outbox"


def oldest(db: sqlite3.Connection, limit: int) -> tuple[OutboxMessage, ...]:
    """The oldest messages that wait, oldest first."""
    with _lenient(db):
        return tuple(map(_message, db.execute(f"{_MESSAGE} ORDER BY sequence LIMIT ?", (limit,)).fetchall()))


def one(db: sqlite3.Connection, message_id: str) -> OutboxMessage | None:
    """One message, if it waits."""
    with _lenient(db):
        row = db.execute(f"{_MESSAGE} WHERE message_id = ?", (message_id,)).fetchone()
    return None if row is None else _message(row)


def size_of(db: sqlite3.Connection, message_id: str) -> int:
    """Bytes of a message's content, which is not read for it; 0 if it is gone."""
    row = db.execute("SELECT length(payload) FROM outbox WHERE message_id = ?", (message_id,)).fetchone()
    return 0 if row is None else int(row[0])


def _message(row: Sequence[str | bytes | int]) -> OutboxMessage:
    key, topic, payload, at, *rest = row
    made = _moment(at) or datetime.fromtimestamp(0, timezone.utc)
    return OutboxMessage(str(key), str(topic), _content(payload), made, *rest)  # type: ignore[arg-type]


def _content(payload: object) -> bytes:
    """Damage may make a text of bytes."""
    return payload if isinstance(payload, bytes) else str(payload).encode(errors="surrogateescape")


def _moment(text: object) -> datetime | None:
    """A damaged date must not keep a message back."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def heads(db: sqlite3.Connection, after: int, limit: int) -> tuple[Head, ...]:
    """The first rows behind place `after`, without their content."""
    with _lenient(db):
        rows = db.execute(
            f"SELECT {_HEAD} FROM outbox WHERE sequence > ? ORDER BY sequence LIMIT ?",
            (after, limit),
        ).fetchall()
    return tuple(Head(place, key, kind, slide, n, _moment(at), _said(said)) for place, key, kind, slide, n, at, said in rows)


def is_sound(head: Head) -> bool:
    """Whether its row can be looked for by its id, and told of."""
    return all(_is_text(each) for each in (head.message_id, head.kind, head.slide_id)) and isinstance(head.attempts, int)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not any(0xD800 <= ord(character) <= 0xDFFF for character in value)


def take_out(db: sqlite3.Connection, sequence: int) -> bytes:
    """Remove the row at this place, whatever its id; its content."""
    with _lenient(db):
        row = db.execute("DELETE FROM outbox WHERE sequence = ? RETURNING payload", (sequence,)).fetchone()
    return b"" if row is None else _content(row[0])


def _said(text: str) -> Said:
    return "nobody" if text == "nobody" else "sent" if text == "sent" else ""


def count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM outbox").fetchone()[0])


def figures(db: sqlite3.Connection, late_before: datetime) -> Figures:
    """How many wait, and for whom."""
    sent, late, nobody = db.execute(
        """SELECT count(*) FILTER (WHERE said = 'sent'), count(*) FILTER (WHERE said = 'sent' AND (attempts > 1 OR sent_at < ?)),
        count(*) FILTER (WHERE said = 'nobody') FROM outbox""",
        (late_before.astimezone(timezone.utc).isoformat(),),
    ).fetchone()
    return Figures(count(db), int(sent), int(late), int(nobody), quarantine.count(db))


def mark_taken(db: sqlite3.Connection, message_id: str, said: Said, at: datetime) -> None:
    """The broker took it, and it stays."""
    statement = "UPDATE outbox SET attempts = attempts + 1, sent_at = ?, said = ? WHERE message_id = ?"
    db.execute(statement, (at.astimezone(timezone.utc).isoformat(), said, message_id))


def remove(db: sqlite3.Connection, message_id: str) -> None:
    """Nothing happens if it is gone already."""
    db.execute("DELETE FROM outbox WHERE message_id = ?", (message_id,))


def deliver(db: sqlite3.Connection, message_id: str, at: datetime) -> None:
    """The broker handed it on to a subscriber, which is enough."""
    if _keep_receipt(db, message_id, BROKER, at):
        remove(db, message_id)


def confirm(
    db: sqlite3.Connection, message_ids: Sequence[str], receiver: str, at: datetime, wanted: frozenset[str], needs_all: bool
) -> tuple[str, ...]:
    """Keep a receiver's word on messages that this record knows, and remove those that enough receivers have; the ids of these."""
    left = []
    for message_id in message_ids:
        if not _keep_receipt(db, message_id, receiver, at):
            continue
        have = {name for (name,) in db.execute("SELECT receiver FROM receipts WHERE message_id = ?", (message_id,))} - {BROKER}
        if enough(have, wanted, needs_all) and db.execute("DELETE FROM outbox WHERE message_id = ?", (message_id,)).rowcount:
            left.append(message_id)
    return tuple(left)


def _keep_receipt(db: sqlite3.Connection, message_id: str, receiver: str, at: datetime) -> bool:
    """False for a message that was never in this outbox: nobody can fill the table with invented ids."""
    known = db.execute("SELECT slide_id FROM outbox WHERE message_id = ?", (message_id,)).fetchone()
    known = known or db.execute("SELECT slide_id FROM receipts WHERE message_id = ? LIMIT 1", (message_id,)).fetchone()
    if known is None:
        return False
    moment = at.astimezone(timezone.utc).isoformat()
    db.execute(
        "INSERT INTO receipts (message_id, receiver, at, slide_id) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (message_id, receiver, moment, known[0]),
    )
    return True


def last_delivered(db: sqlite3.Connection) -> Delivered:
    """The newest message that somebody has and that waits no longer."""
    row = db.execute(
        """SELECT slide_id, at FROM receipts WHERE slide_id != '' AND NOT EXISTS
        (SELECT 1 FROM outbox WHERE outbox.message_id = receipts.message_id) ORDER BY at DESC LIMIT 1"""
    ).fetchone()
    return Delivered() if row is None else Delivered(str(row[0]), _moment(row[1]))


def protocol_of(db: sqlite3.Connection, address: str) -> str:
    """The version of MQTT that the broker at this address was seen to speak, "" where none was."""
    row = db.execute("SELECT protocol FROM brokers WHERE address = ?", (address,)).fetchone()
    return "" if row is None else str(row[0])


def remember_protocol(db: sqlite3.Connection, address: str, protocol: str, at: datetime) -> None:
    """Keep it for the next start; "": forget it."""
    if protocol:
        db.execute("INSERT OR REPLACE INTO brokers (address, protocol, seen_at) VALUES (?, ?, ?)", (address, protocol, at.isoformat()))
    else:
        db.execute("DELETE FROM brokers WHERE address = ?", (address,))

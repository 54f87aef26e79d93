"""Sending once more: rows of `summaries` put back into the outbox, with the message id and the bytes that they had."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from device.errors import StoreError
from device.mqtt.message import one_line
from device.mqtt.outbox import BROKER, OutboxMessage
from device.mqtt.topics import Topics
from device.store import outbox, quarantine


@dataclass(frozen=True)
class Wanted:
    """Which summaries: of one slide all, else those handed over at `since` or later. every: those that a receiver has confirmed too."""

    slide_id: str = ""
    since: datetime | None = None
    every: bool = False


@dataclass(frozen=True)
class PutBack:
    """What was put back, as (slide, revision); how many were left out because a receiver has them; what could not be read, by slide."""

    summaries: tuple[tuple[str, int], ...] = ()
    confirmed: int = 0
    damaged: tuple[str, ...] = ()


def put_back(db: sqlite3.Connection, path: Path, wanted: Wanted, topic_root: str) -> PutBack:
    """Put the summaries at the end of the queue, as if they had never been sent. StoreError for a slide without a summary."""
    rows = db.execute("SELECT slide_id, revision, created_at, payload FROM summaries ORDER BY rowid")
    if wanted.slide_id:
        _require(db, path, wanted.slide_id)
        rows = db.execute(
            "SELECT slide_id, revision, created_at, payload FROM summaries WHERE slide_id = ? ORDER BY revision", (wanted.slide_id,)
        )
    back, confirmed, damaged = list[tuple[str, int]](), 0, list[str]()
    for slide_id, revision, created_at, payload in rows.fetchall():
        try:
            made = datetime.fromisoformat(created_at)
            if wanted.since is not None and made.astimezone(timezone.utc) < wanted.since:
                continue
            message = _message(slide_id, made, bytes(payload), topic_root)
        except (ValueError, KeyError, TypeError):
            damaged.append(slide_id)
            continue
        if not wanted.slide_id and not wanted.every and _confirmed(db, message.message_id):
            confirmed += 1
            continue
        outbox.remove(db, message.message_id)  # a new place in the queue, which a publisher that runs looks for
        db.execute("DELETE FROM receipts WHERE message_id = ?", (message.message_id,))
        quarantine.release(db, "message", message.message_id)
        outbox.insert(db, message)
        back.append((slide_id, revision))
    return PutBack(tuple(back), confirmed, tuple(damaged))


def _require(db: sqlite3.Connection, path: Path, slide_id: str) -> None:
    named = one_line(slide_id)
    if not db.execute("SELECT 1 FROM slides WHERE slide_id = ?", (slide_id,)).fetchone():
        raise StoreError(f"record {path}: no slide {named}; `leukoscope slides` lists them")
    if not db.execute("SELECT 1 FROM summaries WHERE slide_id = ?", (slide_id,)).fetchone():
        raise StoreError(f"record {path}: slide {named} has no summary: it is still open, nothing was counted, or the broker was off")


def _message(slide_id: str, created_at: datetime, payload: bytes, topic_root: str) -> OutboxMessage:
    """Raises ValueError, KeyError or TypeError for a payload that is damaged."""
    content = json.loads(payload)
    topic = Topics(content["device_id"], topic_root).summary
    return OutboxMessage(content["message_id"], topic, payload, created_at, "summary", slide_id, int(content.get("sequence", 0)))


def _confirmed(db: sqlite3.Connection, message_id: str) -> bool:
    found = db.execute("SELECT 1 FROM receipts WHERE message_id = ? AND receiver != ? LIMIT 1", (message_id, BROKER))
    return found.fetchone() is not None

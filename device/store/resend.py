"""Sending once more: summaries, and what was told of signatures, back into the outbox with the id and bytes that they had."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from device.errors import StoreError
from device.mqtt.message import one_line
from device.mqtt.outbox import BROKER, OutboxMessage
from device.mqtt.topics import Topics
from device.store import checksums, outbox, quarantine

_KEPT: Final = """SELECT 'summary' AS kind, slide_id, revision AS number, created_at AS made, payload FROM summaries
    UNION ALL SELECT 'review', slide_id, number, at, told FROM review WHERE told IS NOT NULL"""
_IN_ORDER: Final = f"SELECT kept.* FROM ({_KEPT}) AS kept JOIN slides USING (slide_id)"


@dataclass(frozen=True)
class Wanted:
    """Which messages: of one slide all, else those made at `since` or later. every: those that a receiver has confirmed too."""

    slide_id: str = ""
    since: datetime | None = None
    every: bool = False


@dataclass(frozen=True)
class PutBack:
    """What was put back: summaries as (slide, revision), reviews as (slide, entry of its journal); how many messages were left out
    because a receiver has them; slides of which some could not be read or is not as it was written."""

    summaries: tuple[tuple[str, int], ...] = ()
    confirmed: int = 0
    damaged: tuple[str, ...] = ()
    reviews: tuple[tuple[str, int], ...] = ()

    @property
    def messages(self) -> int:
        return len(self.summaries) + len(self.reviews)


def put_back(db: sqlite3.Connection, path: Path, wanted: Wanted, topic_root: str) -> PutBack:
    """Put the messages at the end of the queue, as if they had never been sent. StoreError for a slide without a summary.

    What was handed over of a slide is compared with its checksum before; what is not as it was written stays where it is.
    """
    if wanted.slide_id:
        _require(db, path, wanted.slide_id)
    back: dict[str, list[tuple[str, int]]] = {"summary": [], "review": []}
    confirmed, sound = 0, dict[str, bool]()
    for kind, slide_id, number, created_at, payload in _kept(db, wanted.slide_id):
        try:
            made = datetime.fromisoformat(created_at)
            if wanted.since is not None and made.astimezone(timezone.utc) < wanted.since:
                continue
            message = _message(kind, slide_id, made, bytes(payload), topic_root)
        except (ValueError, KeyError, TypeError):
            sound[slide_id] = False
            continue
        if not wanted.slide_id and not wanted.every and _confirmed(db, message.message_id):
            confirmed += 1
            continue
        if slide_id not in sound:
            sound[slide_id] = checksums.sent_holds(db, slide_id)
        if not sound[slide_id]:
            continue
        outbox.remove(db, message.message_id)  # a new place in the queue, which a publisher that runs looks for
        db.execute("DELETE FROM receipts WHERE message_id = ?", (message.message_id,))
        quarantine.release(db, "message", message.message_id)
        outbox.insert(db, message)
        back[kind].append((slide_id, number))
    damaged = tuple(slide_id for slide_id, holds in sound.items() if not holds)
    return PutBack(tuple(back["summary"]), confirmed, damaged, tuple(back["review"]))


def _kept(db: sqlite3.Connection, slide_id: str) -> Iterator[tuple[str, str, int, str, bytes]]:
    """Kind, slide, revision or entry, moment and bytes of each, in the order in which slides were begun and then in that of making."""
    chosen, given = (" WHERE slide_id = ?", (slide_id,)) if slide_id else ("", ())
    # one at a time, for a message may have megabytes; what is written meanwhile is in other tables
    return map(tuple, db.execute(f"{_IN_ORDER}{chosen} ORDER BY slides.sequence, kept.made, kept.kind DESC, kept.number", given))


def _require(db: sqlite3.Connection, path: Path, slide_id: str) -> None:
    named = one_line(slide_id)
    if not db.execute("SELECT 1 FROM slides WHERE slide_id = ?", (slide_id,)).fetchone():
        raise StoreError(f"record {path}: no slide {named}; `leukoscope slides` lists them")
    if not db.execute("SELECT 1 FROM summaries WHERE slide_id = ?", (slide_id,)).fetchone():
        raise StoreError(f"record {path}: slide {named} has no summary: it is still open, nothing was counted, or the broker was off")


def _message(kind: str, slide_id: str, created_at: datetime, payload: bytes, topic_root: str) -> OutboxMessage:
    """Raises ValueError, KeyError or TypeError for a payload that is damaged."""
    content = json.loads(payload)
    topic = Topics(content["device_id"], topic_root).of(kind)
    return OutboxMessage(content["message_id"], topic, payload, created_at, kind, slide_id, int(content.get("sequence", 0)))


def _confirmed(db: sqlite3.Connection, message_id: str) -> bool:
    found = db.execute("SELECT 1 FROM receipts WHERE message_id = ? AND receiver != ? LIMIT 1", (message_id, BROKER))
    return found.fetchone() is not None

"""The journal of a review as rows, and rows as its entries again; every summary that was handed over. Transactions are the caller's."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from device.mqtt.outbox import OutboxMessage
from device.review.journal import Act, Entry, first_digest
from device.store import outbox
from device.store.faults import UnwritableError

_COLUMNS = "number, at, time_trusted, who, act, cell_id, said_before, said, why, field_index, box_px, step, previous, digest"


def append(db: sqlite3.Connection, path: Path, slide_id: str, entries: Sequence[Entry]) -> None:
    """Write entries behind those that are there; nothing happens for one that is there already, as it is.

    Raises UnwritableError, with nothing written, where they do not continue the chain: rows are never changed, and none is left out.
    """
    for entry in entries:
        at, previous = _head(db, slide_id)
        there = db.execute("SELECT digest FROM review WHERE slide_id = ? AND number = ?", (slide_id, entry.number)).fetchone()
        if there is not None and there[0] == entry.digest:
            continue
        if entry.number != at + 1 or entry.previous != previous:
            advice = "another program has written to it; open the review anew"
            raise UnwritableError(f"record {path}: entry {entry.number} does not continue the review of slide {slide_id}: {advice}")
        row = (
            slide_id,
            entry.number,
            entry.at.isoformat(),
            int(entry.time_trusted),
            entry.who,
            entry.act.value,
            entry.cell_id,
            entry.said_before,
            entry.said,
            entry.why,
            entry.field_index,
            json.dumps(entry.box_px),
            entry.step,
            entry.previous,
            entry.digest,
        )
        db.execute(f"INSERT INTO review (slide_id, {_COLUMNS}) VALUES ({', '.join('?' * len(row))})", row)


def load(db: sqlite3.Connection, slide_id: str) -> tuple[Entry, ...]:
    """The journal of a slide's review, in order; whether its chain holds is for `device.review.journal.verify` to say."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM review WHERE slide_id = ? ORDER BY number", (slide_id,))
    return tuple(map(_entry, rows))


def _entry(row: sqlite3.Row) -> Entry:
    """A row as it stands, also one that was changed so that it cannot be read: it becomes a remark, whose digest is wrong."""
    try:
        act, at = Act(row["act"]), datetime.fromisoformat(row["at"])
        box = tuple(float(value) for value in json.loads(row["box_px"]))
        if act in (Act.ACKNOWLEDGED, Act.SIGNED, Act.SECONDED):
            int(row["said"])
    except (ValueError, TypeError):
        act, at, box = Act.NOTED, datetime.fromtimestamp(0, timezone.utc), ()
    return Entry(
        row["number"],
        at,
        bool(row["time_trusted"]),
        row["who"],
        act,
        row["cell_id"],
        row["said_before"],
        row["said"],
        row["why"],
        row["field_index"],
        box,
        row["step"],
        row["previous"],
        row["digest"],
    )


def put_summary(db: sqlite3.Connection, slide_id: str, revision: int, message: OutboxMessage) -> None:
    """Keep a summary with its slide, and put it into the outbox; nothing happens for one that was put before. Of a signed revision the
    first that was handed over stays."""
    message = replace(message, slide_id=slide_id)
    if outbox.was_put(db, message):
        return
    kept = "DO UPDATE SET created_at = excluded.created_at, payload = excluded.payload" if revision == 0 else "DO NOTHING"
    message = outbox.put(db, message)
    db.execute("UPDATE slides SET summary = ? WHERE slide_id = ?", (message.payload, slide_id))
    db.execute(
        f"INSERT INTO summaries (slide_id, revision, created_at, payload) VALUES (?, ?, ?, ?) ON CONFLICT (slide_id, revision) {kept}",
        (slide_id, revision, message.created_at.isoformat(), message.payload),
    )


def put_told(db: sqlite3.Connection, slide_id: str, number: int, message: OutboxMessage) -> None:
    """Put what is told of a review's entry into the outbox, and keep it with the entry; nothing happens where that was done before."""
    there = db.execute("SELECT told FROM review WHERE slide_id = ? AND number = ?", (slide_id, number)).fetchone()
    if there is not None and there[0] is not None:
        return
    message = outbox.put(db, replace(message, slide_id=slide_id))
    db.execute("UPDATE review SET told = ? WHERE slide_id = ? AND number = ?", (message.payload, slide_id, number))


def summaries(db: sqlite3.Connection, slide_id: str) -> tuple[tuple[int, bytes], ...]:
    """Revision and payload of every summary of a slide, the first with revision 0."""
    rows = db.execute("SELECT revision, payload FROM summaries WHERE slide_id = ? ORDER BY revision", (slide_id,))
    return tuple((int(revision), bytes(payload)) for revision, payload in rows)


def _head(db: sqlite3.Connection, slide_id: str) -> tuple[int, str]:
    """Number and digest of the last entry; 0 and the slide's own digest before the first."""
    row = db.execute("SELECT number, digest FROM review WHERE slide_id = ? ORDER BY number DESC LIMIT 1", (slide_id,)).fetchone()
    return (0, first_digest(slide_id)) if row is None else (int(row["number"]), str(row["digest"]))

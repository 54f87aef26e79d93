"""What leaves the record: a slide with all that hangs on it, and the line that says so. Which slides may go is the caller's question,
but never one that is open or whose summary still waits for the broker.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timezone

from device.slide.model import OPEN_STATES, SlideState
from device.store import quarantine
from device.store.sound import known_moment

_HANGS_ON = ("crops", "cells", "fields", "review", "summaries", "keyframes")
"""Tables with rows of a slide, in the order in which they can go."""


@dataclass(frozen=True)
class Deletion:
    """A line of the record's log of deletions; it names no specimen."""

    at: datetime
    slide_id: str
    who: str
    why: str
    what: str


def changes(db: sqlite3.Connection) -> tuple[tuple[str, datetime], ...]:
    """Every slide with when it last changed: its end, its last field while it has none, or the last entry of its review. Oldest first,
    in the order in which they were begun."""
    rows = db.execute(
        """SELECT CAST(slide_id AS BLOB), CAST(started_at AS BLOB), CAST(finished_at AS BLOB),
            (SELECT CAST(max(captured_at) AS BLOB) FROM fields WHERE fields.slide_id = slides.slide_id AND undone = 0),
            (SELECT CAST(max(at) AS BLOB) FROM review WHERE review.slide_id = slides.slide_id)
        FROM slides ORDER BY sequence"""
    )
    found = []
    for row in rows:  # also what is no text any more: reading the slide says so
        slide_id, started, finished, counted, reviewed = (bytes(each or b"").decode(errors="surrogateescape") for each in row)
        moments = (at for text in (started, finished or counted, reviewed) if text and (at := known_moment(text)))
        found.append((slide_id, max(moments, default=_NEVER)))
    return tuple(found)


_NEVER = datetime.fromtimestamp(0, timezone.utc)


def unsent(db: sqlite3.Connection, slide_id: str) -> bool:
    """Whether a message about the slide waits for the broker. Any message that names it counts, whatever its form."""
    found = db.execute("SELECT 1 FROM outbox WHERE instr(payload, CAST(? AS BLOB)) LIMIT 1", (slide_id,)).fetchone()
    return found is not None


def why_it_stays(db: sqlite3.Connection, slide_id: str) -> str:
    """What forbids to delete a slide, whoever asks; "" if nothing does."""
    row = db.execute("SELECT state FROM slides WHERE slide_id = ?", (slide_id,)).fetchone()
    if row is None:
        return "is not in the record"
    if row["state"] not in {state.value for state in SlideState}:
        return "is damaged"
    if SlideState(row["state"]) in OPEN_STATES:
        return "is still open"
    return "waits to be sent to the broker" if unsent(db, slide_id) else ""


def remove(db: sqlite3.Connection, slide_id: str, who: str, why: str, at: datetime) -> Deletion:
    """Delete the slide's rows in every table and write the log's line. The caller has asked `why_it_stays` in the same transaction."""
    state, revision = db.execute("SELECT state, revision FROM slides WHERE slide_id = ?", (slide_id,)).fetchone()
    counts = {
        table: int(db.execute(f"SELECT count(*) FROM {table} WHERE slide_id = ?", (slide_id,)).fetchone()[0]) for table in _HANGS_ON
    }
    for table in _HANGS_ON:
        db.execute(f"DELETE FROM {table} WHERE slide_id = ?", (slide_id,))
    db.execute("DELETE FROM slides WHERE slide_id = ?", (slide_id,))
    quarantine.release(db, "slide", slide_id)
    deletion = Deletion(at, slide_id, who, why, json.dumps({"state": state, "revision": revision, **counts}))
    db.execute(
        "INSERT INTO deletions (at, slide_id, who, why, what) VALUES (?, ?, ?, ?, ?)",
        (at.isoformat(), slide_id, who, why, deletion.what),
    )
    return deletion


def deletions(db: sqlite3.Connection) -> tuple[Deletion, ...]:
    """The log, oldest first."""
    rows = db.execute("SELECT at, slide_id, who, why, what FROM deletions ORDER BY number")
    return tuple(Deletion(datetime.fromisoformat(at), *rest) for at, *rest in rows)

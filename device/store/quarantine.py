"""The table of what was put aside so that the rest goes on: a message that cannot be sent, a slide or field that cannot be believed, a
picture that raises, a write that never succeeds. Transactions are the caller's."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

Kind = Literal["message", "slide", "field", "picture", "write"]


@dataclass(frozen=True)
class PutAside:
    """One row. name: what it is (a slide's id, "SLIDE field 3", a message's id, a file's name), never a specimen; why: one line;
    content: what could be kept of it, b"" where it lies in the record still, or was not asked for."""

    at: datetime
    kind: str
    name: str
    why: str
    content: bytes = b""


def put(db: sqlite3.Connection, kind: Kind, name: str, why: str, content: bytes = b"") -> bool:
    """Name something as put aside; False, and nothing changes, where that kind and name is there already."""
    name = _written(name)
    if is_in(db, kind, name):
        return False
    row = datetime.now(timezone.utc).isoformat(), kind, name, _written(why), content
    db.execute("INSERT INTO quarantine (at, kind, name, why, content) VALUES (?, ?, ?, ?, ?)", row)
    return True


def is_in(db: sqlite3.Connection, kind: Kind, name: str) -> bool:
    """Whether it was put aside."""
    return db.execute("SELECT 1 FROM quarantine WHERE kind = ? AND name = ? LIMIT 1", (kind, _written(name))).fetchone() is not None


def release(db: sqlite3.Connection, kind: str, name: str) -> bool:
    """Take it off the list, because it was mended or deleted; False where it was not on it."""
    return db.execute("DELETE FROM quarantine WHERE kind = ? AND name = ?", (kind, _written(name))).rowcount > 0


def _written(text: str) -> str:
    """A damaged name must not be what cannot be written, nor looked for."""
    return text.encode("utf-8", "backslashreplace").decode()


def rows(db: sqlite3.Connection, limit: int = -1, kind: Kind | None = None, with_content: bool = False) -> tuple[PutAside, ...]:
    """The newest `limit` of a kind, newest first; -1: all; None: of every kind. A content may have megabytes."""
    content, chosen = "content" if with_content else "x''", "1" if kind is None else "kind = ?"
    asked = f"SELECT at, kind, name, why, {content} FROM quarantine WHERE {chosen} ORDER BY number DESC LIMIT ?"
    found = db.execute(asked, (limit,) if kind is None else (kind, limit))
    return tuple(PutAside(_moment(at), kind, name, why, bytes(content)) for at, kind, name, why, content in found)


def count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM quarantine").fetchone()[0])


def _moment(text: str) -> datetime:
    """Also of a row that is damaged itself: the list must always be readable."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromtimestamp(0, timezone.utc)

"""Checks as rows: the known slide of the day, and what a person said when the guidance asked. No identity of anybody."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Check:
    """result: plain values; its key "check" says of which kind: "slide of the day", "objective", "slide"."""

    at: datetime
    slide_id: str
    passed: bool
    result: dict[str, Any]


def insert(db: sqlite3.Connection, check: Check) -> None:
    """Add a row; the caller's transaction."""
    row = (check.at.isoformat(), check.slide_id, int(check.passed), json.dumps(check.result, sort_keys=True))
    db.execute("INSERT INTO quality_checks (at, slide_id, passed, result) VALUES (?, ?, ?, ?)", row)


def newest(db: sqlite3.Connection, kind: str, limit: int) -> tuple[Check, ...]:
    """The newest of a kind, newest first."""
    rows = db.execute(
        "SELECT at, slide_id, passed, result FROM quality_checks WHERE json_extract(result, '$.check') = ? "
        "ORDER BY number DESC LIMIT ?",
        (kind, limit),
    )
    return tuple(Check(datetime.fromisoformat(at), slide_id, bool(passed), json.loads(result)) for at, slide_id, passed, result in rows)

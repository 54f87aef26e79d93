"""Copies an open database, as it stands at one moment, into one file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from engines.files import fsync

_PAGES = 256
"""Pages that are copied before progress is told again: a megabyte."""

Tell = Callable[[str, int, int], None]
"""Hears what is done, and how much of how much."""


def copy_database(source: sqlite3.Connection, copy: Path, tell: Tell = lambda what, done, total: None) -> None:
    """Also of a file that has lost its name meanwhile. The copy is on the disk then, without a log. Raises sqlite3.Error, OSError."""
    source.execute("BEGIN")  # held to the end: what is written meanwhile does not make SQLite begin again
    try:
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        with closing(sqlite3.connect(copy, isolation_level=None)) as target:
            source.backup(target, pages=_PAGES, progress=lambda _, left, total: tell("pages copied", total - left, total), sleep=0.01)
            target.execute("PRAGMA journal_mode = DELETE")
    finally:
        with suppress(sqlite3.Error):
            source.execute("ROLLBACK")
    fsync(copy)

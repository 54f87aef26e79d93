"""What the tables of a record say of its version, where the list that should say it, or a name in the schema, is damaged."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timezone

log = logging.getLogger(__name__)

Schema = Sequence[Sequence[str]]
"""Statements that lead to version 1, 2, ..."""


def by_tables(db: sqlite3.Connection, schema: Schema) -> int:
    """The version whose tables are there; sqlite3.DatabaseError if they fit none."""
    there = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    wanted = [{words.split()[2] for words in statements if words.startswith("CREATE TABLE")} for statements in schema]
    fitting = [number for number in range(1, len(schema) + 1) if set().union(*wanted[:number]) <= there]
    if not fitting:
        raise sqlite3.DatabaseError("malformed: tables are missing")
    return fitting[-1]


def mend(db: sqlite3.Connection, version: int) -> None:
    """Write the list of versions anew where it is not 1 to `version`."""
    written = [number for (number,) in db.execute("SELECT version FROM schema_version ORDER BY version")]
    if version and written != list(range(1, version + 1)):
        log.error("the record's list of versions was damaged (%s); it has the tables of version %d", written, version)
        now = datetime.now(timezone.utc).isoformat()
        with db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("DELETE FROM schema_version")
            db.executemany("INSERT INTO schema_version VALUES (?, ?)", ((number, now) for number in range(1, version + 1)))


def require_columns(db: sqlite3.Connection, schema: Schema, added: Sequence[tuple[str, str, str, str]]) -> None:
    """sqlite3.DatabaseError where a table of the newest version is without one of its columns: a name in the schema is damaged."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as sound:
        for statements in schema:
            for statement in statements:
                sound.execute(statement)
        tables = [name for (name,) in sound.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]
        wanted = {table: _columns(sound, table) | {column for where, column, *_ in added if where == table} for table in tables}
    for table in tables:
        if lost := wanted[table] - _columns(db, table):
            raise sqlite3.DatabaseError(f"malformed: table {table} is without {', '.join(sorted(lost))}")


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in db.execute(f"PRAGMA main.table_info({table})")}

"""What the tables of a record say of its version, and what is mended of them: a table or list that is gone, a key that was lost."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import datetime, timezone

from device.store import quarantine

log = logging.getLogger(__name__)

Schema = Sequence[Sequence[str]]
"""Statements that lead to version 1, 2, ..."""
Added = Sequence[tuple[str, str, str, str]]
"""Columns that came later: table, name, type, default."""
_CORE = frozenset(("models", "slides", "fields", "cells"))
"""Without one of these there is nothing to go on with: the file is put aside. Every other table can be begun anew."""
_LARGEST_SEQUENCE = 1 << 53


def is_ours(db: sqlite3.Connection, schema: Schema) -> bool:
    """Whether a file whose mark is damaged has the tables of this program, with the columns that it gives them."""
    with closing(_sound(schema[:1])) as sound:
        return all(_columns(sound, table) <= _columns(db, table) for table in _tables(sound))


def by_tables(db: sqlite3.Connection, schema: Schema) -> int:
    """The version whose tables are there; sqlite3.DatabaseError if they fit none."""
    there = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    wanted = [{words.split()[2] for words in statements if words.startswith("CREATE TABLE")} for statements in schema]
    if not there >= _CORE:
        raise sqlite3.DatabaseError("malformed: tables are missing")
    version = max(number for number, tables in enumerate(wanted, 1) if tables & there)
    while version < len(schema) and not wanted[version]:  # a version of columns alone leaves no trace; they are added where missing
        version += 1
    return version


def mend(db: sqlite3.Connection, version: int, schema: Schema, added: Added) -> None:
    """Begin missing tables anew, remove what is not ours, write the list of versions anew where it is not 1 to `version`.

    All that was mended is logged and named in quarantine. sqlite3.DatabaseError where a table that nothing can replace is damaged.
    """
    with closing(_sound(schema[:version], added)) as sound:
        said = _faults(db, sound)
        if not said and _versions(db) == list(range(1, version + 1)):
            return
        with db:
            db.execute("BEGIN IMMEDIATE")
            for words, act in said:
                for statement in act:
                    db.execute(statement)
                log.error("the record was damaged and is mended: %s", words)
            written = _versions(db)
            if written != list(range(1, version + 1)):
                log.error("the record's list of versions was damaged (%s); it has the tables of version %d", written, version)
                now = datetime.now(timezone.utc).isoformat()
                db.execute("DELETE FROM schema_version")
                numbers = ((number, now) for number in range(1, version + 1))
                db.executemany("INSERT INTO schema_version (version, applied_at) VALUES (?, ?)", numbers)
            if said and version == len(schema):
                for words, _ in said:
                    quarantine.put(db, "write", f"record, {words}", f"{words}; it was mended at the start, a backup may have more")


def _versions(db: sqlite3.Connection) -> list[int]:
    with suppress(sqlite3.OperationalError):  # it is among what is missing
        return [number for (number,) in db.execute("SELECT version FROM schema_version ORDER BY version")]
    return []


def _sound(schema: Schema, added: Added = ()) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    for statements in schema:
        for statement in statements:
            db.execute(statement)
    there = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table, name, kind, value in added:
        if table in there and name not in _columns(db, table):
            db.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind} DEFAULT {value}")
    return db


def _faults(db: sqlite3.Connection, sound: sqlite3.Connection) -> list[tuple[str, list[str]]]:
    """What differs from a sound record so that writes would fail, each with the statements that mend it."""
    found = list[tuple[str, list[str]]]()
    is_there = dict(db.execute("SELECT name, type FROM sqlite_master").fetchall())
    for name, kind, statement in db.execute("SELECT name, type, sql FROM sqlite_master WHERE type IN ('trigger', 'index')").fetchall():
        if kind == "trigger" or "UNIQUE" in str(statement).upper():
            found.append((f"{kind} {name!r} is not its own", [f"DROP {kind} {_quoted(name)}"]))
    for name, statement in _tables(sound).items():
        kind = is_there.get(name)
        if kind == "table" and _keys(db, name) == _keys(sound, name):
            continue
        words = f"table {name} is gone" if kind is None else f"a {kind} is in the place of table {name}"
        words = f"table {name} has lost its key" if kind == "table" else words
        if name in _CORE:
            raise sqlite3.DatabaseError(f"malformed: {words}")
        act = [] if kind is None else [f"DROP {kind} {name}"]
        act.append(statement)
        if kind == "table":
            columns = ", ".join(sorted(_columns(db, name) & _columns(sound, name)))
            old = f"{name}_damaged"
            act = [f"DROP TABLE IF EXISTS {old}", f"CREATE TABLE {old} AS SELECT * FROM {name}", *act]
            act += [f"INSERT OR IGNORE INTO {name} ({columns}) SELECT {columns} FROM {old}", f"DROP TABLE {old}"] if columns else []
        found.append((words, act))
    if is_there.get("sqlite_sequence"):
        for name, seq in db.execute("SELECT name, seq FROM sqlite_sequence").fetchall():
            if name in is_there and (not isinstance(seq, int) or not 0 <= seq < _LARGEST_SEQUENCE):
                lowered = (
                    f"UPDATE sqlite_sequence SET seq = coalesce((SELECT max(rowid) FROM {_quoted(name)}), 0) WHERE name = '{name}'"
                )
                found.append((f"the numbers of table {name} were used up", [lowered]))
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _keys(db: sqlite3.Connection, table: str) -> tuple[object, ...]:
    """Its primary key, and its other unique columns."""
    primary = sorted((row[5], row[1]) for row in db.execute(f"PRAGMA main.table_info({table})") if row[5])
    others = [row[1] for row in db.execute(f"PRAGMA main.index_list({table})") if row[3] == "u"]
    return primary, sorted(tuple(row[2] for row in db.execute(f"PRAGMA main.index_info({name})")) for name in others)


def require_columns(db: sqlite3.Connection, schema: Schema, added: Added) -> None:
    """sqlite3.DatabaseError where a table of the newest version is without one of its columns: a name in the schema is damaged."""
    with closing(_sound(schema, added)) as sound:
        for table in _tables(sound):
            if lost := _columns(sound, table) - _columns(db, table):
                raise sqlite3.DatabaseError(f"malformed: table {table} is without {', '.join(sorted(lost))}")


def _tables(db: sqlite3.Connection) -> dict[str, str]:
    """Its own tables, not SQLite's, with the statements that made them."""
    return dict(db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").fetchall())


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in db.execute(f"PRAGMA main.table_info({table})")}

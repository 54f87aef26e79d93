"""The record's tables and their versions, and how the file is opened: created, refused when newer or foreign, put aside when broken."""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing, suppress
from datetime import datetime, timezone
from itertools import chain, count
from pathlib import Path

from device.errors import StoreError
from device.store import versions
from device.store.faults import BUSY_TIMEOUT_S, UNREADABLE, UnusableRecordError, is_damage, sqlite_errors
from device.store.strangers import move_strangers
from engines.files import fsync

log = logging.getLogger(__name__)

APPLICATION_ID = 0x4C4B5343
"""Marks the file as a record of this appliance ("LKSC"), so that no other program's database is ever written to or renamed."""
MODE = 0o640
"""Of the record, its log and its lock: this user and its group; nobody else may read what names specimens. The umask may take more."""
_CHECK_WHOLE_BELOW_BYTES = 64_000_000  # read through at every start; larger ones only when something was amiss

_VERSION_1 = (
    """CREATE TABLE schema_version (
        version INTEGER PRIMARY KEY,
        applied_at TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE models (
        model_id INTEGER PRIMARY KEY,
        name TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL,
        runtime TEXT NOT NULL, precision TEXT NOT NULL,
        input_height INTEGER NOT NULL, input_width INTEGER NOT NULL,
        score_threshold REAL NOT NULL, identify_threshold REAL NOT NULL,
        taxonomy TEXT NOT NULL,
        UNIQUE (digest, runtime, precision, score_threshold, identify_threshold, input_height, input_width, name, version, taxonomy)
    ) STRICT""",
    # sequence: slides in the order in which they were begun, whatever the wall clock said
    """CREATE TABLE slides (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        slide_id TEXT NOT NULL UNIQUE,
        device_id TEXT NOT NULL, boot_id TEXT NOT NULL,
        started_at TEXT NOT NULL, time_trusted INTEGER NOT NULL CHECK (time_trusted IN (0, 1)),
        state TEXT NOT NULL, finished_at TEXT, abort_reason TEXT NOT NULL,
        review_state TEXT NOT NULL,
        fields_undone INTEGER NOT NULL,
        model_id INTEGER NOT NULL REFERENCES models (model_id),
        calibration TEXT NOT NULL,
        source TEXT NOT NULL,
        summary BLOB
    ) STRICT""",
    """CREATE TABLE fields (
        slide_id TEXT NOT NULL REFERENCES slides (slide_id),
        field_index INTEGER NOT NULL CHECK (field_index >= 1),
        captured_at TEXT NOT NULL, source TEXT NOT NULL,
        width_px INTEGER NOT NULL, height_px INTEGER NOT NULL,
        focus REAL NOT NULL,
        undone INTEGER NOT NULL DEFAULT 0 CHECK (undone IN (0, 1)),
        PRIMARY KEY (slide_id, field_index)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE cells (
        slide_id TEXT NOT NULL, field_index INTEGER NOT NULL, position INTEGER NOT NULL,
        class_index INTEGER NOT NULL, score REAL NOT NULL, identified INTEGER NOT NULL CHECK (identified IN (0, 1)),
        x1_px REAL NOT NULL, y1_px REAL NOT NULL, x2_px REAL NOT NULL, y2_px REAL NOT NULL,
        attributes TEXT NOT NULL,
        PRIMARY KEY (slide_id, field_index, position),
        FOREIGN KEY (slide_id, field_index) REFERENCES fields (slide_id, field_index) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE crops (
        slide_id TEXT NOT NULL, field_index INTEGER NOT NULL, position INTEGER NOT NULL,
        jpeg BLOB NOT NULL,
        PRIMARY KEY (slide_id, field_index, position),
        FOREIGN KEY (slide_id, field_index, position) REFERENCES cells (slide_id, field_index, position) ON DELETE CASCADE
    ) STRICT""",
    """CREATE TABLE outbox (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        message_id TEXT NOT NULL UNIQUE,
        topic TEXT NOT NULL, payload BLOB NOT NULL, created_at TEXT NOT NULL
    ) STRICT""",
)
_ADDED = (
    ("slides", "source", "TEXT NOT NULL", "'{}'"),  # of version 1, but for records begun before 23 November 2026, 20:06 UTC
    ("slides", "blank_views", "INTEGER NOT NULL", "0"),
    ("slides", "skipped", "TEXT NOT NULL", "'[]'"),
    ("fields", "limit_met", "INTEGER", "NULL"),
    ("fields", "faults", "TEXT", "NULL"),
    ("slides", "naming", "TEXT NOT NULL", "'{}'"),
    ("slides", "film_foreign", "INTEGER", "NULL"),
    ("fields", "naming_fault", "TEXT NOT NULL", "''"),
    ("cells", "told_group", "TEXT NOT NULL", "''"),
    ("cells", "probability", "REAL", "NULL"),
    ("cells", "blast_probability", "REAL", "NULL"),
    ("cells", "distance", "REAL", "NULL"),
    ("slides", "specimen", "TEXT NOT NULL", "''"),
    ("slides", "operator", "TEXT NOT NULL", "''"),
    ("slides", "target_cells", "INTEGER NOT NULL", "0"),
    ("slides", "lost_rests", "INTEGER NOT NULL", "0"),
    ("slides", "revision", "INTEGER NOT NULL", "0"),
    ("slides", "reviewer", "TEXT NOT NULL", "''"),
    ("slides", "signed_at", "TEXT", "NULL"),
    ("fields", "chart", "INTEGER", "NULL"),
    ("fields", "film_x_px", "REAL", "NULL"),
    ("fields", "film_y_px", "REAL", "NULL"),
    ("fields", "picture", "TEXT NOT NULL", "''"),
    ("cells", "cell_id", "INTEGER NOT NULL", "0"),
    ("cells", "provisional", "INTEGER NOT NULL", "0"),
    ("cells", "counted", "INTEGER NOT NULL", "1"),
    ("slides", "duration_s", "REAL", "NULL"),
    ("slides", "checksum", "TEXT NOT NULL", "''"),
    ("fields", "checksum", "TEXT NOT NULL", "''"),
    ("fields", "non_finite", "INTEGER NOT NULL", "0"),
    ("outbox", "kind", "TEXT NOT NULL", "'summary'"),
    ("outbox", "slide_id", "TEXT NOT NULL", "''"),
    ("outbox", "number", "INTEGER NOT NULL", "0"),
    ("outbox", "attempts", "INTEGER NOT NULL", "0"),
    ("outbox", "sent_at", "TEXT", "NULL"),
    ("outbox", "said", "TEXT NOT NULL", "''"),
    ("outbox", "checksum", "TEXT NOT NULL", "''"),
    ("slides", "first_blast", "TEXT NOT NULL", "''"),  # when it was put into the outbox
    ("review", "told", "BLOB", "NULL"),  # the message that told of the act, as it was put into the outbox
)
"""Columns that came after a table was first published: table, name, type, and the value for rows that were written before."""
_VERSION_4 = (
    # what a person did at the review, in order, never changed; each row bears the digest of the one before
    """CREATE TABLE review (
        slide_id TEXT NOT NULL REFERENCES slides (slide_id),
        number INTEGER NOT NULL CHECK (number >= 1),
        at TEXT NOT NULL, time_trusted INTEGER NOT NULL CHECK (time_trusted IN (0, 1)),
        who TEXT NOT NULL, act TEXT NOT NULL,
        cell_id INTEGER NOT NULL, said_before TEXT NOT NULL, said TEXT NOT NULL, why TEXT NOT NULL,
        field_index INTEGER NOT NULL, box_px TEXT NOT NULL, step INTEGER NOT NULL,
        previous TEXT NOT NULL, digest TEXT NOT NULL,
        PRIMARY KEY (slide_id, number)
    ) STRICT, WITHOUT ROWID""",
    # every summary that was ever handed over, the first with revision 0
    """CREATE TABLE summaries (
        slide_id TEXT NOT NULL REFERENCES slides (slide_id),
        revision INTEGER NOT NULL, created_at TEXT NOT NULL, payload BLOB NOT NULL,
        PRIMARY KEY (slide_id, revision)
    ) STRICT""",
    # what a slide that is resumed needs to find its place on the film again
    """CREATE TABLE keyframes (
        slide_id TEXT NOT NULL REFERENCES slides (slide_id),
        number INTEGER NOT NULL, chart INTEGER NOT NULL, x_px REAL NOT NULL, y_px REAL NOT NULL, picture BLOB NOT NULL,
        PRIMARY KEY (slide_id, number)
    ) STRICT""",
    # the known slide of the day, and what was removed from the record; without identity
    """CREATE TABLE quality_checks (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL, slide_id TEXT NOT NULL, passed INTEGER NOT NULL CHECK (passed IN (0, 1)), result TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE deletions (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL, slide_id TEXT NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL, what TEXT NOT NULL
    ) STRICT""",
)
_VERSION_5 = (
    # what this record says of itself: "stream", by which receivers know whose sequence numbers they read
    """CREATE TABLE identity (
        key TEXT PRIMARY KEY, value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "INSERT INTO identity VALUES ('stream', lower(hex(randomblob(16))))",
    # the last number that each kind of message was given
    """CREATE TABLE sequences (
        kind TEXT PRIMARY KEY, last INTEGER NOT NULL CHECK (last >= 0)
    ) STRICT, WITHOUT ROWID""",
    # who has which message, also after its row has left the outbox
    """CREATE TABLE receipts (
        message_id TEXT NOT NULL, receiver TEXT NOT NULL, at TEXT NOT NULL, slide_id TEXT NOT NULL,
        PRIMARY KEY (message_id, receiver)
    ) STRICT, WITHOUT ROWID""",
    # what could not be sent or read and was put aside, so that the rest goes on
    """CREATE TABLE quarantine (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, why TEXT NOT NULL, content BLOB NOT NULL
    ) STRICT""",
    # the version of MQTT that a broker was seen to speak
    """CREATE TABLE brokers (
        address TEXT PRIMARY KEY, protocol TEXT NOT NULL, seen_at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
)
SCHEMA: tuple[tuple[str, ...], ...] = (_VERSION_1, (), (), _VERSION_4, _VERSION_5)
"""Statements that lead to version 1, 2, ...; a published version is never changed, only followed by another (a migration).

Whatever column of _ADDED is missing then is added as well, so that a migration of columns alone has no statements here; and a record
that may only be read shows them as views. tests/records holds a record of each version.
"""


def connect(path: Path) -> sqlite3.Connection:
    """A connection to an existing record for the calling thread, durable at every commit (WAL, synchronous FULL)."""
    db = sqlite3.connect(path.absolute().as_uri() + "?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    db.row_factory = sqlite3.Row
    try:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA synchronous = FULL")
        if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise StoreError(f"record {path}: its file system cannot keep a write-ahead log; choose a local disk for record.path")
    except BaseException:
        db.close()
        raise
    return db


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A connection that can write nothing, also where the disk itself is read-only."""
    uri = path.absolute().as_uri()
    db = sqlite3.connect(uri + "?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        db.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.DatabaseError as error:
        db.close()
        if is_damage(error) or Path(f"{path}-wal").exists():
            raise
        # Without a log nobody writes; without rights in the folder SQLite cannot make the shared index it would want.
        db = sqlite3.connect(uri + "?immutable=1", uri=True, isolation_level=None)
    db.row_factory = sqlite3.Row
    return db


def _missing_columns(db: sqlite3.Connection) -> list[tuple[str, str, str, str]]:
    there = {(table, row[1]) for table in {column[0] for column in _ADDED} for row in db.execute(f"PRAGMA main.table_info({table})")}
    return [column for column in _ADDED if column[:2] not in there]


def read_as_migrated(db: sqlite3.Connection) -> None:
    """Show the columns and tables that an older record lacks, without writing to it: by temporary views, which SQLite finds before its
    tables, and by empty temporary tables."""
    there = {name for (name,) in db.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")}
    for statement in (statement for version in SCHEMA for statement in version if statement.startswith("CREATE TABLE")):
        if statement.split()[2] not in there:
            db.execute(statement.replace("CREATE TABLE", "CREATE TEMP TABLE", 1).replace("REFERENCES slides (slide_id)", ""))
    missing = _missing_columns(db)
    for table in {column[0] for column in missing}:
        if table not in there:
            for _, name, kind, value in (column for column in missing if column[0] == table):
                db.execute(f"ALTER TABLE temp.{table} ADD COLUMN {name} {kind} DEFAULT {value}")
            continue
        extra = ", ".join(f"{value} AS {name}" for where, name, _, value in missing if where == table)
        db.execute(f"CREATE TEMP VIEW {table} AS SELECT *, {extra} FROM main.{table}")


def make_place(path: Path) -> None:
    """Make the folder that the record goes into. StoreError if there cannot be one, or if `path` is no file."""
    try:
        path.parent.mkdir(0o750, parents=True, exist_ok=True)  # others never: it names specimens
        if path.exists() and not path.is_file():
            raise UnusableRecordError(f"record {path}: is not a file; name a file in record.path")
    except OSError as error:
        in_the_way = isinstance(error, (FileExistsError, NotADirectoryError))
        why = "there is a file in its place" if isinstance(error, FileExistsError) else error.strerror
        words = f"record {path}: its folder {path.parent} cannot be made: {why}; choose another record.path"
        raise (UnusableRecordError(words) if in_the_way else StoreError(words)) from error


def prepare(path: Path) -> Path | None:
    """Make sure that `path` is a sound record of the present version; returns where a broken one was put, else None.

    A file is put aside only when SQLite says that it is no database or that it is corrupt; full, locked or forbidden files are
    left as they are. Raises StoreError for those, for another program's database and for a record of a newer version.
    """
    aside = None
    move_strangers(path)
    try:
        try:
            _create_or_check(path)
        except UnicodeDecodeError as error:  # SQLite's words about a damaged schema, which have the damage in them
            raise sqlite3.DatabaseError(UNREADABLE) from error
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            with sqlite_errors(path, "open it"):
                raise
        aside = put_aside(path)
        kept = f"kept as {aside} and a new one begun; `sqlite3 {aside} .recover` may bring slides back"
        log.error("record %s is damaged (%s): %s", path, error, kept)
        with sqlite_errors(path, "begin a new one"):
            _create_or_check(path)
    with suppress(FileNotFoundError):
        suspect(path).unlink()
    return aside


def suspect(path: Path) -> Path:
    """Marks a record in which damage was met while running: it is read through at the next start, however large."""
    return Path(f"{path}.suspect")


def same_owner(path: Path, like: Path) -> None:
    """Give a file that root made to whom `like` belongs; nothing happens for other users, who make only their own."""
    if os.geteuid() == 0:
        owner = like.stat()
        with suppress(OSError):  # disks without owners, and shares that forbid it
            os.chown(path, owner.st_uid, owner.st_gid)


def other_name(path: Path, why: str) -> Path:
    """A name beside `path` that nothing has, with the reason and the moment."""
    stem = f"{path}.{why}-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}"
    numbered = chain([stem], (f"{stem}-{number}" for number in count(2)))
    return next(each for each in map(Path, numbered) if not each.exists())


def put_aside(path: Path) -> Path:
    """Rename a record with its log, so that nothing of it is lost; returns the new name."""
    aside = other_name(path, "damaged")
    try:
        for tail in ("-wal", "-shm", ""):
            if Path(f"{path}{tail}").exists():
                Path(f"{path}{tail}").rename(f"{aside}{tail}")
        fsync(path.parent)
    except OSError as error:
        raise StoreError(f"record {path}: is damaged and cannot be renamed: {error.strerror}; move it away by hand") from error
    return aside


def version_of(db: sqlite3.Connection, path: Path) -> int:
    """The record's version, 0 for a file without tables. StoreError if the file belongs to another program or a newer version."""
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    owner = db.execute("PRAGMA application_id").fetchone()[0]
    if tables == 0 and owner in (0, APPLICATION_ID):
        return 0
    if owner != APPLICATION_ID and not versions.is_ours(db, SCHEMA):
        raise UnusableRecordError(f"record {path}: is another program's database; choose another record.path")
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'").fetchone():
        return versions.by_tables(db, SCHEMA)
    written = [number for (number,) in db.execute("SELECT version FROM schema_version ORDER BY version")]
    version = len(written)
    if version > len(SCHEMA):
        version = max(written)
    elif written != list(range(1, version + 1)) or not version:
        return versions.by_tables(db, SCHEMA)
    if version > len(SCHEMA):
        raise UnusableRecordError(
            f"record {path}: was written by a newer version (schema {version}, this one knows {len(SCHEMA)}); "
            "update the appliance, or choose another record.path"
        )
    return version


def _create_or_check(path: Path) -> None:
    new = not path.exists()
    if new:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, MODE))
        except OSError as error:  # a link that leads nowhere, too: its disk may be mounted later
            raise StoreError(f"record {path}: cannot be begun: {error.strerror}; mend record.path, or mount its disk") from error
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as db:
        version = version_of(db, path)
        if version:
            _read_through(db, path)
            versions.mend(db, version, SCHEMA, _ADDED)
            if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        if version < len(SCHEMA):
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            _upgrade(db, version)
        versions.require_columns(db, SCHEMA, _ADDED)
    if new:
        fsync(path.parent)


def _upgrade(db: sqlite3.Connection, version: int) -> None:
    with db:  # commits, or rolls back
        db.execute("BEGIN IMMEDIATE")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for number, statements in enumerate(SCHEMA[version:], version + 1):
            for statement in statements:
                db.execute(statement)
            db.execute(
                "INSERT INTO schema_version (version, applied_at) VALUES (?, ?)", (number, datetime.now(timezone.utc).isoformat())
            )
        for table, name, kind, value in _missing_columns(db):
            db.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind} DEFAULT {value}")


def _read_through(db: sqlite3.Connection, path: Path) -> None:
    """Raise sqlite3.DatabaseError where the file is corrupt: the whole of a small or suspect one, the newest slide of a large one."""
    if path.stat().st_size < _CHECK_WHOLE_BELOW_BYTES or suspect(path).exists():
        verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"malformed: {verdict}".replace("\n", " "))
        return
    newest = "(SELECT slide_id FROM slides ORDER BY sequence DESC LIMIT 1)"
    chosen = ("outbox", *(f"{table} WHERE slide_id = {newest}" for table in ("fields", "cells", "crops")))
    for rows in chosen:
        for _ in db.execute(f"SELECT * FROM {rows}"):  # one at a time: weeks of messages may wait
            pass

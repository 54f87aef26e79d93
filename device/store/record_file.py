"""The file of the record: one connection and its transactions, the lock that keeps a second daemon away."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from typing_extensions import Self

from device.errors import StoreError
from device.store import schema
from device.store.faults import DamagedRecordError, UnusableRecordError, sqlite_errors


class RecordFile:
    """An open record. `with Store.open(path) as store:`; used by the thread that opened it."""

    def __init__(self, path: Path, db: sqlite3.Connection, lock: int | None = None, aside: Path | None = None) -> None:
        self.path = path
        self.put_aside = aside
        """Where a damaged record was put when this one was begun; None if it was sound. Tell the technician."""
        self._db = db
        self._lock = lock

    @classmethod
    def open(cls, path: Path) -> Self:
        """The daemon's own connection: begins a new record where there is none, puts a damaged one aside, closes it to other daemons.

        Raises StoreError: in use by another appliance, of a newer version, another program's, not to be written.
        """
        path = Path(path)
        schema.make_place(path)
        lock = take_lock(path)
        try:
            aside = schema.prepare(path)
            with sqlite_errors(path, "open it"):
                return cls(path, schema.connect(path), lock, aside)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def connect(cls, path: Path) -> Self:
        """Another connection to a record that is open, for another thread (the publisher's). Repairs and creates nothing."""
        return cls._existing(Path(path), schema.connect)

    @classmethod
    def read(cls, path: Path) -> Self:
        """A connection that can only read, also beside a running daemon, on a read-only disk and in a record of an older version.

        StoreError if there is no record.
        """
        return cls._existing(Path(path), schema.connect_read_only)

    @classmethod
    def _existing(cls, path: Path, connect: Callable[[Path], sqlite3.Connection]) -> Self:
        none_yet = StoreError(f"record {path}: there is none yet; `leukoscope run` begins it, or name another record.path")
        if not path.exists():
            raise none_yet
        with sqlite_errors(path, "open it"):
            db = connect(path)
            try:
                version = schema.version_of(db, path)
                if not version:  # a daemon is just beginning it
                    raise none_yet
                older = version < len(schema.SCHEMA)
                if older and connect is schema.connect_read_only:
                    schema.read_as_migrated(db)
                elif older:
                    raise StoreError(f"record {path}: was written by an older version; `leukoscope run` brings it up to date")
            except BaseException:
                db.close()
                raise
        return cls(path, db)

    def close(self) -> None:
        """Close the connection; a transaction that is under way is undone."""
        with suppress(sqlite3.Error):
            self._db.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @contextmanager
    def _reading(self, doing: str) -> Iterator[None]:
        """Also content that cannot be read is a StoreError: no row may end the daemon."""
        try:
            with self._touching(doing):
                yield
        except (ValueError, KeyError, TypeError, IndexError) as error:
            why = f"what stands in it cannot be read ({type(error).__name__}): `leukoscope verify` tells where"
            raise StoreError(f"record {self.path}: cannot {doing}: {why}") from error

    @contextmanager
    def snapshot(self, doing: str) -> Iterator[sqlite3.Connection]:
        """Read several things as they stood at one moment, whatever is written meanwhile."""
        with self._reading(doing):
            self._db.execute("BEGIN")
            try:
                yield self._db
            finally:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")

    @contextmanager
    def _touching(self, doing: str) -> Iterator[None]:
        try:
            with sqlite_errors(self.path, doing):
                yield
        except DamagedRecordError:
            with suppress(OSError):
                schema.suspect(self.path).touch()
            raise

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[sqlite3.Connection]:
        with self._touching(doing), self._db:  # which commits, or rolls back
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db


def take_lock(path: Path) -> int:
    """Two daemons on one record would close each other's slides; the kernel frees the lock with the process."""
    lock_path = Path(f"{path}.lock")
    try:
        lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        why = f"{lock_path} cannot be written: {error.strerror}; check record.path and this user's rights"
        raise StoreError(f"record {path}: {why}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        why = f"is in use by another leukoscope (process {holder}): stop it, or give this one its own record.path"
        raise UnusableRecordError(f"record {path}: {why}") from error
    except OSError:  # the disk is full: the number inside is only a courtesy
        pass
    return lock

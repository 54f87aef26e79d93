"""The file of the record: one connection and its transactions, the lock that keeps a second daemon away."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from typing_extensions import Self

from device.errors import StoreError
from device.store import quarantine, schema
from device.store.faults import DamagedRecordError, UnreadableError, UnusableRecordError, sqlite_errors
from device.store.presence import Presence

log = logging.getLogger(__name__)

_SAVE_AGAIN_S = 5.0


class RecordFile:
    """An open record. `with Store.open(path) as store:`; used by the thread that opened it."""

    def __init__(self, path: Path, db: sqlite3.Connection, lock: int | None = None, aside: Path | None = None) -> None:
        self.path = path
        self.put_aside = aside
        """Where a damaged record was put when this one was begun; None if it was sound. Tell the technician."""
        self._db = db
        self._lock = lock
        self._presence: Presence | None = None
        self._former: list[sqlite3.Connection] = []  # to files that lost their name; closed last, for SQLite removes a log by its name
        self._look_again_s, self._missing = float("-inf"), ""
        self._happened: list[tuple[str, str]] = []  # to the file, name and words: what is not on the list of what was put aside yet

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
                return cls(path, schema.connect(path), lock, aside)._watched()
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def connect(cls, path: Path) -> Self:
        """Another connection to a record that is open, for another thread (the publisher's). Repairs and creates nothing.

        StoreError also where the file may only be read: SQLite would open it so without a word, and as all connections of a process to
        a file share its index of the log (-shm), none of them could write when the disk is writable again.
        """
        if Path(path).exists() and not os.access(path, os.W_OK):
            raise StoreError(f"record {path}: may only be read: mount its disk read-write, or give this user the right to write there")
        return cls._existing(Path(path), schema.connect)._watched()

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
        if not path.is_file():  # a named pipe would never answer
            raise UnusableRecordError(f"record {path}: is not a file; name a file in record.path")
        with sqlite_errors(path, "open it"):
            db = connect(path)
            try:
                version = schema.version_of(db, path)
                if not version:  # a daemon is just beginning it
                    raise none_yet
                older = version < len(schema.SCHEMA)
                if connect is schema.connect_read_only:
                    schema.read_as_migrated(db)  # also where a table is gone, which the next start of the daemon begins anew
                elif older:
                    raise StoreError(f"record {path}: was written by an older version; `leukoscope run` brings it up to date")
            except BaseException:
                db.close()
                raise
        return cls(path, db)

    def close(self) -> None:
        """Close the connection; a transaction that is under way is undone."""
        for db in (self._db, *self._former):
            with suppress(sqlite3.Error):
                db.close()
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
            raise UnreadableError(f"record {self.path}: cannot {doing}: {why}") from error

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

    def watch(self) -> str:
        """Called now and then while nothing is written: why the record cannot be used, as it was deleted, moved or replaced and could
        not be saved again; "" while all is well."""
        try:
            self._be_there()
        except StoreError as error:
            return str(error)
        return ""

    def _watched(self) -> Self:
        with sqlite_errors(self.path, "open it"):
            self._presence = Presence(self.path, self._db)
        return self

    def _be_there(self) -> None:
        """Save the record again where it was deleted, moved or replaced. StoreError where it cannot be, or is another's to save."""
        if self._presence is None or self._db.in_transaction or not (fault := self._presence.fault()):
            return
        if self._lock is None:
            raise StoreError(f"record {self.path}: {fault}; the appliance that counts saves it again")
        now = time.monotonic()
        if self._missing and now < self._look_again_s:
            raise StoreError(self._missing)
        try:
            aside = self._presence.save_again(self._db)
            lock_gone = not Path(f"{self.path}.lock").exists()
            new = schema.connect(self.path)
        except (StoreError, OSError, sqlite3.Error) as error:
            known, self._missing = self._missing, f"record {self.path}: {fault}, and cannot be saved again: {error}"
            self._look_again_s = now + _SAVE_AGAIN_S
            if not known:
                log.error("%s", self._missing)
            raise StoreError(self._missing) from error
        self._former.append(self._db)
        self._db, self._missing = new, ""
        self._watched()
        if lock_gone and self._lock is not None:
            os.close(self._lock)
            self._lock = take_lock(self.path)
        words = f"the record {fault} while it was open, and was saved again with all that was counted"
        if aside is not None:
            words += f"; the file that had taken its place is kept as {aside}"
        log.error("%s: %s", self.path, words)
        self._happened.append((f"record {datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S.%f}", words))  # a name of its own each time
        with suppress(StoreError), self._transaction("list what happened to it"):  # where another program holds it, the next one does
            pass

    @contextmanager
    def _touching(self, doing: str) -> Iterator[None]:
        self._be_there()
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
            for name, words in self._happened:
                quarantine.put(self._db, "write", name, words)
            yield self._db
        self._happened.clear()


def take_lock(path: Path) -> int:
    """Two daemons on one record would close each other's slides; the kernel frees the lock with the process."""
    lock_path = Path(f"{path}.lock")
    try:
        lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, schema.MODE)
        schema.same_owner(lock_path, path.parent)
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

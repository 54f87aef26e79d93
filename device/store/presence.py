"""Whether the record still lies where it was opened: somebody may delete it, move it or put another file in its place meanwhile, and
SQLite would go on writing into a file that has no name."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from device.errors import StoreError
from device.store import schema
from device.store.copying import copy_database
from device.store.faults import sqlite_errors
from engines.files import fsync


class Presence:
    """What the names of an open record and its log led to when it was opened."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()  # by now SQLite has made its log
        self._path = path
        self._files = _identity(path), _identity(_log(path))

    def fault(self) -> str:
        """What happened to it; "" while it is where it was."""
        try:
            now = _identity(self._path), _identity(_log(self._path))
        except OSError:  # a disk that fails says so when it is read or written; that is no deletion
            return ""
        if now == self._files:
            return ""
        if now[0] is None:
            return "was deleted or moved away"
        return "was replaced by another file" if now[0] != self._files[0] else "has lost its log (-wal)"

    def save_again(self, db: sqlite3.Connection) -> Path | None:
        """Write what the open connection holds, which is all that was ever kept, to the path; where a file that had taken the place was
        put, None if there was none. `db` stays open, and must be closed last of all. Raises StoreError, OSError."""
        path, aside = self._path, None
        schema.make_place(path)
        staged = path.with_name(f".{path.name}.saving")
        try:
            staged.unlink(missing_ok=True)
            with sqlite_errors(path, "save it again"):
                copy_database(db, staged)
            staged.chmod(schema.MODE)
            schema.same_owner(staged, path.parent)
            if _identity(path) not in (None, self._files[0]):
                aside = schema.other_name(path, "replaced")
                if _identity(_log(path)) not in (None, self._files[1]):
                    _log(path).rename(_log(aside))
                path.rename(aside)
            for tail in ("-wal", "-shm"):  # a log that stayed would be taken for that of the new file
                Path(f"{path}{tail}").unlink(missing_ok=True)
            staged.replace(path)
            fsync(path.parent)
        except OSError as error:
            raise StoreError(f"record {path}: cannot be saved again: {error.strerror}; what was counted stays in memory") from error
        finally:
            with suppress(OSError):
                staged.unlink(missing_ok=True)
        return aside


def _log(path: Path) -> Path:
    return Path(f"{path}-wal")


def _identity(path: Path) -> tuple[int, int] | None:
    """None where there is no such file; OSError where the disk does not say."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino

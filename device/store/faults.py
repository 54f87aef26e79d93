"""What can go wrong with the record's file, in words a person can act on, and how much room its disk has."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from device.errors import StoreError
from device.mqtt.message import one_line

BUSY_TIMEOUT_S = 5.0
UNREADABLE = "malformed: the names of its tables cannot be read"
_DAMAGE = ("file is not a database", "malformed", "file is encrypted")


_PASSING = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "ENODEV", "ENXIO", "ESTALE", "EBUSY", "EMFILE", "ENFILE", "ENOMEM", "ETIMEDOUT")
}


class DamagedRecordError(StoreError):
    """The file is no database or is corrupt. At the next start it is put aside (kept, renamed) and a new one begun."""


class DamagedSlideError(StoreError):
    """What the record holds of one slide cannot be read; other slides can. why: what was met, without the content itself."""

    def __init__(self, record: Path, slide_id: str, why: str) -> None:
        advice = "`leukoscope verify` names what is damaged; `leukoscope restore` brings back a backup"
        super().__init__(f"record {record}: slide {one_line(slide_id)} is damaged ({why}); {advice}")
        self.slide_id, self.why = slide_id, why


def is_no_text(error: Exception) -> bool:
    """Whether SQLite met a text that is not UTF-8: "Could not decode to UTF-8 column ..."."""
    return "decode" in str(error)


@contextmanager
def reading_slide(record: Path, slide_id: str) -> Iterator[None]:
    """Turn whatever is raised by the content of one slide into DamagedSlideError. The words name the kind of the fault, never the
    value: it may be a specimen's number."""
    try:
        yield
    except StoreError:
        raise
    except sqlite3.OperationalError as error:
        if not is_no_text(error):
            raise
        raise DamagedSlideError(record, slide_id, "a text is not UTF-8") from None
    except (sqlite3.Error, MemoryError):
        raise
    except Exception as error:  # JSON, enum word, time, missing key, pydantic, index out of range, wrong type: all are content
        raise DamagedSlideError(record, slide_id, f"{type(error).__name__} while it was read") from error


def may_pass(error: BaseException | None) -> bool:
    """Whether waiting may mend what the system says: a disk that is full, read-only, failing or not there, too many open files."""
    return isinstance(error, OSError) and error.errno in _PASSING


class UnusableRecordError(StoreError):
    """No waiting mends it: another program's database, a newer version, no file, or another leukoscope has it. A person must act."""


class UnreadableError(StoreError):
    """What stands in the record cannot be read, and waiting changes nothing; other things in it can."""


class UnwritableError(StoreError):
    """The record will never take this write, because of what it holds. Writes after it can be made."""


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that the file itself is broken, as opposed to full, locked or out of reach."""
    return isinstance(error, sqlite3.DatabaseError) and any(words in str(error) for words in _DAMAGE)


def free_mb(path: Path) -> int:
    """Megabytes (10^6 bytes) free on the disk that holds `path`, or will hold it once its folders are made. Raises StoreError."""
    for place in (path, *path.absolute().parents):
        try:
            return shutil.disk_usage(place).free // 1_000_000
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(f"{place}: its disk cannot be asked for free space: {error.strerror}; check that it is mounted") from error
    raise StoreError(f"{path}: no such disk; check record.path or device.state_dir in the configuration")


def advice(path: Path, doing: str, error: Exception) -> str:
    """One line: the file, what was being done, what is wrong, what to do."""
    words = str(error)
    if "full" in words:
        why = f"the disk is full ({_free(path)}): free space on it, then it goes on"
    elif "readonly" in words:
        why = f"it may only be read: mount its disk read-write, or give this user the right to write in {path.parent}"
    elif "locked" in words or "busy" in words:
        why = f"another program has locked it for more than {BUSY_TIMEOUT_S:.0f} s: close that program"
    elif "unable to open" in words:
        why = f"it cannot be opened: check that {path.parent} is there and that this user may write in it"
    elif is_damage(error):
        why = f"it is damaged ({words}): start the appliance again, which keeps this file under another name and begins a new one"
    elif "I/O" in words:
        why = f"its disk fails ({words}, {_free(path)}): free space or change the disk; `dmesg` tells which"
    elif words.startswith(("no such column", "no such table", "cannot join")):
        why = f"its tables are damaged ({words}): `leukoscope verify`, then start the appliance again or restore a backup"
    elif is_no_text(error):  # SQLite's line would give the text itself, which may be a specimen's number
        why = "a text in it is not UTF-8: `leukoscope verify` tells where"
    else:
        why = words
    return f"record {path}: cannot {doing}: {why}"


def _free(path: Path) -> str:
    try:
        return f"{free_mb(path)} MB free"
    except StoreError:
        return "free space unknown"


@contextmanager
def sqlite_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn SQLite's errors into StoreError with advice; misuse by the program (ProgrammingError) passes as it is."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except UnicodeDecodeError as error:  # SQLite's words about a damaged schema, which have the damage in them
        raise DamagedRecordError(advice(path, doing, sqlite3.DatabaseError(UNREADABLE))) from error
    except sqlite3.Error as error:
        kind = DamagedRecordError if is_damage(error) else StoreError
        if isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError)):
            kind = UnwritableError
        raise kind(advice(path, doing, error)) from error

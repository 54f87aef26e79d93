"""A copy of the record, taken while the appliance counts, and the way back. Both are checked before they are called done.

A backup is a folder: record.sqlite, pictures/ and manifest.json with the SHA-256 of each. It is there complete or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath

from device.errors import StoreError
from device.store import schema, verifying
from device.store.copying import Tell, copy_database
from device.store.faults import free_mb, sqlite_errors
from device.store.pictures import FOLDER
from device.store.record import Store
from device.store.record_file import take_lock
from engines.errors import DataError
from engines.files import atomic_folder, atomic_write, fsync, sha256_of
from engines.version import version

SCHEMA = "leukoscope.backup/1"
RECORD, MANIFEST = "record.sqlite", "manifest.json"
_SPARE_MB = 20


@dataclass(frozen=True)
class Done:
    """folder: the backup, or the record that was brought back. report: what was found when the copy was read. pictures: how many were
    copied; missing: names of those that the record names and that are not there; former: where the record before was put."""

    folder: Path
    report: verifying.Report
    pictures: int = 0
    missing: tuple[str, ...] = ()
    former: Path | None = None


@dataclass(frozen=True)
class _Manifest:
    """What is read of one: the digests of the record and, by name, of the pictures; None where none were taken."""

    record: str
    pictures: dict[str, str] | None


def backup(record: Path, to: Path, pictures: bool = True, tell: Tell = lambda what, done, total: None) -> Done:
    """Copy the record as it stands at this moment to the new folder `to`, and read the copy through. Raises StoreError: no record, `to`
    is there already, no room, or it cannot be read or written."""
    if to.exists():
        raise StoreError(f"{to}: is there already; a backup overwrites nothing, name a new folder")
    with Store.read(record):
        pass  # there is one, and it is ours
    _room(to, _size(record) + (_size(record.parent / FOLDER) if pictures else 0))
    try:
        with atomic_folder(to) as folder:
            folder.chmod(0o750)
            copy = folder / RECORD
            _copy_database(record, copy, tell)
            report = verifying.verify(copy, tell=lambda done, total: tell("slides checked", done, total))
            copied, missing = _copy_pictures(record, copy, folder, tell) if pictures else ({}, ())
            report.notes = [f"{len(missing)} pictures of fields are gone; missed cells cannot be added there"] if missing else []
            manifest = _manifest(copy, report, copied if pictures else None, missing)
            atomic_write(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    except DataError as error:
        raise StoreError(str(error)) from error
    except OSError as error:
        raise StoreError(f"{error.filename or to}: {error.strerror}; nothing was made of {to}") from error
    return Done(to, report, len(copied), missing)


def restore(record: Path, source: Path, damaged_too: bool = False, tell: Tell = lambda what, done, total: None) -> Done:
    """Put a backup in the place of the record, which is kept under another name. StoreError, with nothing changed: a daemon runs,
    the backup is not whole or is damaged (unless `damaged_too`), no room, or the disk refuses.

    The record gets a new stream, with numbers from 1: receivers would take those it goes on with for repeats of others.
    """
    manifest = _read_manifest(source)
    schema.make_place(record)
    lock = take_lock(record)
    staged = record.with_name(f".{record.name}.restoring")
    pictures = record.parent / f".{FOLDER}.restoring"
    try:
        _compare(source, manifest, tell)
        report = verifying.verify(source / RECORD, tell=lambda done, total: tell("slides checked", done, total))
        if not report.sound and not damaged_too:
            named = ", ".join(each or "the file itself" for each in report.damage)
            raise StoreError(f"{source}: this backup is damaged ({named}); take another, or say --damaged-too")
        _room(record, _size(source))
        with sqlite_errors(record, "bring the backup back"):
            shutil.copyfile(source / RECORD, staged)
            _begin_stream(staged)
        copied = _stage_pictures(source, manifest, pictures, tell)
        former = _exchange(record, staged, None if manifest.pictures is None else pictures)
    except OSError as error:
        raise StoreError(f"{error.filename or record}: {error.strerror}; the record is as it was") from error
    finally:
        for each in (staged, Path(f"{staged}-wal"), Path(f"{staged}-shm")):
            each.unlink(missing_ok=True)
        shutil.rmtree(pictures, ignore_errors=True)
        os.close(lock)
    return Done(record, report, copied, former=former)


def _copy_database(record: Path, copy: Path, tell: Tell) -> None:
    with sqlite_errors(record, "back it up"), closing(schema.connect_read_only(record)) as source:
        copy_database(source, copy, tell)
    copy.chmod(schema.MODE)


def _copy_pictures(record: Path, copy: Path, folder: Path, tell: Tell) -> tuple[dict[str, str], tuple[str, ...]]:
    """Copy what the copied record names; name to SHA-256 of those copied, and names of those that are gone."""
    names = tuple(_pictures_of(copy))
    copied, missing = dict[str, str](), list[str]()
    for done, name in enumerate(names):
        tell("pictures copied", done, len(names))
        target = folder / FOLDER / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(record.parent / FOLDER / name, target)
        except FileNotFoundError:
            missing.append(name)
        else:
            copied[name] = sha256_of(target)
    return copied, tuple(missing)


def _pictures_of(copy: Path) -> Iterator[str]:
    with closing(sqlite3.connect(copy)) as db:
        columns = {row[1] for row in db.execute("PRAGMA table_info(fields)")}
        rows = db.execute("SELECT CAST(picture AS BLOB) FROM fields WHERE picture != ''").fetchall() if "picture" in columns else []
    for (name,) in rows:
        text = bytes(name).decode(errors="replace")
        if _is_inside(text):  # a damaged name must not lead out of the folder
            yield text


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name and len(path.parts) == 2


def _manifest(copy: Path, report: verifying.Report, pictures: dict[str, str] | None, missing: tuple[str, ...]) -> dict[str, object]:
    """What lies in a backup; it names slides, never a specimen."""
    return {
        "schema": SCHEMA,
        "made_at": datetime.now(timezone.utc).isoformat(),
        "made_by": version(),
        "record": {"file": RECORD, "bytes": copy.stat().st_size, "sha256": sha256_of(copy), "slides": report.slides},
        "damage": report.damage,
        "unchecked": report.unchecked,
        "pictures": pictures,
        "missing_pictures": list(missing),
    }


def _read_manifest(source: Path) -> _Manifest:
    path = source / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        record, pictures = manifest["record"]["sha256"], manifest.get("pictures")
        if manifest["schema"] != SCHEMA or not isinstance(record, str) or not isinstance(pictures, dict | None):
            raise ValueError
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; name the folder that `leukoscope backup` made") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: is no manifest that this version knows; name the folder that `leukoscope backup` made") from error
    inside = None if pictures is None else {name: digest for name, digest in pictures.items() if _is_inside(name)}
    return _Manifest(record, inside)


def _compare(source: Path, manifest: _Manifest, tell: Tell) -> None:
    """StoreError naming the first file of a backup that is not as it was made."""
    wanted = {RECORD: manifest.record} | {f"{FOLDER}/{name}": digest for name, digest in (manifest.pictures or {}).items()}
    for done, (name, digest) in enumerate(wanted.items()):
        tell("files compared", done, len(wanted))
        try:
            same = sha256_of(source / name) == digest
        except OSError as error:
            raise StoreError(f"{source / name}: {error.strerror}; this backup is not whole, take another") from error
        if not same:
            raise StoreError(f"{source / name}: is not as it was when the backup was made; take another")


def _begin_stream(staged: Path) -> None:
    """Numbers from 1 in a stream of its own; a record of an older version is given one when it is brought up to date."""
    staged.chmod(schema.MODE)
    schema.same_owner(staged, staged.parent)
    with closing(sqlite3.connect(staged, isolation_level=None)) as db:
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'identity'").fetchone():
            db.execute("UPDATE identity SET value = lower(hex(randomblob(16))) WHERE key = 'stream'")
            db.execute("DELETE FROM sequences")
    fsync(staged)


def _stage_pictures(source: Path, manifest: _Manifest, staged: Path, tell: Tell) -> int:
    shutil.rmtree(staged, ignore_errors=True)
    names = manifest.pictures or {}
    for done, name in enumerate(names):
        tell("pictures copied", done, len(names))
        target = staged / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / FOLDER / name, target)
        fsync(target)
    return len(names)


def _exchange(record: Path, staged: Path, pictures: Path | None) -> Path | None:
    """Put the staged files in place; where the record before lies now, None if there was none.

    At every moment there is a whole record under the name: the one before gets a second name first, then the new one takes the first.
    """
    former = None
    if record.exists():
        former = schema.other_name(record, "before-restore")
        with suppress(sqlite3.Error), closing(sqlite3.connect(record, timeout=1)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # a log that stayed would be taken for the new record's
        for tail in ("-wal", "-shm"):
            if Path(f"{record}{tail}").exists():
                Path(f"{record}{tail}").rename(f"{former}{tail}")
        try:
            os.link(record, former)
        except OSError:  # no hard links on this disk
            record.rename(former)
    staged.replace(record)
    if pictures is not None:
        there = record.parent / FOLDER
        if there.exists():
            there.rename(schema.other_name(there, "before-restore"))
        if pictures.exists():
            for each in (pictures, *pictures.rglob("*")):
                schema.same_owner(each, record.parent)
            pictures.rename(there)
    fsync(record.parent)
    return former


def _size(path: Path) -> int:
    """Bytes of a file with its log, or of all in a folder; 0 where there is none."""
    if path.is_dir():
        return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return sum(each.stat().st_size for each in (path, Path(f"{path}-wal")) if each.exists())


def _room(place: Path, wanted: int) -> None:
    free, needed = free_mb(place), wanted // 1_000_000 + _SPARE_MB
    if free < needed:
        raise StoreError(f"{place}: {needed} MB are needed there and {free} MB are free; make room, or name another disk")

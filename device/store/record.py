"""`Store`: the record as the rest of the daemon uses it. One connection, one thread; every write is one durable transaction."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from typing_extensions import Self

from device.errors import StoreError
from device.mqtt.outbox import OutboxMessage
from device.mqtt.provenance import Provenance
from device.review.journal import Entry
from device.slide.keyframes import Keyframe
from device.slide.model import OPEN_STATES, Field, Slide, SlideState
from device.slide.registration import Merge
from device.store import checks, housekeeping, outbox, reviews, schema, slides
from device.store.checks import Check
from device.store.faults import DamagedRecordError, sqlite_errors
from device.store.slides import StoredSlide

log = logging.getLogger(__name__)


class Store:
    """The record of one appliance. `with Store.open(path) as store:`; used by the thread that opened it.

    A write that returns is on the disk, also after a power cut. A write that raises StoreError has changed nothing and may be
    retried: writes are idempotent, and `close_slide` makes up for all that was missed.
    """

    def __init__(self, path: Path, db: sqlite3.Connection, lock: int | None = None, aside: Path | None = None) -> None:
        self.path = path
        self.put_aside = aside
        """Where a damaged record was put when this one was begun; None if it was sound. Tell the technician."""
        self._db = db
        self._lock = lock

    @classmethod
    def open(cls, path: Path) -> Store:
        """The daemon's own connection: begins a new record where there is none, puts a damaged one aside, closes it to other daemons.

        Raises StoreError: in use by another appliance, of a newer version, another program's, not to be written.
        """
        path = Path(path)
        schema.make_place(path)
        lock = _take_lock(path)
        try:
            aside = schema.prepare(path)
            with sqlite_errors(path, "open it"):
                return cls(path, schema.connect(path), lock, aside)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def connect(cls, path: Path) -> Store:
        """Another connection to a record that is open, for another thread (the publisher's). Repairs and creates nothing."""
        return cls._existing(Path(path), schema.connect)

    @classmethod
    def read(cls, path: Path) -> Store:
        """A connection that can only read, also beside a running daemon, on a read-only disk and in a record of an older version.

        StoreError if there is no record.
        """
        return cls._existing(Path(path), schema.connect_read_only)

    @classmethod
    def _existing(cls, path: Path, connect: Callable[[Path], sqlite3.Connection]) -> Store:
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

    # Slides

    def start_slide(self, slide: Slide, provenance: Provenance) -> None:
        """Write a new slide's header and where its numbers come from."""
        with self._transaction(f"begin slide {slide.slide_id}") as db:
            slides.insert_slide(db, slide, provenance)

    def put_fields(
        self,
        slide_id: str,
        fields: Sequence[Field],
        slide: Slide | None = None,
        merged: Sequence[Merge] = (),
        keyframes: Sequence[Keyframe] = (),
    ) -> None:
        """Write fields with their cells and crops, or replace those with their indices; all or none. Idempotent.

        A cell without a crop keeps the one that it has there. slide: as it now stands; its header is written too. merged: charts that
        were joined before that; keyframes: of the map, added or changed.
        """
        with self._transaction(f"keep field {', '.join(str(field.index) for field in fields)} of slide {slide_id}") as db:
            self._require(db, slide_id)
            for merge in merged:
                slides.move_chart(db, slide_id, merge)
            for field in fields:
                slides.put_field(db, slide_id, field)
            slides.put_keyframes(db, slide_id, keyframes)
            if slide is not None:
                slides.put_state(db, slide)

    def put_state(self, slide: Slide) -> None:
        """Write how an open slide stands: paused or counting, its target. Idempotent."""
        with self._transaction(f"keep the state of slide {slide.slide_id}") as db:
            self._require(db, slide.slide_id)
            slides.put_state(db, slide)

    def put_field(self, slide_id: str, field: Field) -> None:
        """The same for one."""
        self.put_fields(slide_id, (field,))

    def undo_field(self, slide_id: str, index: int, others: Sequence[Field] = ()) -> None:
        """Flag a field as undone; it is kept, and no longer counts. Nothing happens if it is not in the record or undone already.

        others: fields by which its cells are counted now; written in the same transaction.
        """
        with self._transaction(f"undo field {index} of slide {slide_id}") as db:
            slides.undo_field(db, slide_id, index)
            for field in others:
                slides.put_field(db, slide_id, field)

    def close_slide(self, slide: Slide, message: OutboxMessage | None) -> None:
        """Finish or abort a slide: its state, whatever of its fields was missed, its summary and the outbox row in one transaction.

        `message` None: no summary is to be sent (the broker is switched off).
        """
        with self._transaction(f"close slide {slide.slide_id}") as db:
            self._require(db, slide.slide_id)
            slides.sync(db, slide)
            if message is not None:
                reviews.put_summary(db, slide.slide_id, 0, message)

    def put_review(
        self, slide_id: str, entries: Sequence[Entry], slide: Slide | None = None, message: OutboxMessage | None = None
    ) -> None:
        """Add entries to the journal of a slide's review, and with a signature what it makes of the slide, its summary and the outbox
        row, all in one transaction. Idempotent.

        slide: with the state, revision and reviewer that it has now; None where they do not change. StoreError where the entries do not
        continue the chain that is there.
        """
        with self._transaction(f"keep the review of slide {slide_id}") as db:
            self._require(db, slide_id)
            reviews.append(db, self.path, slide_id, entries)
            if slide is not None:
                slides.put_signature(db, slide)
                if message is not None:
                    reviews.put_summary(db, slide_id, slide.revision, message)

    def summaries(self, slide_id: str) -> tuple[tuple[int, bytes], ...]:
        """Revision and payload of every summary of a slide that was handed over, the unreviewed one with revision 0."""
        with self._reading(f"read the summaries of slide {slide_id}"):
            return reviews.summaries(self._db, slide_id)

    def done_before(self, moment: datetime) -> tuple[str, ...]:
        """Slides that were signed, and are not open for a correction, or aborted, before `moment`; those that wait for a person are not
        among them."""
        with self._reading("look for old slides"):
            return slides.done_before(self._db, moment)

    def slide_ids(self, limit: int = 50) -> list[str]:
        """Ids of the newest slides, newest first."""
        with self._reading("list the slides"):
            return slides.newest(self._db, limit)

    def slides(self, limit: int = 50) -> tuple[StoredSlide, ...]:
        """The newest slides, newest first, without crops."""
        return tuple(map(self.slide, self.slide_ids(limit)))

    def slide(self, slide_id: str, with_crops: bool = False) -> StoredSlide:
        """A slide with all that counts on it. StoreError if there is none of that id."""
        with self._reading(f"read slide {slide_id}"):
            stored = slides.load(self._db, slide_id, with_crops)
        if stored is None:
            raise StoreError(f"record {self.path}: no slide {slide_id}; `leukoscope slides` lists them")
        return stored

    def finished_ids(self, limit: int = 50) -> list[str]:
        """Ids of the newest slides that wait for their review or are signed, newest first."""
        with self._reading("list the finished slides"):
            return slides.newest(self._db, limit, (SlideState.REVIEW, SlideState.SIGNED))

    def to_review(self) -> list[str]:
        """Ids of all slides that wait for their review, newest first."""
        with self._reading("list the slides to be reviewed"):
            return slides.newest(self._db, -1, (SlideState.REVIEW,))

    def unfinished(self) -> tuple[StoredSlide, ...]:
        """Slides that are open. Before the first one is started: those that a crash or power cut left so."""
        with self._reading("look for open slides"):
            open_ids = slides.newest(self._db, -1, OPEN_STATES)
        return tuple(map(self.slide, open_ids))

    def keyframes(self, slide_id: str) -> tuple[Keyframe, ...]:
        """The small pictures of visited ground by which a slide that is taken up finds its place on the film again."""
        with self._reading(f"read slide {slide_id}"):
            return slides.keyframes(self._db, slide_id)

    def last_cell_id(self, slide_id: str) -> int:
        """The highest id that a cell of the slide was given, in undone fields too; 0 where there is none."""
        with self._reading(f"read slide {slide_id}"):
            return slides.last_cell_id(self._db, slide_id)

    def of_specimen(self, specimen: str) -> int:
        """How many slides, aborted ones left out, bear this specimen's id."""
        with self._reading("look for slides of one specimen"):
            return slides.of_specimen(self._db, specimen)

    # Checks

    def put_check(self, check: Check) -> None:
        """Keep a quality check, or an answer about objective or slide."""
        with self._transaction("keep a check") as db:
            checks.insert(db, check)

    def checks(self, kind: str, limit: int = 50) -> tuple[Check, ...]:
        """The newest checks of a kind, newest first."""
        with self._reading("read the checks"):
            return checks.newest(self._db, kind, limit)

    # Outbox

    def pending(self, limit: int = 50) -> tuple[OutboxMessage, ...]:
        """The oldest messages that wait for the broker's acknowledgement, oldest first."""
        with self._reading("read the outbox"):
            return outbox.oldest(self._db, limit)

    def pending_count(self) -> int:
        with self._reading("read the outbox"):
            return outbox.count(self._db)

    def acknowledge(self, message_id: str) -> None:
        """The broker has it: remove it. Nothing happens if it is gone already."""
        with self._transaction(f"clear message {message_id}") as db:
            outbox.remove(db, message_id)

    # Housekeeping

    def changes(self) -> tuple[tuple[str, datetime], ...]:
        """Every slide with when it last changed (it ended, was counted, reviewed or signed), in the order in which they were begun."""
        with self._reading("look when slides changed"):
            return housekeeping.changes(self._db)

    def why_it_stays(self, slide_id: str) -> str:
        """What forbids to delete a slide (it is open, it still waits to be sent); "" if nothing does."""
        with self._reading(f"look at slide {slide_id}"):
            return housekeeping.why_it_stays(self._db, slide_id)

    def delete_slide(self, slide_id: str, who: str, why: str, at: datetime) -> housekeeping.Deletion:
        """Delete a slide with its fields, cells, crops, review and summaries, and log that; its pictures are the caller's. StoreError
        where it must stay: then nothing has changed."""
        with self._transaction(f"delete slide {slide_id}") as db:
            stays = housekeeping.why_it_stays(db, slide_id)
            if stays:
                raise StoreError(f"record {self.path}: slide {slide_id} {stays}, so it is kept")
            return housekeeping.remove(db, slide_id, who, why, at)

    def deletions(self) -> tuple[housekeeping.Deletion, ...]:
        """What was deleted so far, oldest first."""
        with self._reading("read the log of deletions"):
            return housekeeping.deletions(self._db)

    def give_back_space(self) -> None:
        """Write the file anew without what was deleted. StoreError where another program holds it for long: try again later."""
        with self._reading("give its space back"):
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _require(self, db: sqlite3.Connection, slide_id: str) -> None:
        if not db.execute("SELECT 1 FROM slides WHERE slide_id = ?", (slide_id,)).fetchone():
            raise StoreError(f"record {self.path}: no slide {slide_id}; it must be started first")

    @contextmanager
    def _reading(self, doing: str) -> Iterator[None]:
        try:
            with sqlite_errors(self.path, doing):
                yield
        except DamagedRecordError:
            with suppress(OSError):
                schema.suspect(self.path).touch()
            raise

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[sqlite3.Connection]:
        with self._reading(doing), self._db:  # which commits, or rolls back
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db


def _take_lock(path: Path) -> int:
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
        raise StoreError(f"record {path}: {why}") from error
    except OSError:  # the disk is full: the number inside is only a courtesy
        pass
    return lock

"""`Store`: the record as the rest of the daemon uses it. One connection, one thread; every write is one durable transaction."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from device.errors import StoreError
from device.mqtt.message import one_line
from device.mqtt.outbox import OutboxMessage
from device.mqtt.provenance import Provenance
from device.review.journal import Entry
from device.slide.keyframes import Keyframe
from device.slide.model import Field, Slide, SlideState
from device.slide.registration import Merge
from device.store import checks, checksums, housekeeping, outbox, quarantine, reviews, slides
from device.store.checks import Check
from device.store.checksums import Checked
from device.store.faults import DamagedSlideError, UnreadableError, UnwritableError, reading_slide
from device.store.quarantine import PutAside
from device.store.slides import StoredSlide
from device.store.waiting import Waiting

log = logging.getLogger(__name__)


class Store(Waiting):
    """The record of one appliance. `with Store.open(path) as store:`; used by the thread that opened it.

    A write that returns is on the disk, also after a power cut. A write that raises StoreError has changed nothing and may be
    retried: writes are idempotent, and `close_slide` makes up for all that was missed.
    """

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
        first_blast: OutboxMessage | None = None,
    ) -> None:
        """Write fields with their cells and crops, or replace those with their indices; all or none. Idempotent.

        A cell without a crop keeps the one that it has there. slide: as it now stands; its header is written too. merged: charts that
        were joined before that; keyframes: of the map, added or changed. first_blast: put into the outbox, the first of a slide alone.
        """
        with self._transaction(f"keep field {', '.join(str(field.index) for field in fields)} of slide {slide_id}") as db:
            self._require(db, slide_id)
            with checksums.changing(db, slide_id):
                for merge in merged:
                    slides.move_chart(db, slide_id, merge)
                for field in fields:
                    slides.put_field(db, slide_id, field)
                slides.put_keyframes(db, slide_id, keyframes)
                if slide is not None:
                    slides.put_state(db, slide)
                if first_blast is not None and slides.marks_first_blast(db, slide_id, first_blast.created_at):
                    outbox.put(db, first_blast)

    def put_state(self, slide: Slide) -> None:
        """Write how an open slide stands: paused or counting, its target. Idempotent."""
        with self._transaction(f"keep the state of slide {slide.slide_id}") as db:
            self._require(db, slide.slide_id)
            with checksums.changing(db, slide.slide_id):
                slides.put_state(db, slide)

    def put_field(self, slide_id: str, field: Field) -> None:
        """The same for one."""
        self.put_fields(slide_id, (field,))

    def undo_field(self, slide_id: str, index: int, others: Sequence[Field] = ()) -> None:
        """Flag a field as undone; it is kept, and no longer counts. Nothing happens if it is not in the record or undone already.

        others: fields by which its cells are counted now; written in the same transaction.
        """
        with self._transaction(f"undo field {index} of slide {slide_id}") as db, checksums.changing(db, slide_id):
            slides.undo_field(db, slide_id, index)
            for field in others:
                slides.put_field(db, slide_id, field)

    def close_slide(self, slide: Slide, message: OutboxMessage | None) -> Checked:
        """Finish or abort a slide: its state, whatever of its fields was missed, its summary and the outbox row in one transaction.

        `message` None: no summary is to be sent (the broker is switched off). Of a slide that is not as it was written no summary
        leaves: it is put aside in the same transaction, and what is returned says why.
        """
        with self._transaction(f"close slide {slide.slide_id}") as db:
            self._require(db, slide.slide_id)
            with checksums.changing(db, slide.slide_id):
                slides.sync(db, slide)
            return self._hand_over(db, slide.slide_id, 0, message)

    def _hand_over(self, db: sqlite3.Connection, slide_id: str, revision: int, message: OutboxMessage | None) -> Checked:
        """Put a summary into the outbox if all of the slide is as it was written; else put the slide aside."""
        checked = checksums.check(db, slide_id)
        if checked.faults:
            if quarantine.put(db, "slide", slide_id, checked.words):
                log.error("slide %s is damaged in the record and put aside, no summary of it leaves: %s", slide_id, checked.words)
        elif message is not None:
            with checksums.changing(db, slide_id):
                reviews.put_summary(db, slide_id, revision, message)
        return checked

    def put_review(
        self,
        slide_id: str,
        entries: Sequence[Entry],
        slide: Slide | None = None,
        message: OutboxMessage | None = None,
        told: OutboxMessage | None = None,
    ) -> Checked | None:
        """Add entries to the journal of a slide's review, and with a signature what it makes of the slide, its summary and the outbox
        row, all in one transaction. Idempotent.

        slide: with the state, revision and reviewer that it has now; None where they do not change. With a message the slide is checked
        as in `close_slide`. told: what is sent of the act itself. StoreError where the entries do not continue the chain that is there.
        """
        with self._transaction(f"keep the review of slide {slide_id}") as db:
            self._require(db, slide_id)
            with checksums.changing(db, slide_id):
                reviews.append(db, self.path, slide_id, entries)
                if slide is not None:
                    slides.put_signature(db, slide)
            checked = None
            if slide is not None and message is not None:
                checked = self._hand_over(db, slide_id, slide.revision, message)
            if told is not None and not (checked is not None and checked.faults):
                with checksums.changing(db, slide_id):
                    reviews.put_told(db, slide_id, entries[-1].number if entries else 0, told)
            return checked

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
        """The newest slides, newest first, without crops; DamagedSlideError at one that cannot be read (`readable` leaves it out)."""
        return tuple(map(self.slide, self.slide_ids(limit)))

    def readable(self, slide_ids: Sequence[str]) -> tuple[tuple[StoredSlide, ...], tuple[DamagedSlideError, ...]]:
        """Those of these slides that can be read, in order, without crops; and of each other one what is wrong with it."""
        read, damaged = list[StoredSlide](), list[DamagedSlideError]()
        for slide_id in slide_ids:
            try:
                read.append(self.slide(slide_id))
            except DamagedSlideError as error:
                damaged.append(error)
        return tuple(read), tuple(damaged)

    def slide(self, slide_id: str, with_crops: bool = False) -> StoredSlide:
        """A slide with all that counts on it. StoreError if there is none of that id, DamagedSlideError if it cannot be read."""
        with self._reading(f"read slide {one_line(slide_id)}"), reading_slide(self.path, slide_id):
            stored = slides.load(self._db, slide_id, with_crops)
        if stored is None:
            raise StoreError(f"record {self.path}: no slide {one_line(slide_id)}; `leukoscope slides` lists them")
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
        """Slides that are open. Before the first one is started: those that a crash or power cut left so.

        One that cannot be read, or is not as it was written, is left out, put aside (`quarantined`) and named in the log once.
        """
        with self._reading("look for open slides"):
            open_ids = [each for each in slides.open_ids(self._db) if not quarantine.is_in(self._db, "slide", each)]
        read, damaged = self.readable(open_ids)
        sound, found = list[StoredSlide](), list(damaged)
        for stored in read:
            slide_id = stored.slide.slide_id
            try:
                one = self.check_slide(slide_id)
            except UnreadableError as error:
                found.append(DamagedSlideError(self.path, slide_id, f"{type(error.__cause__).__name__} while it was checked"))
                continue
            found += [DamagedSlideError(self.path, slide_id, one.words)] if one.faults else []
            sound += [] if one.faults else [stored]
        for amiss in found:
            log.error("%s", amiss)
            with suppress(StoreError):  # a disk that takes no write now: it is found again at the next start
                self.put_aside_row("slide", amiss.slide_id, amiss.why)
        return tuple(sound)

    def check_slide(self, slide_id: str) -> Checked:
        """Whether all of a slide is as it was written; reads the whole of it."""
        with self.snapshot(f"check slide {one_line(slide_id)}") as db:
            return checksums.check(db, slide_id)

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

    # What the record says of itself

    def fact(self, key: str) -> str:
        """Empty where it is not known: "stream", by which receivers know whose numbers they read; "backup_at", of its last backup."""
        with self._reading("read what it says of itself"):
            row = self._db.execute("SELECT value FROM identity WHERE key = ?", (key,)).fetchone()
            return "" if row is None else str(row[0])

    def put_fact(self, key: str, value: str) -> None:
        """Write it, in the place of what was known."""
        with self._transaction("write down what it says of itself") as db:
            db.execute(
                "INSERT INTO identity (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value)
            )

    # Quarantine

    def release_row(self, kind: str, name: str) -> bool:
        """Take it off the list: a person has seen to it. False if it is not on the list."""
        with self._transaction(f"take {kind} {one_line(name)} off the list") as db:
            return quarantine.release(db, kind, name)

    def put_aside_row(self, kind: quarantine.Kind, name: str, why: str, content: bytes = b"") -> bool:
        """Name something that cannot be sent, read or believed, so that the rest goes on; False if it is on the list already.

        name: a slide's or message's id or a file's name, never a specimen; why: one line; content: what could be kept of it.
        """
        with self._transaction(f"put aside {kind} {one_line(name)}") as db:
            return quarantine.put(db, kind, name, why, content)

    def quarantined(self) -> int:
        """How much was put aside and waits for a person."""
        with self._reading("read what was put aside"):
            return quarantine.count(self._db)

    def quarantine(self, limit: int = -1, kind: quarantine.Kind | None = None, with_content: bool = False) -> tuple[PutAside, ...]:
        """What was put aside, newest first; of one kind, or all."""
        with self._reading("read what was put aside"):
            return quarantine.rows(self._db, limit, kind, with_content)

    # Checks

    def put_check(self, check: Check) -> None:
        """Keep a quality check, or an answer about objective or slide."""
        with self._transaction("keep a check") as db:
            checks.insert(db, check)

    def checks(self, kind: str, limit: int = 50) -> tuple[Check, ...]:
        """The newest checks of a kind, newest first."""
        with self._reading("read the checks"):
            return checks.newest(self._db, kind, limit)

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
            raise UnwritableError(f"record {self.path}: no slide {slide_id}; it must be started first")

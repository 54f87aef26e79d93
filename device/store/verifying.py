"""Reads a whole record, or as much of it as there is time for, and names what is damaged. Nothing is changed; a daemon may
be running."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from device.errors import StoreError
from device.mqtt.message import one_line
from device.slide.model import SlideState
from device.slide.picture_state import count_of
from device.store import outbox
from device.store.faults import DamagedRecordError, DamagedSlideError
from device.store.pictures import FOLDER
from device.store.record import Store

Tell = Callable[[int, int], None]
"""Hears how many slides of how many were read."""


@dataclass
class Report:
    """What was found. damage: slide's id ("" of the record itself) to its faults, one line each.

    slides: how many were read whole; left: how many were not, for want of time; unchecked: ids of those without checksums, of which
    nothing is known. notes: what is no damage and yet not as it should be. sqlite: whether SQLite's own check was made. put_aside:
    rows in quarantine.
    """

    slides: int = 0
    left: int = 0
    fields: int = 0
    unchecked: list[str] = field(default_factory=list)
    damage: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    sqlite: bool = False
    put_aside: int = 0

    @property
    def sound(self) -> bool:
        """No damage was found in what was read."""
        return not self.damage

    def add(self, slide_id: str, fault: str) -> None:
        self.damage.setdefault(slide_id, []).append(fault)

    @property
    def words(self) -> str:
        """What was read, in one line."""
        parts = [f"{count_of(self.slides, 'slide')} with {count_of(self.fields, 'field')} read"]
        if self.damage:
            parts.append(f"{len(self.damage)} DAMAGED")
        if self.unchecked:
            parts.append(f"{len(self.unchecked)} not checked, from versions without checksums")
        if self.left:
            parts.append(f"{count_of(self.left, 'older slide')} not read, for want of time")
        if not self.sqlite:
            parts.append("SQLite's own check not made")
        return ", ".join(parts)


def verify(path: Path, slide_id: str = "", tell: Tell = lambda done, total: None, limit_s: float | None = None) -> Report:
    """Check a record, the newest slides first; or one slide of it. StoreError if it is not there, or has no such slide.

    limit_s: how long it may take; the check of the whole file by SQLite is then left out where the file is large.
    """
    report, end = Report(), float("inf") if limit_s is None else time.monotonic() + limit_s
    try:
        with Store.read(path) as store:
            ids = store.slide_ids(-1)
            if slide_id:
                if slide_id not in ids:
                    raise StoreError(f"record {path}: no slide {one_line(slide_id)}; `leukoscope slides` lists them")
                ids = [slide_id]
            report.put_aside = store.quarantined()
            if not slide_id and (limit_s is None or path.stat().st_size < _SMALL_BYTES):
                _of_sqlite(store, report)
            for done, each in enumerate(ids):
                tell(done, len(ids))
                if time.monotonic() > end:
                    report.left = len(ids) - done
                    break
                _slide(store, each, report)
            if not slide_id:
                for fault in _outbox(store):
                    report.add("", fault)
    except DamagedRecordError as error:
        report.add("", str(error))
    return report


_SMALL_BYTES = 64_000_000


def _of_sqlite(store: Store, report: Report) -> None:
    """Pages, indices, and rows that hang on others."""
    with store.snapshot("have SQLite check it") as db:
        for (words,) in db.execute("PRAGMA integrity_check(20)"):
            if words != "ok":
                report.add("", f"SQLite: {one_line(words)}")
        for row in db.execute("PRAGMA foreign_key_check").fetchmany(20):
            report.add("", f"SQLite: a row of {row[0]} belongs to no row of {row[2]}")
    report.sqlite = True


def _slide(store: Store, slide_id: str, report: Report) -> None:
    name = one_line(slide_id)
    report.slides += 1
    try:
        checked = store.check_slide(slide_id)
        for fault in checked.faults:
            report.add(name, fault)
        if not checked.checked or checked.unchecked:
            report.unchecked.append(name)
        stored = store.slide(slide_id)
    except DamagedSlideError as error:
        report.add(name, f"cannot be read ({error.why})")
        return
    except StoreError as error:
        report.add(name, str(error))
        return
    report.fields += len(stored.slide.fields)
    if stored.slide.state in (SlideState.SIGNED, SlideState.ABORTED):  # their pictures are removed in time
        return
    folder = store.path.parent / FOLDER
    gone = [field.index for field in stored.slide.fields if field.picture and not (folder / field.picture).is_file()]
    if gone:
        report.notes.append(
            f"slide {name}: the pictures of fields {', '.join(map(str, gone))} are gone; missed cells cannot be added there"
        )


def _outbox(store: Store) -> Iterator[str]:
    """What waits must be what was put in."""
    with store.snapshot("read the outbox") as db:
        for (message_id,) in db.execute("SELECT message_id FROM outbox").fetchall():
            message = outbox.one(db, message_id)
            if message is not None and not outbox.is_as_written(db, message):
                yield f"outbox: message {one_line(message_id)} is not as it was written"

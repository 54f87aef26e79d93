"""Housekeeping of the record: which old slides may go, and letting them go with their pictures. The record logs each."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from device.clock import time_trusted
from device.errors import StoreError
from device.report.export import Wanted, find
from device.report.labels import Written, write_labels
from device.slide.model import SlideState
from device.store import DamagedSlideError, Store
from device.store.pictures import FOLDER

WHO = r"[^\W\d_]{2,4}"
"""Initials, as at the desk."""


@dataclass(frozen=True)
class Candidate:
    """A slide that is old enough. stays: why it is kept all the same; "" if it may go."""

    slide_id: str
    state: str
    ended: datetime
    cells: int
    stays: str
    specimen: str


@dataclass(frozen=True)
class Deleted:
    """What went. left: slides and folders that could not be removed, each with its reason."""

    slides: tuple[str, ...]
    pictures: int
    left: tuple[str, ...]


def pictures_folder(record_path: Path) -> Path:
    """Where whole fields lie: beside the record, a folder for each slide."""
    return record_path.parent / FOLDER


def export_labels(record_path: Path, out: Path, since: datetime | None) -> Written:
    """The reviewed cells of the record's signed slides as labels in the new folder `out`. Raises StoreError."""
    with Store.read(record_path) as store:
        damaged = list[DamagedSlideError]()
        cases = tuple(find(store, Wanted(since=since, signed=True), with_crops=False, damaged=damaged))
    written = write_labels(cases, pictures_folder(record_path), out)
    return replace(written, damaged=tuple(error.slide_id for error in damaged))


def candidates(store: Store, older_than_days: int, signed: bool, now: datetime) -> tuple[Candidate, ...]:
    """Slides that ended before so many days, oldest first, and whether each may go.

    signed: signed ones may go too. StoreError where the clock of this device cannot be believed: then nobody knows what is old.
    """
    if not time_trusted(now):
        raise StoreError("the clock of this device is not synchronised, so nobody knows which slides are old; set it, then try again")
    before, found = now - timedelta(days=older_than_days), []
    for slide_id, ended in store.changes():
        if ended >= before:
            continue
        try:
            stored = store.slide(slide_id)
        except DamagedSlideError as error:
            found.append(Candidate(slide_id, "damaged", ended, 0, f"is damaged ({error.why})", ""))
            continue
        slide = stored.slide
        stays = store.why_it_stays(slide_id)
        if not stays and not stored.provenance.time_trusted:
            stays = "its dates are not to be relied on: the clock was not synchronised"
        if not stays and not signed and (slide.state is SlideState.SIGNED or stored.reviewing.signatures):
            stays = "is signed: say --signed to delete signed slides too"
        found.append(Candidate(slide_id, slide.state.value, ended, len(slide.cells), stays, slide.specimen))
    return tuple(found)


def check_words(who: str, why: str, chosen: Iterable[Candidate]) -> tuple[str, str]:
    """Initials and reason as they are logged. StoreError where they are none, or where the reason names a specimen."""
    who, why = who.strip().upper(), " ".join(why.split())
    if not re.fullmatch(WHO, who):
        raise StoreError("--who: initials are needed, 2 to 4 letters")
    if not why:
        raise StoreError("--reason: say why these slides are deleted; it stays in the log")
    if any(one.specimen and one.specimen.casefold() in why.casefold() for one in chosen):
        raise StoreError("--reason: names a specimen; the log must not, say it in other words")
    return who, why


def delete(record_path: Path, chosen: Iterable[Candidate], who: str, why: str, now: datetime) -> Deleted:
    """Delete the chosen slides that may go, each in a transaction of its own, then their pictures, and give the space back.

    Works beside a running appliance. A slide that changed since it was chosen (opened, to be sent) is kept and named.
    """
    chosen = tuple(chosen)
    who, why = check_words(who, why, chosen)
    gone, left, pictures = [], [], 0
    with Store.connect(record_path) as store:
        for one in chosen:
            if one.stays:
                continue
            try:
                store.delete_slide(one.slide_id, who, why, now)
            except StoreError as error:
                left.append(str(error))
                continue
            gone.append(one.slide_id)
        # also of slides that were deleted before and whose pictures a power cut left behind
        for slide_id in {deletion.slide_id for deletion in store.deletions()}:
            folder = pictures_folder(record_path) / slide_id
            if not folder.is_dir():
                continue
            pictures += sum(1 for path in folder.iterdir() if path.is_file())
            try:
                shutil.rmtree(folder)
            except OSError as error:
                left.append(f"{folder}: cannot be removed: {error.strerror}; remove it by hand")
        if gone:
            try:
                store.give_back_space()
            except StoreError as error:
                left.append(f"{error} (the slides are deleted; the file becomes smaller at the next deletion)")
    return Deleted(tuple(gone), pictures, tuple(left))

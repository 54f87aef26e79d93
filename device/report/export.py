"""A slide as files for others: the page, two tables and FHIR, each slide and revision in a folder of its own, so that a signed report
stays when a corrected one follows. A program that watches the folder takes a slide when `export.json` is there: it is written last.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from device.errors import StoreError
from device.mqtt.message import one_line
from device.report.case import Case, DoubtfulSignatureError
from device.report.codes import licence
from device.report.csv_files import cells_csv, differential_csv
from device.report.fhir import bundle, status_of, to_json
from device.report.fhir_words import BundleKind
from device.report.page import page
from device.slide.session import RefusedError
from device.store import DamagedSlideError, Store
from engines.files import atomic_write
from engines.pages import NOTICE
from engines.version import version

DONE = "export.json"
_NAMED = 5  # newest slides that are named where the wanted one is not there


@dataclass(frozen=True)
class Wanted:
    """Which slides: one by id, or those that ended, were reviewed or signed at `since` or later; neither: all. signed: those alone."""

    slide_id: str = ""
    since: datetime | None = None
    signed: bool = False


@dataclass(frozen=True)
class How:
    """transaction: FHIR that a server takes. report_code: LOINC code of the report. page_inside: the page goes within the FHIR."""

    transaction: bool = False
    report_code: str | None = None
    page_inside: bool = False


@dataclass(frozen=True)
class Exported:
    """One slide: its folder, whether it was written, and why it was left out; "" where it was not. in_doubt: because
    its journal does not bear out its signature, or because it is damaged."""

    slide_id: str
    folder: Path
    written: bool
    left_out: str = ""
    in_doubt: bool = False


def export_record(record_path: Path, out: Path, wanted: Wanted, how: How, tell: Callable[[Exported], None]) -> None:
    """Export what is wanted of a record, also beside a running appliance; `tell` hears of each slide. Raises StoreError."""
    if out.exists() and not out.is_dir():
        raise StoreError(f"{out}: is a file; name a folder in --out")
    with Store.read(record_path) as store:
        damaged = list[DamagedSlideError]()
        for one in export(find(store, wanted, damaged=damaged), out, how):
            tell(one)
        for error in damaged:
            tell(Exported(error.slide_id, out, written=False, left_out=str(error), in_doubt=True))


def find(store: Store, wanted: Wanted, with_crops: bool = True, damaged: list[DamagedSlideError] | None = None) -> Iterator[Case]:
    """The wanted slides, oldest first, one at a time. StoreError for an id that is not there, naming the newest.

    damaged: takes up what is wrong with slides that cannot be read and are left out; without it, and where one slide is asked for, such
    a slide raises.
    """
    changed = dict(store.changes())
    ids = [slide_id for slide_id, at in changed.items() if wanted.since is None or at >= wanted.since]
    if wanted.slide_id:
        if wanted.slide_id not in changed:
            newest = ", ".join(list(changed)[: -_NAMED - 1 : -1])
            there = f"the newest are {newest}" if newest else "it holds no slides yet"
            raise StoreError(f"record {store.path}: no slide '{one_line(wanted.slide_id)}'; {there}")
        ids = [wanted.slide_id]
    for slide_id in ids:
        try:
            if wanted.signed and not wanted.slide_id and not _is_signed(Case(store.slide(slide_id))):
                continue
            case = Case(store.slide(slide_id, with_crops=with_crops), store.path)
            if (checked := store.check_slide(slide_id)).counts:  # no file goes out that says what nobody counted
                raise DamagedSlideError(store.path, slide_id, checked.words)
        except DamagedSlideError as error:
            if damaged is None or wanted.slide_id:
                raise
            damaged.append(error)
        else:
            yield case


def _is_signed(case: Case) -> bool:
    """Signed, or called so: what is in doubt is said where it is written."""
    try:
        return case.signature is not None
    except DoubtfulSignatureError:
        return True


def changed_at(case: Case) -> datetime:
    """When the slide last changed: its end, or the last entry of its review."""
    slide = case.stored.slide
    last = slide.finished_at or (slide.fields[-1].captured_at if slide.fields else slide.started_at)
    return max(slide.started_at, last, *(entry.at for entry in case.entries[-1:]))


def export(
    cases: Iterable[Case], out: Path, how: How | None = None, now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
) -> Iterator[Exported]:
    """Write each slide below `out`; one that is there already and has not changed is left. Raises StoreError naming the file."""
    for case in cases:
        yield _one(case, out, how or How(), now())


def _one(case: Case, out: Path, how: How, now: datetime) -> Exported:
    slide = case.slide
    folder = out / f"{slide.slide_id}-r{slide.revision}"
    stamp = _stamp(case, how)
    if _there(folder, stamp):
        return Exported(slide.slide_id, folder, written=False)
    try:
        status = status_of(case)
    except RefusedError as error:  # its signed files must stay as they are
        return Exported(slide.slide_id, folder, written=False, left_out=str(error))
    except DoubtfulSignatureError as error:  # it must not keep the other slides from going
        return Exported(slide.slide_id, folder, written=False, left_out=str(error), in_doubt=True)
    html = page(case.stored, written_at=now, record=case.record)
    kind = BundleKind.TRANSACTION if how.transaction else BundleKind.COLLECTION
    inside = html if how.page_inside else None
    made = bundle(case, kind=kind, report_code=how.report_code, page=inside, written_at=now)
    files = {
        "slide.html": html,
        "cells.csv": cells_csv(case),
        "differential.csv": differential_csv(case),
        "report.fhir.json": to_json(made),
    }
    done = {
        "slide_id": slide.slide_id,
        "revision": slide.revision,
        "status": status.value,
        "exported_at": now.isoformat(),
        "stamp": stamp,
        "notices": [NOTICE, licence()],  # LOINC's goes where its codes go
        "files": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DONE).unlink(missing_ok=True)
        for name, text in files.items():
            atomic_write(folder / name, text)
        atomic_write(folder / DONE, json.dumps(done, indent=2) + "\n")
    except OSError as error:
        raise StoreError(
            f"{error.filename or folder}: cannot be written: {error.strerror}; free space, or name another --out"
        ) from error
    return Exported(slide.slide_id, folder, written=True)


def _stamp(case: Case, how: How) -> str:
    """A digest of all that the files are made of, but the moment: equal as long as nothing changed."""
    stored, slide = case.stored, case.slide
    parts = (
        *(slide.slide_id, slide.specimen, slide.operator, slide.state.value, slide.revision, slide.lost_rests),
        *(len(slide.fields), len(slide.cells), slide.fields_undone, str(slide.finished_at), str(changed_at(case))),
        *(case.entries[-1].digest if case.entries else "", stored.provenance.model.digest, version(), repr(how)),
    )
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _there(folder: Path, stamp: str) -> bool:
    """Whether the folder holds all files of that stamp, unchanged."""
    try:
        done = json.loads((folder / DONE).read_bytes())
        if done["stamp"] != stamp:
            return False
        return all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest for name, digest in done["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False

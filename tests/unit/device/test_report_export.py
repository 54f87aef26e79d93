"""Slides as files: what changed is written, whole; what was signed stays; a watcher sees a slide only when all of it is there."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from calibration.site.record import write_reviewed
from device.errors import StoreError
from device.report import export as room
from device.report.case import Case
from device.report.export import DONE, Exported, How, Wanted, export_record
from device.report.keeping import export_labels
from device.slide.model import Slide, SlideState
from device.store import Store
from tests.support.kept import keep, sign
from tests.support.review import BEGUN, ordinary
from tests.support.signed import Desk

FILES = {"slide.html", "cells.csv", "differential.csv", "report.fhir.json", DONE}
FIRST, SECOND = "20261123-181512-aaaaaa", "20261124-181512-bbbbbb"


def slide(slide_id: str, days: int = 0, **changed: object) -> Slide:
    made = replace(ordinary("Myeloblast"), slide_id=slide_id, specimen="26-004711")
    moved = timedelta(days=days)
    end = BEGUN + timedelta(minutes=5) + moved
    return replace(made, started_at=BEGUN + moved, finished_at=end, **changed)  # type: ignore[arg-type]


def exported(record: Path, out: Path, wanted: Wanted | None = None, how: How | None = None) -> list[Exported]:
    told: list[Exported] = []
    export_record(record, out, wanted or Wanted(), how or How(), told.append)
    return told


def fhir_status(folder: Path) -> str:
    bundle = json.loads((folder / "report.fhir.json").read_bytes())
    return str(bundle["entry"][0]["resource"]["status"])


def test_a_slide_is_written_once_and_again_only_when_it_changed(tmp_path: Path) -> None:
    record, out = tmp_path / "r.sqlite", tmp_path / "out"
    keep(record, slide(FIRST))
    [first] = exported(record, out)
    assert first.written and first.folder.name == f"{FIRST}-r0"
    assert {path.name for path in first.folder.iterdir()} == FILES
    assert fhir_status(first.folder) == "preliminary"
    [again] = exported(record, out)
    assert not again.written
    (first.folder / "cells.csv").write_text("spoilt")
    assert exported(record, out)[0].written
    assert exported(record, out, how=How(transaction=True))[0].written


def test_a_signed_report_stays_beside_the_preliminary_and_the_corrected_one(tmp_path: Path) -> None:
    record, out = tmp_path / "r.sqlite", tmp_path / "out"
    keep(record, slide(FIRST))
    exported(record, out)
    for _ in range(2):
        sign(record, FIRST)
        exported(record, out)
    statuses = {path.name: fhir_status(path) for path in out.iterdir()}
    assert statuses == {f"{FIRST}-r0": "preliminary", f"{FIRST}-r1": "final", f"{FIRST}-r2": "amended"}
    assert "signed by AB" in (out / f"{FIRST}-r1" / "slide.html").read_text(encoding="utf-8")


def test_a_reopened_slide_leaves_its_signed_files_alone(tmp_path: Path) -> None:
    record, out = tmp_path / "r.sqlite", tmp_path / "out"
    keep(record, slide(FIRST))
    sign(record, FIRST)
    [before] = exported(record, out)
    kept = {path.name: path.read_bytes() for path in before.folder.iterdir()}
    with Store.open(record) as store:
        review = store.slide(FIRST).reviewing
        entries = review.reopen("second thoughts", "AB")
        store.put_review(FIRST, entries, review.after(entries).slide)
    [told] = exported(record, out)
    assert not told.written and "reopened" in told.left_out
    assert {path.name: path.read_bytes() for path in before.folder.iterdir()} == kept


def test_since_and_signed_choose(tmp_path: Path) -> None:
    record, out = tmp_path / "r.sqlite", tmp_path / "out"
    keep(record, slide(FIRST))
    keep(record, slide(SECOND, days=1))
    noon = BEGUN.replace(hour=12) + timedelta(days=1)
    assert [one.slide_id for one in exported(record, out, Wanted(since=noon))] == [SECOND]
    assert exported(record, out, Wanted(signed=True)) == []
    sign(record, FIRST, at=datetime(2026, 12, 1, tzinfo=timezone.utc))
    assert [one.slide_id for one in exported(record, out, Wanted(since=noon))] == [FIRST, SECOND]  # signed since
    assert [one.slide_id for one in exported(record, out, Wanted(signed=True))] == [FIRST]
    with pytest.raises(StoreError, match=f"no slide 'x'; the newest are {SECOND}, {FIRST}"):
        exported(record, out, Wanted("x"))


def test_a_slide_in_doubt_is_left_out_and_keeps_no_other_from_going(tmp_path: Path) -> None:
    record = tmp_path / "r.sqlite"
    for slide_id in (FIRST, SECOND):
        keep(record, slide(slide_id), pictures=True)
        sign(record, slide_id)
    with closing(sqlite3.connect(record)) as db, db:
        db.execute("UPDATE review SET who = 'ZZ' WHERE slide_id = ? AND number = 1", (FIRST,))
    doubtful, sound = exported(record, tmp_path / "out", Wanted(signed=True))
    assert doubtful.in_doubt and "entry 1 was changed after it was written" in doubtful.left_out and not doubtful.folder.exists()
    assert sound.written and fhir_status(sound.folder) == "final"
    written = export_labels(record, tmp_path / "labels", None)
    assert (written.slides, written.slides_in_doubt) == (1, 1)
    assert "1 slide left out: the journal does not bear the signature out" in written.words


def test_of_a_slide_whose_cells_changed_nothing_is_learned(tmp_path: Path) -> None:
    record = tmp_path / "r.sqlite"
    for slide_id in (FIRST, SECOND):
        keep(record, slide(slide_id), pictures=True)
        sign(record, slide_id)
    with closing(sqlite3.connect(record)) as db, db:
        db.execute("UPDATE cells SET class_index = 1 - class_index % 2 WHERE slide_id = ?", (FIRST,))
    words = write_reviewed(record, tmp_path / "labels")
    assert f"damaged and left out: {FIRST}; see leukoscope verify" in words
    assert export_labels(record, tmp_path / "again", None).words == words


def test_an_aborted_slide_is_cancelled(tmp_path: Path) -> None:
    keep(tmp_path / "r.sqlite", slide(FIRST, state=SlideState.ABORTED, abort_reason="poor film"))
    [one] = exported(tmp_path / "r.sqlite", tmp_path / "out")
    assert fhir_status(one.folder) == "cancelled"


def test_the_page_goes_within_the_fhir_when_asked(tmp_path: Path) -> None:
    keep(tmp_path / "r.sqlite", slide(FIRST))
    [one] = exported(tmp_path / "r.sqlite", tmp_path / "out", how=How(page_inside=True))
    report = json.loads((one.folder / "report.fhir.json").read_bytes())["entry"][0]["resource"]
    assert report["presentedForm"][0]["size"] == len((one.folder / "slide.html").read_bytes())


def test_what_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(tmp_path / "r.sqlite", slide(FIRST))
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file: is a file; name a folder in --out"):
        exported(tmp_path / "r.sqlite", tmp_path / "file")

    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(room, "atomic_write", full)
    with pytest.raises(StoreError, match=r"slide\.html: cannot be written: No space left on device"):
        exported(tmp_path / "r.sqlite", tmp_path / "out")
    assert not list((tmp_path / "out").rglob(DONE))


def test_a_watcher_never_sees_a_slide_that_is_not_whole(tmp_path: Path) -> None:
    record, out, seen, over = tmp_path / "r.sqlite", tmp_path / "out", list[set[str]](), threading.Event()
    keep(record, slide(FIRST))

    def watch() -> None:
        while not over.wait(0.001):
            for done in out.glob(f"*/{DONE}"):
                seen.append({path.name for path in done.parent.iterdir() if not path.name.startswith(".")})

    watcher = threading.Thread(target=watch)
    watcher.start()
    exported(record, out)
    over.wait(0.05)
    over.set()
    watcher.join()
    assert seen and all(names == FILES for names in seen)


def test_a_cell_that_a_person_added_is_cut_from_the_picture_of_its_field(tmp_path: Path) -> None:
    record = tmp_path / "r.sqlite"
    keep(record, slide(FIRST), pictures=True)
    with Store.open(record) as store:
        desk = Desk(store.slide(FIRST))
        desk.act(desk.review.add(2, (900.0, 500.0, 960.0, 570.0), "Myeloblast"))
        desk.open_all()
        desk.sign()
        store.put_review(FIRST, desk.review.entries, desk.review.slide)
    [one] = exported(record, tmp_path / "out")
    assert (one.folder / "slide.html").read_text(encoding="utf-8").count("<img") == 1  # the others were counted without crops
    (record.parent / "pictures" / FIRST / "field-000002.jpg").unlink()
    assert exported(record, tmp_path / "again")[0].written


def test_when_a_slide_changed_is_known_without_reading_it(tmp_path: Path) -> None:
    record = tmp_path / "r.sqlite"
    keep(record, slide(FIRST))
    keep(record, slide(SECOND, days=1, state=SlideState.COUNTING))
    signed_at = datetime(2026, 12, 1, tzinfo=timezone.utc)
    entries = sign(record, FIRST, at=signed_at)
    with Store.read(record) as store:
        changes = store.changes()
        assert changes == tuple((slide_id, room.changed_at(Case(store.slide(slide_id)))) for slide_id in (FIRST, SECOND))
    assert changes[0][1] == entries[-1].at


def test_no_identity_in_the_names_of_files(tmp_path: Path) -> None:
    keep(tmp_path / "r.sqlite", slide(FIRST))
    exported(tmp_path / "r.sqlite", tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if "004711" in path.name]

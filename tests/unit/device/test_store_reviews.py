"""The review in the record: entries that are only added, signatures with their summaries, pictures of fields and how long they stay."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.errors import StoreError
from device.review.journal import Act
from device.review.review import Review
from device.slide.counting import FieldsChanged
from device.slide.model import ReviewState, SlideState
from device.slide.session import RefusedError
from device.slide.tally import tally
from device.store import OutboxMessage, reviews
from device.store.pictures import read_field_picture
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.record_room import IMAGE, SLIDE_ID, Room, done, room_at
from tests.support.review import ordinary, slide


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    yield from room_at(tmp_path)


def test_a_review_is_kept_act_by_act_and_comes_back(room: Room) -> None:
    room.put(ordinary("Myeloblast", ""))
    review, kept = room.record.open_review(SLIDE_ID, "AB")
    review = done(review, kept, "open", 101)
    review = done(review, kept, "name", [102, 1], "Monocyte")
    review = done(review, kept, "add", 2, (500.0, 500.5, 580.25, 580.0), "smudge")
    review = done(review, kept, "undo")
    stored = room.store.slide(SLIDE_ID)
    assert stored.review == review.entries
    assert stored.slide.cells[0].verdict == ""  # as it was counted
    assert (tally(stored.slide, LEUKEMIA_ATTRI).unidentified, tally(stored.reviewed, LEUKEMIA_ATTRI).unidentified) == (1, 0)
    again, _ = room.record.open_review(SLIDE_ID, "CD")
    assert (again.differential, again.breaks) == (review.differential, [])


def test_a_signature_is_one_transaction_with_its_summary(room: Room) -> None:
    room.put(ordinary("Myeloblast", "Eosinophil"))
    review, kept = room.record.open_review(SLIDE_ID, "AB")
    review = done(review, kept, "open", 101)
    review = done(review, kept, "name", [102], "nrbc")
    review = done(review, kept, "add", 1, (500.0, 500.0, 580.0, 580.0), "Basophil")
    review = done(review, kept, "sign")
    stored = room.store.slide(SLIDE_ID)
    assert (stored.slide.state, stored.slide.review_state, stored.slide.revision) == (SlideState.SIGNED, ReviewState.REVIEWED, 1)
    assert (stored.slide.reviewer, stored.slide.signed_at) == ("AB", room.clock.now())
    before, after = room.summaries()
    assert (before.revision, before.review_state, after.revision, after.review_state) == (0, "unreviewed", 1, "reviewed")
    assert before.slide_id == after.slide_id
    assert before.message_id != after.message_id
    assert (before.white_cells, after.white_cells) == (102, 102)  # one put aside, one added
    assert (after.blasts.count, after.blasts.confirmed, before.blasts.confirmed) == (1, True, False)
    assert after.review is not None
    assert after.apart is not None
    assert {row.name: row.count for row in after.review.counts_before if row.count} == {
        "Lymphocyte": 100,
        "Myeloblast": 1,
        "Eosinophil": 1,
    }
    assert (after.review.changed_cells, after.review.added_cells, after.review.reviewer) == (1, 1, "")
    assert after.review.journal_digest == review.entries[-1].digest
    assert {row.key: (row.count, row.per_100) for row in after.apart if row.count} == {"nrbc": (1, 0.98)}
    waiting = [message.payload for message in room.store.pending() if message.kind == "summary"]
    assert waiting == [payload for _, payload in room.store.summaries(SLIDE_ID)]
    assert len(room.sent) == 3  # with the first blast


def test_a_correction_is_revision_2_and_the_first_stays(room: Room) -> None:
    room.put(ordinary("Eosinophil"))
    review, kept = room.record.open_review(SLIDE_ID, "AB")
    review = done(review, kept, "sign")
    review = done(review, kept, "reopen", "wrong type")
    assert room.store.slide(SLIDE_ID).slide.state is SlideState.REVIEW
    review = done(review, kept, "name", [101], "Basophil")
    done(review, kept, "sign")
    _, first, second = room.summaries()
    assert [one.revision for one in (first, second)] == [1, 2]
    assert first.review is not None
    assert second.review is not None
    assert (first.review.corrected, second.review.corrected) == (False, True)
    counts = [{row.name: row.count for row in one.differential} for one in (first, second)]
    assert [(one["Eosinophil"], one["Basophil"]) for one in counts] == [(1, 0), (0, 1)]


def test_a_second_signature_sends_nothing_new(room: Room) -> None:
    room.put(ordinary())
    review, kept = room.record.open_review(SLIDE_ID, "AB")
    review = done(review, kept, "sign")
    done(review, kept, "sign", "CD")
    assert [entry.act for entry in room.store.slide(SLIDE_ID).review] == [Act.SIGNED, Act.SECONDED]
    assert len(room.summaries()) == 2


def test_who_signed_and_the_tubes_number_leave_only_where_configured(tmp_path: Path) -> None:
    tube = replace(ordinary(), specimen="24-1187")
    told = {}
    for how in ("omitted", "hashed", "initials"):
        for room in room_at(tmp_path / how, send_reviewer=how, send_specimen=how == "initials"):
            room.put(tube)
            review, kept = room.record.open_review(SLIDE_ID, "QX")
            done(review, kept, "sign")
            payloads = b"".join(payload for _, payload in room.store.summaries(SLIDE_ID)).decode()
            summary = room.summaries()[-1]
            assert summary.review is not None
            told[how] = summary.review.reviewer
            assert ("QX" in payloads, "24-1187" in payloads) == (how == "initials", how == "initials")
    assert (told["omitted"], told["initials"], told["hashed"][:7], len(told["hashed"])) == ("", "QX", "sha256:", 23)


def test_an_earlier_slide_can_be_reviewed_an_aborted_or_an_open_one_cannot(room: Room) -> None:
    room.put(ordinary())
    other = replace(ordinary(), slide_id="20261124-000000-000000")
    room.put(other)
    review, kept = room.record.open_review(SLIDE_ID, "AB")
    done(review, kept, "sign")
    room.put(replace(other, slide_id="gone", state=SlideState.ABORTED, abort_reason="poor film"))
    with pytest.raises(RefusedError, match="aborted: only a finished one"):
        room.record.open_review("gone")
    room.record.started(replace(other, slide_id="open", state=SlideState.COUNTING, fields=()), 1920)
    with pytest.raises(RefusedError, match="counting: only a finished one"):
        room.record.open_review("open")
    with pytest.raises(StoreError, match="no slide nowhere"):
        room.record.open_review("nowhere")


# ---- rows that are only added


def signed_room(room: Room) -> Review:
    room.put(ordinary(""))
    review, kept = room.record.open_review(SLIDE_ID, "AB")
    review = done(review, kept, "name", [101], "Monocyte")
    return done(review, kept, "sign")


def test_entries_are_written_once_and_in_their_order_only(room: Room) -> None:
    review = signed_room(room)
    room.store.put_review(SLIDE_ID, review.entries)  # again: nothing happens
    assert room.store.slide(SLIDE_ID).review == review.entries
    other = Review(ordinary(""), LEUKEMIA_ATTRI, who="XX").name([101], "Neutrophil")
    with pytest.raises(StoreError, match="does not continue the review"):
        room.store.put_review(SLIDE_ID, other)  # another first entry
    late = review.after(review.reopen("a")).after([]).name([1], "Monocyte")
    with pytest.raises(StoreError, match="does not continue the review"):
        room.store.put_review(SLIDE_ID, late)  # one was left out
    foreign = Review(ordinary(""), LEUKEMIA_ATTRI, review.entries[:-1], who="XX")
    ends = foreign.after(foreign.note("a")).note("b")  # its number fits, the entry before it is another one
    with pytest.raises(StoreError, match="does not continue the review"):
        room.store.put_review(SLIDE_ID, ends)
    assert room.store.slide(SLIDE_ID).review == review.entries


def test_the_summary_of_a_signed_revision_is_never_replaced(room: Room) -> None:
    review = signed_room(room)
    before = room.store.summaries(SLIDE_ID)
    message = OutboxMessage("other", "topic", b'{"other": 1}', room.clock.now())
    room.store.put_review(SLIDE_ID, review.entries, review.slide, message)
    assert room.store.summaries(SLIDE_ID) == before


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE review SET said = 'Neutrophil' WHERE act = 'named'",
        "UPDATE review SET who = 'ZZ' WHERE act = 'signed'",
        "UPDATE review SET act = 'forged' WHERE act = 'named'",
        "UPDATE review SET said = 'x' WHERE act = 'signed'",
        "UPDATE review SET at = 'yesterday' WHERE number = 1",
        "UPDATE review SET box_px = '{' WHERE number = 1",
        "UPDATE review SET time_trusted = 1 - time_trusted WHERE number = 1",
        "DELETE FROM review WHERE act = 'named'",
        "DELETE FROM review WHERE act = 'signed'",
        "DELETE FROM review",
    ],
)
def test_an_edit_of_the_record_from_outside_shows_and_stops_every_signature(room: Room, edit: str) -> None:
    signed_room(room)
    with closing(sqlite3.connect(room.store.path)) as db, db:
        db.execute(edit)
    review, _ = room.record.open_review(SLIDE_ID, "CD")
    assert review.breaks
    with pytest.raises(RefusedError):
        review.sign(why="a reason")


def test_what_waits_for_the_disk_is_written_in_order_when_there_is_room(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.put(ordinary("Myeloblast"))
    review, kept = room.record.open_review(SLIDE_ID, "AB")
    with monkeypatch.context() as full:
        full.setattr(reviews, "append", lambda *_: (_ for _ in ()).throw(StoreError("record: the disk is full")))
        review = done(review, kept, "open", 101)
        review = done(review, kept, "sign")
        assert room.record.journal.status.waiting == 2
        with pytest.raises(RefusedError, match="not saved yet"):
            room.record.open_review(SLIDE_ID)
    assert room.record.journal.flush()
    assert room.store.slide(SLIDE_ID).review == review.entries
    assert len(room.summaries()) == 2


# ---- pictures of fields


def test_each_field_has_its_picture_named_in_its_row(room: Room) -> None:
    image = cv2.circle(IMAGE.copy(), (500, 500), 60, (90, 30, 120), -1)
    room.put(ordinary("Myeloblast"), image)
    stored = room.store.slide(SLIDE_ID).slide
    assert [field.picture for field in stored.fields] == [f"{SLIDE_ID}/field-{index:06d}.jpg" for index in (1, 2)]
    read = read_field_picture(room.store.path, stored.fields[1].picture)
    assert read is not None
    assert read.shape == (1080, 1920, 3)
    assert np.abs(read.astype(int) - image).mean() < 2
    _, kept = room.record.open_review(SLIDE_ID)
    shown = kept.picture(stored.fields[0])
    assert shown is not None
    assert shown.shape == (1080, 1920, 3)
    assert kept.picture(replace(stored.fields[0], picture="")) is None


def test_a_field_written_again_for_another_one_keeps_its_picture(room: Room) -> None:
    of = ordinary("Myeloblast")
    room.record.started(replace(of, state=SlideState.COUNTING, fields=()), 1920)
    room.record.counted(of, FieldsChanged(of.fields[0], new=True, image=IMAGE))
    room.record.counted(of, FieldsChanged(of.fields[1], new=True, others=(of.fields[0],), image=IMAGE))
    assert all(field.picture for field in room.store.slide(SLIDE_ID).slide.fields)


def test_without_room_the_count_goes_on_without_pictures_and_says_so(room: Room) -> None:
    room.free[0] = 100.0
    room.put(ordinary("Myeloblast"))
    stored = room.store.slide(SLIDE_ID).slide
    assert [(field.picture, len(field.cells)) for field in stored.fields] == [("", 100), ("", 1)]
    assert "only 100 MB free" in room.record.pictures.reason
    assert "100 MB free" in room.record.journal.status.reason
    assert read_field_picture(room.store.path, "") is None
    room.free[0] = 10_000.0
    room.put(replace(ordinary(), slide_id="next"))
    assert room.record.pictures.reason == ""


def test_a_picture_that_cannot_be_written_does_not_stop_the_count(room: Room) -> None:
    room.record.pictures.folder.write_text("a file in the way")
    room.put(ordinary())
    assert len(room.store.slide(SLIDE_ID).slide.cells) == 100
    assert room.record.pictures.reason


def test_old_pictures_go_but_never_those_of_a_slide_that_waits_for_its_signature(room: Room) -> None:
    names = {"signed": None, "corrected": None, "waits": None, "aborted": None}
    for name in names:
        of = replace(ordinary(), slide_id=name)
        room.put(replace(of, state=SlideState.ABORTED, abort_reason="poor film") if name == "aborted" else of)
        if name in ("signed", "corrected"):
            review, kept = room.record.open_review(name, "AB")
            review = done(review, kept, "sign")
            if name == "corrected":
                done(review, kept, "reopen", "an error")
    room.clock.moment = room.clock.moment + timedelta(days=29)
    room.record.prune_pictures()
    assert {path.name for path in room.record.pictures.folder.iterdir()} == set(names)
    room.clock.moment = room.clock.moment + timedelta(days=2)
    room.record.prune_pictures()
    assert {path.name for path in room.record.pictures.folder.iterdir()} == {"corrected", "waits"}
    gone = room.store.slide("signed").slide.fields[0].picture
    assert gone
    assert read_field_picture(room.store.path, gone) is None


def test_a_summary_of_the_slide_says_where_doubles_may_be(room: Room) -> None:
    room.put(slide(("Lymphocyte",) * 100, ("Monocyte",) * 3, charts=(1, 2)))
    document = json.loads(room.store.summaries(SLIDE_ID)[0][1])
    assert (document["charts"], document["possible_doubles"], document["lost_rests"]) == (2, 3, 1)


def test_the_list_of_slides_to_review_has_the_finished_ones_the_newest_first(room: Room) -> None:
    for name, state in (("a", SlideState.REVIEW), ("b", SlideState.ABORTED), ("c", SlideState.REVIEW), ("d", SlideState.REVIEW)):
        reason = "poor film" if state is SlideState.ABORTED else ""
        room.put(replace(ordinary(), slide_id=name, state=state, abort_reason=reason))
    review, kept = room.record.open_review("c", "AB")
    done(review, kept, "sign")
    room.record.started(replace(ordinary(), slide_id="open", state=SlideState.COUNTING, fields=()), 1920)
    assert [(of.slide_id, of.state.value, of.reviewer) for of in room.record.finished()] == [
        ("d", "review", ""),
        ("c", "signed", "AB"),
        ("a", "review", ""),
    ]
    assert kept.made_by == "attridet-n 1.0.0 fp32"
    assert kept.um_per_px is not None


@pytest.mark.parametrize("old", sorted((Path(__file__).parents[2] / "records").glob("*.sqlite")), ids=lambda path: path.stem)
def test_a_slide_of_an_old_record_is_reviewed_and_signed_too(old: Path, tmp_path: Path) -> None:
    (tmp_path / "record.sqlite").write_bytes(old.read_bytes())
    for room in room_at(tmp_path):
        (slide_id,) = (of.slide_id for of in room.record.finished() if of.state is SlideState.REVIEW)
        stored = room.store.slide(slide_id)
        review, kept = room.record.open_review(slide_id, "AB")
        assert len(review.cells) == len(stored.slide.cells)
        for cell in list(review.cells.values()):
            review = done(review, kept, "open", cell.cell_id)
        left = [cell.cell_id for cell in review.cells.values() if cell.said == ""]
        review = done(review, kept, "name", left, "not_classed")
        for chart in review.charts_open:
            review = done(review, kept, "acknowledge", chart)
        done(review, kept, "sign", "", "an old slide")
        again = room.store.slide(slide_id)
        assert (again.slide.revision, again.reviewing.breaks) == (1, [])
        assert again.reviewing.differential.not_classed == len(left)
        if stored.provenance.source is not None:  # otherwise another version wrote it, and no summary can be made
            assert room.summaries(slide_id)[-1].revision == 1


def test_a_field_keeps_its_picture_over_a_restart(room: Room) -> None:
    of = ordinary("Myeloblast")
    room.record.started(replace(of, state=SlideState.COUNTING, fields=()), 1920)
    room.record.counted(of, FieldsChanged(of.fields[0], new=True, image=IMAGE))
    room.record.pictures.forget()  # as another process knows nothing
    resumed = room.store.slide(SLIDE_ID).slide
    room.record.counted(of, FieldsChanged(of.fields[1], new=True, others=(resumed.fields[0],), image=IMAGE))
    assert all(field.picture for field in room.store.slide(SLIDE_ID).slide.fields)

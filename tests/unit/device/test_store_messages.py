"""What other machines are told of a slide besides its counts: first blast, signatures, pictures of blasts, either version."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.errors import StoreError
from device.mqtt.crops import choose_crops, fitted
from device.mqtt.events import read_event, read_review
from device.mqtt.payloads import SlideSummary2, read_summary
from device.slide.counting import FieldsChanged
from device.slide.model import Slide, SlideState
from device.store import Store
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.record_room import SLIDE_ID, Room, done, room_at
from tests.support.review import ordinary, slide

JPEG = cv2.imencode(".jpg", np.full((32, 32, 3), 190, np.uint8))[1].tobytes()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    yield from room_at(tmp_path)


def kinds(store: Store) -> list[str]:
    return [row.kind for row in store.pending()]


def begun(room: Room, of: Slide) -> Slide:
    opened = replace(of, state=SlideState.COUNTING, finished_at=None)
    room.record.started(replace(opened, fields=()), 1920)
    return opened


def test_the_first_blast_is_in_the_outbox_with_its_field_and_once_a_slide(room: Room) -> None:
    of = ordinary("Myeloblast", "Lymphoblast")
    opened = begun(room, of)
    room.record.counted(opened, FieldsChanged(of.fields[0], new=True))
    assert kinds(room.store) == []  # a hundred lymphocytes
    room.record.counted(opened, FieldsChanged(of.fields[1], new=True))
    (row,) = room.store.pending()
    assert (row.kind, row.topic, row.slide_id, row.number) == ("event", "leukoscope/box-1/event", SLIDE_ID, 1)
    assert room.sent == [1]  # the publisher was told at once
    event = read_event(row.payload).payload
    assert (event.what, event.slide_id, event.review_state) == ("first_blast", SLIDE_ID, "unreviewed")
    assert event.cell in ("Myeloblast", "Lymphoblast") and event.kind_certain and not event.equivalent
    assert event.cell in event.text and "unreviewed" in event.text
    assert (event.field, event.white_cells, event.sequence) == (2, 102, 1)
    assert event.model.name == "attridet-n" and event.sensitivity
    room.record.counted(opened, FieldsChanged(replace(of.fields[1], index=3), new=True))
    assert kinds(room.store) == ["event"]


def test_a_restart_or_an_undo_tells_no_second_first_blast(tmp_path: Path) -> None:
    of = ordinary("Myeloblast")
    for room in room_at(tmp_path):
        room.record.counted(begun(room, of), FieldsChanged(of.fields[1], new=True))
        (first,) = room.store.pending()
        room.store.undo_field(SLIDE_ID, of.fields[1].index, ())
        room.store.acknowledge(first.message_id)
    for room in room_at(tmp_path):  # another process, whose memory is empty
        room.record.counted(of, FieldsChanged(of.fields[1], new=True))
        assert kinds(room.store) == []


def test_the_field_counts_where_the_event_cannot_be_written_and_both_come_together(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    of = ordinary("Myeloblast")
    opened = begun(room, of)
    with monkeypatch.context() as full:
        full.setattr("device.store.outbox.put", lambda *_: (_ for _ in ()).throw(StoreError("record: the disk is full")))
        room.record.counted(opened, FieldsChanged(of.fields[1], new=True))
        assert room.store.slide(SLIDE_ID).slide.fields == ()
        assert room.record.journal.status.waiting == 1
    assert room.record.journal.flush()
    assert kinds(room.store) == ["event"] and len(room.store.slide(SLIDE_ID).slide.fields) == 1


def test_of_a_foreign_film_the_group_is_told(room: Room) -> None:
    of = replace(ordinary("Myeloblast"), foreign=True)
    room.record.counted(begun(room, of), FieldsChanged(of.fields[1], new=True))
    event = read_event(room.store.pending()[0].payload).payload
    assert not event.kind_certain and event.cell == "Blast or equivalent, kind uncertain"


def test_what_a_person_does_is_told_in_the_transaction_of_its_entries(tmp_path: Path) -> None:
    for room in room_at(tmp_path, send_reviewer="initials"):
        room.put(ordinary("Eosinophil"))
        review, kept = room.record.open_review(SLIDE_ID, "AB")
        review = done(review, kept, "name", [101], "Basophil")
        signed = review = done(review, kept, "sign")
        review = done(review.by("CD"), kept, "sign", "CD")
        done(review, kept, "reopen", "specimen H26-0471 was swapped")
        rows = room.store.pending()
        assert [row.kind for row in rows] == ["summary", "summary", "review", "review", "review"]
        told = [read_review(row.payload).payload for row in rows if row.kind == "review"]
        assert [(one.act, one.revision, one.reviewer, one.second) for one in told] == [
            ("signed", 1, "AB", ""),
            ("seconded", 1, "AB", "CD"),
            ("reopened", 1, "CD", ""),
        ]
        assert [one.sequence for one in told] == [1, 2, 3] and {row.slide_id for row in rows} == {SLIDE_ID}
        assert told[0].journal_digest == signed.entries[-1].digest
        assert (told[0].changed_cells, told[0].added_cells) == (1, 0)
        assert len({one.message_id for one in told}) == 3
        assert b"H26-0471" not in b"".join(row.payload for row in rows)
        assert {row.topic for row in rows if row.kind == "review"} == {"leukoscope/box-1/review"}


def test_who_signed_is_not_told_unless_configured(room: Room) -> None:
    room.put(ordinary("Eosinophil"))
    review, kept = room.record.open_review(SLIDE_ID, "QX")
    done(review, kept, "sign")
    assert b"QX" not in b"".join(row.payload for row in room.store.pending())


def test_a_device_without_broker_tells_nothing(tmp_path: Path) -> None:
    for room in room_at(tmp_path, enabled=False):
        room.put(ordinary("Myeloblast"))
        review, kept = room.record.open_review(SLIDE_ID, "AB")
        done(done(review, kept, "open", 101), kept, "sign")
        assert room.store.pending() == () and room.sent == []


# ---- pictures of blasts


def with_crops(of: Slide, crop: bytes = JPEG) -> Slide:
    return replace(of, fields=tuple(replace(f, cells=tuple(replace(c, crop_jpeg=crop) for c in f.cells)) for f in of.fields))


def test_pictures_of_blasts_are_sent_from_the_record_where_configured(tmp_path: Path) -> None:
    for most, sent in ((0, 0), (2, 2), (40, 3)):
        for room in room_at(tmp_path / str(most), send_crops=most):
            of = with_crops(ordinary("Myeloblast", "Eosinophil", "Lymphoblast", "Monoblast"))
            opened = begun(room, of)
            for field in of.fields:
                room.record.counted(opened, FieldsChanged(field, new=True))
            room.record.closed(ordinary("Myeloblast", "Eosinophil", "Lymphoblast", "Monoblast"), 1920)  # in memory none has a picture
            summary = room.summaries()[-1]
            assert summary.crops is not None and (len(summary.crops), summary.crops_left_out) == (sent, 0)
            assert [crop.certainty for crop in summary.crops] == sorted(crop.certainty for crop in summary.crops)
            for crop in summary.crops:
                assert base64.b64decode(crop.jpeg) == JPEG and crop.name in ("Myeloblast", "Lymphoblast", "Monoblast")


def test_what_is_not_there_or_too_much_is_left_out_and_counted() -> None:
    of = with_crops(slide(("Neutrophil", "Myeloblast", "Myeloblast", "Lymphoblast")))
    chosen = choose_crops(of, LEUKEMIA_ATTRI, 40)
    assert [crop.certainty for crop in chosen.crops] == [0.52, 0.53, 0.54] and chosen.left_out == 0
    one = len(chosen.crops[0].jpeg)
    tight = choose_crops(of, LEUKEMIA_ATTRI, 40, max_bytes=2 * one)
    assert [crop.certainty for crop in tight.crops] == [0.52, 0.53] and tight.left_out == 1
    bare = choose_crops(with_crops(of, b""), LEUKEMIA_ATTRI, 2)
    assert (bare.crops, bare.left_out) == ((), 2)


def test_a_message_that_is_too_large_loses_its_pictures_first_and_says_so(repository: Path) -> None:
    document = json.loads((repository / "docs/schema/summary-1.example.json").read_bytes())
    crop = {"name": "Myeloblast", "equivalent": False, "jpeg": base64.b64encode(JPEG).decode()}
    document["crops"] = [{"cell_id": n, "certainty": n / 10, **crop} for n in range(1, 6)]
    payload = read_summary(json.dumps(document).encode()).payload.to_bytes()
    assert fitted(payload, len(payload)) is payload
    smaller = fitted(payload, len(payload) - 1)
    assert len(smaller) < len(payload) and smaller == fitted(payload, len(payload) - 1)
    summary = read_summary(smaller).payload
    assert summary.crops is not None and [c.cell_id for c in summary.crops] == [1, 2, 3, 4] and summary.crops_left_out == 1
    without = read_summary(fitted(payload, len(payload) - 5 * (len(crop["jpeg"]) + 60))).payload  # type: ignore[arg-type]
    assert (without.crops, without.crops_left_out) == ((), 5)
    assert fitted(payload, 100) is payload, "what does not fit without pictures either is not touched"
    assert fitted(b"no JSON" * 100, 10) == b"no JSON" * 100


# ---- version 2


def test_version_2_says_straight_what_version_1_bent(tmp_path: Path) -> None:
    for room in room_at(tmp_path, summary_version=2):
        room.put(ordinary("Myeloblast"))
        review, kept = room.record.open_review(SLIDE_ID, "AB")
        done(done(review, kept, "open", 101), kept, "sign")
        before, after = (json.loads(payload) for _, payload in room.store.summaries(SLIDE_ID))
        assert (before["schema"], before["state"], before["blasts"]["preliminary"]) == ("leukoscope.summary/2", "review", True)
        assert before["blasts"]["note"]
        assert (after["state"], after["blasts"]["preliminary"], after["blasts"]["note"]) == ("signed", False, "")
        one, two = room.summaries()  # every receiver sees one kind
        assert {s.schema_id for s in (one, two)} == {"leukoscope.summary/1"}
        assert (two.state, two.review_state, two.blasts.preliminary, two.blasts.confirmed) == ("review", "reviewed", True, True)
        assert SlideSummary2.of(two) == SlideSummary2.model_validate_json(json.dumps(after))
        assert [row.number for row in room.store.pending() if row.kind == "summary"] == [1, 2]

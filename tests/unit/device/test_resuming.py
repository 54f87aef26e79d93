"""A slide that was open when the appliance stopped: taken up again, or put to review where it cannot be counted on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from device.mqtt.payloads import read_summary
from device.pipeline import Pipeline
from device.settings.config import SlideSection
from device.slide.commands import Command, Wish
from device.slide.model import SlideState
from device.store import Store
from tests.support.picture_line import OneNeutrophil, Pictures, pipeline_of

DESK = SlideSection(target_cells=5, finish_at_end=False)
BEGIN = Wish(Command.START, specimen="H26-104311", operator="AB", sure=True)


def counted(folder: Path, shown: list[int], fields: int, store: Store, engine: OneNeutrophil | None = None) -> Pipeline:
    """A line that a person started and that has counted so many fields; it is left as a power cut leaves it."""
    pipeline = pipeline_of(folder, Pictures(shown), engine or OneNeutrophil(), store=store, rules=DESK)
    assert pipeline.obey(BEGIN)[0]
    while pipeline.slide is None or len(pipeline.slide.fields) < fields:
        pipeline.round()
    return pipeline


def test_after_a_power_cut_the_slide_is_paused_and_complete_and_goes_on(tmp_path: Path) -> None:
    with Store.open(tmp_path / "record.sqlite") as store:
        before = counted(tmp_path, [1, 1, 1, 2, 2, 2, 3, 3, 3], 3, store)
        assert before.obey(Wish(Command.UNDO))[0]
    with Store.open(tmp_path / "record.sqlite") as store:
        after = pipeline_of(tmp_path, Pictures([7, 7, 7, 8, 8, 8, 9, 9, 9]), OneNeutrophil(), store=store, rules=DESK)
        slide = after.slide
        assert slide is not None and slide.state is SlideState.PAUSED
        assert (slide.specimen, slide.operator, slide.target_cells) == ("H26-104311", "AB", 5)
        assert [field.source for field in slide.fields] == ["1.png", "2.png"] and slide.fields_undone == 1
        assert store.slide(slide.slide_id, with_crops=True).slide.cells[0].crop_jpeg
        assert after.view().message == f"Slide {slide.slide_id} was open when the power went. P goes on, F finishes, A aborts."
        for _ in range(3):
            after.round()
        assert after.slide is not None and len(after.slide.fields) == 2, "nothing is counted before a person goes on"
        assert after.obey(Wish(Command.PAUSE)) == (True, "Slide goes on, up to 5 white cells.")
        for _ in range(6):
            after.round()
        assert [(field.index, field.source) for field in after.slide.fields] == [(1, "1.png"), (2, "2.png"), (4, "8.png"), (5, "9.png")]
        assert after.obey(Wish(Command.FINISH, sure=True))[0]
        assert not store.unfinished()
        assert [row.kind for row in store.pending()] == ["event", "summary"], "the first blast is told once, whatever is taken up again"
        (row,) = store.slides()
        assert row.slide.state is SlideState.REVIEW and len(row.slide.cells) == 4


def test_a_slide_that_was_left_by_quitting_says_so(tmp_path: Path) -> None:
    with Store.open(tmp_path / "record.sqlite") as store:
        assert counted(tmp_path, [1, 1, 1], 1, store).close()
        after = pipeline_of(tmp_path, Pictures([]), OneNeutrophil(), store=store, rules=DESK)
        assert after.view().message.endswith("was left open. P goes on, F finishes, A aborts.")
        assert after.obey(Wish(Command.ABORT, reason="wrong slide"))[0]
        assert "was left open" not in after.view().message


def test_where_nobody_is_at_the_desk_it_goes_on_by_itself(tmp_path: Path) -> None:
    with Store.open(tmp_path / "record.sqlite") as store:
        counted(tmp_path, [1, 1, 1], 1, store)
        after = pipeline_of(tmp_path, Pictures([2, 2, 2]), OneNeutrophil(), store=store)
        while not after.stopped:
            after.round()
        assert after.slide is not None and after.slide.state is SlideState.REVIEW
        assert [field.source for field in after.slide.fields] == ["1.png", "2.png"]


def test_what_another_engine_counted_waits_for_review_and_is_not_counted_on(tmp_path: Path) -> None:
    with Store.open(tmp_path / "record.sqlite") as store:
        first = counted(tmp_path, [1, 1, 1], 1, store).slide
        other = OneNeutrophil()
        other.info = replace(other.info, digest="1" * 64)
        after = pipeline_of(tmp_path, Pictures([2, 2, 2]), other, store=store, rules=DESK)
        assert after.slide is None and first is not None
        assert after.view().message == f"Slide {first.slide_id} was left open and cannot be counted on: it waits for review."
        (row,) = store.slides()
        assert (row.slide.state, len(row.slide.cells)) == (SlideState.REVIEW, 1)
        assert row.slide.finished_at == max(row.slide.started_at, row.slide.fields[-1].captured_at)
        (message,) = (row for row in store.pending() if row.kind == "summary")
    assert read_summary(message.payload).payload.model.digest == "0" * 64  # the engine's that counted


def test_of_several_open_slides_the_newest_goes_on(tmp_path: Path) -> None:
    with Store.open(tmp_path / "record.sqlite") as store:
        ids = []
        for _ in range(3):  # as an older version, or a restored copy, may have left them
            pipeline = counted(tmp_path, [1, 1, 1], 1, store)
            assert pipeline.slide is not None
            ids.append(pipeline.slide.slide_id)
            store.put_state(replace(pipeline.slide, state=SlideState.REVIEW))
        for stored in store.slides():
            store.put_state(replace(stored.slide, state=SlideState.COUNTING))
        after = pipeline_of(tmp_path, Pictures([]), OneNeutrophil(), store=store, rules=DESK)
        assert after.slide is not None and after.slide.slide_id == ids[-1]
        assert {row.slide.slide_id: row.slide.state for row in store.slides()} == {
            ids[0]: SlideState.REVIEW,
            ids[1]: SlideState.REVIEW,
            ids[2]: SlideState.PAUSED,
        }


def test_an_empty_slide_that_cannot_go_on_is_aborted_without_a_summary(tmp_path: Path) -> None:
    with Store.open(tmp_path / "record.sqlite") as store:
        counted(tmp_path, [], 0, store)
        other = OneNeutrophil()
        other.info = replace(other.info, digest="1" * 64)
        pipeline_of(tmp_path, Pictures([]), other, store=store, rules=DESK)
        (row,) = store.slides()
        assert (row.slide.state, row.slide.abort_reason, store.pending_count()) == (SlideState.ABORTED, "nothing was counted", 0)


def test_identity_is_in_the_record_and_in_no_log_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with Store.open(tmp_path / "record.sqlite") as store:
        assert counted(tmp_path, [1, 1, 1], 1, store).close()
        after = pipeline_of(tmp_path, Pictures([]), OneNeutrophil(), store=store, rules=DESK)
        after.obey(BEGIN)
        after.obey(Wish(Command.ABORT, reason="tube H26-104311 broken"))
        after.obey(Wish(Command.FINISH, sure=True))
        after.obey(BEGIN)
        assert store.of_specimen("h26-104311") == 2
        (message,) = (row for row in store.pending() if row.kind == "summary")
    assert b"104311" not in message.payload
    assert "104311" not in caplog.text and "104311" not in repr(BEGIN)


def test_a_finished_slide_is_counted_on_after_a_restart(tmp_path: Path) -> None:
    with Store.open(tmp_path / "record.sqlite") as store:
        before = counted(tmp_path, [1, 1, 1, 2, 2, 2], 2, store)
        assert before.obey(Wish(Command.UNDO))[0] and before.obey(Wish(Command.FINISH, sure=True))[0]
        assert before.close() and before.slide is not None
    with Store.open(tmp_path / "record.sqlite") as store:
        after = pipeline_of(tmp_path, Pictures([1, 1, 1, 3, 3, 3]), OneNeutrophil(), store=store, rules=DESK)
        assert after.slide is None
        assert after.obey(Wish(Command.REOPEN)) == (True, f"Slide {before.slide.slide_id} is counted on.")
        assert after.slide is not None and (after.slide.state, after.slide.finished_at) == (SlideState.COUNTING, None)
        assert [row.slide.state for row in store.slides()] == [SlideState.COUNTING]
        for _ in range(6):
            after.round()
        assert [(field.index, field.source) for field in after.slide.fields] == [(1, "1.png"), (3, "3.png")]
        assert after.obey(Wish(Command.FINISH, sure=True))[0]
        (row,) = store.slides()
        assert (row.slide.state, len(row.slide.cells)) == (SlideState.REVIEW, 2)
        assert [row.kind for row in store.pending()] == ["event", "summary", "summary"]


def test_why_a_slide_is_not_counted_on_after_a_restart_is_said(tmp_path: Path) -> None:
    other = OneNeutrophil()
    other.info = replace(other.info, digest="1" * 64)
    with Store.open(tmp_path / "record.sqlite") as store:

        def refused(engine: OneNeutrophil | None = None) -> str:
            pipeline = pipeline_of(tmp_path, Pictures([]), engine or OneNeutrophil(), store=store, rules=DESK)
            done, words = pipeline.obey(Wish(Command.REOPEN))
            assert not done and pipeline.slide is None
            assert pipeline.view().message == f"C{words[1:]}."
            return words.removeprefix("cannot reopen: ")

        assert refused() == "no slide was finished"
        before = counted(tmp_path, [1, 1, 1], 1, store)
        assert before.obey(Wish(Command.FINISH, sure=True))[0] and before.slide is not None
        assert refused(other) == "it was counted by another engine, microscope or kind of source"
        store.put_state(replace(before.slide, state=SlideState.SIGNED))
        assert refused() == "the slide is signed"
        store.put_state(replace(before.slide, revision=1))
        assert refused() == "the slide is signed"
        store.put_state(before.slide)
        assert counted(tmp_path, [], 0, store).obey(Wish(Command.ABORT, reason="nothing there"))[0]
        assert refused() == "the slide was aborted"


def test_a_slide_that_is_damaged_in_the_record_is_said_in_a_line_of_its_own_until_the_next_begins(tmp_path: Path) -> None:
    with Store.open(tmp_path / "record.sqlite") as store:
        line = counted(tmp_path, [1, 1, 1, 2, 2, 2, 3, 3, 3], 2, store)
        assert line.slide is not None
        slide_id = line.slide.slide_id
        store._db.execute("UPDATE fields SET focus = focus + 1 WHERE slide_id = ? AND field_index = 1", (slide_id,))
        assert line.obey(Wish(Command.FINISH, sure=True))[0]
        said = f"Slide {slide_id} is damaged in the record and is not sent: count it again, and call the field team."
        assert (said, "fail") in list(line._lines())
        assert [row.kind for row in store.pending()] == ["event"], "no summary leaves"
        assert line.obey(BEGIN)[0]
        assert all("is damaged" not in words for words, _ in line._lines())


def test_a_damaged_slide_that_was_open_is_said_at_the_start(tmp_path: Path) -> None:
    with Store.open(tmp_path / "record.sqlite") as store:
        before = counted(tmp_path, [1, 1, 1], 1, store)
        assert before.slide is not None
        store._db.execute("UPDATE cells SET score = score / 2")
    for said in (f"Slide {before.slide.slide_id} is damaged in the record", ""):  # once: from then on the lamp counts it
        with Store.open(tmp_path / "record.sqlite") as store:
            after = pipeline_of(tmp_path, Pictures([]), OneNeutrophil(), store=store, rules=DESK)
            assert after.slide is None and after.view().message.startswith(said)
            assert said or "damaged" not in after.view().message

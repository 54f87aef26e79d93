"""Commands on a slide: what is refused and in which words, what leaves the device, and where counting stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.pipeline import Pipeline
from device.settings.config import SlideSection
from device.slide.commands import Command, Wish
from device.slide.model import SlideState
from device.store import Store
from tests.support.picture_line import OneNeutrophil, Pictures, pipeline_of

BEGIN = Wish(Command.START, specimen="H26-104311", operator="ab")


def line(store: Store, shown: list[int], **rules: object) -> Pipeline:
    """With a person at the desk, who ends the slide."""
    section = SlideSection.model_validate({"finish_at_end": False, **rules})
    return pipeline_of(store.path.parent, Pictures(shown), OneNeutrophil(), store=store, rules=section)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "record.sqlite")


def rounds(pipeline: Pipeline, count: int) -> None:
    for _ in range(count):
        pipeline.round()


def test_a_slide_needs_a_specimen_and_an_operator_unless_they_are_not_asked_for(store: Store) -> None:
    pipeline = line(store, [1])
    said = "a specimen and an operator are asked for: leukoscope slide start --specimen ID --operator INITIALS"
    for wish in (Wish(Command.START), Wish(Command.START, specimen="H26-104311"), Wish(Command.START, operator="AB")):
        assert pipeline.obey(wish) == (False, said)
    assert pipeline.obey(Wish(Command.START, specimen="Jane Doe", operator="AB"))[1].startswith("That looks like a name")
    assert pipeline.obey(Wish(Command.START, specimen="H26-104311", operator="J4"))[1] == "Initials are 2 to 4 letters"
    assert pipeline.slide is None
    assert pipeline.obey(BEGIN)[0]
    assert pipeline.slide is not None and (pipeline.slide.specimen, pipeline.slide.operator) == ("H26-104311", "AB")
    assert line(store, [1], ask_specimen=False).obey(Wish(Command.FINISH))[0] is False
    assert pipeline.obey(Wish(Command.ABORT, reason="poor film"))[0]
    assert line(store, [1], ask_specimen=False).obey(Wish(Command.START))[0]


def test_a_specimen_that_has_a_slide_is_asked_about(store: Store) -> None:
    pipeline = line(store, [1, 1, 1, 2, 2, 2])
    pipeline.obey(BEGIN)
    rounds(pipeline, 3)
    assert pipeline.obey(Wish(Command.FINISH, sure=True))[0]
    assert pipeline.obey(BEGIN) == (False, "this specimen has a slide already; --anyway starts another one of it")
    assert pipeline.obey(Wish(Command.START, specimen="H26-104311", operator="AB", sure=True))[0]


def test_nothing_counted_cannot_be_finished_and_no_summary_leaves_for_it(store: Store) -> None:
    pipeline = line(store, [1, 1, 1])
    pipeline.obey(BEGIN)
    done, text = pipeline.obey(Wish(Command.FINISH, sure=True))
    assert not done and text == "nothing was counted on this slide, so there is nothing to review; abort it with A"
    assert pipeline.view().message_level == "warn"
    assert pipeline.obey(Wish(Command.ABORT)) == (False, "cannot abort without a reason: leukoscope slide abort --reason WORDS")
    done, text = pipeline.obey(Wish(Command.ABORT, reason=" poor  film "))
    assert done and text.endswith(" aborted: nothing had been counted.")
    (row,) = store.slides()
    assert (row.slide.state, row.slide.abort_reason, row.summary) == (SlideState.ABORTED, "poor film", None)
    assert store.pending_count() == 0


def test_an_aborted_slide_with_cells_is_kept_and_told(store: Store) -> None:
    pipeline = line(store, [1, 1, 1])
    pipeline.obey(BEGIN)
    rounds(pipeline, 3)
    assert pipeline.obey(Wish(Command.ABORT, reason="poor film"))[1].endswith(" aborted: what was counted is kept in the record.")
    assert [row.kind for row in store.pending()] == ["event", "summary"]
    assert pipeline.obey(Wish(Command.REOPEN)) == (False, "cannot reopen: the slide was aborted")


def test_a_source_that_ends_without_a_cell_leaves_no_summary(tmp_path: Path, store: Store) -> None:
    pipeline = pipeline_of(tmp_path, Pictures([1]), OneNeutrophil(), store=store)  # one frame never rests
    rounds(pipeline, 2)
    assert pipeline.slide is not None and (pipeline.slide.state, store.pending_count()) == (SlideState.ABORTED, 0)
    assert pipeline.slide.abort_reason == "nothing was counted"


def test_below_the_target_the_end_is_asked_about(store: Store) -> None:
    pipeline = line(store, [1, 1, 1])
    pipeline.obey(BEGIN)
    rounds(pipeline, 3)
    done, text = pipeline.obey(Wish(Command.FINISH))
    assert not done and text == "1 of 200 white cells are counted. --anyway finishes the slide all the same"
    done, text = pipeline.obey(Wish(Command.FINISH, sure=True))
    assert done and text.endswith("finished: 1 white cell, for review.")


def test_at_the_target_counting_stops_until_a_person_goes_on(store: Store) -> None:
    pipeline = line(store, [n for n in range(1, 8) for _ in range(3)], target_cells=2)
    pipeline.obey(BEGIN)
    rounds(pipeline, 9)
    assert pipeline.slide is not None and pipeline.slide.state is SlideState.PAUSED and pipeline.white_cells == 2
    assert pipeline.view().message == "Target reached: F to review, or G to go on to 100."
    assert pipeline.obey(Wish(Command.GO_ON)) == (True, "Slide goes on, up to 100 white cells.")
    rounds(pipeline, 9)
    assert pipeline.white_cells == 5 and pipeline.view().target_cells == 100
    assert store.unfinished()[0].slide.target_cells == 100
    assert pipeline.obey(Wish(Command.GO_ON)) == (False, "the slide is being counted already")
    assert pipeline.obey(Wish(Command.PAUSE)) == (True, "Slide paused.")
    assert pipeline.obey(Wish(Command.PAUSE))[0] and pipeline.view().target_cells == 100


def test_counting_goes_past_the_target_where_that_is_wanted_or_nobody_is_there(tmp_path: Path, store: Store) -> None:
    shown = [n for n in range(1, 5) for _ in range(3)]
    pipeline = line(store, shown, target_cells=2, stop_at_target=False)
    pipeline.obey(BEGIN)
    rounds(pipeline, 12)
    assert pipeline.white_cells == 4
    pipeline.obey(Wish(Command.FINISH))
    unattended = pipeline_of(
        tmp_path, Pictures(shown), OneNeutrophil(), store=store, rules=SlideSection(target_cells=2, auto_start=True)
    )
    rounds(unattended, 12)
    assert unattended.white_cells == 4


def test_a_finished_slide_can_be_counted_on(store: Store) -> None:
    pipeline = line(store, [1, 1, 1, 2, 2, 2])
    pipeline.obey(BEGIN)
    rounds(pipeline, 3)
    assert pipeline.obey(Wish(Command.REOPEN)) == (False, "cannot reopen: the slide is open")
    pipeline.obey(Wish(Command.FINISH, sure=True))
    assert pipeline.obey(Wish(Command.REOPEN))[0]
    assert [row.slide.state for row in store.unfinished()] == [SlideState.COUNTING]
    rounds(pipeline, 3)
    assert pipeline.slide is not None and pipeline.slide.finished_at is None
    pipeline.obey(Wish(Command.FINISH, sure=True))
    (row,) = store.slides()
    assert (row.slide.state, [field.source for field in row.slide.fields]) == (SlideState.REVIEW, ["1.png", "2.png"])
    assert [row.kind for row in store.pending()] == ["event", "summary", "summary"]


def test_the_glass_of_the_slide_before_is_not_counted_into_the_next(store: Store) -> None:
    """F, S, hold still 10 s: 0 cells and a line that says what to do; another glass is counted."""
    pipeline = line(store, [1] * 103 + [2] * 3, ask_specimen=False)
    pipeline.obey(Wish(Command.START))
    rounds(pipeline, 3)
    pipeline.obey(Wish(Command.FINISH, sure=True))
    pipeline.obey(Wish(Command.START))
    rounds(pipeline, 100)
    assert pipeline.white_cells == 0
    assert pipeline.view().message == "The slide before still lies under the objective and is not counted: change the slide."
    rounds(pipeline, 3)
    assert pipeline.white_cells == 1 and "change the slide" not in pipeline.view().message

"""A box that stays on: quitting pauses the slide and shows the start page, from which all goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from device.desk.desk import Desk
from device.display.base import NullDisplay, ScreenView
from device.display.inputs import Input, Kind
from device.display.pages import AskPage, CountPage
from device.settings.config import SlideSection
from device.slide.commands import Command, Wish
from device.slide.model import SlideState
from device.store import Store
from tests.support.picture_line import OneNeutrophil, Pictures, pipeline_of

Q, S, P = (Input(Kind.KEY, word) for word in "QSP")


class Keys(NullDisplay):
    """A screen at which keys are pressed; shown: its last page."""

    def __init__(self) -> None:
        self.pressed: list[Input] = []
        self.view: ScreenView | None = None

    def show(self, view: ScreenView) -> None:
        self.view = view

    def inputs(self) -> list[Input]:
        given, self.pressed = self.pressed, []
        return given


def desk() -> Desk:
    made = Desk(lambda: 100.0, SlideSection(ask_specimen=False), stays=True)
    assert made.take([Q], None) == [] and made.notice(None).startswith("Press Q again for the start page")
    assert made.take([Q], None) == [Wish(Command.QUIT)]
    made.rest()
    return made


def test_the_page_stays_whatever_is_quit_and_goes_with_the_first_key_that_does_something() -> None:
    made = desk()
    assert isinstance(made.page, AskPage) and made.page.title == "Ready"
    assert made.take([Q, Q, Input(Kind.KEY, "ESCAPE"), Input(Kind.CLOSED)], None) == []
    assert isinstance(made.page, AskPage)
    assert made.take([S], None) == [Wish(Command.START)]
    assert isinstance(made.page, CountPage)


@pytest.mark.parametrize("stays", [True, False])
def test_q_under_the_unit_pauses_and_stays_in_a_terminal_it_ends(tmp_path: Path, stays: bool) -> None:
    with Store.open(tmp_path / "record.sqlite") as store:
        keys = Keys()
        rules = SlideSection(ask_specimen=False, finish_at_end=False)
        pipeline = pipeline_of(tmp_path, Pictures([1] * 60), OneNeutrophil(), keys, store, rules=rules, stays=stays)
        assert pipeline.obey(Wish(Command.START, sure=True))[0]
        for _ in range(5):
            pipeline.round()
        keys.pressed = [Q, Q]
        pipeline.round()
        assert bool(pipeline.stopped) is not stays
        if not stays:
            return
        pipeline.round()
        assert pipeline.slide is not None and pipeline.slide.state is SlideState.PAUSED
        assert store.unfinished()[0].slide.state is SlideState.PAUSED
        page = keys.view and keys.view.page
        assert isinstance(page, AskPage) and [choice.key for choice in page.choices] == ["P"]
        assert pipeline.slide.slide_id in page.words
        keys.pressed = [P]
        pipeline.round()
        pipeline.round()
        assert pipeline.slide.state is SlideState.COUNTING
        assert keys.view is not None and isinstance(keys.view.page, CountPage)
        assert pipeline.obey(Wish(Command.FINISH, sure=True))[0]
        keys.pressed = [Q, Q]
        pipeline.round()
        pipeline.round()
        page = keys.view.page
        assert isinstance(page, AskPage) and [choice.key for choice in page.choices] == ["S", "R", "T"]
        assert not pipeline.stopped


def test_a_window_that_is_closed_under_the_unit_ends_nothing(tmp_path: Path) -> None:
    keys = Keys()
    with Store.open(tmp_path / "record.sqlite") as store:
        pipeline = pipeline_of(
            tmp_path, Pictures([1] * 9), OneNeutrophil(), keys, store, rules=SlideSection(finish_at_end=False), stays=True
        )
        keys.pressed = [Input(Kind.CLOSED)]
        pipeline.round()
        pipeline.round()
        assert not pipeline.stopped and replace(pipeline.view()).page != CountPage()

"""What is done at the screen → what the pipeline is asked."""

from __future__ import annotations

from device.desk.desk import QUIT_AGAIN_S, Desk
from device.display.inputs import Input, Kind, key
from device.display.layout import Rect
from device.display.pages import COUNT_PAGE, AskPage
from device.display.targets import Targets
from device.settings.config import SlideSection
from device.slide.commands import Command, Wish
from tests.support.gallery import slide as slide_with

UNASKED = SlideSection(ask_specimen=False)
COUNTED = slide_with({"Neutrophil": 250})


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def asked(desk: Desk, *words: str) -> list[Command]:
    return [wish.command for wish in desk.take([key(word) for word in words], None)]


def test_a_key_means_a_command_and_quit_asks_again() -> None:
    clock = Clock()
    desk = Desk(clock, UNASKED)
    wanted = [Command.START, Command.FINISH, Command.UNDO, Command.PAUSE, Command.GO_ON, Command.REOPEN, Command.ABORT]
    assert asked(desk, "S", "F", "U", "P", "G", "C", "X", "A") == wanted
    clock.now_s += 1
    assert asked(desk, "Q") == []
    assert desk.notice(None) == "Press Q again to quit"
    assert desk.notice(COUNTED) == "Press Q again to quit; the slide stays open and waits for the next start"
    clock.now_s += QUIT_AGAIN_S + 0.1
    assert desk.notice(None) == ""
    assert asked(desk, "ESCAPE") == []
    clock.now_s += 1
    assert asked(desk, "Q") == [Command.QUIT]


def test_working_on_takes_the_wish_to_quit_back() -> None:
    assert asked(Desk(Clock()), "Q", "U", "Q") == [Command.UNDO]
    assert asked(Desk(Clock()), "Q", "S", "ESCAPE", "Q") == []


def test_a_press_on_a_button_is_the_key_of_its_word_and_the_cross_quits() -> None:
    desk = Desk(Clock())
    wishes = desk.take([Input(Kind.PRESS, "F"), Input(Kind.DRAG, "F", onto="U"), Input(Kind.CLOSED)], None)
    assert [wish.command for wish in wishes] == [Command.FINISH, Command.QUIT]


def test_a_foot_switch_is_the_key_that_the_configuration_says() -> None:
    desk = Desk(Clock(), keys={"F9": "U", "B": "F"})
    assert asked(desk, "F9", "B", "F8") == [Command.UNDO, Command.FINISH]
    asked(desk, "S", "B", "1")
    assert isinstance(desk.page, AskPage) and desk.page.typed == "b1", "while something is typed a key is what it is"


def test_a_question_stands_over_the_page_and_closes_with_the_slide_that_it_was_about() -> None:
    desk = Desk(Clock())
    assert desk.take([key("A")], COUNTED) == [] and isinstance(desk.page, AskPage)
    assert desk.take([], COUNTED) == [] and isinstance(desk.page, AskPage)
    assert desk.take([key("1")], None) == [] and desk.page is COUNT_PAGE  # ended meanwhile, by `leukoscope slide …`


def test_only_what_is_asked_is_answered_while_a_question_stands() -> None:
    desk = Desk(Clock())
    desk.take([key("A")], COUNTED)
    assert desk.take([key(word) for word in ("S", "F", "U", "Q", "Q")], COUNTED) == []
    assert isinstance(desk.page, AskPage) and desk.page.title == "Abort this slide? Why?"
    assert desk.take([key("ESCAPE"), key("U")], COUNTED) == [Wish(Command.UNDO)]


def test_the_target_drawn_last_lies_on_top() -> None:
    targets = Targets()
    targets.add(Rect(0, 0, 100, 100), "picture")
    targets.add(Rect(20, 40, 40, 80), "cell 3")
    assert targets.at(30, 50) == ("cell 3", (0.5, 0.25))
    assert targets.at(50, 50) == ("picture", (0.5, 0.5))
    assert targets.at(200, 50) == ("", (0.0, 0.0))

"""What is done at the screen → what the pipeline is asked."""

from __future__ import annotations

from device.desk.desk import QUIT_AGAIN_S, Desk
from device.display.inputs import Input, Kind, key
from device.display.layout import Rect
from device.display.targets import Targets
from device.slide.commands import Command


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def asked(desk: Desk, *words: str) -> list[Command]:
    return [wish.command for wish in desk.take([key(word) for word in words], None)]


def test_a_key_means_a_command_and_quit_asks_again() -> None:
    clock = Clock()
    desk = Desk(clock)
    assert asked(desk, "S", "F", "U", "P", "X") == [Command.START, Command.FINISH, Command.UNDO, Command.PAUSE]
    clock.now_s += 1
    assert asked(desk, "Q") == []
    assert desk.notice(None) == "Press Q again to quit"
    clock.now_s += QUIT_AGAIN_S + 0.1
    assert desk.notice(None) == ""
    assert asked(desk, "ESCAPE") == []
    clock.now_s += 1
    assert asked(desk, "Q") == [Command.QUIT]


def test_working_on_takes_the_wish_to_quit_back() -> None:
    assert asked(Desk(Clock()), "Q", "U", "Q") == [Command.UNDO]


def test_a_press_on_a_button_is_the_key_of_its_word_and_the_cross_quits() -> None:
    desk = Desk(Clock())
    wishes = desk.take([Input(Kind.PRESS, "F"), Input(Kind.DRAG, "F", onto="U"), Input(Kind.CLOSED)], None)
    assert [wish.command for wish in wishes] == [Command.FINISH, Command.QUIT]


def test_the_target_drawn_last_lies_on_top() -> None:
    targets = Targets()
    targets.add(Rect(0, 0, 100, 100), "picture")
    targets.add(Rect(20, 40, 40, 80), "cell 3")
    assert targets.at(30, 50) == ("cell 3", (0.5, 0.25))
    assert targets.at(50, 50) == ("picture", (0.5, 0.5))
    assert targets.at(200, 50) == ("", (0.0, 0.0))

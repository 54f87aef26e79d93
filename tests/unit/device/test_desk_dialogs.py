"""The questions at the desk: specimen, operator, an unusual end, an abort; by scanner, by hand and by finger."""

from __future__ import annotations

from dataclasses import replace

import pytest

from device.clock import SystemClock
from device.desk.desk import Desk
from device.desk.scanner import ScannerGuard
from device.display.inputs import Input, Kind, key
from device.display.pages import AskPage
from device.settings.config import SlideSection
from device.slide.commands import Command, Wish
from device.slide.identity import initials, specimen_id
from device.slide.model import Slide, SlideState
from tests.support.gallery import slide as slide_with

FINISHED = replace(slide_with({"Neutrophil": 3}), state=SlideState.REVIEW)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def typed(words: str, end: str = "RETURN") -> list[Input]:
    """What a scanner or a hand types, the key at its end too."""
    keys = [Input(Kind.KEY, sign.upper() if sign.isalnum() else "CHARACTER", sign, shift=sign.isupper()) for sign in words]
    return [*keys, Input(Kind.KEY, end)]


def page(desk: Desk) -> AskPage:
    assert isinstance(desk.page, AskPage)
    return desk.page


def started(desk: Desk, specimen: str = "H26-104311") -> list[Wish]:
    return desk.take([key("S"), *typed(specimen)], None)


def test_a_scan_and_initials_start_a_slide_and_the_initials_are_remembered_for_the_shift() -> None:
    clock = Clock()
    desk = Desk(clock, SlideSection(operator_hours=8))
    assert started(desk, "H26-104311") == []
    assert page(desk).title == "Who counts?"
    assert desk.take(typed("qs"), None) == [Wish(Command.START, "H26-104311", "QS")]  # letters that mean commands elsewhere
    clock.now_s += 8 * 3600 - 1
    assert desk.take([key("S")], FINISHED) == []
    assert "Operator: QS." in page(desk).words
    assert desk.take(typed("H26-104312", end="TAB"), FINISHED) == [Wish(Command.START, "H26-104312", "QS")]
    clock.now_s += 8 * 3600 + 1
    assert started(desk) == [] and page(desk).title == "Who counts?"


def test_another_operator_takes_over_by_a_key() -> None:
    desk = Desk(Clock())
    started(desk)
    desk.take(typed("AB"), None)
    desk.take([key("S"), Input(Kind.PRESS, "F2"), *typed("H26-2")], None)
    assert desk.take(typed("cd"), None) == [Wish(Command.START, "H26-2", "CD")]


@pytest.mark.parametrize("specimen", ["Jane Doe", "DOE", "Doe,J", "x" * 31 + "12", "H26_104311!", "12 34", ""])
def test_what_is_no_specimen_number_is_refused_in_a_sentence_and_can_be_scanned_again(specimen: str) -> None:
    desk = Desk(Clock())
    assert started(desk, specimen) == []
    assert page(desk).title == "Which specimen?" and page(desk).fault.endswith(".") and page(desk).typed == ""
    desk.take([key("1")], None)
    assert page(desk).fault == "" and page(desk).typed == "1"
    assert desk.take([key("ESCAPE"), key("U")], None) == [Wish(Command.UNDO)]


def test_typing_is_edited_and_capitals_stay() -> None:
    desk = Desk(Clock())
    desk.take([key("S"), *typed("aB12", end="BACKSPACE")], None)
    assert page(desk).typed == "aB1"
    desk.take([Input(Kind.PRESS, "picture"), Input(Kind.PRESS, "S")], None)
    assert page(desk).typed == "aB1", "a press types nothing"


def test_a_second_slide_of_a_specimen_is_asked_about() -> None:
    desk = Desk(Clock(), slides_of=lambda specimen: {"H26-1": 1, "H26-2": 2}.get(specimen, 0))
    started(desk, "H26-1")
    assert page(desk).title == "Second slide of this specimen?" and "H26-1 has 1 slide in the record." in page(desk).words
    desk.take([Input(Kind.PRESS, "ESCAPE"), *typed("H26-2")], None)
    assert page(desk).title == "Another slide of this specimen?"
    desk.take([Input(Kind.PRESS, "S")], None)
    assert desk.take(typed("AB"), None) == [Wish(Command.START, "H26-2", "AB", sure=True)]


def test_a_start_that_is_not_asked_for_a_specimen_starts_at_once() -> None:
    assert Desk(Clock(), SlideSection(ask_specimen=False)).take([key("S")], None) == [Wish(Command.START)]


def test_initials_are_letters() -> None:
    desk = Desk(Clock())
    started(desk)
    for wrong in ("A", "ABCDE", "A1"):
        assert desk.take(typed(wrong), None) == []
        assert page(desk).fault == "Initials are 2 to 4 letters."
    assert initials(" éß ") == "ÉSS"


def counting(cells: int, unidentified: int = 0, target: int = 200) -> Slide:
    return replace(slide_with({"Neutrophil": cells} if cells else {}, unidentified), target_cells=target)


@pytest.mark.parametrize(
    ("slide", "words"),
    [
        (counting(37), "37 of 200 white cells are counted."),
        (counting(180, 30), "14 % of the white cells are unidentified."),
        (counting(30, 7), "37 of 200 white cells are counted. 19 % of the white cells are unidentified."),
    ],
)
def test_an_unusual_end_is_asked_about(slide: Slide, words: str) -> None:
    desk = Desk(Clock())
    assert desk.take([key("F")], slide) == []
    assert (page(desk).title, page(desk).words) == ("Finish this slide?", words)
    assert desk.take([key("P"), key("U")], slide) == [Wish(Command.UNDO)]
    assert desk.take([key("F"), key("F")], slide) == [Wish(Command.FINISH, sure=True)]


@pytest.mark.parametrize("slide", [counting(200), counting(190, 20), counting(0), FINISHED, None])
def test_a_usual_end_and_one_that_is_refused_are_not_asked_about(slide: Slide | None) -> None:
    assert Desk(Clock()).take([key("F")], slide) == [Wish(Command.FINISH, sure=True)]


def test_an_abort_needs_a_reason_and_a_second_press() -> None:
    desk = Desk(Clock())
    assert desk.take([key("A"), key("A"), key("2")], counting(12)) == []
    assert page(desk).words == "Reason: wrong slide."
    assert desk.take([key("ESCAPE")], counting(12)) == []
    desk.take([key("A")], counting(1))
    assert page(desk).words == "1 white cell stays in the record, without a review."
    desk.take([Input(Kind.PRESS, "1")], counting(1))
    assert desk.take([Input(Kind.PRESS, "A")], counting(1)) == [Wish(Command.ABORT, reason="poor film")]
    desk.take([key("A")], counting(0))
    assert page(desk).words == "Nothing was counted on it."


def test_a_reason_in_words_holds_no_specimen() -> None:
    desk, slide = Desk(Clock()), replace(counting(12), specimen="H26-104311")
    desk.take([key("A"), key("4"), *typed("x")], slide)
    assert page(desk).fault == "A word or two are needed."
    desk.take([Input(Kind.KEY, "BACKSPACE"), *typed("tube h26-104311 broke")], slide)
    assert "leave the specimen's number out" in page(desk).fault
    desk.take([Input(Kind.KEY, "BACKSPACE")] * 40, slide)
    assert desk.take([*typed("tube  broke"), key("A")], slide) == [Wish(Command.ABORT, reason="tube broke")]


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        ("mod10", "79927398713", "79927398718"),  # the example of ISO/IEC 7812-1's usual descriptions
        ("mod43", "1234ABCDD", "1234ABCDM"),
        ("mod37-2", "G123498654321H", "G123498654312H"),  # ISBT 128 Technical Specification's own donation number
        ("none", "A1", ""),
    ],
)
def test_check_characters(check: str, right: str, wrong: str) -> None:
    rules = SlideSection.model_validate({"specimen_check": check})
    assert specimen_id(f" {right.lower()} ", rules) == right.lower()
    with pytest.raises(ValueError, match=r"check character|Nothing was typed"):
        specimen_id(wrong, rules)


LABEL = "FUP26-1043A"  # full of letters that are commands


def looks(guard: ScannerGuard, keys: list[Input], each: int, gap_s: float) -> list[Input]:
    """What a guard hands on of keys that come so many to a look, looks following each other in `gap_s`; then nothing for a while."""
    seen, at = [], 0.0
    for first in range(0, len(keys), each):
        seen += guard.sorted(keys[first : first + each], at, False)
        at += gap_s
    return seen + guard.sorted([], at + 1.0, False)


@pytest.mark.parametrize("each", [1, 2, 3, 12])
def test_a_label_scanned_at_the_wrong_moment_is_no_row_of_commands(each: int) -> None:
    (scan,) = looks(ScannerGuard(), typed(LABEL), each, 0.02)
    assert (scan.kind, scan.text) == (Kind.SCAN, LABEL)
    desk, slide = Desk(Clock()), counting(12)
    assert desk.take([scan], slide) == []
    assert desk.notice(slide) == "A label was scanned, nothing was done with it: a slide is open."
    assert desk.take([scan], FINISHED) == [] and page(desk).typed == LABEL  # between two slides it is the next one's
    assert desk.take([key("RETURN"), *typed("AB")], FINISHED) == [Wish(Command.START, LABEL, "AB")]


@pytest.mark.parametrize("each", [1, 2])
def test_a_hand_is_no_scanner(each: int) -> None:
    keys = [key(word) for word in "UFPGU"]
    assert looks(ScannerGuard(), keys, each, 0.2) == keys
    guard = ScannerGuard()
    press = Input(Kind.PRESS, "F")
    assert guard.sorted([key("U"), press, key("ESCAPE")], 0.0, False) == [key("U"), press, key("ESCAPE")]
    assert guard.sorted([key("U")], 1.0, False) == []
    assert guard.sorted([], 1.01, False) == []
    assert guard.sorted([], 1.04, False) == [key("U")]
    assert guard.sorted(typed("AB12345"), 2.0, True) == typed("AB12345"), "a question takes all as it comes"


class Ticking(SystemClock):
    """A clock that goes on by sleeping alone."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_where_there_is_nothing_else_to_do_a_key_is_settled_at_once_and_a_key_held_down_blocks_nothing() -> None:
    clock, guard = Ticking(), ScannerGuard()
    keys = iter([[key("U")]])
    assert guard.given(lambda: next(keys, []), clock, False, to_the_end=True) == [key("U")]
    assert clock.now_s < 0.04
    label = iter([[letter] for letter in typed(LABEL)])
    (scan,) = guard.given(lambda: next(label, []), clock, False, to_the_end=True)
    assert (scan.kind, scan.text) == (Kind.SCAN, LABEL)
    begun_s = clock.now_s
    guard.given(lambda: [key("U")], clock, False, to_the_end=True)
    assert clock.now_s - begun_s < 0.31
    clock.now_s += 1.0
    assert [given.kind for given in guard.given(list, clock, False, to_the_end=True)] == [Kind.SCAN]
    one = iter([[key("F")]])
    assert guard.given(lambda: next(one, []), clock, False, to_the_end=False) == [], "the next look settles it"


@pytest.mark.parametrize("check", ["mod10", "mod43", "mod37-2"])
def test_every_wrong_digit_and_every_exchange_of_neighbours_that_the_check_promises_is_caught(check: str) -> None:
    rules = SlideSection.model_validate({"specimen_check": check})
    body = "7992739871"
    signs = "0123456789" if check == "mod10" else "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    (good,) = (body + sign for sign in (*signs, "*", "-", ".") if taken(body + sign, rules))
    for place in range(len(good)):
        assert not [s for s in signs if s != good[place] and taken(good[:place] + s + good[place + 1 :], rules)]
    swaps = [good[:i] + good[i + 1] + good[i] + good[i + 2 :] for i in range(len(good) - 2) if good[i] != good[i + 1]]
    missed = [swap for swap in swaps if taken(swap, rules)]
    assert missed == ([] if check == "mod37-2" else swaps if check == "mod43" else [])


def taken(text: str, rules: SlideSection) -> bool:
    try:
        return specimen_id(text, rules) == text
    except ValueError:
        return False

"""The way into a review and out of it: initials, the list of slides, corrections; the count has its screen back afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
import reviewing
from reviewing import T, painted, press

from device.desk.desk import Desk
from device.desk.review_room import Opened, ReviewRoom
from device.desk.scanner import ScannerGuard
from device.display.inputs import Input, Kind, key
from device.display.pages import AskPage
from device.display.pages_review import GalleryPage, SignPage, SlidesPage
from device.errors import StoreError
from device.review.journal import Act, Entry
from device.review.review import Review
from device.slide.model import ReviewState, Slide, SlideState

SLIDE, PICTURES = painted(["Myeloblast", "Neutrophil", "Neutrophil"] * 40)


@dataclass
class Record:
    """Some slides, each with what was kept of its review."""

    slides: list[Slide] = field(default_factory=lambda: [SLIDE])
    kept: dict[str, reviewing.Kept] = field(default_factory=dict)
    fault: Exception | None = None

    def finished(self) -> Sequence[Slide]:
        if self.fault is not None:
            raise self.fault
        return self.slides

    def open(self, slide_id: str, who: str) -> Opened:
        if self.fault is not None:
            raise self.fault
        kept = self.kept.setdefault(slide_id, reviewing.Kept(PICTURES))
        slide = next(slide for slide in self.slides if slide.slide_id == slide_id)
        entries: list[Entry] = kept.entries
        return Opened(Review(slide, T, tuple(entries), who=who), kept, "attridet-n 2.0.0", None)


class Person:
    """At the screen, with a slide in the session or none."""

    def __init__(self, record: Record, slide: Slide | None) -> None:
        self.now_s, self.slide, self.changed = 0.0, slide, list[Slide]()
        self.room = ReviewRoom(record, lambda: self.now_s, self.changed.append)

    def do(self, *keys: str | Input) -> bool:
        counts_on = False
        for one in keys:
            given = replace(key(one.removeprefix("+")), shift=one.startswith("+")) if isinstance(one, str) else one
            counts_on |= self.room.take([given], self.slide)
            self.now_s += 1
            counts_on |= self.room.take([], self.slide)
        return counts_on

    def sign(self) -> None:
        self.do(*["SPACE"] * 39, "SPACE", "+SPACE", "+SPACE", "+SPACE", "G", "RETURN")


def test_initials_are_asked_and_remembered_but_never_guessed() -> None:
    person = Person(Record(), SLIDE)
    person.room.enter(SLIDE)
    asked = person.room.page
    assert isinstance(asked, AskPage)
    assert asked.typed == ""
    person.do("RETURN")
    assert "2 to 4 letters" in person.room.page.fault  # type: ignore[union-attr]
    person.do("A", "1", "RETURN")
    assert isinstance(person.room.page, AskPage)
    person.do("A", "X", "BACKSPACE", "B", "RETURN")
    page = person.room.page
    assert isinstance(page, GalleryPage)
    assert page.head.reviewer == "AB"
    person.do("Q")
    assert person.room.page is None
    person.room.enter(SLIDE)
    assert person.room.page.typed == "AB"  # type: ignore[union-attr]
    person.do("ESCAPE")
    assert not person.room.is_open


def test_a_signature_is_told_and_a_correction_asks_why() -> None:
    record = Record()
    person = Person(record, SLIDE)
    person.room.enter(SLIDE)
    person.do("A", "B", "RETURN")
    person.sign()
    assert isinstance(person.room.page, SignPage)
    assert [(s.state, s.review_state, s.reviewer) for s in person.changed] == [(SlideState.SIGNED, ReviewState.REVIEWED, "AB")]
    person.do("ESCAPE", "C")
    assert isinstance(person.room.page, AskPage)
    person.do("RETURN")
    assert "why" in person.room.page.fault  # type: ignore[union-attr]
    for letter in "seen again":
        person.do(key(letter.upper()) if letter != " " else Input(Kind.KEY, "SPACE", " "))
    person.do("RETURN")
    assert person.changed[-1].state is SlideState.REVIEW
    assert record.kept[SLIDE.slide_id].entries[-1].act is Act.REOPENED
    assert record.kept[SLIDE.slide_id].entries[-1].why == "seen again"
    person.do("HOME", "2", "G", "RETURN")
    assert record.kept[SLIDE.slide_id].entries[-1].said == "2"  # the second revision


def test_counting_goes_on_only_for_the_slide_of_the_session() -> None:
    person = Person(Record(), SLIDE)
    person.room.enter(SLIDE)
    person.do("A", "B", "RETURN")
    assert person.do("C")
    assert not person.room.is_open
    older = replace(SLIDE, slide_id="20260301-093000-7f3a1c")
    other = Person(Record([SLIDE, older]), None)
    other.room.enter(None)
    other.do("DOWN", "RETURN", "A", "B", "RETURN")
    assert isinstance(other.room.page, GalleryPage)
    assert not any(button.key == "C" for button in other.room.page.buttons)
    assert not other.do("C")
    assert other.room.page.head.said == "Only the slide that was finished last can be counted on."
    other.do("Q", "UP", "RETURN", "RETURN")  # after a start the newest may be counted on, if its engine still counts
    assert any(button.key == "C" for button in other.room.page.buttons)  # type: ignore[union-attr]
    assert other.do("C") and not other.room.is_open


def test_earlier_slides_are_chosen_by_arrow_or_press() -> None:
    slides = [replace(SLIDE, slide_id=f"20260302-09300{i}-7f3a1c", specimen=f"H26-{i}") for i in range(5)]
    slides[2] = replace(slides[2], state=SlideState.SIGNED, reviewer="CD", review_state=ReviewState.REVIEWED, revision=1)
    person = Person(Record(slides), None)
    person.room.enter(None)
    page = person.room.page
    assert isinstance(page, SlidesPage)
    assert page.rows[2].words.endswith("signed by CD")
    person.do("DOWN", "DOWN", "DOWN", "RETURN", "A", "B", "RETURN")
    assert person.room.page.head.specimen == "H26-3"  # type: ignore[union-attr]
    person.do("Q")
    assert isinstance(person.room.page, SlidesPage)
    assert person.room.page.at == 3
    person.do(press(f"slide {slides[1].slide_id}"), press(f"slide {slides[1].slide_id}"), "RETURN")
    assert person.room.page.head.specimen == "H26-1"  # type: ignore[union-attr]
    person.do("Q", "ESCAPE")
    assert person.room.page is None


LABEL = "SL2-EN1UQ07"  # full of letters and digits that are keys of the review


@pytest.mark.parametrize("each", [1, 2, 4, 12])
@pytest.mark.parametrize("way", [(), ("V",), ("I",), ("+RIGHT", "K"), ("G",)], ids=["gallery", "field", "adding", "compare", "sign"])
def test_a_label_scanned_during_the_review_says_nothing_of_any_cell(each: int, way: tuple[str, ...]) -> None:
    """A scanner's burst, so many characters to a look, on every page of the review; then the same keys by hand do what they do."""
    record, now_s = Record(), [0.0]
    room = ReviewRoom(record, lambda: now_s[0])
    desk, guard = Desk(lambda: now_s[0], review=room), ScannerGuard()

    def look(*given: Input, after_s: float = 0.02) -> None:
        now_s[0] += after_s
        desk.take(guard.sorted(given, now_s[0], not desk.guarded), SLIDE)

    for word in ("R", "A", "B", "RETURN", *way):
        look(replace(key(word.removeprefix("+")), shift=word.startswith("+")), after_s=0.5)
        look(after_s=0.5)
    page, kept = room.page, list(record.kept[SLIDE.slide_id].entries)
    burst = [*(Input(Kind.KEY, letter if letter.isalnum() else "MINUS", letter) for letter in LABEL), key("RETURN")]
    for first in range(0, len(burst), each):
        look(*burst[first : first + each])
    look(after_s=0.2)
    assert room.page.head.said.startswith("A label was scanned, nothing was done with it")  # type: ignore[union-attr]
    assert type(room.page) is type(page) and record.kept[SLIDE.slide_id].entries == kept
    for given in burst[:3]:
        look(given, after_s=0.5)
    look(after_s=0.5)
    assert "scanned" not in room.page.head.said  # type: ignore[union-attr]


def test_a_label_scanned_at_the_list_or_where_initials_are_asked_opens_no_slide() -> None:
    person = Person(Record(), None)
    person.room.enter(None)
    person.do(Input(Kind.SCAN, text=LABEL))
    assert isinstance(person.room.page, SlidesPage) and "scanned" in person.room.page.head.said
    person.do("DOWN")
    assert person.room.page.head.said == ""
    person.do("RETURN")
    assert person.room.types  # what is typed there is taken as it comes, and a label's are no initials
    person.do(*(Input(Kind.KEY, letter, letter) for letter in LABEL), "RETURN")
    assert "2 to 4 letters" in person.room.page.fault  # type: ignore[union-attr]


def test_an_empty_list_does_nothing() -> None:
    person = Person(Record([]), None)
    person.room.enter(None)
    person.do("DOWN", "RETURN", "UP")
    assert isinstance(person.room.page, SlidesPage)
    person.do("Q")
    assert not person.room.is_open


def test_no_review_while_a_slide_is_counted_and_it_closes_when_one_is_started() -> None:
    counting = replace(SLIDE, state=SlideState.COUNTING, finished_at=None)
    person = Person(Record(), counting)
    person.room.enter(counting)
    assert not person.room.is_open
    assert "finish it first" in person.room.refused
    person = Person(Record(), SLIDE)
    person.room.enter(SLIDE)
    person.do("A", "B", "RETURN")
    person.slide = counting
    person.do("RIGHT")
    assert not person.room.is_open


@pytest.mark.parametrize("slide", [SLIDE, None])
def test_a_record_that_cannot_be_read_says_so(slide: Slide | None) -> None:
    record = Record(fault=StoreError("record /x: the disk is gone; put it back"))
    person = Person(record, slide)
    person.room.enter(slide)
    if slide is None:
        assert "disk is gone" in person.room.refused
    else:
        person.do("A", "B", "RETURN")
        assert "disk is gone" in person.room.page.fault  # type: ignore[union-attr]

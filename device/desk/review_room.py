"""The way into a review and out of it: which slide, whose initials, why a signed one is corrected. While it is open it has all keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from device.desk.review_buttons import slides_buttons
from device.desk.review_desk import ReviewDesk
from device.desk.review_shown import Keeping
from device.display.inputs import Input, Kind
from device.display.pages import AskPage, Choice, Page
from device.display.pages_review import Head, SlideRow, SlidesPage
from device.errors import StoreError
from device.language import _, ngettext
from device.review.review import Review
from device.slide.model import Slide, SlideState
from device.slide.session import RefusedError

KEY = "R"
"""Opens the review of the slide that was just finished, or the list of earlier ones."""
_ENDS = ("RETURN", "TAB")
_LONGEST = 120


class Opened(NamedTuple):
    """A slide for review, and what its pages say of it. made_by: engine and layer; um_per_px: of its frames, None if not known."""

    review: Review
    keeping: Keeping
    made_by: str
    um_per_px: float | None


class Shelf(Protocol):
    """The slides of the record."""

    def finished(self) -> Sequence[Slide]:
        """Those that are to be reviewed or are signed, the newest first, without crops. Raises StoreError."""

    def open(self, slide_id: str, who: str) -> Opened:
        """One of them, with its crops. Raises RefusedError or StoreError, in one line."""


@dataclass(frozen=True)
class _Asked:
    """A question with something to be typed. what: "who" or "why"."""

    what: str
    page: AskPage

    def typed(self, given: Input) -> _Asked:
        typed = self.page.typed or ""
        if given.kind is Kind.KEY:
            typed = typed[:-1] if given.word == "BACKSPACE" else (typed + given.text)[:_LONGEST]
        return replace(self, page=replace(self.page, typed=typed, fault=""))


class ReviewRoom:
    """Follows the inputs while a review, or the way into one, is on the screen.

    changed: called with a slide whose state a signature or a correction changed.
    """

    def __init__(self, shelf: Shelf, monotonic_s: Callable[[], float], changed: Callable[[Slide], None] = lambda _: None) -> None:
        self._shelf, self._now, self._changed = shelf, monotonic_s, changed
        self._desk: ReviewDesk | None = None
        self._asked: _Asked | None = None
        self._list: SlidesPage | None = None
        self._slide_id = self._who = ""
        self._own = False  # the slide under review can be counted on
        self._none_since = False  # no slide was begun since the start: the newest of the record may be counted on
        self.refused = ""
        """Why the review could not be opened last, in one line."""

    @property
    def is_open(self) -> bool:
        return self._desk is not None or self._asked is not None or self._list is not None

    @property
    def page(self) -> Page | None:
        """What is shown; None while the count has the screen."""
        if self._asked is not None:
            return self._asked.page
        return self._desk.page if self._desk is not None else self._list

    @property
    def types(self) -> bool:
        """Whether keys are letters of something that is typed."""
        return self._asked is not None or (self._desk is not None and getattr(self._desk.page, "reason", None) is not None)

    def enter(self, slide: Slide | None) -> bool:
        """R was pressed: open the slide that was just finished, or show the list of all; False where that cannot be (`refused`)."""
        self._none_since = slide is None
        try:
            if slide is not None and slide.is_open:
                raise RefusedError(_("the slide is being counted: finish it first"))
            if slide is not None and slide.state in (SlideState.REVIEW, SlideState.SIGNED):
                self._ask_who(slide.slide_id)
            else:
                self._show_list()
        except (RefusedError, StoreError) as error:
            self.refused = str(error)
        return self.is_open

    def leave(self) -> None:
        """Back to the count; everything that was done is kept already."""
        self._desk = self._asked = self._list = None

    def take(self, inputs: Sequence[Input], slide: Slide | None) -> bool:
        """Do what was asked; whether the slide of the session is to be counted on. Called in every round while it is open."""
        if slide is not None and slide.is_open:
            self.leave()  # it was started or reopened from elsewhere: the count needs the screen
            return False
        for given in inputs:
            if given.kind is Kind.SCAN:
                self._ignore_scan()
            elif self._asked is not None:
                self._answer(self._asked, given)
            elif self._desk is not None:
                self._follow(self._desk, [given])
            elif self._list is not None:
                self._choose(self._list, given)
        if not inputs and self._desk is not None and self._asked is None:
            self._follow(self._desk, [])
        if self._desk is not None and self._desk.asked == "count on":
            self._desk.asked = ""
            if self._own and (slide is None or slide.slide_id == self._slide_id):
                self.leave()
                return True
            self._desk.tell(_("Only the slide that was finished last can be counted on."), "warn")
        return False

    def _ignore_scan(self) -> None:
        """A label is the next slide's, and none of the letters on it says anything of these cells."""
        words = _("A label was scanned, nothing was done with it: this is the review.")
        if self._asked is not None:
            self._asked = replace(self._asked, page=replace(self._asked.page, fault=words))
        elif self._desk is not None:
            self._desk.tell(words, "warn")
        elif self._list is not None:
            self._list = replace(self._list, head=replace(self._list.head, said=words, level="warn"))

    # ---- the way in

    def _ask_who(self, slide_id: str) -> None:
        self._slide_id = slide_id
        words = _("Your initials, 2 to 4 letters, then Enter. They stand beside all that you say of the cells.")
        choices = (Choice("RETURN", _("Begin the review")), Choice("ESCAPE", _("Not now")))
        self._asked = _Asked("who", AskPage(_("Who reviews?"), words, self._who, choices))

    def _ask_why(self) -> None:
        words = _("The signed report stays what it was; a corrected one will follow it. Why is it corrected?")
        choices = (Choice("RETURN", _("Open it for a correction")), Choice("ESCAPE", _("Leave it signed")))
        self._asked = _Asked("why", AskPage(_("Correct a signed slide"), words, "", choices))

    def _answer(self, asked: _Asked, given: Input) -> None:
        if given.word == "ESCAPE":
            self._asked = None
            return
        if given.word not in _ENDS:
            self._asked = asked.typed(given)
            return
        typed = " ".join((asked.page.typed or "").split())
        if asked.what == "who" and not re.fullmatch(r"[^\W\d_]{2,4}", typed):
            self._asked = replace(asked, page=replace(asked.page, typed="", fault=_("Initials are 2 to 4 letters.")))
            return
        try:
            if asked.what == "who":
                self._open(typed.upper())
            elif self._desk is not None:
                self._desk.correct(typed)
                self._changed(self._desk.review.slide)
            self._asked = None
        except (RefusedError, StoreError) as error:
            self._asked = replace(asked, page=replace(asked.page, fault=f"{str(error)[:1].upper()}{str(error)[1:]}."))

    def _open(self, who: str) -> None:
        opened = self._shelf.open(self._slide_id, who)
        self._who = who
        newest = self._list is None or (self._none_since and self._list.at == 0)
        self._own = own = newest and not opened.review.signatures
        self._desk = ReviewDesk(opened.review, opened.keeping, self._now, made_by=opened.made_by, um_per_px=opened.um_per_px, own=own)

    def _follow(self, desk: ReviewDesk, inputs: Sequence[Input]) -> None:
        before = desk.review.slide.state
        desk.take(inputs)
        if desk.review.slide.state is not before:
            self._changed(desk.review.slide)
        if desk.asked == "correct":
            desk.asked = ""
            self._ask_why()
        if desk.closed:
            self._desk = None
            if self._list is not None:
                self._show_list(self._slide_id)

    # ---- the list

    def _show_list(self, at: str = "") -> None:
        rows = tuple(_row(slide) for slide in self._shelf.finished())
        place = next((number for number, row in enumerate(rows) if row.slide_id == at), 0)
        about = ngettext("{n} slide", "{n} slides", len(rows)).format(n=len(rows))
        self._list = SlidesPage(Head("", _("Finished slides"), about), rows, place, slides_buttons(some=bool(rows)))

    def _choose(self, shown: SlidesPage, given: Input) -> None:
        rows, shown = shown.rows, replace(shown, head=replace(shown.head, said=""))
        self._list = shown
        if given.word.startswith("slide "):
            at = next((number for number, row in enumerate(rows) if f"slide {row.slide_id}" == given.word), shown.at)
            if at == shown.at:
                self._ask_who(rows[at].slide_id)
            self._list = replace(shown, at=at)
            return
        steps = {"UP": -1, "DOWN": 1, "PAGEUP": -8, "PAGEDOWN": 8, "HOME": -len(rows), "END": len(rows)}
        if given.word in steps and rows:
            self._list = replace(shown, at=min(len(rows) - 1, max(0, shown.at + steps[given.word])))
        elif given.word == "RETURN" and rows:
            self._ask_who(rows[shown.at].slide_id)
        elif given.word in ("ESCAPE", "Q", KEY):
            self.leave()


def _row(slide: Slide) -> SlideRow:
    signed = slide.state is SlideState.SIGNED
    cells = ngettext("{n} cell", "{n} cells", len(slide.cells)).format(n=len(slide.cells))
    how = _("signed by {initials}").format(initials=slide.reviewer) if signed else _("to be reviewed")
    done = slide.finished_at or slide.started_at
    return SlideRow(slide.slide_id, slide.specimen, f"{done.astimezone():%Y-%m-%d %H:%M}", f"{cells}, {how}", signed)

"""Turns what is done at the screen into wishes for the pipeline, and says which page is shown. It changes no slide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from device.desk.dialogs import AskAbort, AskFinish, AskSpecimen, Dialog, Starting
from device.desk.looks import forgotten, looked
from device.desk.ready import ready_page
from device.desk.review_room import KEY as REVIEW_KEY
from device.desk.review_room import ReviewRoom
from device.desk.service_page import KEY as SERVICE_KEY
from device.desk.service_page import ServiceDialog, ThisBox
from device.desk.service_room import ServiceRoom
from device.display.inputs import Input, Kind
from device.display.pages import COUNT_PAGE, AskPage, CountPage, Page
from device.language import _
from device.settings.config import SlideSection
from device.slide.commands import Command, Wish
from device.slide.ending import nothing_counted, unusual
from device.slide.model import Slide
from device.slide.tally import tally
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy

QUIT_AGAIN_S = 3.0
"""Q counts when it is pressed twice within this time."""
_HOUR_S = 3600.0

_COMMANDS = {"U": Command.UNDO, "P": Command.PAUSE, "G": Command.GO_ON, "C": Command.REOPEN}


class Desk:
    """Follows the inputs. monotonic_s: the clock that "twice within" and the shift are measured by.

    rules: what is asked at the start of a slide; keys: what another key is taken for, as of a foot switch; taxonomy: of the cells;
    slides_of: how many slides of a specimen there are already. view: the page that is shown while nothing is asked. review: where
    finished slides are reviewed; None: nowhere. stays: the box goes on when a person quits, with the start page.
    """

    def __init__(
        self,
        monotonic_s: Callable[[], float],
        rules: SlideSection = SlideSection(),  # noqa: B008  (frozen)
        keys: Mapping[str, str] = MappingProxyType({}),
        taxonomy: Taxonomy = LEUKEMIA_ATTRI,
        slides_of: Callable[[str], int] = lambda specimen: 0,
        review: ReviewRoom | None = None,
        stays: bool = False,
    ) -> None:
        self.stays, self._rests = stays, False
        self.service: ServiceRoom | None = None
        """What the page "This box" knows; None: there is no such page."""
        self._slide: Slide | None = None  # as it was when inputs were taken last
        self._review, self._refused_s = review, float("-inf")
        self._now, self._rules, self._keys, self._taxonomy, self._slides_of = monotonic_s, rules, keys, taxonomy, slides_of
        self._quit_asked_s = self._scan_ignored_s = float("-inf")
        self._dialog: Dialog | ServiceDialog | None = None
        self._asked_of: tuple[str, bool] = ("", False)  # the slide that the dialog is about, and whether it was open
        self._operator, self._operator_until_s = "", float("-inf")
        self.view: Page = COUNT_PAGE
        self._fields = 0  # of the slide, when it was last looked at

    @property
    def page(self) -> Page:
        """What is shown: the review, the question that is asked, otherwise `view`."""
        if self._review is not None and (page := self._review.page) is not None:
            return page
        if self._dialog is not None:
            return self._dialog.page
        return ready_page(self._slide) if self._rests else self.view

    def rest(self) -> None:
        """Show the start page until somebody does something."""
        self._rests, self._dialog, self._quit_asked_s = True, None, float("-inf")

    @property
    def typing(self) -> bool:
        """Keys are letters of an answer, not commands."""
        page = None if self._dialog is None else self._dialog.page
        return isinstance(page, AskPage) and page.typed is not None

    @property
    def guarded(self) -> bool:
        """A key is a command of the count or of the review, so that what a scanner types must be told from it."""
        return not self.typing and not (self._review is not None and self._review.types)

    def take(self, inputs: Sequence[Input], slide: Slide | None) -> list[Wish]:
        """The wishes that these inputs amount to; the page may change by them."""
        self._slide = slide
        if self._dialog is not None and self._asked_of != _about(slide):
            self._dialog = None  # somebody else has answered, by `leukoscope slide …`
        fields = 0 if slide is None else len(slide.fields)
        if fields != self._fields and isinstance(self.view, CountPage):
            self.view = forgotten(self.view)
        self._fields = fields
        wishes: list[Wish] = []
        for given in inputs:
            if self.reviewing and given.kind is not Kind.CLOSED:
                wishes += self._reviewed([given], slide)
            elif given.kind is not Kind.DRAG and not self._stays_at_rest(given):
                wishes += self._take(given, slide)
        return wishes if inputs or not self.reviewing else self._reviewed([], slide)

    @property
    def reviewing(self) -> bool:
        """Whether a review has the screen and the keys."""
        return self._review is not None and self._review.is_open

    def _reviewed(self, inputs: Sequence[Input], slide: Slide | None) -> list[Wish]:
        """Hand on what was done at the review; it has no wish but that counting goes on."""
        counts_on = self._review is not None and self._review.take([self._as_meant(given) for given in inputs], slide)
        return [Wish(Command.REOPEN)] if counts_on else []

    def notice(self, slide: Slide | None) -> str:
        """A line that stands before every message, while the desk waits for a second press; "" otherwise."""
        if self._review is not None and self._now() - self._refused_s < QUIT_AGAIN_S:
            return f"{self._review.refused[:1].upper()}{self._review.refused[1:]}."
        if self._now() - self._scan_ignored_s <= QUIT_AGAIN_S:
            return _("A label was scanned, nothing was done with it: a slide is open.")
        if self._now() - self._quit_asked_s > QUIT_AGAIN_S:
            return ""
        if self.stays:
            return _("Press Q again for the start page; a slide that is open is paused")
        if slide is not None and slide.is_open:
            return _("Press Q again to quit; the slide stays open and waits for the next start")
        return _("Press Q again to quit")

    def _stays_at_rest(self, given: Input) -> bool:
        """Whether the start page stays: quitting once more changes nothing, all else is done as ever."""
        self._rests = self._rests and (given.kind is Kind.CLOSED or self._as_meant(given).word in ("Q", "ESCAPE"))
        return self._rests

    def _looks(self, given: Input) -> bool:
        """Whether the input was about how the count is looked at alone."""
        page = looked(self.view, given) if isinstance(self.view, CountPage) else None
        if page is not None:
            self.view = page
        return page is not None

    def _take(self, given: Input, slide: Slide | None) -> list[Wish]:
        if given.kind is Kind.CLOSED:
            return [Wish(Command.QUIT)]
        given = self._as_meant(given)
        if self._dialog is not None:
            return self._answered(self._dialog.take(given))
        if self._looks(given) or self._scanned(given, slide):
            return []
        if given.word in ("Q", "ESCAPE"):
            return self._quit()
        if given.word == REVIEW_KEY and self._review is not None:
            self._refused_s = float("-inf") if self._review.enter(slide) else self._now()
            return []
        wishes = self._asked(given.word, slide)
        if wishes or self._dialog is not None:
            self._quit_asked_s = float("-inf")  # whoever goes on working has thought better of it
        return wishes

    def _quit(self) -> list[Wish]:
        """Q was pressed: the second time within a while is meant."""
        if self._now() - self._quit_asked_s > QUIT_AGAIN_S:
            self._quit_asked_s = self._now()
            return []
        return [Wish(Command.QUIT)]

    def _as_meant(self, given: Input) -> Input:
        """A foot switch's key as the key that it is taken for; while something is typed keys are what they are."""
        typing = self.typing or (self._review is not None and self._review.types)
        meant = self._keys.get(given.word) if given.kind is Kind.KEY and not typing else None
        return given if meant is None else replace(given, word=meant, text="")

    def _asked(self, word: str, slide: Slide | None) -> list[Wish]:
        """The wishes of a key that is pressed while nothing is asked; it may open a question."""
        is_open = slide is not None and slide.is_open
        question: Dialog | ServiceDialog | Wish | None = _wish(word)
        if word == SERVICE_KEY and self.service is not None and not is_open:
            question = ThisBox(self.service)
        elif word == "S":
            asks = self._rules.ask_specimen and not is_open
            question = Starting(self._rules, self._slides_of, self._remembered).next() if asks else Wish(Command.START)
        elif word == "F":
            question = Wish(Command.FINISH, sure=True)
            if slide is not None and is_open:
                counted = tally(slide, self._taxonomy)
                doubts = unusual(slide, counted)
                question = AskFinish(doubts) if doubts and not nothing_counted(counted) else question
        elif word == "A":
            question = Wish(Command.ABORT)
            if slide is not None and is_open:
                question = AskAbort(tally(slide, self._taxonomy).white_cells, slide.specimen)
        self._asked_of = _about(slide)
        return self._answered(question)

    def _answered(self, answer: Dialog | ServiceDialog | Wish | None) -> list[Wish]:
        """Go on to the next question; or the wish that the answers amount to. The service page goes back to the start page."""
        self._rests = self._rests or (answer is None and isinstance(self._dialog, ThisBox))
        self._dialog = None if isinstance(answer, Wish) else answer
        if not isinstance(answer, Wish):
            return []
        if answer.command is Command.START and answer.operator:
            self._operator, self._operator_until_s = answer.operator, self._now() + self._rules.operator_hours * _HOUR_S
        return [answer]

    def _scanned(self, given: Input, slide: Slide | None) -> bool:
        """Whether it was a label, scanned while nothing was asked: between two slides it is the next one's, as after S."""
        if given.kind is not Kind.SCAN:
            return False
        if self._rules.ask_specimen and not (slide is not None and slide.is_open):
            self._dialog = AskSpecimen(Starting(self._rules, self._slides_of, self._remembered), given.text)
            self._asked_of = _about(slide)
        else:
            self._scan_ignored_s = self._now()
        return True

    @property
    def _remembered(self) -> str:
        """The initials of this shift; "" where there are none, or it is over."""
        return self._operator if self._now() < self._operator_until_s else ""


def _wish(word: str) -> Wish | None:
    command = _COMMANDS.get(word)
    return None if command is None else Wish(command)


def _about(slide: Slide | None) -> tuple[str, bool]:
    return ("", False) if slide is None else (slide.slide_id, slide.is_open)

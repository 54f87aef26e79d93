"""The questions that the desk asks, each a small state that takes keys and presses until it is answered. Nothing is drawn here.

A barcode scanner is a keyboard that types quickly and ends with Enter or Tab; so is a person's hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from device.desk.words import REASONS
from device.display.inputs import Input, Kind
from device.display.pages import AskPage, Choice
from device.language import _, ngettext
from device.settings.config import SlideSection
from device.slide.commands import Command, Wish
from device.slide.identity import initials, specimen_id

_LONGEST_TYPED = 80
_ENDS = ("RETURN", "TAB")


class Dialog(Protocol):
    """One question. Frozen: an answer gives the next question, or the wish that the answers amount to, or None: given up."""

    @property
    def page(self) -> AskPage: ...

    def take(self, given: Input) -> Dialog | Wish | None: ...


def edited(typed: str, given: Input) -> str:
    """`typed` after one more key."""
    if given.kind is not Kind.KEY:
        return typed
    if given.word == "BACKSPACE":
        return typed[:-1]
    return (typed + given.text)[:_LONGEST_TYPED] if given.word not in _ENDS else typed


@dataclass(frozen=True)
class Starting:
    """What is asked before a slide is opened, and the answers so far. slides_of: how many slides bear an id already.

    ask_operator: initials are asked for, because none are remembered.
    """

    rules: SlideSection
    slides_of: Callable[[str], int]
    operator: str = ""
    specimen: str = ""
    sure: bool = False

    def next(self) -> Dialog | Wish:
        """The first question that is not answered yet."""
        if not self.specimen:
            return AskSpecimen(self)
        if not self.sure and (before := self.slides_of(self.specimen)):
            return AskSecond(self, before)
        if not self.operator:
            return AskOperator(self)
        return Wish(Command.START, specimen=self.specimen, operator=self.operator, sure=self.sure)


@dataclass(frozen=True)
class AskSpecimen:
    """The specimen's id, scanned or typed."""

    starting: Starting
    typed: str = ""
    fault: str = ""

    @property
    def page(self) -> AskPage:
        words = _("Scan the label of the tube or the slide, or type its number and press Enter. Never a name.")
        choices = [Choice("RETURN", _("Start")), Choice("ESCAPE", _("Not now"))]
        if self.starting.operator:
            words += " " + _("Operator: {initials}.").format(initials=self.starting.operator)
            choices.insert(1, Choice("F2", _("Another operator")))
        return AskPage(_("Which specimen?"), words, self.typed, tuple(choices), self.fault)

    def take(self, given: Input) -> Dialog | Wish | None:
        if given.word == "ESCAPE":
            return None
        if given.word == "F2" and self.starting.operator:
            return replace(self, starting=replace(self.starting, operator=""))
        if given.word not in _ENDS:
            return replace(self, typed=edited(self.typed, given), fault="")
        try:
            specimen = specimen_id(self.typed, self.starting.rules)
        except ValueError as error:
            return replace(self, typed="", fault=str(error))  # the next scan begins anew
        return replace(self.starting, specimen=specimen).next()


@dataclass(frozen=True)
class AskSecond:
    """A specimen that has a slide already: a second one of it, or the wrong tube."""

    starting: Starting
    before: int

    @property
    def page(self) -> AskPage:
        title = _("Second slide of this specimen?") if self.before == 1 else _("Another slide of this specimen?")
        words = ngettext("{id} has {n} slide in the record.", "{id} has {n} slides in the record.", self.before)
        choices = Choice("S", _("Yes, one more slide of it")), Choice("ESCAPE", _("No, ask for the number again"))
        return AskPage(title, words.format(id=self.starting.specimen, n=self.before), choices=choices)

    def take(self, given: Input) -> Dialog | Wish | None:
        match given.word:
            case "S":
                return replace(self.starting, sure=True).next()
            case "ESCAPE":
                return AskSpecimen(replace(self.starting, specimen=""))
            case _:
                return self


@dataclass(frozen=True)
class AskOperator:
    """The initials of who counts."""

    starting: Starting
    typed: str = ""
    fault: str = ""

    @property
    def page(self) -> AskPage:
        words = _("Your initials, 2 to 4 letters, then Enter. They are remembered for this shift.")
        choices = Choice("RETURN", _("Start")), Choice("ESCAPE", _("Not now"))
        return AskPage(_("Who counts?"), words, self.typed, choices, self.fault)

    def take(self, given: Input) -> Dialog | Wish | None:
        if given.word == "ESCAPE":
            return None
        if given.word not in _ENDS:
            return replace(self, typed=edited(self.typed, given), fault="")
        try:
            return replace(self.starting, operator=initials(self.typed)).next()
        except ValueError as error:
            return replace(self, typed="", fault=str(error))


@dataclass(frozen=True)
class AskFinish:
    """An end that is unusual: the same key again, or back to counting."""

    doubts: tuple[str, ...]

    @property
    def page(self) -> AskPage:
        choices = Choice("F", _("Finish all the same")), Choice("P", _("Go on counting"))
        return AskPage(_("Finish this slide?"), " ".join(self.doubts), choices=choices)

    def take(self, given: Input) -> Dialog | Wish | None:
        if given.word == "F":
            return Wish(Command.FINISH, sure=True)
        return None if given.word in ("P", "G", "ESCAPE") else self


@dataclass(frozen=True)
class AskAbort:
    """Why a slide is aborted: from the list, or in words. counted: white cells that would not be reviewed."""

    counted: int
    specimen: str = field(default="", repr=False)

    @property
    def page(self) -> AskPage:
        words = _("Nothing was counted on it.")
        if self.counted:
            kept = ngettext("{n} white cell stays in the record", "{n} white cells stay in the record", self.counted)
            words = _("{cells}, without a review.").format(cells=kept.format(n=self.counted))
        listed = (Choice(str(number), _(reason)) for number, reason in enumerate(REASONS, 1))
        choices = *listed, Choice(str(len(REASONS) + 1), _("Another reason")), Choice("ESCAPE", _("Do not abort"))
        return AskPage(_("Abort this slide? Why?"), words, choices=choices)

    def take(self, given: Input) -> Dialog | Wish | None:
        if given.word == "ESCAPE":
            return None
        if given.word.isdigit() and 1 <= int(given.word) <= len(REASONS):
            return SureToAbort(REASONS[int(given.word) - 1])
        return AskReason(self.specimen) if given.word == str(len(REASONS) + 1) else self


@dataclass(frozen=True)
class AskReason:
    """A reason in a person's own words."""

    specimen: str = field(default="", repr=False)
    typed: str = ""
    fault: str = ""

    @property
    def page(self) -> AskPage:
        words = _("A few words, then Enter. They are sent with the summary: no name and no number of a patient or specimen.")
        choices = Choice("RETURN", _("Take this reason")), Choice("ESCAPE", _("Do not abort"))
        return AskPage(_("Why is this slide aborted?"), words, self.typed, choices, self.fault)

    def take(self, given: Input) -> Dialog | Wish | None:
        if given.word == "ESCAPE":
            return None
        if given.word not in _ENDS:
            return replace(self, typed=edited(self.typed, given), fault="")
        reason = " ".join(self.typed.split())
        if len(reason) < 3:
            return replace(self, fault=_("A word or two are needed."))
        if self.specimen and self.specimen.casefold() in reason.casefold():
            return replace(self, fault=_("The reason is sent with the summary: leave the specimen's number out of it."))
        return SureToAbort(reason)


@dataclass(frozen=True)
class SureToAbort:
    """The second press."""

    reason: str

    @property
    def page(self) -> AskPage:
        choices = Choice("A", _("Abort the slide")), Choice("ESCAPE", _("Do not abort"))
        return AskPage(_("Abort it for good?"), _("Reason: {reason}.").format(reason=_(self.reason)), choices=choices)

    def take(self, given: Input) -> Dialog | Wish | None:
        if given.word == "A":
            return Wish(Command.ABORT, reason=self.reason)
        return None if given.word == "ESCAPE" else self

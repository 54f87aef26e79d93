"""Turns what is done at the screen into wishes for the pipeline, and says which page is shown. It changes no slide."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from device.desk.looks import forgotten, looked
from device.display.inputs import Input, Kind
from device.display.pages import COUNT_PAGE, CountPage, Page
from device.language import _
from device.slide.commands import Command, Wish
from device.slide.model import Slide

QUIT_AGAIN_S = 3.0
"""Q counts when it is pressed twice within this time."""

_COMMANDS = {"S": Command.START, "F": Command.FINISH, "U": Command.UNDO, "P": Command.PAUSE}


class Desk:
    """Follows the inputs. monotonic_s: the clock that "twice within" is measured by."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._now = monotonic_s
        self._quit_asked_s = float("-inf")
        self.page: Page = COUNT_PAGE
        self._fields = 0  # of the slide, when it was last looked at

    def take(self, inputs: Sequence[Input], slide: Slide | None) -> list[Wish]:
        """The wishes that these inputs amount to; the page may change by them."""
        fields = 0 if slide is None else len(slide.fields)
        if fields != self._fields and isinstance(self.page, CountPage):
            self.page = forgotten(self.page)
        self._fields = fields
        return [wish for given in inputs if not self._looks(given) for wish in self._take(given)]

    def notice(self, slide: Slide | None) -> str:
        """A line that stands before every message, while the desk waits for a second press; "" otherwise."""
        if self._now() - self._quit_asked_s > QUIT_AGAIN_S:
            return ""
        return (
            _("Press Q again to quit; the slide is still open") if slide is not None and slide.is_open else _("Press Q again to quit")
        )

    def _looks(self, given: Input) -> bool:
        """Whether the input was about how the count is looked at alone."""
        page = looked(self.page, given) if isinstance(self.page, CountPage) else None
        if page is not None:
            self.page = page
        return page is not None

    def _take(self, given: Input) -> list[Wish]:
        if given.kind is Kind.CLOSED:
            return [Wish(Command.QUIT)]
        if given.kind is Kind.DRAG:
            return []
        if given.word in ("Q", "ESCAPE"):
            if self._now() - self._quit_asked_s > QUIT_AGAIN_S:
                self._quit_asked_s = self._now()
                return []
            return [Wish(Command.QUIT)]
        command = _COMMANDS.get(given.word)
        if command is None:
            return []
        self._quit_asked_s = float("-inf")  # whoever goes on working has thought better of it
        return [Wish(command)]

"""The person at the demo's screen: presses the keys that a technician and a reviewer would press, for what the screen shows.

Nothing else is simulated: the keys go the way of all keys, and each is pressed after the picture that asks for it was shown. The
reviewer knows the rendered film's truth, as nobody does of blood, and signs as DR, the demo's reviewer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType

from typing_extensions import Self

from device.camera.base import CameraState
from device.display.base import Display, ScreenView
from device.display.inputs import Input, Kind, key
from device.display.pages import AskPage
from device.display.pages_review import GalleryPage, ReviewPage, Shown, SignPage
from device.slide.model import SlideState

SPECIMEN, OPERATOR, REVIEWER = "DEMO-2026-0417", "DO", "DR"
REASON = "demo reviewer: all of the demo's film was read"
_REST_S, _PATIENCE_S = 0.25, 2.0
"""Between two keys: a quick hand, slower than the look that the desk waits for at a blast; and
until a key is pressed once more that seems to have done nothing."""


class DemoPerson:
    """A display whose keys press themselves. shown: the real one; truth: what a cell is, as a verdict; now_s: seconds, ever
    growing.

    presses: keys so far, what is typed counted once. It quits when the slide is signed.
    """

    def __init__(self, shown: Display, truth: Callable[[Shown], str], now_s: Callable[[], float]) -> None:
        self._shown, self._truth, self._now = shown, truth, now_s
        self._view: ScreenView | None = None
        self._pressed_s, self._pressed = float("-inf"), ("", "")
        self._looked_at: set[int] = set()
        self.presses = 0

    def __enter__(self) -> Self:
        self._shown.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._shown.__exit__(kind, error, trace)

    def show(self, view: ScreenView) -> None:
        """Show it, and look at it."""
        self._view = view
        self._shown.show(view)

    def inputs(self) -> Sequence[Input]:
        """What the person presses now, for the picture that was shown last; nothing while there is nothing to do."""
        view, now = self._view, self._now()
        if view is None or now - self._pressed_s < _REST_S:
            return ()
        keys = self._answer(view)
        if not keys:
            return ()
        pressed = (type(view.page).__name__, keys[0].word)
        same = pressed == self._pressed and not isinstance(view.page, ReviewPage) and keys[0].word != "Q"
        if same and now - self._pressed_s < _PATIENCE_S:
            return ()
        self._pressed_s, self._pressed, self._view = now, pressed, None  # the next key waits for the next picture
        self.presses += 1
        return keys

    def _answer(self, view: ScreenView) -> Sequence[Input]:
        match view.page:
            case AskPage() as page:
                return self._answered(page, view)
            case SignPage() as page:
                return self._signed(page)
            case GalleryPage() as page:
                return self._reviewed(page)
            case ReviewPage():
                return [key("ESCAPE")]
        return self._counted(view)

    def _counted(self, view: ScreenView) -> Sequence[Input]:
        """Start, wait, finish at the target or at the film's end, review, quit when it is signed."""
        slide = view.slide
        if slide is None or slide.state is SlideState.ABORTED:
            return [key("S")] if view.frame is not None else ()
        if slide.state in (SlideState.REVIEW, SlideState.SIGNED):
            return [key("R" if slide.state is SlideState.REVIEW else "Q")]
        at_target = view.differential is not None and view.differential.white_cells >= slide.target_cells > 0
        return [key("F")] if at_target or view.camera.state is CameraState.ENDED else ()

    def _answered(self, page: AskPage, view: ScreenView) -> Sequence[Input]:
        """The scanner types the specimen, fingers the initials; any other question gets the answer that is offered first."""
        if page.typed is None:
            return [key(page.choices[0].key)]
        if page.typed:
            return [key("RETURN")]
        if view.slide is not None and view.slide.state is SlideState.REVIEW:
            return typed(REVIEWER)
        return typed(OPERATOR if "initials" in f"{page.title} {page.words}".lower() else SPECIMEN)

    def _reviewed(self, page: GalleryPage) -> Sequence[Input]:
        """Say of each cell what it is: Space where it was told rightly, else the key of its class; then accept film, then sign."""
        cell = page.current
        if page.head.signed:
            return [key("Q")]
        if cell is None or cell.cell_id in self._looked_at:
            usable = {button.key for button in page.buttons if button.usable}
            return [key("K" if "K" in usable else "G")]
        self._looked_at.add(cell.cell_id)
        true = self._truth(cell)
        if cell.told == true:
            return [key("SPACE")]
        return [key(next(entry.key for entry in page.legend if entry.verdict == true))]

    def _signed(self, page: SignPage) -> Sequence[Input]:
        if page.head.signed:
            return [key("ESCAPE")]
        if page.reason == "":
            return typed(REASON)
        if not any(button.key == "RETURN" and button.usable for button in page.buttons):
            self._looked_at.clear()  # something is left; the desk leads to it
            return [key("ESCAPE")]
        return [key("RETURN")]


def typed(words: str) -> list[Input]:
    """The keys that type these words, and Enter."""
    return [*(Input(Kind.KEY, letter.upper() if letter.isalnum() else "CHARACTER", letter) for letter in words), key("RETURN")]

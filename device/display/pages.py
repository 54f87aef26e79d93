"""What the screen shows besides the count, as plain values: the desk makes them, the drawing reads them and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from device.display.pages_review import ReviewPages


@dataclass(frozen=True)
class CountPage:
    """The living picture and the count. bare: no boxes or labels over the picture. far: few words, large enough to be read at 2 m.

    pointed: where on the picture a person pressed, in shares of its width and height; the cell there is told in words.
    """

    bare: bool = False
    far: bool = False
    pointed: tuple[float, float] | None = None


@dataclass(frozen=True)
class Choice:
    """One answer that can be given: the key that gives it, and its words."""

    key: str
    words: str


@dataclass(frozen=True)
class AskPage:
    """A question over the living picture. typed: what has been typed so far, None where nothing is to be typed.

    fault: why the last answer was not taken, with what is possible; "" while all is well.
    """

    title: str
    words: str = ""
    typed: str | None = None
    choices: tuple[Choice, ...] = ()
    fault: str = ""


COUNT_PAGE = CountPage()
Page = CountPage | AskPage | ReviewPages
"""What there is to show."""

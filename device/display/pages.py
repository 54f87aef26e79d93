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


@dataclass(frozen=True)
class ServiceRow:
    """One thing of the box in a few words. level: "" plain, else ok, busy, warn or fail; share: 0 to 1 of it done or None."""

    name: str
    words: str
    level: str = ""
    share: float | None = None


@dataclass(frozen=True)
class ServicePage:
    """The box beside the microscope, and what can be done. words: one sentence under the title; "" for none."""

    title: str
    words: str
    rows: tuple[ServiceRow, ...]
    choices: tuple[Choice, ...]


COUNT_PAGE = CountPage()
Page = CountPage | AskPage | ServicePage | ReviewPages
"""What there is to show."""

"""The state of the pictures behind a slide's counts: too dark, too bright, out of focus or grey, and where the limit of boxes was met.

A count is worth what its pictures are worth: a slide of black fields has no blasts either. What is said here stands wherever counts do.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from statistics import median

from device.camera.focus import EXPECTED, FAR_SHARE
from device.camera.quality import PictureFault
from device.slide.model import Slide

_SHOWN = {
    PictureFault.DARK: "too dark",
    PictureFault.BRIGHT: "too bright",
    PictureFault.BLURRED: "out of focus",
    PictureFault.GREY: "without colour",
}
_KINDS = {"pages": "with several pages", "pixels": "with unusual pixels"}


@dataclass(frozen=True)
class PictureState:
    """How many of a slide's fields have which fault, and what could not be counted at all.

    fields: those that count; judged: those of them whose light and colour were looked at (not before version 0.2). A field may have
    several faults. at_limit: fields with as many boxes as the network may give, so that their cells are at least so many.
    skipped: stored pictures that were not read, by kind. first_look: fields whose second look failed.
    """

    fields: int
    judged: int
    faults: Counter[PictureFault]
    at_limit: int
    blank_views: int
    skipped: Counter[str]
    first_look: int = 0

    @classmethod
    @lru_cache(1)
    def of(cls, slide: Slide) -> PictureState:
        """The state of `slide` as it stands, kept for the one asked last: a screen asks with every frame; a change makes a new one."""
        each = field_faults(slide)
        return cls(
            fields=len(slide.fields),
            judged=sum(field.faults is not None for field in slide.fields),
            faults=Counter(fault for faults in each for fault in faults),
            at_limit=sum(field.limit_met for field in slide.fields),
            blank_views=slide.blank_views,
            skipped=Counter(picture.kind for picture in slide.skipped),
            first_look=sum(bool(field.naming_fault) for field in slide.fields),
        )

    @property
    def counts(self) -> str:
        """All faults with their counts, also those of no field."""
        return ", ".join(f"{self.faults[fault]} {words}" for fault, words in _SHOWN.items())

    @property
    def at_least(self) -> str:
        """What stands before a count of this slide's cells: "at least " where a limit was met, else nothing."""
        return "at least " if self.at_limit else ""

    def sentences(self, only_grave: bool = False) -> tuple[str, ...]:
        """What a reader of the counts must know; nothing where all is well. only_grave: without bleached glass and rare blank views."""
        said = []
        if self.faults.total() > (self.faults[PictureFault.BRIGHT] if only_grave else 0):
            named = ", ".join(f"{self.faults[fault]} {words}" for fault, words in _SHOWN.items() if self.faults[fault])
            said.append(f"Poor pictures: of {count_of(self.fields, 'field')} {named}; counts of such fields are not to be relied on.")
        if self.at_limit:
            said.append(
                f"In {count_of(self.at_limit, 'field')} more cells were found than the network may give: counts are at least so many."
            )
        if self.first_look:
            said.append(
                f"In {count_of(self.first_look, 'field')} the second look failed: the cells bear the first look's names, "
                "which are not to be relied on."
            )
        if self.blank_views and (4 * self.blank_views >= self.fields or not only_grave):  # a live stage rests off the film now and then
            said.append(
                f"In {count_of(self.blank_views, 'view')} nothing of the film was to be seen (dark, or bare glass): not counted."
            )
        if self.skipped:
            kinds = ", ".join(f"{count} {_KINDS.get(kind, kind)}" for kind, count in self.skipped.items())
            said.append(f"Not read and not counted: {count_of(self.skipped.total(), 'picture')} ({kinds}).")
        return tuple(said)


def field_faults(slide: Slide) -> tuple[tuple[PictureFault, ...], ...]:
    """The faults of each field, in the order of the fields.

    A field is out of focus below half of the sharpness of this slide's middle field, or of what a film in focus has at least.
    """
    usual = max(EXPECTED, median(field.focus for field in slide.fields)) if slide.fields else 0.0
    return tuple(
        (*(field.faults or ()), *((PictureFault.BLURRED,) if field.focus < FAR_SHARE * usual else ())) for field in slide.fields
    )


def shown_faults(faults: tuple[PictureFault, ...]) -> str:
    """Faults in words, for one field."""
    return ", ".join(_SHOWN[fault] for fault in faults)


def count_of(count: int, noun: str) -> str:
    """A count in words: "1 field", "2 fields"."""
    return f"{count} {noun}" + ("" if count == 1 else "s")

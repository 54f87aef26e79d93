"""The state of the pictures behind a slide's counts: too dark, too bright, out of focus or grey, and where the limit of boxes was met.

A count is worth what its pictures are worth: a slide of black fields has no blasts either. What is said here stands wherever counts do.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from threading import Lock

from device.camera.focus import EXPECTED, FAR_SHARE
from device.camera.quality import PictureFault
from device.language import N_, _, ngettext
from device.slide.model import Slide
from device.slide.running import RunningPictures

_SHOWN = {
    PictureFault.DARK: N_("too dark"),
    PictureFault.BRIGHT: N_("too bright"),
    PictureFault.BLURRED: N_("out of focus"),
    PictureFault.GREY: N_("without colour"),
}
_KINDS = {"pages": N_("with several pages"), "pixels": N_("with unusual pixels")}


_RUNNING, _GUARD = RunningPictures(), Lock()
"""Of the slide that was asked for last: the next state of the same slide differs from it by a field or two."""


@dataclass(frozen=True)
class PictureState:
    """How many of a slide's fields have which fault, and what could not be counted at all.

    fields: those that count; judged: those of them whose light and colour were looked at (not before version 0.2). A field may have
    several faults. at_limit: fields with as many boxes as the network may give, so that their cells are at least so many.
    skipped: stored pictures that were not read, by kind. first_look: fields whose second look failed. non_finite: boxes and attributes
    that the engine told and that were no numbers.
    """

    fields: int
    judged: int
    faults: Counter[PictureFault]
    at_limit: int
    blank_views: int
    skipped: Counter[str]
    first_look: int = 0
    non_finite: int = 0

    @classmethod
    @lru_cache(1)
    def of(cls, slide: Slide) -> PictureState:
        """The state of `slide` as it stands, kept for the one asked last: a screen asks with every frame; a change makes a new one."""
        with _GUARD:
            seen = _RUNNING
            seen.follow(slide.fields)
            faults = Counter({fault: count for fault, count in seen.faults.items() if count})
            blurred = seen.below(FAR_SHARE * max(EXPECTED, seen.median()))
            if blurred:
                faults[PictureFault.BLURRED] += blurred
            return cls(
                fields=len(slide.fields),
                judged=seen.judged,
                faults=faults,
                at_limit=seen.at_limit,
                blank_views=slide.blank_views,
                skipped=Counter(picture.kind for picture in slide.skipped),
                first_look=seen.first_look,
                non_finite=seen.non_finite,
            )

    @property
    def counts(self) -> str:
        """All faults with their counts, also those of no field."""
        return ", ".join(f"{self.faults[fault]} {_(words)}" for fault, words in _SHOWN.items())

    @property
    def at_least(self) -> str:
        """What stands before a count of this slide's cells: "at least " where a limit was met, else nothing."""
        return _("at least") + " " if self.at_limit else ""

    def sentences(self, only_grave: bool = False) -> tuple[str, ...]:
        """What a reader of the counts must know; nothing where all is well. only_grave: without bleached glass and rare blank views."""
        said = []
        if self.faults.total() > (self.faults[PictureFault.BRIGHT] if only_grave else 0):
            named = ", ".join(f"{self.faults[fault]} {_(words)}" for fault, words in _SHOWN.items() if self.faults[fault])
            poor = _("Poor pictures: of {fields} {faults}; counts of such fields are not to be relied on.")
            said.append(poor.format(fields=count_of(self.fields, "field"), faults=named))
        if self.at_limit:
            more = _("In {fields} more cells were found than the network may give: counts are at least so many.")
            said.append(more.format(fields=count_of(self.at_limit, "field")))
        if self.first_look:
            first = _("In {fields} the second look failed: the cells bear the first look's names, which are not to be relied on.")
            said.append(first.format(fields=count_of(self.first_look, "field")))
        if self.non_finite:
            n = self.non_finite
            strange = ngettext(
                "The engine told {n} value without meaning, which was left out: cells may be missing.",
                "The engine told {n} values without meaning, which were left out: cells may be missing.",
                n,
            )
            said.append(strange.format(n=n))
        if self.blank_views and (4 * self.blank_views >= self.fields or not only_grave):  # a live stage rests off the film now and then
            bare = _("In {views} nothing of the film was to be seen (dark, or bare glass): not counted.")
            said.append(bare.format(views=count_of(self.blank_views, "view")))
        if self.skipped:
            kinds = ", ".join(f"{count} {_(_KINDS.get(kind, kind))}" for kind, count in self.skipped.items())
            unread = _("Not read and not counted: {pictures} ({kinds}).")
            said.append(unread.format(pictures=count_of(self.skipped.total(), "picture"), kinds=kinds))
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
    return ", ".join(_(_SHOWN[fault]) for fault in faults)


def count_of(count: int, noun: str) -> str:
    """A count in words: "1 field", "2 fields". noun: one of those below; others are in English."""
    forms = {
        "field": ngettext("{n} field", "{n} fields", count),
        "cell": ngettext("{n} cell", "{n} cells", count),
        "white cell": ngettext("{n} white cell", "{n} white cells", count),
        "white blood cell": ngettext("{n} white blood cell", "{n} white blood cells", count),
        "artefact": ngettext("{n} artefact", "{n} artefacts", count),
        "view": ngettext("{n} view", "{n} views", count),
        "picture": ngettext("{n} picture", "{n} pictures", count),
        "summary": ngettext("{n} summary", "{n} summaries", count),
    }
    return forms.get(noun, "{n} " + noun + ("" if count == 1 else "s")).format(n=count)

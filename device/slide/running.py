"""Counts of a slide that grows, kept up to date by the fields that changed: what a long slide costs with every field does not grow."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterator

from device.camera.quality import PictureFault
from device.slide.model import Cell, Field, Slide
from device.slide.tally import ASIDE, Differential, counted_as, from_counts
from engines.taxonomy import Taxonomy

Told = int | str
_PIECE = 256


def changed_fields(before: tuple[Field, ...], now: tuple[Field, ...]) -> Iterator[tuple[Field, int]]:
    """Fields that went (-1) and that came (1) from one state of a slide to the next."""
    if before is now:
        return
    for at in range(0, min(len(before), len(now)), _PIECE):
        if before[at : at + _PIECE] == now[at : at + _PIECE]:  # the same objects: fields are compared by identity, here without a loop
            continue
        for old, new in zip(before[at : at + _PIECE], now[at : at + _PIECE], strict=False):
            if old is not new:
                yield old, -1
                yield new, 1
    for old in before[len(now) :]:
        yield old, -1
    for new in now[len(before) :]:
        yield new, 1


class RunningTally:
    """The differential of one slide, and how its cells look by type and group, for whatever state of it was given last."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._taxonomy = taxonomy
        self._fields: tuple[Field, ...] = ()
        # each by whether groups only are told, as on a foreign film
        self._counts: tuple[Counter[Told | None], ...] = (Counter(), Counter())
        self._cells: tuple[Counter[Told], ...] = (Counter(), Counter())
        self._words: tuple[defaultdict[Told, Counter[tuple[str, str]]], ...] = (defaultdict(Counter), defaultdict(Counter))

    def follow(self, fields: tuple[Field, ...]) -> None:
        """Take in the slide's fields as they are now."""
        for field, times in changed_fields(self._fields, fields):
            for cell in field.cells:
                self._add(cell, times)
        self._fields = fields

    def differential(self, slide: Slide) -> Differential:
        """Of the fields followed last; `slide` tells whether its film is foreign."""
        counts = self._counts[bool(slide.foreign)]
        told = Counter({told: n for told, n in counts.items() if told is not None and told != ASIDE and n})
        return from_counts(told, counts[None], self._taxonomy)

    def words(self, slide: Slide, told: Told) -> tuple[int, Counter[tuple[str, str]]]:
        """How many cells are told as `told`, and how often each attribute (key, word) is seen among them."""
        which = bool(slide.foreign)
        return self._cells[which][told], self._words[which][told]

    def _add(self, cell: Cell, times: int) -> None:
        words = cell.attribute_words(self._taxonomy).items()
        for groups_only, (counts, cells, seen) in enumerate(zip(self._counts, self._cells, self._words, strict=True)):
            counts[counted_as(cell, self._taxonomy, bool(groups_only))] += times
            told = cell.told(bool(groups_only))
            cells[told] += times
            for item in words:
                seen[told][item] += times


class RunningPictures:
    """The pictures' state of one slide: sharpness in order, and how many fields have which fault."""

    def __init__(self) -> None:
        self._fields: tuple[Field, ...] = ()
        self._focus: list[float] = []
        self.faults: Counter[PictureFault] = Counter()
        self.judged = self.at_limit = self.first_look = self.non_finite = 0

    def follow(self, fields: tuple[Field, ...]) -> None:
        """Take in the slide's fields as they are now."""
        for field, times in changed_fields(self._fields, fields):
            if times > 0:
                insort(self._focus, field.focus)
            else:
                del self._focus[bisect_left(self._focus, field.focus)]
            for fault in field.faults or ():
                self.faults[fault] += times
            self.judged += times * (field.faults is not None)
            self.at_limit += times * field.limit_met
            self.first_look += times * bool(field.naming_fault)
            self.non_finite += times * field.non_finite
        self._fields = fields

    def median(self) -> float:
        """Of the sharpness; 0 without fields."""
        focus, middle = self._focus, len(self._focus) // 2
        return 0.0 if not focus else focus[middle] if len(focus) % 2 else (focus[middle - 1] + focus[middle]) / 2

    def below(self, focus: float) -> int:
        """How many fields are less sharp than that."""
        return bisect_left(self._focus, focus)

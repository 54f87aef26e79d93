"""A stored slide with its review, as all that is handed on of it says it: counts before and after, who said what, the signature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from functools import cached_property
from pathlib import Path

from device.errors import StoreError
from device.report.codes import Code, code_of
from device.review.journal import Act, Entry
from device.review.review import Review
from device.slide.bank import crop_jpeg
from device.slide.model import Cell, Field, ReviewState, Slide, SlideState
from device.slide.tally import ReviewedDifferential, percent, reviewed
from device.slide.verdict import BLASTS, NOT_CLASSED, numbered, said
from device.store import StoredSlide
from device.store.pictures import read_field_picture
from engines.intervals import exact_interval
from engines.taxonomy import Taxonomy

_OF_CELLS = (Act.OPENED, Act.NAMED, Act.ADDED)
NUCLEATED_RED = "nrbc"
_SIMULATOR = "simulator"
_JPEG = 90


class DoubtfulSignatureError(StoreError):
    """The record calls a slide signed and its journal does not bear that out. Nothing of it is handed on as final; others are."""


class Kind(str, Enum):
    """What a line of the report is, so that nobody adds a sum to its parts."""

    TYPE = "type"
    GROUP = "group"  # told as blast or other, type uncertain
    UNIDENTIFIED = "unidentified"
    SUM = "sum"  # of types and groups above it
    PER_100 = "per 100 white cells"  # left out of the differential


@dataclass(frozen=True)
class Line:
    """One line of the differential. key: as in the code table. count of whole, before: count before the review.

    value, value_before: per cent, or of PER_100 the number to each 100 white cells. low, high: exact 95 % limits of the per cent; None
    of PER_100 and where nothing was counted.
    """

    key: str
    name: str
    kind: Kind
    blast: bool
    count: int
    whole: int
    value: float
    low: float | None
    high: float | None
    before: int
    value_before: float

    @property
    def code(self) -> Code:
        return code_of(self.key, self.name)


@dataclass(frozen=True)
class Signature:
    """Who signed which revision, and the journal's last digest, which proves what was signed. Of a stored slide made by
    `Case.signature` alone.

    corrected: the counts changed since an earlier signature.
    """

    who: str
    at: datetime
    time_trusted: bool
    revision: int
    digest: str
    corrected: bool
    seconded: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Case:
    """stored: as it lies in the record. record: its file, for the pictures beside it; None where nobody asks for them."""

    stored: StoredSlide
    record: Path | None = None

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The journal of its review, in order; empty before there was one."""
        return self.stored.review

    @property
    def taxonomy(self) -> Taxonomy:
        return self.stored.provenance.model.taxonomy

    @cached_property
    def counted(self) -> Slide:
        """As the engine counted it; every cell has an id."""
        return numbered(self.stored.slide)

    @cached_property
    def review(self) -> Review:
        return self.stored.reviewing

    @cached_property
    def slide(self) -> Slide:
        """With what the review said of its cells, the cells that it added, and the signature as the journal has it."""
        if not self.entries:
            return self.counted
        slide = self.review.slide
        if self.record is None or all(cell.cell_id in self.pre for cell in slide.cells):
            return slide
        return replace(slide, fields=tuple(self._with_crops(field, self.record) for field in slide.fields))

    def _with_crops(self, field: Field, record: Path) -> Field:
        """The field with pictures of the cells that a person added, cut from the picture of the whole field where that was kept."""
        if all(cell.crop_jpeg or cell.cell_id in self.pre for cell in field.cells):
            return field
        image = read_field_picture(record, field.picture)
        if image is None or image.shape[1::-1] != field.size_px:
            return field
        cells = (
            c if c.crop_jpeg or c.cell_id in self.pre else replace(c, crop_jpeg=crop_jpeg(image, c.box_px, _JPEG)) for c in field.cells
        )
        return replace(field, cells=tuple(cells))

    @property
    def simulated(self) -> bool:
        """Rendered film, no patient's blood."""
        source = self.stored.provenance.source
        return (source is not None and source.simulated) or any(field.source == _SIMULATOR for field in self.counted.fields)

    @cached_property
    def before(self) -> ReviewedDifferential:
        return reviewed(self.counted, self.taxonomy)

    @cached_property
    def after(self) -> ReviewedDifferential:
        return reviewed(self.slide, self.taxonomy)

    @cached_property
    def stands(self) -> tuple[Entry, ...]:
        """The entries that no undo took back."""
        undone = {entry.step for entry in self.entries if entry.act is Act.UNDONE}
        return tuple(e for e in self.entries if e.act is not Act.UNDONE and not (e.step and e.step in undone))

    @cached_property
    def looked_at(self) -> Mapping[int, Entry]:
        """Of each cell that a person looked at by itself, or named: the last entry, by the cell's id."""
        return {entry.cell_id: entry for entry in self.stands if entry.act in _OF_CELLS and entry.cell_id}

    @cached_property
    def placed(self) -> tuple[tuple[Field, Cell], ...]:
        """All cells with the field that each is counted in."""
        return tuple((field, cell) for field in self.slide.fields for cell in field.cells)

    @cached_property
    def pre(self) -> Mapping[int, Cell]:
        """Cells as the engine told them, by id; those that a person added are not among them."""
        return {cell.cell_id: cell for cell in self.counted.cells}

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """Types in the taxonomy's order, groups, the unidentified, the sums of blasts, what is counted per 100 white cells."""
        told, earlier = self._words(self.slide), self._words(self.counted)
        tax, now, then = self.taxonomy, self.after.white_cells, self.before.white_cells

        def line(key: str, name: str, kind: Kind, blast: bool, count: int, before: int) -> Line:
            base = now - self.after.unidentified if key == "all_blasts" and not count else now  # as `Differential.blast_range`
            low, high = (100 * limit for limit in exact_interval(count, base)) if now and kind is not Kind.PER_100 else (None, None)
            return Line(key, name, kind, blast, count, now, percent(count, now), low, high, before, percent(before, then))

        def summed(key: str, name: str, words: tuple[str, ...]) -> Line:
            return line(key, name, Kind.SUM, True, sum(told[w] for w in words), sum(earlier[w] for w in words))

        types = [name for name in tax.classes if name != tax.artefact]
        lines = [line(name, name, Kind.TYPE, name in tax.blasts, told[name], earlier[name]) for name in types]
        lines += [line(g.key, g.name, Kind.GROUP, g.key == BLASTS, told[g.key], earlier[g.key]) for g in tax.told_groups]
        lines.append(line("unidentified", "Unidentified", Kind.UNIDENTIFIED, False, told[""], earlier[""]))
        equivalents = tax.members("equivalents")
        proper = tuple(name for name in tax.blasts if name not in equivalents)
        lines.append(summed("all_blasts", "Blasts and equivalents together", (*tax.blasts, BLASTS)))
        lines.append(summed("blasts_proper", "Blasts without equivalents", proper))
        lines.append(summed("equivalents", "Blast equivalents", equivalents))
        lines += [line(p.key, p.name, Kind.PER_100, False, told[p.key], earlier[p.key]) for p in tax.person_classes]
        return tuple(lines)

    def _words(self, slide: Slide) -> Counter[str]:
        return Counter(said(cell, self.taxonomy, bool(slide.foreign)) for cell in slide.cells)

    def line(self, key: str) -> Line:
        """The line of that key; KeyError if there is none."""
        return {line.key: line for line in self.lines}[key]

    @property
    def not_classed(self) -> int:
        return self.line(NOT_CLASSED).count

    @property
    def reopened(self) -> bool:
        """Signed once, and open again for a correction that nobody has signed yet."""
        return bool(self.review.signatures) and self.slide.state is not SlideState.SIGNED

    @cached_property
    def signature(self) -> Signature | None:
        """The signature that stands; None without one. DoubtfulSignatureError where the record says "signed" and its journal does not
        bear it out: then nothing may leave as final.
        """
        slide, signatures = self.stored.slide, self.review.signatures
        claimed = slide.state is SlideState.SIGNED or slide.review_state is ReviewState.REVIEWED
        if not claimed and not (signatures and self.slide.state is SlideState.SIGNED):
            return None
        faults = list(self.review.breaks) if self.entries else ["it is empty"]
        if self.slide.state is not SlideState.SIGNED:
            faults.append("it does not end signed")
        elif (slide.state, slide.revision, slide.reviewer) != (SlideState.SIGNED, self.slide.revision, self.slide.reviewer):
            faults.append("state, revision and reviewer of the slide are not those that it bears out")
        if faults:
            words = f"slide {slide.slide_id} is called signed, but its journal does not bear that out: {'; '.join(faults)}"
            raise DoubtfulSignatureError(f"{words}. Keep the record as it is and call the field team; nothing is handed on as final")
        first = [one for one in signatures if not one.seconds]
        last = first[-1]
        entry = self.entries[last.number - 1]
        seconded = tuple(one.who for one in signatures if one.seconds and one.number > last.number)
        changed = len(first) > 1 and self._counts_at(first[-2].number) != self._counts_at(last.number)
        return Signature(last.who, last.at, entry.time_trusted, last.revision, self.entries[-1].digest, changed, seconded)

    def _counts_at(self, number: int) -> Counter[str]:
        return self._words(self.review.at(number).slide)

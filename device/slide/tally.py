"""The differential: counts and per cents of the white blood cells of a slide; artefacts and unidentified cells apart.

A cell is counted as its type, or as its group where only that is sure ("Blast or equivalent, kind uncertain", which counts as a blast);
what a person said of it goes before what the engine says. `reviewed` adds what only a person says: nucleated red cells, smudge cells
and the like, which are no part of the differential and are told per 100 of its white cells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from device.slide.model import Cell, Slide
from device.slide.verdict import ARTEFACT, BLASTS, NOT_CLASSED, said, with_verdict
from engines.intervals import exact_interval
from engines.taxonomy import Taxonomy

DECISIVE_PERCENTS = (5.0, 20.0)
"""Shares of blasts that decide what a haematologist does next: a count whose interval spans one of them is too small."""
ASIDE = "told apart"
NRBC = "nrbc"
NRBC_NOTE_FROM = 5.0
"""Nucleated red cells per 100 white cells from which an analyser's white cell count needs correcting."""


@dataclass(frozen=True)
class DifferentialRow:
    """One type or group: its count and its share of all white blood cells counted (identified and unidentified), in per cent.

    told: index of the type, or key of the group, as `Cell.told` says it.
    """

    name: str
    count: int
    percent: float
    blast: bool
    told: int | str = ""

    @property
    def is_group(self) -> bool:
        return isinstance(self.told, str)


@dataclass(frozen=True)
class Differential:
    """What was counted. Rows: the types in the taxonomy's order, then the groups; count 0 included. Per cents with `unidentified` add
    up to 100."""

    rows: tuple[DifferentialRow, ...]
    white_cells: int  # told as type or group, and unidentified
    unidentified: int
    unidentified_percent: float
    artefacts: int

    @property
    def blasts(self) -> int:
        """Cells told as a type that counts as a blast, or as a blast or equivalent of uncertain kind."""
        return sum(row.count for row in self.rows if row.blast)

    @property
    def blast_percent(self) -> float:
        return percent(self.blasts, self.white_cells)

    @property
    def blast_range(self) -> tuple[float, float]:
        """The exact 95 % interval of the share of blasts, in per cent: what counting so few cells leaves open.

        Of a zero the upper limit, 3 in N: there N leaves out the unidentified cells, any of which may be a blast.
        """
        blasts = self.blasts
        low, high = exact_interval(blasts, self.white_cells if blasts else self.white_cells - self.unidentified)
        return 100 * low, 100 * high

    def range_of(self, count: int) -> tuple[float, float]:
        """The exact 95 % interval of `count` among the white cells, in per cent."""
        low, high = exact_interval(count, self.white_cells)
        return 100 * low, 100 * high

    def count(self, name: str) -> int:
        """Count of the type or group called `name`; KeyError if there is none."""
        for row in self.rows:
            if row.name == name:
                return row.count
        raise KeyError(name)

    def by_count(self) -> tuple[DifferentialRow, ...]:
        """The types and groups that were seen, most frequent first (ties in the order of the rows)."""
        return tuple(sorted((r for r in self.rows if r.count), key=lambda r: -r.count))


@dataclass(frozen=True)
class ApartRow:
    """One of the person's classes: its count, and how many that makes for 100 white cells of the differential.

    key: as in `Taxonomy.person_classes`. per_100: None where no white cell was counted.
    """

    key: str
    name: str
    count: int
    per_100: float | None


@dataclass(frozen=True)
class ReviewedDifferential(Differential):
    """The differential of a slide that a person reviews, with what is not part of it.

    white_cells: the nucleated white cells that are classed, and until the review is done the unidentified ones. apart: the person's
    classes in the taxonomy's order, count 0 included. equivalents: names of the types that are blast equivalents.
    """

    apart: tuple[ApartRow, ...] = ()
    equivalents: tuple[str, ...] = ()

    def per_100(self, key: str) -> float | None:
        """Of a person's class, for 100 white cells; None where none was counted. KeyError if there is none of that key."""
        return self.aside(key).per_100

    def aside(self, key: str) -> ApartRow:
        """The row of a person's class; KeyError if there is none of that key."""
        return {row.key: row for row in self.apart}[key]

    @property
    def not_classed(self) -> int:
        return self.aside(NOT_CLASSED).count

    @property
    def blast_equivalents(self) -> int:
        """Of the blasts and equivalents, those of a type that is an equivalent."""
        return sum(row.count for row in self.rows if row.blast and row.name in self.equivalents)

    @property
    def blasts_proper(self) -> int:
        """Of the blasts and equivalents, those of a type that is a blast itself."""
        return sum(row.count for row in self.rows if row.blast and not row.is_group and row.name not in self.equivalents)

    @property
    def blasts_uncertain(self) -> int:
        """Of the blasts and equivalents, those of uncertain kind."""
        return sum(row.count for row in self.rows if row.blast and row.is_group)

    @property
    def correct_white_count(self) -> bool:
        """So many nucleated red cells that an analyser's white cell count must be corrected, by WBC x 100 / (100 + nRBC).

        It is never computed here: the analyser's count is not known.
        """
        return (self.per_100(NRBC) or 0.0) >= NRBC_NOTE_FROM

    @property
    def undecided_percents(self) -> tuple[float, ...]:
        """Which of the shares that decide lie within the interval of the blasts: count on, so that they do not."""
        low, high = self.blast_range
        return tuple(share for share in DECISIVE_PERCENTS if low < share < high) if self.white_cells else DECISIVE_PERCENTS


def percent(part: int, whole: int) -> float:
    """`part` of `whole` in per cent; 0 where nothing was counted."""
    return 100.0 * part / whole if whole else 0.0


def tally(slide: Slide, taxonomy: Taxonomy) -> Differential:
    """The differential of a slide; of a foreign film by groups only."""
    return differential(slide.cells, taxonomy, bool(slide.foreign))


def differential(cells: Iterable[Cell], taxonomy: Taxonomy, groups_only: bool = False) -> Differential:
    """Count `cells`. The class "None" is artefact whatever its score; what is told of any other cell is `Cell.told`'s.

    Where a person gave a verdict that counts; what a person said is no white cell is left out, artefacts are counted with artefacts.
    """
    found = Counter(counted_as(cell, taxonomy, groups_only) for cell in cells)
    counts = Counter({told: count for told, count in found.items() if told is not None and told != ASIDE})
    return from_counts(counts, found[None], taxonomy)


def counted_as(one: Cell, taxonomy: Taxonomy, groups_only: bool) -> int | str | None:
    """What a cell is in the differential: index of its type, key of its group, "" unidentified; None an artefact, ASIDE left out."""
    cell = with_verdict(one, one.verdict, taxonomy)
    if cell.verdict and taxonomy.person_class(cell.verdict):
        return None if cell.verdict == ARTEFACT else ASIDE
    return None if taxonomy.is_artefact(cell.class_index) else cell.told(groups_only)


def from_counts(counts: Counter[int | str], artefacts: int, taxonomy: Taxonomy) -> Differential:
    """The differential of cells that were counted."""
    total = sum(counts.values())

    def row(told: int | str, name: str, blast: bool) -> DifferentialRow:
        return DifferentialRow(name, counts[told], percent(counts[told], total), blast, told)

    types = [row(i, name, taxonomy.is_blast(i)) for i, name in enumerate(taxonomy.classes) if not taxonomy.is_artefact(i)]
    rows = (*types, *(row(group.key, group.name, group.key == BLASTS) for group in taxonomy.told_groups))
    unidentified = total - sum(each.count for each in rows)
    return Differential(rows, total, unidentified, percent(unidentified, total), artefacts)


def reviewed(slide: Slide, taxonomy: Taxonomy) -> ReviewedDifferential:
    """The differential of a slide with what a person said of its cells (`Cell.verdict`), and what is told apart from it.

    Also of a slide that nobody has reviewed: then only artefacts stand apart.
    """
    counted = tally(slide, taxonomy)
    says = Counter(said(cell, taxonomy, bool(slide.foreign)) for cell in slide.cells)

    def row(key: str, name: str) -> ApartRow:
        return ApartRow(key, name, says[key], 100.0 * says[key] / counted.white_cells if counted.white_cells else None)

    return ReviewedDifferential(
        counted.rows,
        counted.white_cells,
        counted.unidentified,
        counted.unidentified_percent,
        counted.artefacts,
        tuple(row(one.key, one.name) for one in taxonomy.person_classes),
        taxonomy.members("equivalents"),
    )


@dataclass(frozen=True)
class Difference:
    """One type as two readers counted it, in per cent, and whether that is more than chance leaves open.

    beyond: neither share lies within the exact 95 % interval of the other (Ruemke's limits).
    """

    name: str
    first: float
    second: float
    beyond: bool


def differences(first: Differential, second: Differential) -> tuple[Difference, ...]:
    """Two readers' differentials of one specimen, type by type; what neither saw is left out.

    The limits take the two counts as drawn apart from each other. Two readers of the same cells differ less than that by chance, so
    there every difference is the readers' own.
    """
    found = []
    for a, b in zip(first.rows, second.rows, strict=True):
        if a.count or b.count:
            (a_low, a_high), (b_low, b_high) = first.range_of(a.count), second.range_of(b.count)
            beyond = not a_low <= b.percent <= a_high and not b_low <= a.percent <= b_high
            found.append(Difference(a.name, a.percent, b.percent, beyond))
    return tuple(found)

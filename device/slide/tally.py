"""The differential: counts and per cents of the white blood cells of a slide, artefacts and unidentified cells apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from device.slide.model import Cell
from engines.taxonomy import Taxonomy


@dataclass(frozen=True)
class DifferentialRow:
    """One type: its count and its share of all white blood cells counted (identified and unidentified), in per cent."""

    name: str
    count: int
    percent: float
    blast: bool


@dataclass(frozen=True)
class Differential:
    """What was counted. Rows in the taxonomy's order, types with count 0 included; per cents with `unidentified` add up to 100."""

    rows: tuple[DifferentialRow, ...]
    white_cells: int  # identified + unidentified
    unidentified: int
    unidentified_percent: float
    artefacts: int

    @property
    def blasts(self) -> int:
        return sum(row.count for row in self.rows if row.blast)

    @property
    def blast_percent(self) -> float:
        return percent(self.blasts, self.white_cells)

    def count(self, name: str) -> int:
        """Count of the type called `name`; KeyError if there is no such type."""
        for row in self.rows:
            if row.name == name:
                return row.count
        raise KeyError(name)

    def by_count(self) -> tuple[DifferentialRow, ...]:
        """The types that were seen, most frequent first (ties in the taxonomy's order)."""
        return tuple(sorted((r for r in self.rows if r.count), key=lambda r: -r.count))


def percent(part: int, whole: int) -> float:
    """`part` of `whole` in per cent; 0 where nothing was counted."""
    return 100.0 * part / whole if whole else 0.0


def differential(cells: Iterable[Cell], taxonomy: Taxonomy) -> Differential:
    """Count `cells`. The class "None" is artefact whatever its score; an uncertain cell of any other type is unidentified."""
    counts: Counter[int] = Counter()
    unidentified = artefacts = 0
    for cell in cells:
        if taxonomy.is_artefact(cell.class_index):
            artefacts += 1
        elif cell.identified:
            counts[cell.class_index] += 1
        else:
            unidentified += 1
    total = sum(counts.values()) + unidentified
    rows = tuple(
        DifferentialRow(name, counts[i], percent(counts[i], total), taxonomy.is_blast(i))
        for i, name in enumerate(taxonomy.classes)
        if not taxonomy.is_artefact(i)
    )
    return Differential(rows, total, unidentified, percent(unidentified, total), artefacts)

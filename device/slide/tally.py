"""The differential: counts and per cents of the white blood cells of a slide; artefacts and unidentified cells apart.

A cell is counted as its type, or as its group where only that is sure ("Blast or equivalent, kind uncertain", which counts as a blast).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from device.slide.model import Cell, Slide
from engines.intervals import exact_interval
from engines.taxonomy import Taxonomy

BLASTS = "blasts"
"""Key of the told group that counts as blasts (`engines.taxonomy.CellGroup`)."""


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


def percent(part: int, whole: int) -> float:
    """`part` of `whole` in per cent; 0 where nothing was counted."""
    return 100.0 * part / whole if whole else 0.0


def tally(slide: Slide, taxonomy: Taxonomy) -> Differential:
    """The differential of a slide; of a foreign film by groups only."""
    return differential(slide.cells, taxonomy, bool(slide.foreign))


def differential(cells: Iterable[Cell], taxonomy: Taxonomy, groups_only: bool = False) -> Differential:
    """Count `cells`. The class "None" is artefact whatever its score; what is told of any other cell is `Cell.told`'s."""
    counts: Counter[int | str] = Counter()
    artefacts = 0
    for cell in cells:
        if taxonomy.is_artefact(cell.class_index):
            artefacts += 1
        else:
            counts[cell.told(groups_only)] += 1
    total = sum(counts.values())

    def row(told: int | str, name: str, blast: bool) -> DifferentialRow:
        return DifferentialRow(name, counts[told], percent(counts[told], total), blast, told)

    types = [row(i, name, taxonomy.is_blast(i)) for i, name in enumerate(taxonomy.classes) if not taxonomy.is_artefact(i)]
    rows = (*types, *(row(group.key, group.name, group.key == BLASTS) for group in taxonomy.told_groups))
    unidentified = total - sum(each.count for each in rows)
    return Differential(rows, total, unidentified, percent(unidentified, total), artefacts)

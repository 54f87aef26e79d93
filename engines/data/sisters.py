"""Subsets that show the same physical fields: whether a class of one is, field by field, another class of the other.

Published subsets are one set of films under several objectives and cameras, so that a field has the same cells in each of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from engines.data.census import Census
from engines.data.faults import Fault, Kind, Place
from engines.data.layout import film_name
from engines.taxonomy import Taxonomy

Field = tuple[str, str]
"""Patient and number of a field on that patient's film."""

ALIKE, UNLIKE = 0.8, 0.5
"""Of the cells of a class, those that another class has in the same fields: at least so many, and fewer by its own name."""
LEAST_CELLS, LEAST_FIELDS = 5, 3


def sister_findings(censuses: Sequence[Census], taxonomy: Taxonomy) -> Iterator[Fault]:
    """A class of one subset that has the cells of another class of a sister subset, in the fields that both show.

    Of two subsets the one with JSON, whose names need no list, is believed; else the first.
    """
    subsets: dict[str, list[Census]] = {}
    for census in censuses:
        subsets.setdefault(census.label.rpartition("/")[0] or census.label, []).append(census)
    ranked = sorted(subsets, key=lambda name: not any("JSON" in census.sources for census in subsets[name]))
    counted = {name: _by_field(subsets[name]) for name in ranked}
    told: set[tuple[str, int]] = set()
    for first, second in combinations(ranked, 2):
        shared = counted[first].keys() & counted[second].keys()
        for code, meant, n, every in _moved([counted[first][one] for one in shared], [counted[second][one] for one in shared]):
            if (second, code) not in told:
                told.add((second, code))
                one, other = taxonomy.classes[code], taxonomy.classes[meant]
                words = f"{n} of {every} {one} of {second} are {other} in {first}, in the {len(shared)} fields that both show"
                place = next(cell.place for c in subsets[second] for p in c.pictures for cell in p.cells if cell.code == code)
                yield Fault(Kind.SISTERS_DISAGREE, Place(place.file), f"{words}: look which numbers {second} was written with")


def _by_field(censuses: Sequence[Census]) -> dict[Field, Counter[int]]:
    """Cells of each class by physical field; a field that several pictures of a subset show is left out."""
    found: dict[Field, Counter[int]] = {}
    twice: set[Field] = set()
    for picture in (picture for census in censuses for picture in census.pictures):
        name = film_name(picture.path.name)
        if name is None or picture.labels is None or len(picture.unlabelled_px):
            continue
        field = (name.patient, name.field)
        twice |= {field} & found.keys()
        found[field] = Counter(cell.code for cell in picture.cells)
    return {field: cells for field, cells in found.items() if field not in twice}


def _moved(first: Sequence[Mapping[int, int]], second: Sequence[Mapping[int, int]]) -> Iterator[tuple[int, int, int, int]]:
    """Class of the second, the class that it is in the first, in how many of its cells; the same fields in both."""
    codes = {code for cells in (*first, *second) for code in cells}
    for code in sorted(codes):
        every = sum(cells[code] for cells in second)
        fields = sum(bool(cells[code]) for cells in second)
        if every < LEAST_CELLS or fields < LEAST_FIELDS:
            continue
        shares = {
            other: (
                sum(min(a[other], b[code]) for a, b in zip(first, second, strict=True)),
                sum(max(a[other], b[code]) for a, b in zip(first, second, strict=True)),
            )
            for other in codes
        }
        alike, meant = max((both / either, other) for other, (both, either) in shares.items() if either)
        own = shares[code][0] / shares[code][1]
        if meant != code and alike >= ALIKE and own < UNLIKE:
            yield code, meant, shares[meant][0], every

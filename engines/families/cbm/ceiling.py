"""How often a type follows from its attributes at best: what no bottleneck of these concepts can exceed, set by the labels alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from engines.detections import Int64
from engines.taxonomy import UNKNOWN, Taxonomy


@dataclass(frozen=True)
class Ceiling:
    """Of labelled white cells: shares of the types that are right where every code of concepts is given its commonest type.

    cells, codes: how many there are; an unknown value is one of its own. best: that share. commonest: of the commonest type alone,
    which needs no concept. stated, stated_best: the cells of which every concept is known, and the share among them.
    """

    cells: int
    codes: int
    best: float
    commonest: float
    stated: int
    stated_best: float

    def to_dict(self) -> dict[str, float | None]:
        """Plain form; null where there is no cell."""
        return {name: None if np.isnan(value) else value for name, value in asdict(self).items()}


class BestTypes:
    """The commonest type of each code of concepts among labelled white cells (artefacts, which have no concepts, left out).

    classes: (K,) label codes. attributes: (K, A), -1 unknown. columns: the attributes that are concepts.
    """

    def __init__(self, classes: Int64, attributes: Int64, columns: Sequence[int], taxonomy: Taxonomy) -> None:
        self.columns, self.taxonomy = list(columns), taxonomy
        self.counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for code, kind in self._pairs(classes, attributes):
            self.counts[code][kind] += 1

    def right(self, classes: Int64, attributes: Int64) -> float:
        """Share of some labelled white cells whose type is their code's here; one of an unseen code is wrong. NaN without a cell."""
        pairs = self._pairs(classes, attributes)
        return sum(code in self.counts and self._best(code) == kind for code, kind in pairs) / len(pairs) if pairs else float("nan")

    @property
    def ceiling(self) -> Ceiling:
        """Of the cells that it was made of."""
        cells = sum(map(Counter.total, self.counts.values()))
        kinds = sum(self.counts.values(), Counter())
        whole = {code: some for code, some in self.counts.items() if UNKNOWN not in code}
        stated = sum(map(Counter.total, whole.values()))
        return Ceiling(
            cells,
            len(self.counts),
            _share(sum(some.most_common(1)[0][1] for some in self.counts.values()), cells),
            _share(max(kinds.values(), default=0), cells),
            stated,
            _share(sum(some.most_common(1)[0][1] for some in whole.values()), stated),
        )

    def _best(self, code: tuple[int, ...]) -> int:
        return self.counts[code].most_common(1)[0][0]

    def _pairs(self, classes: Int64, attributes: Int64) -> list[tuple[tuple[int, ...], int]]:
        white = ~np.isin(classes, self.taxonomy.artefact_codes)
        codes = attributes[white][:, self.columns]
        return [(tuple(code), kind) for code, kind in zip(codes.tolist(), classes[white].tolist(), strict=True)]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def ceiling(classes: Int64, attributes: Int64, columns: Sequence[int], taxonomy: Taxonomy) -> Ceiling:
    """The ceiling that labels set; see `BestTypes`."""
    return BestTypes(classes, attributes, columns, taxonomy).ceiling

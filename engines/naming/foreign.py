"""Whether a film is unlike all that a naming layer knows, from its first cells; and what may then be told of its cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from engines.detections import CellNames, Float32
from engines.naming.layer import FIRST_CELLS

Likeness = Literal["unlike", "known", "not yet", "cannot tell"]
UNLIKE_FROM = 1.0
"""The median of a film's distances beyond which it is foreign. One known cell in ten lies beyond 1; the median of 30 does not."""


@dataclass(frozen=True)
class FilmLikeness:
    """verdict: "unlike" all known films, "known", "not yet" while fewer than `FIRST_CELLS` cells were seen, "cannot tell" where
    the layer holds no references. cells: how many were looked at. distance: their median, beyond `UNLIKE_FROM` foreign."""

    verdict: Likeness
    cells: int
    distance: float = 0.0

    @property
    def foreign(self) -> bool:
        return self.verdict == "unlike"

    @property
    def label(self) -> str:
        return f"not yet: {self.cells} of {FIRST_CELLS}" if self.verdict == "not yet" else self.verdict


def film_likeness(distances: Sequence[float] | Float32, needed: int = FIRST_CELLS) -> FilmLikeness:
    """What the `distances` of a film's white cells, in the order in which they were counted, say of it; those behind the first
    `needed` do not change it any more."""
    first = np.asarray(distances, np.float64)[:needed]
    if len(first) and not first.any():
        return FilmLikeness("cannot tell", len(first))
    if len(first) < needed:
        return FilmLikeness("not yet", len(first))
    middle = float(np.median(first))
    return FilmLikeness("unlike" if middle > UNLIKE_FROM else "known", len(first), middle)


def groups_only(names: CellNames) -> CellNames:
    """The names that may be told on a foreign film: groups and artefacts, no types."""
    grouped = np.array([bool(group) for group in names.groups], bool)
    return replace(names, types=np.where(grouped, -1, names.types))

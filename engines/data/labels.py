"""One picture's labels as they stand in a file, in full precision and each with its place. What reads and writes files is elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.data.faults import Fault, Kind, Place, Report
from engines.data.labelled_regions import outside

TXT_ROUNDING_PX = 9
"""Decimals of a px to which boxes from TXT are rounded: shares times a width leave noise in the last digits of a double."""


UNSIZED = (1, 1)
"""Size of a picture that cannot be read: boxes from TXT then stay shares, and nothing is said about their place."""


class _Boxed:
    xywh_px: tuple[float, float, float, float]

    @property
    def xyxy_px(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        x, y, w, h = self.xywh_px
        return x, y, x + w, y + h


@dataclass(frozen=True, eq=False)
class CellLabel(_Boxed):
    """One labelled object.

    xywh_px: left, top, width, height, double precision. attributes: one code each, UNKNOWN or NOT_APPLICABLE where nothing is said.
    columns: of the TXT line (5, 11 or 12), 0 from JSON. extra: what else the JSON says of it. doubtful: another label gives the box
    another class; files keep both, nobody learns or is scored on either.
    """

    place: Place
    code: int
    xywh_px: tuple[float, float, float, float]
    attributes: tuple[int, ...]
    columns: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)
    doubtful: bool = False


@dataclass(frozen=True, eq=False)
class IgnoredRegion(_Boxed):
    """Ground in which nothing is learnt or scored: a clump (`iscrowd`), ground that nobody labelled.

    xywh_px: its bounding box: left, top, width, height. extra: what else the JSON says of it, its outline and category among it.
    """

    place: Place
    xywh_px: tuple[float, float, float, float]
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class PictureLabels:
    """What one label file says of one picture; no cells: a field without cells. size_hw: None where the file does not say.

    labelled: boxes (left, top, width, height in px) of the part that was looked at; None: all of the picture.
    """

    name: str
    place: Place
    size_hw: tuple[int, int] | None
    cells: tuple[CellLabel, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)
    ignored: tuple[IgnoredRegion, ...] = ()
    labelled: tuple[tuple[float, float, float, float], ...] | None = None


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture of a split with its labels. labels: None where no file mentions it, which is not the same as no cells."""

    path: Path
    size_hw: tuple[int, int]
    labels: PictureLabels | None

    @property
    def cells(self) -> tuple[CellLabel, ...]:
        return self.labels.cells if self.labels else ()

    @property
    def ignored(self) -> tuple[IgnoredRegion, ...]:
        return self.labels.ignored if self.labels else ()

    @property
    def unlabelled_px(self) -> NDArray[np.float64]:
        """What of a labelled picture nobody labelled, (M, 4) x1 y1 x2 y2 that do not overlap; nothing where all of it was."""
        if self.labels is None or self.labels.labelled is None:
            return np.zeros((0, 4))
        return outside(self.labels.labelled, self.size_hw)


def sound_box(numbers: tuple[float, ...], place: Place, who: str, report: Report) -> bool:
    """Whether four numbers (the last two width and height) can be a box at all; reports it where not."""
    if not all(math.isfinite(v) for v in numbers):
        report(Fault(Kind.BOX_IMPOSSIBLE, place, f"{who}: the box is not finite"))
        return False
    if numbers[2] < 0 or numbers[3] < 0:
        report(Fault(Kind.BOX_IMPOSSIBLE, place, f"{who}: the box is {numbers[2]:g} wide and {numbers[3]:g} high; sides are positive"))
        return False
    return True

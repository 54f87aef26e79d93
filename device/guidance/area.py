"""Whether the field is a good place of the film: red cells that just touch, neither thin nor lying upon each other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from device.language import N_, _
from engines.detections import Image
from engines.red_cells import RED_CELL_UM, Cover, cover, diameters_px, grain_px

THIN_SHARE = 0.25
"""Of the field under red cells. Rendered film that covers a tenth if nothing overlaps has .08 to .19, of four tenths .3 to .65."""
THICK_SHARE, THICK_BETWEEN = 0.72, 0.14
"""Thick: more is under cells, or what lies between is no longer clear (a good place has .03 to .1, cells upon cells .25 and more)."""
FEWEST_CELLS = 4
"""Single red cells from which a field says how large they are."""
_USUAL_SHARE = 1 / 20
"""Of the width under one red cell at 100x, where the scale is not known."""


class Thickness(str, Enum):
    """How a place of the film is."""

    THIN = "thin"
    GOOD = "good"
    THICK = "thick"


WORDS = {
    Thickness.THIN: N_("too thin: go towards the thicker part"),
    Thickness.GOOD: N_("good area"),
    Thickness.THICK: N_("too thick: go towards the feathered edge"),
}


@dataclass(frozen=True)
class Area:
    """One field. red_cell_px: median diameter of its single red cells in px of the frame, None where too few are seen; red_cells: how
    many they are. grain_px: see `engines.red_cells.grain_px`; None where it was not measured.
    """

    thickness: Thickness
    cover: Cover
    red_cell_px: float | None
    red_cells: int = 0
    grain_px: float | None = None

    @property
    def words(self) -> str:
        return _(WORDS[self.thickness])


def area_of(image: Image, um_per_px: float | None) -> Area | None:
    """Judge a resting, sharp BGR frame; None where there is no film to be seen. About 3 ms of a 1080p frame, and 8 for the diameter."""
    cell_px = image.shape[1] * _USUAL_SHARE if um_per_px is None else RED_CELL_UM / um_per_px
    found = cover(image, cell_px)
    if found is None:
        return None
    grain = grain_px(image)
    if found.share > THICK_SHARE or found.between > THICK_BETWEEN:
        return Area(Thickness.THICK, found, None, 0, grain)
    sizes = diameters_px(image)
    size = float(np.median(sizes)) if len(sizes) >= FEWEST_CELLS else None
    return Area(Thickness.THIN if found.share < THIN_SHARE else Thickness.GOOD, found, size, len(sizes), grain)

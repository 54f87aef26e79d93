"""Open cells moved to a microscope, by cells of it that a person confirmed as normal. There is no other alignment, on purpose.

Aligned by cells that nobody had looked at, normal films were told as blasts in 52 to 100 % of their cells: where a film has no blasts,
its mean is not the mean of the data.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engines.detections import Int64
from engines.errors import DataError
from engines.naming.cells import LabelledCells
from engines.taxonomy import Taxonomy

_FEWEST_OF_TYPE = 5


def check_confirmed(where: str, classes: Int64, taxonomy: Taxonomy, fewest: int) -> None:
    """Raises DataError where labels (N,) that are to be confirmed normal cells hold others, or are too few."""
    wrong = [taxonomy.classes[int(k)] for k in np.unique(classes) if taxonomy.group_of(int(k)) != "others"]
    if wrong:
        raise DataError(
            f"{where}: holds {', '.join(wrong)}, which is no normal white cell. Leave such cells out of --confirmed-normal."
        )
    if len(classes) < fewest:
        raise DataError(f"{where}: {len(classes)} confirmed normal cells, at least {fewest} are needed. Confirm more.")


def aligned(cells: LabelledCells, confirmed: LabelledCells) -> LabelledCells:
    """`cells` moved by the mean difference, type by type, between confirmed normal cells and theirs. Raises DataError where no type
    has enough of both."""
    moves, weights = [], []
    for kind in np.unique(confirmed.classes):
        here, there = confirmed.features[confirmed.classes == kind], cells.features[cells.classes == kind]
        if min(len(here), len(there)) >= _FEWEST_OF_TYPE:
            moves.append(here.mean(0) - there.mean(0))
            weights.append(float(np.sqrt(len(here))))
    if not moves:
        raise DataError(
            f"{confirmed.sources[0]}: no type has {_FEWEST_OF_TYPE} cells here and among the open ones. Confirm cells of common types."
        )
    move = np.average(np.stack(moves), axis=0, weights=weights)
    return replace(cells, features=(cells.features + move).astype(np.float32))

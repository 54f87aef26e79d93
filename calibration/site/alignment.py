"""Open cells moved to a microscope, by cells of it that a person confirmed as normal. There is no other alignment, on purpose.

Aligned by cells that nobody had looked at, normal films were told as blasts in 52 to 100 % of their cells: where a film has no blasts,
its mean is not the mean of the data.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engines.errors import DataError
from engines.naming.cells import LabelledCells
from engines.taxonomy import Taxonomy

_FEWEST_OF_TYPE = 5


def aligned(cells: LabelledCells, confirmed: LabelledCells, taxonomy: Taxonomy, fewest: int) -> LabelledCells:
    """`cells` moved by the mean difference, type by type, between confirmed normal cells and theirs. Raises DataError where some are
    no normal cells, or too few."""
    where = str(confirmed.sources[0]) if len(confirmed) else "confirmed normal cells"
    wrong = [taxonomy.classes[int(k)] for k in np.unique(confirmed.classes) if taxonomy.group_of(int(k)) != "others"]
    if wrong:
        raise DataError(
            f"{where}: holds {', '.join(wrong)}, which is no normal white cell. Leave such cells out of --confirmed-normal."
        )
    if len(confirmed) < fewest:
        raise DataError(f"{where}: {len(confirmed)} confirmed normal cells, at least {fewest} are needed. Confirm more.")
    moves, weights = [], []
    for kind in np.unique(confirmed.classes):
        here, there = confirmed.features[confirmed.classes == kind], cells.features[cells.classes == kind]
        if min(len(here), len(there)) >= _FEWEST_OF_TYPE:
            moves.append(here.mean(0) - there.mean(0))
            weights.append(float(np.sqrt(len(here))))
    if not moves:
        raise DataError(
            f"{where}: no type has {_FEWEST_OF_TYPE} cells both here and among the open ones. Confirm cells of common types."
        )
    move = np.average(np.stack(moves), axis=0, weights=weights)
    return replace(cells, features=(cells.features + move).astype(np.float32))

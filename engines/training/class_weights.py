"""How much a labelled cell of each type weighs in the class loss, where types are weighed (`Hyper.class_weights`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.detections import Float32
from engines.taxonomy import Taxonomy

ARTEFACT_SHARE = 0.5
"""An artefact weighs at most this share of the cell type that weighs least: where labels hold many of them, a network took cells
for artefacts, and those left the count (docs/training.md)."""


def class_weights(counts: NDArray[np.floating], taxonomy: Taxonomy) -> Float32:
    """Weight of a cell of each type, (classes,) float32: 1 / sqrt(number of its cells), artefacts held down; 1 on average of cells.

    counts: (classes,) cells that an epoch shows. A type without any (it may come as a pseudo-label) has 1.
    """
    seen = counts > 0
    weights = np.zeros(len(counts))
    weights[seen] = 1 / np.sqrt(counts[seen])
    artefact = np.array([taxonomy.is_artefact(code) for code in range(len(counts))])
    if (seen & artefact).any() and (seen & ~artefact).any():
        weights[artefact] = np.minimum(weights[artefact], ARTEFACT_SHARE * weights[seen & ~artefact].min())
    weights *= counts.sum() / max(float(counts @ weights), 1e-12)
    weights[~seen] = 1.0
    return weights.astype(np.float32)

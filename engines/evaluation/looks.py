"""What each look at one picture says of its cells: the detector alone, and the second look that names what the appliance shows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from engines.detections import CellNames, Float32, Float64, Int64
from engines.naming.foreign import groups_only
from engines.taxonomy import Taxonomy

DETECTOR, SECOND_LOOK = "detector alone", "second look"
IDENTIFY_FROM = 0.4
"""The score from which the appliance names a cell where there is no naming layer (its `engine.identify_threshold`)."""


@dataclass(frozen=True, eq=False)
class Look:
    """One look at one picture. names: of the N boxes shown, by falling score. partner (M,): the box that found each labelled cell, -1:
    none.

    truth_classes (M,), truth_attributes (M, A), -1 unknown. attributes (N, logits) of the same look; NaN rows where it was not asked.
    """

    names: CellNames
    partner: Int64
    truth_classes: Int64
    truth_attributes: Int64
    attributes: Float32

    def blast_share(self, taxonomy: Taxonomy) -> Float64:
        """How probable each of the N is a blast, given that it is a white cell, (N,)."""
        blasts, artefacts = list(taxonomy.blast_codes), list(taxonomy.artefact_codes)
        probabilities = self.names.probabilities.astype(np.float64)
        white = probabilities.sum(1) - probabilities[:, artefacts].sum(1)
        share: Float64 = np.divide(probabilities[:, blasts].sum(1), white, out=np.zeros(len(white)), where=white > 0)
        return share

    def on_foreign_film(self) -> Look:
        """What may be told where the film is unlike all that is known: groups only."""
        return replace(self, names=groups_only(self.names))


def detector_names(scores: Float32, taxonomy: Taxonomy, identify_from: float = IDENTIFY_FROM) -> CellNames:
    """What the detector alone tells: each box's best type from a score of `identify_from` on, and its group.

    scores: (N, C), objectness times class probability.
    """
    best, sure = scores.argmax(1), scores.max(1, initial=0)
    types = np.where(sure >= identify_from, best, -1).astype(np.int64)
    # An artefact is none whatever its score: the appliance does not count it.
    types = np.where(np.isin(best, taxonomy.artefact_codes), best, types)
    groups = tuple("" if code < 0 else taxonomy.group_of(int(code)) for code in types)
    return CellNames(scores, types, groups, np.zeros(len(scores), np.float32))

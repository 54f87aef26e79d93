"""How much evidence a match needs before it is believed, learned from the slide: what do pairs that share nothing reach by chance?

A slide of few and large cells, or of empty ground, makes chance matches that a crowded one does not. Keyframes that lie far apart on
one chart are such pairs (a permutation test); the floor of `correlation` holds whatever they say.
"""

from __future__ import annotations

from collections import deque
from math import log, pi, sqrt

import numpy as np

ENOUGH = 20
"""So many pairs before the slide is believed; until then the fixed curve alone decides."""
FAR_EVIDENCE = 0.45
"""What a match out of nowhere must show at least. Of 4,000 pairs of real fields none reaches 0.37 by chance (40x; of few cells at 100x
0.42); neighbours on sharp film have 0.8 and more. 0.45 is a likeness of .77 at a fifth in common, .56 at a half."""
_STEP_QUANTILE = 0.99
_MOST_STEP, _MOST_FAR = 0.50, 0.70  # the same ground, seen sharply, must stay recognisable on any slide
_CHANCE = 0.01  # that any of all keyframes is believed wrongly
_KEPT = 400


class Acceptance:
    """Of one slide and camera mode. Evidence is that of `correlation.evidence`."""

    def __init__(self) -> None:
        self._pairs: deque[float] = deque(maxlen=_KEPT)
        self._seen = 0

    @property
    def pairs(self) -> int:
        """How many pairs that share nothing were compared."""
        return self._seen

    @property
    def of_the_slide(self) -> bool:
        """Whether there were enough pairs for the slide itself to raise what is demanded."""
        return self._seen >= ENOUGH

    def learn(self, evidence: float) -> None:
        """Take in what a pair that shares nothing reached."""
        self._pairs.append(evidence)
        self._seen += 1

    @property
    def step(self) -> float:
        """Evidence that a step from frame to frame needs: what one pair in a hundred reaches by chance; 0 while there are too few."""
        return min(_MOST_STEP, float(np.quantile(self._pairs, _STEP_QUANTILE))) if self.of_the_slide else 0.0

    def far(self, tries: int) -> float:
        """Evidence that the best of so many keyframes needs, so that one look in a hundred errs: by the extremes' own law (Gumbel)."""
        if not self.of_the_slide:
            return FAR_EVIDENCE
        scale = max(float(np.std(self._pairs)) * sqrt(6) / pi, 1e-3)
        mode = float(np.mean(self._pairs)) - 0.5772 * scale
        return min(_MOST_FAR, max(FAR_EVIDENCE, mode + scale * log(max(1, tries) / _CHANCE)))

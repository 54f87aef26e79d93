"""Boxes of two engines on the same pictures, paired one to one, and where the two disagree most. Truth plays no part in the pairing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from engines.detections import Float32, Float64, Int64
from engines.evaluation.attributes import MIN_IOU, pair_with_truth
from engines.evaluation.picture import Example

EACH = 4
"""Disagreements of each kind that are shown, at most."""


@dataclass(frozen=True, eq=False)
class PicturePairs:
    """One picture as both engines told it at their working point.

    reference: (P,) int64 indices of its boxes that have a partner, candidate: (P,) int64 the partners. shift_px: (P,) float64, the
    largest distance of a corner in px of the picture. score_change: (P,) float64, candidate minus reference.
    """

    told: Example
    told_by_candidate: Example
    reference: Int64
    candidate: Int64
    shift_px: Float64
    score_change: Float64

    @property
    def same_type(self) -> NDArray[np.bool_]:
        """Which pairs bear the same type, (P,) bool."""
        same: NDArray[np.bool_] = self.told.classes[self.reference] == self.told_by_candidate.classes[self.candidate]
        return same


def pair_boxes(reference: Example, candidate: Example) -> PicturePairs:
    """Pairs the boxes of one picture: IoU of at least .5, best overlap first, the type ignored."""
    if reference.path != candidate.path:
        raise ValueError(f"two pictures cannot be paired: {reference.path.name} and {candidate.path.name}")
    partner = pair_with_truth(candidate.boxes_px, reference.boxes_px, MIN_IOU)
    mine = np.flatnonzero(partner >= 0).astype(np.int64)
    other = partner[mine]
    return PicturePairs(
        reference,
        candidate,
        mine,
        other,
        corner_shift_px(reference.boxes_px[mine], candidate.boxes_px[other]),
        candidate.scores[other].astype(np.float64) - reference.scores[mine],
    )


def corner_shift_px(boxes_px: Float32, others_px: Float32) -> Float64:
    """How far the corner that moved most has moved, (N,) float64 px; both (N, 4) x1 y1 x2 y2."""
    moved = np.abs(np.asarray(boxes_px, np.float64) - others_px)
    across, down = moved[:, 0::2].max(1, initial=0), moved[:, 1::2].max(1, initial=0)
    shift: Float64 = np.hypot(across, down)
    return shift


@dataclass(frozen=True, eq=False)
class Agreement:
    """The boxes of two engines over all pictures; `each` is one picture's.

    same_type: pairs of the same type. shift_px, score_change (candidate minus reference): of every pair, (P,).
    """

    each: tuple[PicturePairs, ...]
    reference_boxes: int
    candidate_boxes: int
    same_type: int
    shift_px: Float64
    score_change: Float64

    @classmethod
    def of(cls, reference: Sequence[Example], candidate: Sequence[Example]) -> Agreement:
        """Of the same pictures in the same order, at each engine's working point."""
        each = tuple(pair_boxes(mine, other) for mine, other in zip(reference, candidate, strict=True))
        return cls(
            each,
            reference_boxes=sum(len(p.told.classes) for p in each),
            candidate_boxes=sum(len(p.told_by_candidate.classes) for p in each),
            same_type=sum(int(p.same_type.sum()) for p in each),
            shift_px=np.concatenate([np.zeros(0), *(p.shift_px for p in each)]),
            score_change=np.concatenate([np.zeros(0), *(p.score_change for p in each)]),
        )

    @property
    def paired(self) -> int:
        return len(self.shift_px)

    @property
    def paired_share(self) -> float:
        """Boxes with a partner, of all boxes of both engines; NaN without a box."""
        boxes = self.reference_boxes + self.candidate_boxes
        return 2 * self.paired / boxes if boxes else math.nan

    @property
    def same_type_share(self) -> float:
        """Pairs of the same type, of all pairs; NaN without a pair."""
        return self.same_type / self.paired if self.paired else math.nan

    @property
    def median_shift_px(self) -> float:
        """NaN without a pair."""
        return float(np.median(self.shift_px)) if self.paired else math.nan


class Kind(Enum):
    """How two engines disagree about a cell; the value says it on a page."""

    LOST = "Found by the reference only"
    INVENTED = "Found by the candidate only"
    TYPE = "Another type"
    SHIFT = "Box moved most"
    SCORE = "Score changed most"


@dataclass(frozen=True, eq=False)
class Disagreement:
    """One cell that two engines tell differently. reference, candidate: place of its box in `pairs`, None where it has none.

    amount: what the cells of a kind are ranked by: the score of a box without partner, the lower score of two types, px, or score.
    """

    kind: Kind
    pairs: PicturePairs
    reference: int | None
    candidate: int | None
    amount: float


def worst(agreement: Agreement, each: int = EACH) -> list[Disagreement]:
    """The worst disagreements, at most `each` of a kind: kinds in the order of `Kind`, the largest first, no cell twice."""
    found: dict[Kind, list[Disagreement]] = {kind: [] for kind in Kind}
    for pairs in agreement.each:
        scores, others = pairs.told.scores, pairs.told_by_candidate.scores
        for i in np.setdiff1d(np.arange(len(scores)), pairs.reference):
            found[Kind.LOST].append(Disagreement(Kind.LOST, pairs, int(i), None, float(scores[i])))
        for i in np.setdiff1d(np.arange(len(others)), pairs.candidate):
            found[Kind.INVENTED].append(Disagreement(Kind.INVENTED, pairs, None, int(i), float(others[i])))
        for row, (i, j) in enumerate(zip(pairs.reference.tolist(), pairs.candidate.tolist(), strict=True)):
            if not pairs.same_type[row]:
                found[Kind.TYPE].append(Disagreement(Kind.TYPE, pairs, i, j, float(min(scores[i], others[j]))))
            found[Kind.SHIFT].append(Disagreement(Kind.SHIFT, pairs, i, j, float(pairs.shift_px[row])))
            found[Kind.SCORE].append(Disagreement(Kind.SCORE, pairs, i, j, abs(float(pairs.score_change[row]))))
    shown: dict[tuple[int, int | None, int | None], Disagreement] = {}  # by the cell that each is about
    for ranked in found.values():
        new = {(id(d.pairs), d.reference, d.candidate): d for d in sorted(ranked, key=lambda d: -d.amount) if d.amount > 0}
        shown |= islice(((cell, d) for cell, d in new.items() if cell not in shown), each)
    return list(shown.values())

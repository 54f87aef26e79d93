"""How well attributes are told: our rule, each unknown masked by itself, and the published one for comparison (spec 2.4).

What a two-valued attribute's *positive* is: value 1 (coarse, irregular, prominent, abundant, moderate, prominent). Precision,
recall, F1 and AP of a two-valued attribute are those of its positive. An attribute with more values (Cell Size) has no positive:
its precision, recall, F1 and AP are the plain means (macro) over the values that the labels hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from engines.decode import box_iou
from engines.detections import Float32, Float64, Int64
from engines.taxonomy import UNKNOWN, Taxonomy

MIN_IOU = 0.5
"""What a detection must overlap a labelled cell by, to be asked for its attributes."""


@dataclass(frozen=True)
class AttributeScore:
    """One attribute over `n` matched cells whose label states it. Numbers are 0 to 1, NaN where n is 0.

    coverage: share of the labelled cells that state it and were matched. accuracy; balanced_accuracy: mean recall over the values
    that the labels hold; precision, recall, f1, ap as the module says (ap: step-wise, over the probability). chance_accuracy,
    chance_f1: what the best constant answer would reach on these cells: a score near it has learned nothing.
    """

    n: int
    coverage: float
    accuracy: float
    balanced_accuracy: float
    precision: float
    recall: float
    f1: float
    ap: float
    chance_accuracy: float
    chance_f1: float


def pair_with_truth(boxes_px: Float32, truth_boxes_px: Float32, min_iou: float = MIN_IOU) -> Int64:
    """For each labelled cell the detection that found it, (M,) int64, -1 for none: one to one, best overlap first, class ignored."""
    partner = np.full(len(truth_boxes_px), -1, np.int64)
    iou = box_iou(truth_boxes_px, boxes_px)
    while iou.size and iou.max() >= min_iou:
        truth, found = np.unravel_index(iou.argmax(), iou.shape)
        partner[truth] = found
        iou[truth, :] = iou[:, found] = -1
    return partner


def score_attributes(labels: Int64, probabilities: Float32, taxonomy: Taxonomy) -> dict[str, AttributeScore]:
    """Scores by attribute key. labels: (K, A) int64, -1 unknown. probabilities: (K, logits), NaN rows for cells not found."""
    return {
        attribute.key: _score_one(labels[:, column], probabilities[:, group])
        for column, (attribute, group) in enumerate(zip(taxonomy.attributes, taxonomy.groups, strict=True))
    }


def two_valued(taxonomy: Taxonomy) -> list[int]:
    """Places of the attributes with two values: those that the published rule knows."""
    return [i for i, a in enumerate(taxonomy.attributes) if len(a.values) == 2]


def confusion(labels: Int64, probabilities: Float32) -> Int64:
    """Values labelled (rows) and told (columns) of one attribute, (V, V) int64. labels (K,), probabilities (K, V), NaN: not found."""
    values = probabilities.shape[1]
    found = (labels != UNKNOWN) & ~np.isnan(probabilities).any(1)
    counts: Int64 = np.zeros((values, values), np.int64)
    np.add.at(counts, (labels[found], probabilities[found].argmax(1)), 1)
    return counts


def mean_scores(scores: Mapping[str, AttributeScore]) -> dict[str, float]:
    """Each number's mean over the attributes that any label states (n > 0); NaN without one."""
    stated = [asdict(s) for s in scores.values() if s.n]
    names = [n for n in AttributeScore.__dataclass_fields__ if n != "n"]
    return {name: float(np.mean([s[name] for s in stated])) if stated else float("nan") for name in names}


def _score_one(labels: Int64, probabilities: Float32) -> AttributeScore:
    stated = labels != UNKNOWN
    found = stated & ~np.isnan(probabilities).any(1)
    if not found.any():
        nothing = float("nan")
        return AttributeScore(0, 0.0 if stated.any() else nothing, *[nothing] * 8)
    truth, given = labels[found], probabilities[found].astype(np.float64)
    told = given.argmax(1)
    values = np.unique(truth)
    share = np.array([(truth == v).mean() for v in values])
    binary = given.shape[1] == 2
    judged = [1] if binary else values.tolist()
    parts = np.array([_precision_recall_f1(truth == v, told == v) for v in judged])
    # The best constant answer names one value: F1 of that value is 2p / (1 + p), of the others 0.
    shares = [float((truth == v).mean()) for v in judged]
    return AttributeScore(
        n=int(found.sum()),
        coverage=float(found.sum() / stated.sum()),
        accuracy=float((told == truth).mean()),
        balanced_accuracy=float(np.mean([(told[truth == v] == v).mean() for v in values])),
        precision=float(parts[:, 0].mean()),
        recall=float(parts[:, 1].mean()),
        f1=float(parts[:, 2].mean()),
        ap=float(np.mean([average_precision(truth == v, given[:, v]) for v in judged])),
        chance_accuracy=float(share.max()),
        chance_f1=max(2 * p / (1 + p) for p in shares) / len(judged),
    )


def average_precision(positive: NDArray[np.bool_], score: Float64) -> float:
    """Step-wise average precision, sum of (R_k - R_(k-1)) P_k over distinct scores; 0 without a positive."""
    if not positive.any():
        return 0.0
    order = np.argsort(-score, kind="stable")
    positive, score = positive[order], score[order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)  # equal scores are told together
    right = positive.cumsum()[last]
    return float((np.diff(right, prepend=0) / positive.sum() * right / (last + 1)).sum())


def _precision_recall_f1(truth: NDArray[np.bool_], told: NDArray[np.bool_]) -> tuple[float, float, float]:
    """0 where a denominator is 0."""
    right = int((truth & told).sum())
    precision = right / int(told.sum()) if told.any() else 0.0
    recall = right / int(truth.sum()) if truth.any() else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if right else 0.0


def published_pairs(boxes_px: Float32, truth_boxes_px: Float32) -> Int64:
    """The published pairing: each labelled cell takes the box of highest IoU, class ignored and without a floor; (M,), -1: no box."""
    if not len(boxes_px):
        return np.full(len(truth_boxes_px), -1, np.int64)
    best: Int64 = box_iou(truth_boxes_px, boxes_px).argmax(1).astype(np.int64)
    return best


@dataclass(frozen=True)
class PublishedScore:
    """Accuracy, precision, recall and F1 of one attribute by the published rule, positive = 1."""

    accuracy: float
    precision: float
    recall: float
    f1: float


def published_scores(labels: Int64, told: Int64) -> tuple[int, list[PublishedScore]]:
    """By the published rule: cells with any unknown attribute dropped; the number left, and one score a column.

    labels, told: (K, A) int64 of two-valued attributes, -1 unknown. Cells of pictures without detections must be left out before.
    The published "average precision" of the attributes is the mean of these F1. No cell left: no scores.
    """
    whole = (labels != UNKNOWN).all(1)
    labels, told = labels[whole], told[whole]
    if not len(labels):
        return 0, []
    scores = []
    for truth, answer in zip(labels.T, told.T, strict=True):
        parts = _precision_recall_f1(truth == 1, answer == 1)
        scores.append(PublishedScore(float((truth == answer).mean()), *parts))
    return len(labels), scores

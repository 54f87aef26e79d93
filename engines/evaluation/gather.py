"""What an open engine says of one labelled picture, kept as everything that an evaluation needs. Nothing is scored here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engines.data.leukemiaattri import LabelledImage
from engines.decode import AP_THRESHOLDS, candidates
from engines.detections import Float32, Int64
from engines.evaluation.attributes import pair_with_truth, published_pairs, two_valued
from engines.evaluation.detection import Judged
from engines.evaluation.parts import Example
from engines.runtime.engine import NetworkEngine


@dataclass(frozen=True, eq=False)
class Seen:
    """One picture as it was told and labelled.

    judged: every candidate that AP looks at. shown: what the technician would see, at the working point. labels: (K, A) int64 of the
    labelled cells that state an attribute, probabilities: (K, logits) of them, NaN rows where the cell was not found. published_labels,
    published_told: (Q, A') int64 by the published rule (spec 2.4), two-valued attributes only. timings_ms: by stage.
    """

    judged: Judged
    shown: Example
    labels: Int64
    probabilities: Float32
    published_labels: Int64
    published_told: Int64
    timings_ms: dict[str, float]


def look(engine: NetworkEngine, picture: LabelledImage) -> Seen:
    """Asks an open engine about one picture. Raises DataError (the picture cannot be read) and InferenceError."""
    taxonomy = engine.info.taxonomy
    timings_ms: dict[str, float] = {}
    proposals = engine.propose(picture.read(), timings_ms)
    to_frame = proposals.letterbox.to_frame
    every = candidates(proposals.rows, AP_THRESHOLDS)
    every_px = to_frame(every.boxes_px)
    shown = candidates(proposals.rows, engine.thresholds)
    # As `engines.decode.detections`: what lies in the border is no detection.
    sides_px = to_frame(shown.boxes_px)
    shown = shown.select(np.flatnonzero((sides_px[:, 2:] - sides_px[:, :2]).min(1, initial=np.inf) >= 1))
    shown_px = to_frame(shown.boxes_px)
    partner = pair_with_truth(shown_px, picture.boxes_px)
    stated = (picture.attributes >= 0).any(1)
    wanted = (partner >= 0) & stated
    probabilities = np.full((len(partner), taxonomy.n_logits), np.nan, np.float32)
    probabilities[wanted] = engine.describe(shown.boxes_px[partner[wanted]])
    labels, told = _as_published(engine, picture, every.boxes_px, every_px)
    return Seen(
        judged=Judged(every_px, every.scores, every.classes, picture.boxes_px, picture.classes),
        shown=Example(picture.path, shown_px, shown.scores, shown.classes, picture.boxes_px, picture.classes, partner),
        labels=picture.attributes[stated],
        probabilities=probabilities[stated],
        published_labels=labels,
        published_told=told,
        timings_ms=timings_ms,
    )


def _as_published(engine: NetworkEngine, picture: LabelledImage, boxes_px: Float32, frame_boxes_px: Float32) -> tuple[Int64, Int64]:
    """Labels and answers of the cells that the published rule keeps; boxes in input px and the same in px of the picture."""
    taxonomy = engine.info.taxonomy
    columns = two_valued(taxonomy)
    labels = picture.attributes[:, columns]
    whole = (labels >= 0).all(1)
    if not len(boxes_px) or not whole.any():
        return labels[:0], labels[:0]
    probabilities = engine.describe(boxes_px[published_pairs(frame_boxes_px, picture.boxes_px)[whole]])
    told = np.stack([probabilities[:, taxonomy.groups[i]].argmax(1) for i in columns], 1).astype(np.int64)
    return labels[whole], told

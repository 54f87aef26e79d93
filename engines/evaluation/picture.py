"""One labelled picture through an open engine: everything that an evaluation needs of it. Nothing is scored here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from engines.data.aspect import read_undone
from engines.data.leukemiaattri import LabelledImage
from engines.decode import AP_THRESHOLDS, Thresholds, candidates
from engines.detections import Detections, Float32, Image, Int64
from engines.evaluation.attributes import MIN_IOU, pair_with_truth, published_pairs, two_valued
from engines.evaluation.average_precision import Judged, ignored_share
from engines.evaluation.frame import WholeFrame, lay
from engines.evaluation.looks import DETECTOR, IDENTIFY_FROM, SECOND_LOOK, Look, detector_names
from engines.runtime.engine import NetworkEngine


@dataclass(frozen=True, eq=False, kw_only=True)
class Example(Judged):
    """One picture with what was labelled and what was told at the working point.

    partner (M,) int64: which detection found the labelled cell, -1 none. Detections in a region to ignore that found no cell are left
    out of the N. pixel_aspect: of the file; boxes are in px of the picture as `read` gives it.
    """

    path: Path
    partner: Int64
    pixel_aspect: float = 1.0

    def read(self) -> Image:
        """The picture as it was judged, BGR. Raises DataError naming one that cannot be read any more."""
        return read_undone(self.path, self.pixel_aspect)

    @property
    def right(self) -> int:
        """Cells found and given the right type."""
        found = self.partner >= 0
        return int((self.classes[self.partner[found]] == self.truth_classes[found]).sum())

    @property
    def agreement(self) -> float:
        """F1 of cells found with the right type, 2 right / (labelled + told); 1 without any: nothing was missed or invented."""
        told = len(self.truth_classes) + len(self.classes)
        return 2 * self.right / told if told else 1.0


@dataclass(frozen=True, eq=False)
class PictureResult:
    """One picture as it was told and labelled.

    judged: every candidate that AP looks at. shown: what the technician would see, at the working point. labels: (K, A) int64 of the
    labelled cells that state an attribute, probabilities: (K, logits) of them, NaN rows where the cell was not found. published_labels,
    published_told: (Q, A') int64 by the published rule (spec 2.4), two-valued attributes only. timings_ms: by stage. limit_met: more
    cells were found at the working point than the engine shows. sound: all that the engine said were numbers, of background too. looks:
    what the detector alone, and the second look where there is one, tell of the cells of `shown`.
    """

    judged: Judged
    shown: Example
    labels: Int64
    probabilities: Float32
    published_labels: Int64
    published_told: Int64
    timings_ms: dict[str, float]
    limit_met: bool = False
    sound: bool = True
    looks: Mapping[str, Look] = field(default_factory=dict)


def ap_thresholds(working: Thresholds) -> Thresholds:
    """What average precision is measured with: `AP_THRESHOLDS`, with more boxes, or more that overlap, where the engine shows more."""
    most = max(AP_THRESHOLDS.max_detections, working.max_detections)
    return replace(AP_THRESHOLDS, max_detections=most, iou=max(AP_THRESHOLDS.iou, working.iou))


def unignored(boxes_px: Float32, partner: Int64, ignored_px: Float32) -> tuple[NDArray[np.bool_], Int64]:
    """Which detections (N,) count where there are regions to ignore, and the partner (M,) of each labelled cell among those alone.

    A detection that found no cell, and of whose area at least `MIN_IOU` lies in one region, does not.
    """
    counts = ignored_share(boxes_px, ignored_px) < MIN_IOU
    counts[partner[partner >= 0]] = True
    place = np.append(counts.cumsum() - 1, -1)  # -1, not found, takes the last
    return counts, place[partner].astype(np.int64)


def judge_picture(
    engine: NetworkEngine, picture: LabelledImage, identify_from: float = IDENTIFY_FROM, frame: WholeFrame | None = None
) -> PictureResult:
    """Asks an open engine about one picture, laid into a `frame` where one is given; all boxes are in px of the picture.

    identify_from: the score from which the detector alone names a cell. Raises DataError (the picture cannot be read) and
    InferenceError.
    """
    taxonomy = engine.info.taxonomy
    timings_ms: dict[str, float] = {}
    image, laid = lay(picture.read(), frame)
    proposals = engine.propose(image, timings_ms)

    def to_frame(boxes_px: Float32) -> Float32:
        return laid.to_picture(proposals.letterbox.to_frame(boxes_px))

    every = candidates(proposals.rows, ap_thresholds(engine.thresholds))
    every_px = to_frame(every.boxes_px)
    shown = candidates(proposals.rows, engine.thresholds)
    # As `engines.decode.detections`: what lies in the border is no detection.
    sides_px = to_frame(shown.boxes_px)
    shown = shown.select(np.flatnonzero((sides_px[:, 2:] - sides_px[:, :2]).min(1, initial=np.inf) >= 1))
    shown_px = to_frame(shown.boxes_px)
    counts, partner = unignored(shown_px, pair_with_truth(shown_px, picture.boxes_px), picture.ignored_px)
    shown, shown_px = shown.select(counts), shown_px[counts]
    assert shown.rows is not None
    scores = proposals.rows[shown.rows, 5:] * proposals.rows[shown.rows, 4:5]
    stated = (picture.attributes >= 0).any(1) & engine.describes  # what tells no attributes has no score of them, not a bad one
    wanted = (partner >= 0) & stated
    probabilities = np.full((len(partner), taxonomy.n_logits), np.nan, np.float32)
    probabilities[wanted] = engine.describe(shown.boxes_px[partner[wanted]])
    labels, told, sound = _as_published(engine, picture, every.boxes_px, every_px)
    sound &= bool(np.isfinite(proposals.rows).all() and engine.sound(probabilities[wanted]).all())
    truth = picture.boxes_px, picture.classes, picture.ignored_px
    unasked = np.full((len(shown), taxonomy.n_logits), np.nan, np.float32)
    of_detector = unasked.copy()
    of_detector[partner[wanted]] = probabilities[wanted]
    looks = {DETECTOR: Look(detector_names(scores, taxonomy, identify_from), partner, picture.classes, picture.attributes, of_detector)}
    start = perf_counter()
    found = engine.name_cells(image, Detections(proposals.letterbox.to_frame(shown.boxes_px), shown.scores, shown.classes, unasked))
    if found.names is not None:
        timings_ms["second look"] = 1e3 * (perf_counter() - start)
        sound &= bool(np.isfinite(found.names.probabilities).all())
        looks[SECOND_LOOK] = Look(found.names, partner, picture.classes, picture.attributes, found.attributes)
    return PictureResult(
        judged=Judged(every_px, every.scores, every.classes, *truth),
        shown=Example(
            shown_px, shown.scores, shown.classes, *truth, path=picture.path, partner=partner, pixel_aspect=picture.pixel_aspect
        ),
        labels=picture.attributes[stated],
        probabilities=probabilities[stated],
        published_labels=labels,
        published_told=told,
        timings_ms=timings_ms,
        limit_met=shown.limit_met,
        sound=sound,
        looks=looks,
    )


def _as_published(
    engine: NetworkEngine, picture: LabelledImage, boxes_px: Float32, frame_boxes_px: Float32
) -> tuple[Int64, Int64, bool]:
    """Labels and answers of the cells that the published rule keeps, and whether these are numbers; boxes in px of input and frame."""
    taxonomy = engine.info.taxonomy
    columns = two_valued(taxonomy)
    labels = picture.attributes[:, columns]
    whole = (labels >= 0).all(1)
    if not len(boxes_px) or not whole.any() or not engine.describes:
        return labels[:0], labels[:0], True
    probabilities = engine.describe(boxes_px[published_pairs(frame_boxes_px, picture.boxes_px)[whole]])
    told = np.stack([probabilities[:, taxonomy.groups[i]].argmax(1) for i in columns], 1).astype(np.int64)
    return labels[whole], told, bool(engine.sound(probabilities).all())

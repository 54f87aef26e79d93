"""A bundle on a folder of labelled pictures: everything `attridet evaluate` reports, as one value."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engines.data.leukemiaattri import LabelledImage, has_labels, read_split
from engines.decode import AP_THRESHOLDS, Thresholds, candidates, detections
from engines.detections import Float32, Int64
from engines.errors import DataError
from engines.evaluation.attributes import (
    MIN_IOU,
    AttributeScore,
    PublishedScore,
    mean_scores,
    pair_with_truth,
    published_pairs,
    published_scores,
    score_attributes,
)
from engines.evaluation.detection import AveragePrecision, Judged, YoloResult, coco_ap, yolo_ap
from engines.runtime.base import EngineInfo
from engines.runtime.engine import BundleEngine


@dataclass(frozen=True)
class WorkingPoint:
    """What the technician sees: the bundle's own thresholds, cells paired one to one with the labels at IoU .5, type ignored.

    found: labelled cells that a detection paired with; recall = found / cells, precision = found / detections, type_accuracy: share of
    the found that bear the right type; NaN over nothing.
    """

    thresholds: Thresholds
    detections: int
    cells: int
    found: int
    right_type: int

    @property
    def recall(self) -> float:
        return self.found / self.cells if self.cells else math.nan

    @property
    def precision(self) -> float:
        return self.found / self.detections if self.detections else math.nan

    @property
    def type_accuracy(self) -> float:
        return self.right_type / self.found if self.found else math.nan


@dataclass(frozen=True)
class Published:
    """Attributes by the published rule (spec 2.4): `rows` labelled cells were left, scores by attribute key, mean of the F1."""

    rows: int
    scores: dict[str, PublishedScore]

    @property
    def mean_f1(self) -> float:
        return float(np.mean([s.f1 for s in self.scores.values()])) if self.scores else math.nan


@dataclass(frozen=True)
class Evaluation:
    """Scores of one engine on one split. median_ms: milliseconds of each stage, medians over the pictures, on this machine."""

    engine: EngineInfo
    data: str
    split: str
    images: int
    yolo: YoloResult
    coco: AveragePrecision
    working_point: WorkingPoint
    attributes: dict[str, AttributeScore]
    published: Published
    median_ms: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON: NaN as null, every number beside the rule that made it."""
        names = self.engine.taxonomy.classes
        detection: dict[str, Any] = {
            "thresholds": asdict(AP_THRESHOLDS),
            "yolov5": {"map50": self.yolo.map50, "map5095": self.yolo.map5095, "best_confidence": self.yolo.best_confidence},
            "coco": {"map50": self.coco.map50, "map5095": self.coco.map5095},
            "classes": {
                names[c]: {
                    "cells": int(self.yolo.truths[i]),
                    "yolov5_ap50": self.yolo.ap[i, 0],
                    "yolov5_ap5095": self.yolo.ap[i].mean(),
                    "coco_ap50": self.coco.ap[i, 0],
                    "coco_ap5095": self.coco.ap[i].mean(),
                    "precision": self.yolo.precision[i],
                    "recall": self.yolo.recall[i],
                    "f1": self.yolo.f1[i],
                }
                for i, c in enumerate(self.yolo.classes)
            },
        }
        point = self.working_point
        plain = {
            "engine": {
                "name": self.engine.name,
                "version": self.engine.version,
                "digest": self.engine.digest,
                "runtime": self.engine.runtime,
                "precision": self.engine.precision,
                "input_hw": list(self.engine.input_hw),
            },
            "data": {"name": self.data, "split": self.split, "images": self.images, "cells": point.cells},
            "detection": detection,
            "working_point": {
                **asdict(point),
                "recall": point.recall,
                "precision": point.precision,
                "type_accuracy": point.type_accuracy,
            },
            "attributes": {
                "rule": f"cells paired one to one at IoU >= {MIN_IOU} at the working point, each unknown masked by itself",
                "mean": mean_scores(self.attributes),
                "each": {key: asdict(score) for key, score in self.attributes.items()},
                "published_rule": {
                    "rule": "box of highest IoU without a floor, cells with any unknown dropped, two-valued attributes only",
                    "cells": self.published.rows,
                    "mean_f1": self.published.mean_f1,
                    "each": {key: asdict(score) for key, score in self.published.scores.items()},
                },
            },
            "median_ms": self.median_ms,
        }
        cleaned: dict[str, Any] = _plain(plain)
        return cleaned


def evaluate_folder(engine: BundleEngine, root: Path, split: str, progress: Callable[[int, int], None] | None = None) -> Evaluation:
    """Scores an open engine on one split of a folder in the published layout; labels without attributes will do.

    `progress` is called with (pictures done, pictures in all). Raises DataError naming folder or file for a split that is missing,
    unlabelled or unreadable; a picture that cannot be decoded ends it, since a score over the rest would be another score.
    """
    taxonomy = engine.info.taxonomy
    pictures = read_split(root, split, taxonomy)
    if not has_labels(root, split) or not sum(len(p.classes) for p in pictures):
        raise DataError(f"{root}: the split {split!r} has no labelled cell to score against. Choose another split.")
    tally = _Tally(engine)
    for done, picture in enumerate(pictures, 1):
        tally.look(picture)
        if progress is not None:
            progress(done, len(pictures))
    return tally.evaluation(root.resolve().name, split)


class _Tally:
    """Gathers what each picture contributes."""

    def __init__(self, engine: BundleEngine) -> None:
        self._engine = engine
        self._taxonomy = engine.info.taxonomy
        self._two_valued = [i for i, a in enumerate(self._taxonomy.attributes) if len(a.values) == 2]
        self._judged: list[Judged] = []
        self._labels: list[Int64] = []
        self._probabilities: list[Float32] = []
        self._published: list[tuple[Int64, Int64]] = []
        self._timings: list[dict[str, float]] = []
        self._detections = self._found = self._right_type = 0

    def look(self, picture: LabelledImage) -> None:
        timings_ms: dict[str, float] = {}
        proposals = self._engine.propose(picture.read(), timings_ms)
        self._timings.append(timings_ms)
        letterbox = proposals.letterbox
        every = candidates(proposals.rows, AP_THRESHOLDS)
        every_px = letterbox.to_frame(every.boxes_px)
        self._judged.append(Judged(every_px, every.scores, every.classes, picture.boxes_px, picture.classes))
        shown = candidates(proposals.rows, self._engine.thresholds)
        self._detections += len(detections(shown, letterbox, self._taxonomy.n_logits))
        partner = pair_with_truth(letterbox.to_frame(shown.boxes_px), picture.boxes_px)
        paired = partner >= 0
        self._found += int(paired.sum())
        self._right_type += int((shown.classes[partner[paired]] == picture.classes[paired]).sum())
        stated = (picture.attributes >= 0).any(1)
        probabilities = np.full((len(partner), self._taxonomy.n_logits), np.nan, np.float32)
        wanted = paired & stated
        probabilities[wanted] = self._engine.describe(shown.boxes_px[partner[wanted]])
        self._labels.append(picture.attributes[stated])
        self._probabilities.append(probabilities[stated])
        self._look_as_published(picture, every.boxes_px, every_px)

    def _look_as_published(self, picture: LabelledImage, boxes_px: Float32, frame_boxes_px: Float32) -> None:
        labels = picture.attributes[:, self._two_valued]
        whole = (labels >= 0).all(1)
        partner = published_pairs(frame_boxes_px, picture.boxes_px)[whole]
        if len(boxes_px) and len(partner):
            probabilities = self._engine.describe(boxes_px[partner])
            groups = [self._taxonomy.groups[i] for i in self._two_valued]
            told = np.stack([probabilities[:, g].argmax(1) for g in groups], 1).astype(np.int64)
            self._published.append((labels[whole], told))

    def evaluation(self, data: str, split: str) -> Evaluation:
        attributes = score_attributes(np.concatenate(self._labels), np.concatenate(self._probabilities), self._taxonomy)
        none = np.zeros((0, len(self._two_valued)), np.int64)
        rows, scores = published_scores(
            np.concatenate([none, *(labels for labels, _ in self._published)]),
            np.concatenate([none, *(told for _, told in self._published)]),
        )
        keys = [self._taxonomy.attributes[i].key for i in self._two_valued]
        return Evaluation(
            engine=self._engine.info,
            data=data,
            split=split,
            images=len(self._judged),
            yolo=yolo_ap(self._judged),
            coco=coco_ap(self._judged),
            working_point=WorkingPoint(
                self._engine.thresholds,
                self._detections,
                sum(j.n_truths for j in self._judged),
                self._found,
                self._right_type,
            ),
            attributes=attributes,
            published=Published(rows, dict(zip(keys, scores, strict=True)) if rows else {}),
            median_ms={stage: float(np.median([t[stage] for t in self._timings])) for stage in self._timings[0]},
        )


def _plain(value: Any) -> Any:
    """The value with numpy's numbers as Python's, and NaN as None."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else float(value)
    return value

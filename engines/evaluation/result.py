"""What an evaluation found, as one value, and its plain form for JSON. It is made in `engines.evaluation.folder`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from engines.data.leukemiaattri import SplitData
from engines.detections import Int64
from engines.evaluation.attributes import MIN_IOU, AttributeScore, PublishedScore, mean_scores
from engines.evaluation.concepts import ConceptScore
from engines.evaluation.detection import FREQUENT_CELLS, RULE_NAMES, AveragePrecision, ByRule, YoloResult, frequent_types
from engines.evaluation.films import FilmScore
from engines.evaluation.frame import WholeFrame
from engines.evaluation.intervals import Intervals
from engines.evaluation.picture import Example, ap_thresholds
from engines.evaluation.told import Told
from engines.evaluation.trained_on import NONE, Overlap
from engines.evaluation.working_point import Blasts, BoxLimits, WorkingPoint
from engines.pages import NOTICE
from engines.runtime.base import EngineInfo


@dataclass(frozen=True)
class Published:
    """Attributes by the published rule (spec 2.4): `rows` labelled cells were left, scores by attribute key, mean of the F1."""

    rows: int
    scores: dict[str, PublishedScore]

    @property
    def mean_f1(self) -> float:
        return float(np.mean([s.f1 for s in self.scores.values()])) if self.scores else math.nan


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of one engine on one split; intended_use, must_not_be_used_for, pixel_aspect as its card has them.

    told: what each look tells of the cells, the detector alone first; the last is what the appliance shows. frame: what each
    picture was laid into, None: nothing. confidence_from: where the working point's confidence comes from, in words. yolo, coco,
    ultralytics: AP of each type. wbc: white cell against background, all types as one. films: a score each; patients_known: whether
    films are patients, or all pictures one film. confusion: (C + 1, C + 1) int64 at the working point, rows labelled, columns told,
    the last of each background. box_limits: which were reached. scored: the pictures, and what was left out of them. notes: what
    must be read before the scores. attribute_confusions: by key, (V, V). intervals: None where none were asked for. median_ms:
    milliseconds of each stage, medians over the pictures, on this machine. trained_on: who is judged although trained on. concepts:
    of a network that makes types of attributes alone.
    """

    engine: EngineInfo
    intended_use: str
    must_not_be_used_for: tuple[str, ...]
    pixel_aspect: float
    data: str
    split: str
    yolo: YoloResult
    coco: AveragePrecision
    ultralytics: AveragePrecision
    wbc: ByRule
    wbc_cells: int
    working_point: WorkingPoint
    box_limits: BoxLimits
    scored: SplitData
    notes: tuple[str, ...]
    confusion: Int64
    attributes: dict[str, AttributeScore]
    attribute_confusions: Mapping[str, Int64]
    published: Published
    told: tuple[Told, ...]
    films: tuple[FilmScore, ...]
    patients_known: bool
    intervals: Intervals | None
    examples: tuple[Example, ...]
    median_ms: dict[str, float]
    frame: WholeFrame | None = None
    confidence_from: str = ""
    trained_on: Overlap = NONE
    concepts: ConceptScore | None = None

    @property
    def images(self) -> int:
        return len(self.examples)

    @property
    def label(self) -> str:
        """Model and data as tables and pictures name them."""
        return f"{self.engine.label} on {self.data}/{self.split}"

    @property
    def attributes_stated(self) -> bool:
        """Whether any label states an attribute, of a cell found or not."""
        return not all(math.isnan(score.coverage) for score in self.attributes.values())

    @property
    def frequent_types(self) -> list[int]:
        """Codes of the types of white cell with at least `FREQUENT_CELLS` labelled cells."""
        return frequent_types(self.yolo, self.engine.taxonomy)

    @property
    def types(self) -> ByRule:
        """AP of each type by each rule."""
        return ByRule(self.coco, self.yolo, self.ultralytics)

    @property
    def frequent(self) -> ByRule:
        """AP of the frequent types alone."""
        return self.types.of(self.frequent_types)

    @property
    def frequent_cells(self) -> int:
        """Labelled cells of the frequent types."""
        return int(self.yolo.truths[np.isin(self.yolo.classes, self.frequent_types)].sum())

    @property
    def film_note(self) -> str:
        """Which films were judged, in words."""
        if self.patients_known:
            return "Films are patients, named as the pictures' names begin."
        return "The names give no patients: all pictures are judged as one film."

    @property
    def films_right(self) -> tuple[int, int]:
        """On how many films the most frequent type is right, and of how many that have labelled white cells."""
        told = [film.most_right for film in self.films if film.most_right is not None]
        return sum(told), len(told)

    @property
    def mean_total_variation(self) -> float:
        """Mean over the films of the differential's total variation; NaN without a film that has cells on both sides."""
        known = [film.total_variation for film in self.films if not math.isnan(film.total_variation)]
        return float(np.mean(known)) if known else math.nan

    @property
    def blasts(self) -> Blasts:
        """Blasts as one group at the working point."""
        return Blasts.of(self.confusion, self.engine.taxonomy)

    @property
    def appliance(self) -> Told:
        """What the appliance shows: the second look where there is one, else the detector alone."""
        return self.told[-1]

    def film_title(self, film: FilmScore) -> str:
        """A film as a heading."""
        return f"Patient {film.film}" if self.patients_known else film.film.capitalize()

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON: NaN as null, every number beside the rule that made it."""
        point, intervals = self.working_point, self.intervals
        cleaned: dict[str, Any] = plain_value(
            {
                "notice": NOTICE,
                "engine": {
                    **{name: getattr(self.engine, name) for name in ("name", "version", "digest", "runtime", "precision", "input_hw")},
                    "intended_use": self.intended_use,
                    "must_not_be_used_for": self.must_not_be_used_for,
                    "pixel_aspect": self.pixel_aspect,
                },
                "data": {
                    "name": self.data,
                    "split": self.split,
                    "images": self.images,
                    "frame": None if self.frame is None else [self.frame.width, self.frame.height],
                    "cells": point.cells,
                    "notes": self.notes,
                    "scored": self.scored.summary,
                    **self.scored.to_dict(),
                },
                "trained_on": {"patients": self.trained_on.patients, "data": self.trained_on.where, "words": self.trained_on.words},
                "detection": self._detection(),
                "working_point": {
                    **asdict(point),
                    "confidence_from": self.confidence_from,
                    "recall": point.recall,
                    "precision": point.precision,
                    "type_accuracy": point.type_accuracy,
                    "blasts": {**asdict(self.blasts), "sensitivity": self.blasts.sensitivity, "youden": self.blasts.youden},
                    "confusion": {
                        "rule": "rows labelled, columns told, the last of each background",
                        "classes": [*self.engine.taxonomy.classes, "background"],
                        "counts": self.confusion.tolist(),
                    },
                },
                "attributes": self._attributes(),
                "concepts": None if self.concepts is None else self.concepts.to_dict(),
                "told": [look.to_dict() for look in self.told],
                "films": self._films(),
                "intervals": None if intervals is None else {"rule": intervals.rule, "caution": intervals.caution, **asdict(intervals)},
                "median_ms": self.median_ms,
            }
        )
        return cleaned

    def _detection(self) -> dict[str, Any]:
        names, yolo = self.engine.taxonomy.classes, self.yolo
        return {
            "thresholds": asdict(ap_thresholds(self.working_point.thresholds)),
            "box_limits": {**asdict(self.box_limits), "words": self.box_limits.words},
            "rules": {rule: f"{name}'s rule" for rule, name in RULE_NAMES.items()},
            **_means(self.types, "map"),
            "yolov5": {**_means(self.types, "map")["yolov5"], "best_confidence": yolo.best_confidence},
            "frequent": {
                "rule": f"mean over the types of white cell with at least {FREQUENT_CELLS} labelled cells",
                "types": [names[c] for c in self.frequent_types],
                **_means(self.frequent, "map"),
            },
            "wbc": {
                "rule": "white cell against background: all types as one, artefacts left out on both sides",
                "cells": self.wbc_cells,
                **_means(self.wbc, "ap"),
            },
            "classes": {
                names[c]: {
                    "cells": int(yolo.truths[i]),
                    **{f"{rule}_{n}": getattr(ap, n)[i] for rule, ap in self.types.each.items() for n in ("ap50", "ap5095")},
                    **{name: getattr(yolo, name)[i] for name in ("precision", "recall", "f1")},
                }
                for i, c in enumerate(yolo.classes)
            },
        }

    def _attributes(self) -> dict[str, Any]:
        return {
            "rule": f"cells paired one to one at IoU >= {MIN_IOU} at the working point, each unknown masked by itself",
            "mean": mean_scores(self.attributes),
            "each": {key: asdict(score) for key, score in self.attributes.items()},
            "confusion": {
                a.key: {"values": list(a.values), "counts": self.attribute_confusions[a.key].tolist()}
                for a in self.engine.taxonomy.attributes
            },
            "published_rule": {
                "rule": "box of highest IoU without a floor, cells with any unknown dropped, two-valued attributes only",
                "cells": self.published.rows,
                "mean_f1": self.published.mean_f1,
                "each": {key: asdict(score) for key, score in self.published.scores.items()},
            },
        }

    def _films(self) -> dict[str, Any]:
        names = self.engine.taxonomy.classes
        right, judged = self.films_right
        return {
            "rule": "white cells at the working point, artefacts left out; differences are told minus labelled, in percentage points",
            "patients_known": self.patients_known,
            "note": self.film_note,
            "most_frequent_right": right,
            "judged": judged,
            "mean_total_variation": self.mean_total_variation,
            "each": [
                {
                    "film": film.film,
                    "pictures": film.pictures,
                    "labelled": int(film.labelled.sum()),
                    "told": int(film.told.sum()),
                    "most_labelled": [names[i] for i in film.most_labelled],
                    "most_told": [names[i] for i in film.most_told],
                    "most_right": film.most_right,
                    "l1": film.l1,
                    "total_variation": film.total_variation,
                    "blast_percent": dict(zip(("labelled", "told"), film.share_pp(self.engine.taxonomy.blast_codes), strict=True)),
                    "types": {
                        names[i]: {"labelled": film.labelled[i], "told": film.told[i], "difference_pp": film.difference_pp[i]}
                        for i in range(len(names))
                        if film.labelled[i] or film.told[i]
                    },
                }
                for film in self.films
            ],
        }


def _means(rules: ByRule, name: str) -> dict[str, dict[str, float]]:
    return {rule: {f"{name}50": ap.map50, f"{name}5095": ap.map5095} for rule, ap in rules.each.items()}


def plain_value(value: Any) -> Any:
    """The value with numpy's numbers as Python's, and NaN as None."""
    if isinstance(value, dict):
        return {key: plain_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else float(value)
    return int(value) if isinstance(value, np.integer) else value

"""What the technician sees: scores at the engine's own thresholds, blasts as one group, and limits of boxes that were reached there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engines.decode import AP_THRESHOLDS, Thresholds
from engines.detections import Int64
from engines.evaluation.average_precision import COCO_BOXES, Judged
from engines.evaluation.picture import PictureResult, ap_thresholds
from engines.taxonomy import Taxonomy


@dataclass(frozen=True)
class WorkingPoint:
    """What the technician sees: the engine's own thresholds, cells paired one to one with the labels at IoU .5, type ignored.

    found: labelled cells that a detection paired with; recall = found / cells, precision = found / detections, type_accuracy: share of
    the found that bear the right type; NaN over nothing.
    """

    thresholds: Thresholds
    detections: int
    cells: int
    found: int
    right_type: int

    @classmethod
    def of(cls, thresholds: Thresholds, confusion: Int64) -> WorkingPoint:
        """From the confusion of types, rows labelled, columns told, the last of each background."""
        found = confusion[:-1, :-1]
        return cls(thresholds, *(int(n) for n in (confusion[:, :-1].sum(), confusion[:-1].sum(), found.sum(), found.trace())))

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
class Blasts:
    """Blasts and blast equivalents as one group at the working point: a network can lose them all while no mean over types shows it.

    labelled: of them, `told` bear a blast's type, whichever, `other` another type, `missed` paired with no detection. others: labelled
    cells and artefacts that are no blasts, of which `confused` bear a blast's type. invented: told as a blast where nothing is.
    """

    labelled: int
    told: int
    other: int
    missed: int
    others: int
    confused: int
    invented: int

    @classmethod
    def of(cls, confusion: Int64, taxonomy: Taxonomy) -> Blasts:
        """From the confusion of types, rows labelled, columns told, the last of each background."""
        codes = list(taxonomy.blast_codes)
        blasts, others = confusion[codes], np.delete(confusion[:-1], codes, axis=0)
        labelled, told, missed = int(blasts.sum()), int(blasts[:, codes].sum()), int(blasts[:, -1].sum())
        confused, invented = int(others[:, codes].sum()), int(confusion[-1, codes].sum())
        return cls(labelled, told, labelled - told - missed, missed, int(others.sum()), confused, invented)

    @property
    def sensitivity(self) -> float:
        """told / labelled; NaN over nothing."""
        return self.told / self.labelled if self.labelled else math.nan

    @property
    def youden(self) -> float:
        """Youden's J (1950): share of the blasts told as one, less share of the others told so; NaN where there are not both.

        0 is chance: a network that calls every cell a blast has a sensitivity of 1 and a J of 0.
        """
        return self.sensitivity - self.confused / self.others if self.others else math.nan

    @property
    def words(self) -> str:
        """What there is to say; "" where there is none, labelled or told."""
        if not self.labelled and not self.confused and not self.invented:
            return ""
        said = (
            f"Blasts and their equivalents, as one group: of {self.labelled} labelled, {self.told} are told as a blast, "
            f"{self.other} as another type and {self.missed} not found; "
            f"of {self.others} others {self.confused} are told as a blast, and {self.invented} where nothing is."
        )
        return said if math.isnan(self.youden) else f"{said} Youden's J is {self.youden:.2f} (0 is chance)."


def type_confusion(results: Sequence[PictureResult], taxonomy: Taxonomy) -> Int64:
    """Types labelled (rows) and told (columns) at the working point, the last of each background: (C + 1, C + 1) int64."""
    background = len(taxonomy.classes)
    counts: Int64 = np.zeros((background + 1, background + 1), np.int64)
    for shown in (r.shown for r in results):
        told = np.append(shown.classes, background)[shown.partner]  # -1, not found, takes the last
        np.add.at(counts, (shown.truth_classes, told), 1)
        invented = np.setdiff1d(np.arange(len(shown.classes)), shown.partner)
        np.add.at(counts[background], shown.classes[invented], 1)
    return counts


@dataclass(frozen=True)
class BoxLimit:
    """A limit of `boxes` a picture: how many `pictures` reached it, and the recall that it leaves at most; 1 where it cost no cell."""

    boxes: int
    pictures: int
    recall_at_most: float

    @classmethod
    def of(cls, boxes: int, cells: Sequence[int], reached: Sequence[bool]) -> BoxLimit:
        """cells: labelled ones in each picture (or of each type in each), reached: whether the limit was."""
        found = [min(n, boxes) if met else n for n, met in zip(cells, reached, strict=True)]
        return cls(boxes, sum(reached), sum(found) / sum(cells) if sum(cells) else math.nan)


@dataclass(frozen=True)
class BoxLimits:
    """The three limits of boxes: what an engine shows, what the rules of YOLOv5 and Ultralytics look at, and COCO's by type."""

    working_point: BoxLimit
    yolov5: BoxLimit
    coco: BoxLimit
    coco_wbc: BoxLimit

    @classmethod
    def of(cls, results: Sequence[PictureResult], white: Sequence[Judged], working: Thresholds) -> BoxLimits:
        """white: each picture with all types as one; working: the engine's own thresholds."""
        cells, boxes, of_type = [r.judged.n_truths for r in results], ap_thresholds(working).max_detections, coco_boxes(working)
        types = [int(n) for r in results for n in np.unique(r.judged.truth_classes, return_counts=True)[1]]
        return cls(
            BoxLimit.of(working.max_detections, cells, [r.limit_met for r in results]),
            BoxLimit.of(boxes, cells, [n > boxes for n in cells]),
            BoxLimit.of(of_type, types, [n > of_type for n in types]),
            BoxLimit.of(of_type, [j.n_truths for j in white], [j.n_truths > of_type for j in white]),
        )

    @property
    def words(self) -> str:
        """What must be said of the limits that were reached, and the way out; "" where none was."""
        shown, looked, coco, white = self.working_point, self.yolov5, self.coco, self.coco_wbc
        said = []
        if shown.pictures:
            pictures = "1 picture" if shown.pictures == 1 else f"{shown.pictures} pictures"
            cost = f"recall can be at most {shown.recall_at_most:.3f}" if shown.recall_at_most < 1 else "the weakest are not counted"
            said.append(f"{pictures} reached the limit of {shown.boxes} boxes at the working point: {cost}.")
        if looked.pictures:
            said.append(f"AP is over {looked.boxes} boxes a picture: recall at most {looked.recall_at_most:.3f} there.")
        if coco.pictures or white.pictures:
            most = f"{coco.recall_at_most:.3f} there ({white.recall_at_most:.3f} with all types as one)"
            said.append(f"COCO's rule looks at {coco.boxes} boxes of a type and picture: recall at most {most}.")
        return " ".join([*said, "Raise the limit: --max-boxes."]) if said else ""


def coco_boxes(working: Thresholds) -> int:
    """Boxes of a type and picture that COCO's rule looks at: its own 100, or as many as the engine shows where that was raised."""
    return COCO_BOXES if working.max_detections <= AP_THRESHOLDS.max_detections else working.max_detections

"""What the pictures of an evaluation are drawn from: plain arrays, from an evaluation or the training side. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engines.detections import Float32, Int64
from engines.evaluation.detection import YoloResult


@dataclass(frozen=True, eq=False)
class Example:
    """One picture with what was labelled and what was told at the working point, boxes x1 y1 x2 y2 in px of the picture.

    boxes_px (N, 4), scores (N,), classes (N,); truth_boxes_px (M, 4), truth_classes (M,); partner (M,) int64: which detection found the
    labelled cell, -1 none.
    """

    path: Path
    boxes_px: Float32
    scores: Float32
    classes: Int64
    truth_boxes_px: Float32
    truth_classes: Int64
    partner: Int64

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
class Differential:
    """Cells of each class on one film, labelled and told at the working point; both (C,) int64, the artefact's 0."""

    film: str
    labelled: Int64
    told: Int64


@dataclass(frozen=True, eq=False)
class Parts:
    """Everything that `engines.evaluation.plots.write_pictures` draws; what is empty is not drawn.

    label: model and data as every picture names them. classes: names, index = code. yolo: AP and curves. confusion: (C + 1, C + 1)
    int64, rows labelled, columns told, the last of each background. attributes: by name, the values' words and a (V, V) int64 confusion
    of the cells found, rows labelled. differentials: a film each. examples: pictures to choose from.
    """

    label: str
    classes: tuple[str, ...]
    yolo: YoloResult
    confusion: Int64
    attributes: Mapping[str, tuple[tuple[str, ...], Int64]] = field(default_factory=dict)
    differentials: tuple[Differential, ...] = ()
    examples: tuple[Example, ...] = ()

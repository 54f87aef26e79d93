"""The names of scores in words, and numbers as people read them: the same in the terminal and on the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from engines.evaluation.detection import FREQUENT_CELLS
from engines.evaluation.films import FilmScore

IN_WORDS = {
    "coco_map50": "mAP50, COCO's rule",
    "coco_map5095": "mAP50-95, COCO's rule",
    "yolov5_map50": "mAP50, YOLOv5's rule",
    "yolov5_map5095": "mAP50-95, YOLOv5's rule",
    "frequent_coco_map50": f"types with {FREQUENT_CELLS} cells or more: mAP50, COCO",
    "frequent_coco_map5095": f"types with {FREQUENT_CELLS} cells or more: mAP50-95, COCO",
    "frequent_yolov5_map50": f"types with {FREQUENT_CELLS} cells or more: mAP50, YOLOv5",
    "frequent_yolov5_map5095": f"types with {FREQUENT_CELLS} cells or more: mAP50-95, YOLOv5",
    "wbc_coco_ap50": "white cell against background: AP50, COCO",
    "wbc_coco_ap5095": "white cell against background: AP50-95, COCO",
    "wbc_yolov5_ap50": "white cell against background: AP50, YOLOv5",
    "wbc_yolov5_ap5095": "white cell against background: AP50-95, YOLOv5",
    "recall": "labelled cells found",
    "precision": "detections that are a labelled cell",
    "type_accuracy": "right type, of the cells found",
    "attribute_accuracy": "attributes: accuracy, mean",
    "attribute_balanced_accuracy": "attributes: balanced accuracy, mean",
    "attribute_f1": "attributes: F1, mean",
    "film_most_frequent_right": "films with the most frequent type right",
    "film_total_variation": "differential: total variation, mean of films",
}
"""Scores that have intervals, in the order of reading, and what they are called."""


def number(value: float) -> str:
    """Three decimals, "-" for none."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def signed_pp(value: float) -> str:
    """Percentage points with a sign and one decimal, "-" for none."""
    return "-" if math.isnan(value) else f"{value:+.1f}"


def most(codes: Sequence[int], names: Sequence[str]) -> str:
    """The most frequent types in words: equal ones are named up to three, then counted; "none" without a cell."""
    if len(codes) > 3:
        return f"{len(codes)} types equal"
    return " = ".join(names[i] for i in codes) or "none"


def largest_difference(film: FilmScore, names: Sequence[str]) -> str:
    """The type whose share is told most wrongly, and by how much."""
    differences = film.difference_pp
    if not len(differences) or math.isnan(differences[0]):
        return "-"
    worst = int(abs(differences).argmax())
    return f"{names[worst]} {signed_pp(differences[worst])}"

"""An evaluation as CSV for spreadsheets: types, attributes, films, intervals. Each row says which model and data it is of."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engines.evaluation.detection import FREQUENT_CELLS
from engines.evaluation.result import Evaluation
from engines.files import make_folder, write_result
from engines.pages import NOTICE

Row = dict[str, Any]


def write_sheets(result: Evaluation, folder: Path) -> list[Path]:
    """Writes types.csv, attributes.csv, films.csv and, where there are any, intervals.csv; NaN as an empty field.

    films.csv has one row for each film and type, and one of type "all" for the film as a whole. Raises DataError naming the file.
    """
    make_folder(folder)
    sheets: Mapping[str, Iterator[Row]] = {
        "types.csv": _types(result),
        "attributes.csv": _attributes(result),
        "films.csv": _films(result),
        "intervals.csv": _intervals(result),
    }
    written = []
    for name, rows in sheets.items():
        text = _text(result, list(rows))
        if text:
            write_result(folder / name, text)
            written.append(folder / name)
    return written


def _text(result: Evaluation, rows: list[Row]) -> str:
    if not rows:
        return ""
    engine = result.engine
    whose = {
        "model": engine.name,
        "version": engine.version,
        "digest": engine.digest,
        "data": result.data,
        "split": result.split,
        "notice": NOTICE,
    }
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=[*rows[0], *whose], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**{key: _field(value) for key, value in row.items()}, **whose} for row in rows)
    return buffer.getvalue()


def _types(result: Evaluation) -> Iterator[Row]:
    """Types, then three means; precision, recall and F1 are those of YOLOv5's rule at its one best confidence."""
    yolo, coco, names = result.yolo, result.coco, result.engine.taxonomy.classes
    for i, code in enumerate(yolo.classes):
        yield {
            "type": names[code],
            "cells": int(yolo.truths[i]),
            "coco_ap5095": coco.ap5095[i],
            "coco_ap50": coco.ap50[i],
            "yolov5_ap5095": yolo.ap5095[i],
            "yolov5_ap50": yolo.ap50[i],
            "yolov5_precision": yolo.precision[i],
            "yolov5_recall": yolo.recall[i],
            "yolov5_f1": yolo.f1[i],
        }
    cells = {int(code): int(n) for code, n in zip(yolo.classes, yolo.truths, strict=True)}
    frequent = result.frequent
    for name, count, of_yolo, of_coco in (
        ("mean", sum(cells.values()), yolo, coco),
        (f"frequent (at least {FREQUENT_CELLS} cells)", sum(cells[c] for c in result.frequent_types), frequent.yolo, frequent.coco),
        ("wbc (white cell against background)", result.wbc_cells, result.wbc.yolo, result.wbc.coco),
    ):
        yield {
            "type": name,
            "cells": count,
            "coco_ap5095": of_coco.map5095,
            "coco_ap50": of_coco.map50,
            "yolov5_ap5095": of_yolo.map5095,
            "yolov5_ap50": of_yolo.map50,
            **dict.fromkeys(("yolov5_precision", "yolov5_recall", "yolov5_f1"), math.nan),
        }


def _attributes(result: Evaluation) -> Iterator[Row]:
    for attribute in result.engine.taxonomy.attributes:
        published = result.published.scores.get(attribute.key)
        fields = ("accuracy", "precision", "recall", "f1")
        given = dict.fromkeys(fields, math.nan) if published is None else asdict(published)
        yield {
            "attribute": attribute.key,
            **asdict(result.attributes[attribute.key]),
            **{f"published_rule_{field}": given[field] for field in fields},
        }


def _films(result: Evaluation) -> Iterator[Row]:
    names = result.engine.taxonomy.classes
    for film in result.films:
        told, labelled = (int(side.sum()) for side in (film.told, film.labelled))
        whole = {
            "most_labelled": " / ".join(names[i] for i in film.most_labelled),
            "most_told": " / ".join(names[i] for i in film.most_told),
            "most_right": "" if film.most_right is None else str(film.most_right).lower(),
            "total_variation": film.total_variation,
            "l1": film.l1,
        }
        head = {"film": film.film, "pictures": film.pictures}
        yield {**head, "type": "all", "labelled": labelled, "told": told, "difference_pp": math.nan, **whole}
        for i, name in enumerate(names):
            if film.labelled[i] or film.told[i]:
                numbers = {"labelled": int(film.labelled[i]), "told": int(film.told[i]), "difference_pp": film.difference_pp[i]}
                yield {**head, "type": name, **numbers, **dict.fromkeys(whole, "")}


def _intervals(result: Evaluation) -> Iterator[Row]:
    if result.intervals is None:
        return
    for name, interval in result.intervals.each.items():
        yield {"score": name, **asdict(interval), "unit": result.intervals.unit, "units": result.intervals.units}


def _field(value: Any) -> Any:
    if isinstance(value, float) and not isinstance(value, bool):  # numpy's float64 is one
        return "" if math.isnan(value) else f"{value:.6g}"
    return value

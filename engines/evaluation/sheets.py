"""An evaluation as CSV for spreadsheets: types, attributes, films, intervals. Each row says which model and data it is of."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engines.evaluation.detection import FREQUENT_CELLS, RULE_NAMES
from engines.evaluation.result import Evaluation
from engines.files import make_folder, write_result
from engines.pages import NOTICE

Row = dict[str, Any]
Plain = dict[str, Any]
"""An evaluation as `Evaluation.to_dict` gives it."""


def write_sheets(result: Evaluation, folder: Path) -> list[Path]:
    """Writes types.csv, attributes.csv, films.csv, told.csv and, where there are any, intervals.csv; NaN as an empty field.

    films.csv has one row for each film and type, and one of type "all" for the film as a whole. Raises DataError naming the file.
    """
    make_folder(folder)
    plain = result.to_dict()
    engine = {name: plain["engine"][name] for name in ("version", "digest")}
    whose = {"model": result.engine.name, **engine, "data": result.data, "split": result.split, "notice": NOTICE}
    written = []
    for name, sheet in (("types", _types), ("attributes", _attributes), ("films", _films), ("told", _told), ("intervals", _intervals)):
        rows = [{**{key: _field(value) for key, value in row.items()}, **whose} for row in sheet(plain)]
        if rows:
            buffer = io.StringIO()
            writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            written.append(folder / f"{name}.csv")
            write_result(written[-1], buffer.getvalue())
    return written


def _types(plain: Plain) -> Iterator[Row]:
    """Types, then three means; precision, recall and F1 are those of YOLOv5 v7.0's rule at its one best confidence."""
    scores, others = [f"{rule}_{ap}" for rule in RULE_NAMES for ap in ("ap5095", "ap50")], ("precision", "recall", "f1")
    detection = plain["detection"]
    for name, one in detection["classes"].items():
        yield {"type": name, "cells": one["cells"], **{k: one[k] for k in scores}, **{f"yolov5_{k}": one[k] for k in others}}
    cells = {name: one["cells"] for name, one in detection["classes"].items()}
    frequent, wbc = detection["frequent"], detection["wbc"]
    for name, count, of, prefix in (
        ("mean", sum(cells.values()), detection, "m"),
        (f"frequent (at least {FREQUENT_CELLS} cells)", sum(cells[t] for t in frequent["types"]), frequent, "m"),
        ("wbc (white cell against background)", wbc["cells"], wbc, ""),
    ):
        means = {k: of[k.split("_")[0]][prefix + k.split("_")[1]] for k in scores}
        yield {"type": name, "cells": count, **means, **dict.fromkeys((f"yolov5_{k}" for k in others), None)}


def _attributes(plain: Plain) -> Iterator[Row]:
    published = plain["attributes"]["published_rule"]["each"]
    for key, one in plain["attributes"]["each"].items():
        given = published.get(key, {})
        yield {"attribute": key, **one, **{f"published_rule_{k}": given.get(k) for k in ("accuracy", "precision", "recall", "f1")}}


def _films(plain: Plain) -> Iterator[Row]:
    for film in plain["films"]["each"]:
        whole = {
            "most_labelled": " / ".join(film["most_labelled"]),
            "most_told": " / ".join(film["most_told"]),
            "most_right": "" if film["most_right"] is None else str(film["most_right"]).lower(),
            "total_variation": film["total_variation"],
            "l1": film["l1"],
        }
        head = {"film": film["film"], "pictures": film["pictures"]}
        yield {**head, "type": "all", "labelled": film["labelled"], "told": film["told"], "difference_pp": None, **whole}
        for name, numbers in film["types"].items():
            yield {**head, "type": name, **numbers, **dict.fromkeys(whole, "")}


def _told(plain: Plain) -> Iterator[Row]:
    """A row for each look, and for each film of it."""
    for look in plain["told"]:
        scores = {**look["shares"], **{f"blast_{key}": value for key, value in look["blasts"].items()}}
        errors = {f"{what}_calibration_error": one["expected_calibration_error"] for what, one in look["calibration"].items()}
        none = dict.fromkeys(("blast_percent_labelled", "blast_percent_told", "blast_percent_low", "blast_percent_high", "likeness"))
        yield {"look": look["look"], "film": "all", **look["counts"], **scores, **errors, **none}
        for film in look["films"]:
            percent = {f"blast_percent_{key}": value for key, value in (film["blast_percent"] | film["blast_interval"]).items()}
            empty = dict.fromkeys(("blasts_lost", *scores, *errors))
            yield {"look": look["look"], "film": film["film"], **film["counts"], **empty, **percent, "likeness": film["likeness"]}


def _intervals(plain: Plain) -> Iterator[Row]:
    intervals = plain["intervals"] or {"each": {}}
    for name, interval in intervals["each"].items():
        yield {"score": name, **interval, "unit": intervals["unit"], "units": intervals["units"]}


def _field(value: Any) -> Any:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value

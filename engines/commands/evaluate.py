"""`attridet evaluate`: one bundle, one split, a table for people and a JSON file for everything else."""

from __future__ import annotations

import json
import math
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from engines.errors import DataError
from engines.evaluation.attributes import mean_scores
from engines.evaluation.folder import evaluate_folder
from engines.evaluation.result import Evaluation
from engines.runtime.factory import open_engine


def run(bundle: str, data: Path, split: str, json_path: Path | None, *, runtime: str, threads: int) -> None:
    """Scores, prints, writes. Raises EnginesError; the JSON file is written whole or not at all."""
    if json_path is not None and not json_path.absolute().parent.is_dir():
        raise DataError(f"{json_path}: its folder does not exist. Make it, or name another file.")
    console = Console()
    engine = open_engine(bundle, runtime, threads=threads)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with engine, Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"{engine.info.label} on {data.name}/{split}", total=None)
        result = evaluate_folder(engine, data, split, lambda done, total: bar.update(task, completed=done, total=total))
    for table in tables(result):
        console.print(table)
    if json_path is not None:
        write_json(json_path, {"created": datetime.now(timezone.utc).isoformat(timespec="seconds"), **result.to_dict()})
        console.print(f"written: {json_path}", soft_wrap=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes by temporary file, fsync and rename; DataError naming the file when the disk refuses."""
    staging = path.with_name(f".{path.name}.part")
    try:
        with staging.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=2, allow_nan=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        staging.replace(path)
    except OSError as error:
        staging.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written ({error.strerror}). Name another file.") from error


def tables(result: Evaluation) -> list[Table]:
    """What is printed, within 80 columns: types, working point, and attributes where any label states one."""
    stated = any(score.n for score in result.attributes.values())
    return [_types(result), _attributes(result)] if stated else [_types(result)]


def _types(result: Evaluation) -> Table:
    headings = ("cells", "COCO\nAP", "COCO\nAP50", "YOLOv5\nAP", "YOLOv5\nAP50", "P", "R")
    table = _table(f"{result.engine.label} on {result.data}/{result.split}: {result.images} pictures", "type", headings)
    coco, yolo = result.coco, result.yolo
    names = result.engine.taxonomy.classes
    for i, index in enumerate(yolo.classes):
        numbers = (coco.ap[i].mean(), coco.ap[i, 0], yolo.ap[i].mean(), yolo.ap[i, 0], yolo.precision[i], yolo.recall[i])
        table.add_row(names[index], str(yolo.truths[i]), *map(_number, numbers))
    table.add_section()
    means = (coco.map5095, coco.map50, yolo.map5095, yolo.map50, yolo.precision.mean(), yolo.recall.mean())
    point = result.working_point
    table.add_row("mean", str(point.cells), *map(_number, means))
    table.caption = (
        f"At the bundle's thresholds (confidence {point.thresholds.confidence:g}): {point.detections} detections, "
        f"{point.found} of {point.cells} cells found (recall {_number(point.recall)}, precision {_number(point.precision)}), "
        f"right type in {_number(point.type_accuracy)} of these."
    )
    if not any(score.n for score in result.attributes.values()):
        table.caption += " The labels state no attribute."
    return table


def _attributes(result: Evaluation) -> Table:
    headings = ("cells", "cover-\nage", "accu-\nracy", "bal.\nacc.", "F1", "AP", "chance\nacc.", "chance\nF1")
    table = _table("Attributes of the cells found (IoU 0.5)", "attribute", headings)
    for attribute in result.engine.taxonomy.attributes:
        s = result.attributes[attribute.key]
        numbers = (s.coverage, s.accuracy, s.balanced_accuracy, s.f1, s.ap, s.chance_accuracy, s.chance_f1)
        table.add_row(attribute.name, str(s.n), *map(_number, numbers))
    mean = mean_scores(result.attributes)
    columns = ("coverage", "accuracy", "balanced_accuracy", "f1", "ap", "chance_accuracy", "chance_f1")
    table.add_section()
    table.add_row("mean of those stated", "", *(_number(mean[column]) for column in columns))
    table.caption = (
        f"Published rule, for comparison: mean F1 {_number(result.published.mean_f1)} over {result.published.rows} cells."
        if result.published.rows
        else "Published rule: no cell whose label states all its attributes."
    )
    return table


def _table(title: str, first: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"

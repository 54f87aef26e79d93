"""`attridet evaluate`: one model, one split: tables for people, JSON and CSV for programs, a page with pictures for both."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console

from engines.commands.evaluate_tables import tables
from engines.commands.terminal import one_task
from engines.decode import Thresholds
from engines.errors import DataError
from engines.evaluation.folder import evaluate_folder
from engines.files import write_result
from engines.runtime.engine import NetworkEngine
from engines.runtime.factory import open_engine

WEIGHTS = (".pt", ".safetensors")
"""Files of a network itself, run by torch; everything else is a bundle."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for. side_px, scale_up, device: of a network itself only, since a bundle has them in it."""

    model: str
    data: Path
    split: str
    json: Path | None = None
    csv: Path | None = None
    page: Path | None = None
    resamples: int = 1000
    seed: int = 0
    confidence: float | None = None
    max_boxes: int | None = None
    side_px: int | None = None
    scale_up: bool | None = None
    device: str | None = None
    runtime: str = "onnx"
    threads: int = 2


def run(request: Request) -> None:
    """Scores, prints, writes. Raises EnginesError; each file is written whole or not at all."""
    if request.json is not None and not request.json.absolute().parent.is_dir():
        raise DataError(f"{request.json}: its folder does not exist. Make it, or name another file.")
    for folder in (request.csv, request.page):
        if folder is not None and folder.exists() and not folder.is_dir():
            raise DataError(f"{folder}: a file of that name is there already. Name a folder.")
    console = Console()
    engine = _engine(request)
    if request.max_boxes is not None:
        engine.thresholds = replace(engine.thresholds, max_detections=request.max_boxes)
    with engine, one_task(f"{engine.info.label} on {request.data.name}/{request.split}") as progress:
        result = evaluate_folder(engine, request.data, request.split, progress, request.resamples, request.seed)
    for table in tables(result):
        console.print(table)
    created = datetime.now(timezone.utc)
    written = []
    if request.json is not None:
        write_json(request.json, {"created": created.isoformat(timespec="seconds"), **result.to_dict()})
        written.append(request.json)
    if request.csv is not None:
        from engines.evaluation.sheets import write_sheets

        written += write_sheets(result, request.csv)
    if request.page is not None:
        from engines.evaluation.page import write_page

        written.append(write_page(result, request.page, created))
    for path in written:
        console.print(f"written: {path}", soft_wrap=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes by temporary file, fsync and rename; DataError naming the file when the disk refuses."""
    write_result(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def _engine(request: Request) -> NetworkEngine:
    if request.confidence is not None and not 0 < request.confidence < 1:
        raise DataError(f"--confidence {request.confidence:g}: lies between 0 and 1.")
    if Path(request.model).suffix not in WEIGHTS:
        for option, value in (("--input", request.side_px), ("--scale-up", request.scale_up), ("--device", request.device)):
            if value is not None:
                raise DataError(f"{option} is for a .pt or .safetensors file; a bundle has it in it. Leave it out, or export anew.")
        return open_engine(request.model, request.runtime, request.threads, request.confidence, ungated=True)
    import torch

    from engines.network.engine import open_checkpoint

    torch.set_num_threads(request.threads)
    thresholds = Thresholds()
    if request.confidence is not None:
        thresholds = replace(thresholds, confidence=request.confidence)
    side_px = 640 if request.side_px is None else request.side_px
    return open_checkpoint(Path(request.model), side_px, bool(request.scale_up), thresholds, request.device or "cpu")

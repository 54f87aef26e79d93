"""One model scored on one split: opened from a bundle or from weights, judged, and written as JSON, CSV and a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from engines.data.aspect import check_given, given_for
from engines.data.layout import judging_split
from engines.data.leukemiaattri import LabelledImage
from engines.errors import DataError
from engines.evaluation.folder import evaluate_folder, evaluate_pictures
from engines.evaluation.frame import WholeFrame
from engines.evaluation.request import EvaluateRequest
from engines.evaluation.result import Evaluation
from engines.files import check_file, check_folder, write_json
from engines.progress import SILENT, Reporter
from engines.runtime.engine import NetworkEngine
from engines.runtime.factory import open_engine
from engines.taxonomy import read_taxonomy

WEIGHTS = (".pt", ".safetensors")
"""Files of a network itself, run by torch; everything else is a bundle."""


@dataclass(frozen=True, eq=False)
class EvaluateResult:
    """All scores, and the files that were asked for and written."""

    evaluation: Evaluation
    written: tuple[Path, ...]


def evaluate(request: EvaluateRequest, reporter: Reporter = SILENT) -> EvaluateResult:
    """Score a model as `attridet evaluate` does. Raises EnginesError; each file is written whole or not at all."""
    check_file(request.json)
    check_folder(request.csv)
    check_folder(request.page)
    frame = None if request.frame is None else WholeFrame.parse(request.frame)
    split = request.split or judging_split(request.data)
    engine = _open(request)
    if request.max_boxes is not None:
        engine.thresholds = replace(engine.thresholds, max_detections=request.max_boxes)
    with engine:
        if request.taxonomy is not None and read_taxonomy(request.taxonomy).meaning != engine.info.taxonomy.meaning:
            raise DataError(f"--taxonomy {request.taxonomy}: {request.model} was trained with other types or attributes; leave it out")
        progress = reporter.counter(f"{engine.info.label} on {request.data.name}/{split}")
        check_given(request.pixel_aspect, [request.data])
        aspect = given_for(request.data, request.pixel_aspect)
        draws = request.resamples, request.seed
        result = evaluate_folder(engine, request.data, split, progress, *draws, aspect, request.identify_threshold, frame)
        result = replace(result, confidence_from=_confidence_from(request))
        if result.trained_on:
            reporter.warning(result.trained_on.words)
    created, written = datetime.now(timezone.utc), []
    if request.json is not None:
        write_json(request.json, {"created": created.isoformat(timespec="seconds"), **result.to_dict()})
        written.append(request.json)
    if request.csv is not None:
        from engines.evaluation.sheets import write_sheets

        written += write_sheets(result, request.csv)
    if request.page is not None:
        from engines.evaluation.page import write_page

        written.append(write_page(result, request.page, created))
    return EvaluateResult(result, tuple(written))


def write_pages(
    engine: NetworkEngine,
    sets: Mapping[str, Sequence[LabelledImage]],
    folder: Path,
    reporter: Reporter = SILENT,
    split: str = "val",
) -> tuple[Path, ...]:
    """Score an open engine on each set of pictures, by the name of its data, and write a page of it into `folder`/NAME."""
    from engines.evaluation.page import write_page

    pages = []
    for name, images in sets.items():
        result = evaluate_pictures(engine, images, name, split, reporter.counter(f"judging {engine.info.name} on {name}"))
        pages.append(write_page(result, folder / name.replace("/", "-"), datetime.now(timezone.utc)))
        reporter.message(f"written: {pages[-1]}")
    return tuple(pages)


def _confidence_from(request: EvaluateRequest) -> str:
    if request.confidence is not None:
        return "as named"
    return "what export gives" if Path(request.model).suffix in WEIGHTS else "the bundle's"


def _open(request: EvaluateRequest) -> NetworkEngine:
    if request.confidence is not None and not 0 < request.confidence < 1:
        raise DataError(f"--confidence {request.confidence:g}: lies between 0 and 1.")
    if Path(request.model).suffix not in WEIGHTS:
        for option, value in (("--input", request.side_px), ("--scale-up", request.scale_up), ("--device", request.device)):
            if value is not None:
                raise DataError(f"{option} is for a .pt or .safetensors file; a bundle has it in it. Leave it out, or export anew.")
        return open_engine(request.model, request.runtime, request.threads, request.confidence, ungated=True)
    from engines.network.engine import open_checkpoint

    side_px = 640 if request.side_px is None else request.side_px
    return open_checkpoint(
        Path(request.model),
        side_px,
        bool(request.scale_up),
        device=request.device or "cpu",
        threads=request.threads,
        confidence=request.confidence,
    )

"""The evidence measured (or read again) and written: results as JSON, the page, and pictures of the worst errors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from calibration.evidence.measure import Measured, measure_set, sources_of
from calibration.evidence.page import page
from calibration.evidence.pictures import curve_picture, worst_pictures
from calibration.evidence.plan import JudgedSet, Plan, read_plan
from calibration.evidence.request import EvidenceRequest
from engines.bundle import resolve
from engines.errors import DataError
from engines.evaluation.frame import WholeFrame
from engines.files import check_file, check_folder, write_json, write_result
from engines.progress import SILENT, Reporter
from engines.runtime.engine import BundleEngine
from engines.runtime.factory import open_engine
from engines.version import version

FORM = 1


@dataclass(frozen=True, eq=False)
class EvidenceResult:
    """The numbers, and the files that were written."""

    results: dict[str, Any]
    written: tuple[Path, ...]


def evidence(request: EvidenceRequest, reporter: Reporter = SILENT) -> EvidenceResult:
    """Write the page as `attridet evidence` does. Raises EnginesError; each file is written whole or not at all."""
    results_file = request.out.with_suffix(".json")
    check_file(request.out)
    check_file(results_file)
    written: list[Path] = []
    if request.bundle is None:
        results = _read(results_file)
    else:
        check_folder(request.pictures)
        _refuse_pictures_inside(request)
        plan = read_plan(request.plan)
        _missing(plan, request.root)
        results, measured, rendered = _measure(request, plan, reporter)
        names = results["classes"]
        images = request.out.parent / "images"
        if rendered is not None:
            shown = worst_pictures(rendered, names, images, "accuracy-rendered")
            results["rendered"]["shown"] = [f"images/{path.name}" for path in shown]
            written += shown
        if request.pictures is not None:
            for one in measured:
                written += worst_pictures(one, names, request.pictures, f"{one.numbers['folder']}-{one.numbers['split']}")
        if results["site"] is not None:
            written.append(curve_picture(results["site"], images / "accuracy-site-cells.png"))
            results["site"]["picture"] = f"images/{written[-1].name}"
        write_json(results_file, results)
        written.insert(0, results_file)
    write_result(request.out, page(results, results_file.name))
    return EvidenceResult(results, (request.out, *written))


def _measure(request: EvidenceRequest, plan: Plan, reporter: Reporter) -> tuple[dict[str, Any], list[Measured], Measured | None]:
    frame = None if plan.frame is None else WholeFrame.parse(plan.frame)
    assert request.bundle is not None
    resolve(request.bundle)
    with open_engine(request.bundle, request.runtime, request.threads, ungated=True) as engine:
        how = frame, request.resamples, request.seed, reporter
        site = None
        if plan.site is not None and engine.naming is not None:  # first, so that a site that does not do ends it before the long part
            site = _site(engine, plan, request, reporter)
        measured = [measure_set(engine, one, request.root / one.folder, *how) for one in plan.sets]
        rendered = None
        if request.rendered is not None:
            film = JudgedSet(folder=request.rendered.resolve().name, words="rendered film: drawn by this project, no patient")
            rendered = measure_set(engine, film, request.rendered, *how)
        results = _about(engine, request, plan)
    results["sets"] = [one.numbers for one in measured]
    results["rendered"] = None if rendered is None else dict(rendered.numbers)
    results["site"] = site
    return results, measured, rendered


def _site(engine: BundleEngine, plan: Plan, request: EvidenceRequest, reporter: Reporter) -> dict[str, Any]:
    from calibration.evidence.site_curve import site_curve

    assert plan.site is not None
    return site_curve(engine, plan.site, request.root, request.draws or plan.site.draws, request.seed, reporter)


def _about(engine: BundleEngine, request: EvidenceRequest, plan: Plan) -> dict[str, Any]:
    info = engine.info
    return {
        "form": FORM,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "leukoscope": version(),
        "engine": {key: getattr(info, key) for key in ("name", "version", "digest", "runtime", "precision")},
        "naming": None if info.naming is None else {"label": info.naming.label, "said": info.naming.said, "digest": info.naming.digest},
        "trained_on": sorted(sources_of(engine)),
        "must_not_be_used_for": list(engine.must_not_be_used_for),
        "confidence": engine.thresholds.confidence,
        "frame": plan.frame,
        "classes": list(info.taxonomy.classes),
        "command": _command(request),
    }


def _command(request: EvidenceRequest) -> str:
    """How to do it again, without a place of this machine in it."""
    rendered = "" if request.rendered is None else f" --rendered {request.rendered.name}"
    bundle = str(request.bundle)
    named = bundle if bundle.startswith("zoo:") else Path(bundle).name
    return f"attridet evidence {named} --root DATA{rendered} --seed {request.seed}"


def _missing(plan: Plan, root: Path) -> None:
    """DataError, before any work, naming the sets that are not there."""
    folders = {one.folder for one in plan.sets} | ({plan.site.folder} if plan.site else set())
    missing = sorted(folder for folder in folders if not (root / folder).is_dir())
    if missing:
        raise DataError(
            f"{root}: has no {', '.join(missing)}, which the plan names. Name the data's folder (--root), or another --plan."
        )


def _refuse_pictures_inside(request: EvidenceRequest) -> None:
    """Pictures of patients' films never go into a repository."""
    if request.pictures is None:
        return
    for folder in (request.pictures.resolve(), *request.pictures.resolve().parents):
        if (folder / ".git").exists():
            raise DataError(
                f"--pictures {request.pictures}: lies in a repository, where pictures of patients' films must not be. Name another."
            )


def _read(file: Path) -> dict[str, Any]:
    try:
        results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if results["form"] > FORM:
            raise DataError(f"{file}: written by a newer leukoscope. Update it.")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: no results of an evidence ({error}). Measure them: attridet evidence BUNDLE.") from error
    return results

"""Rendered fields written in the published layout of LeukemiaAttri, so that one reader reads the rendered and the real.

Train and val come from different films. Figures measured on such a folder are about the rendering, never about patients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engines.data import aspect
from engines.data.coco import write_json
from engines.data.faults import Place
from engines.data.labels import CellLabel, Picture, PictureLabels
from engines.data.vocabulary import NOT_APPLICABLE
from engines.data.writing import write_txt
from engines.errors import DataError
from engines.files import atomic_folder
from engines.film.cut_outs import CutOuts, about, read_cut_outs
from engines.film.labels import labels, require_drawable
from engines.film.morphology import CASES
from engines.film.optics import Microscope
from engines.film.slide import FieldTruth, Film
from engines.film.texture import rng_of
from engines.taxonomy import LEUKEMIA_ATTRI, UNKNOWN, Taxonomy

MIN_VISIBLE = 0.3
"""A cell of which less than this share is inside the field gets no label, as people leave slivers out."""

FIELDS_PER_FILM = 10
_MONTAGE = "Rendered blood film with cells of photographs laid on it: a montage for development, no fields of patients."
_INFO: dict[str, Any] = {"description": "Rendered blood film for development; not images of patients.", "rendered": True}


@dataclass(frozen=True)
class _Job:
    """Fields of one film that one process writes."""

    root: str
    split: str
    film_seed: int
    case: str
    domain: str
    objective: int
    size_px: tuple[int, int]
    count: int
    zoom: tuple[float, float]
    taxonomy: Taxonomy
    cut_outs: CutOuts | None


def write_dataset(
    root: Path | str,
    *,
    fields_train: int = 400,
    fields_val: int = 80,
    seed: int = 1,
    size_px: tuple[int, int] = (640, 640),
    domains: Sequence[str] = ("H_C1", "H_C2", "L_C1", "L_C2"),
    objectives: Sequence[int] = (40, 100),
    cases: Sequence[str] = ("mixed", "AML", "ALL", "APML", "CLL", "CML"),
    zoom: tuple[float, float] = (0.35, 1.5),
    workers: int = 2,
    taxonomy: Taxonomy = LEUKEMIA_ATTRI,
    cut_outs: Path | None = None,
    licence: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    reading: Callable[[int, int], None] | None = None,
) -> Path:
    """Write Images, json_labels and txt_labels/AttriDet of rendered fields under `root`; returns it.

    `domains` name a microscope ("H", "L", then each film draws a camera) or a microscope and camera ("L_C2"). Each film gives up
    to ten fields of one domain, objective, case and instrument; its seed stands in the patient's place of the names. `zoom` is the
    range of sizes that a film draws from: 1 shows native pixels, 1/3 a whole 1920 px frame in 640 (lenses below 100x stop at
    0.8). Red cells are round on all of them, and `pictures.yaml` says so: training squeezes pictures where it wants them squeezed.
    `cut_outs` is a folder of labelled cells on black ground; those of its train lie on the films of train in place of half of the drawn
    white cells, those of val on val's, and the JSON's info says whose they are and under which `licence` (else what their folder says).
    `progress` is called with (fields done, fields in all), `reading` so with the cut-outs of each split. Raises DataError for an
    unknown domain, objective or case, for a taxonomy that cannot be drawn and for a folder that already holds something.
    """
    root = Path(root)
    for split in ("train", "val"):
        if (root / "json_labels" / f"{split}.json").exists():
            raise DataError(f"{root}: already holds json_labels/{split}.json; choose an empty folder")
    _check(domains, objectives, cases)
    require_drawable(taxonomy)
    with atomic_folder(root) as folder:
        jobs: list[_Job] = []
        asked = {"train": fields_train, "val": fields_val}
        heard = reading or (lambda done, total: None)
        laid = {
            split: read_cut_outs(cut_outs, split, taxonomy, heard) for split, fields in asked.items() if cut_outs is not None and fields
        }
        for split, fields, offset in (("train", fields_train, 0), ("val", fields_val, 500_000)):
            (folder / "Images" / split).mkdir(parents=True, exist_ok=True)
            for k in range((fields + FIELDS_PER_FILM - 1) // FIELDS_PER_FILM):
                rng = rng_of(seed, 501, offset, k)
                domain, objective = str(domains[k % len(domains)]), int(objectives[int(rng.integers(len(objectives)))])
                case = str(cases[int(rng.integers(len(cases)))])
                camera = domain if "_" in domain else f"{domain}_C{int(rng.integers(1, 3))}"
                film_seed = seed * 1_000_000 + offset + k + 1
                count = min(FIELDS_PER_FILM, fields - k * FIELDS_PER_FILM)
                jobs.append(
                    _Job(str(folder), split, film_seed, case, camera, objective, size_px, count, zoom, taxonomy, laid.get(split))
                )
        done, total = 0, fields_train + fields_val
        written: dict[str, list[Picture]] = {"train": [], "val": []}
        with ProcessPoolExecutor(workers) if workers > 1 else nullcontext() as pool:
            for job, pictures in zip(jobs, (pool.map if pool else map)(_write_film, jobs), strict=True):
                written[job.split].extend(pictures)
                done += len(pictures)
                if progress is not None:
                    progress(done, total)
        for split, rendered in written.items():
            ordered = sorted(rendered, key=lambda picture: picture.path.name)
            info = _INFO
            if cut_outs is not None and split in laid:
                info = {**_INFO, "description": _MONTAGE, "cut_outs": about(cut_outs, split, laid[split], licence)}
            write_json(folder, split, ordered, taxonomy, {"info": info})
            write_txt(folder, split, ordered, taxonomy)
        (folder / aspect.FILE).write_text(aspect.statement(1), encoding="utf-8")
    return root


def _check(domains: Sequence[str], objectives: Sequence[int], cases: Sequence[str]) -> None:
    for case in cases:
        if case not in CASES:
            raise DataError(f"no case {case!r} of rendered film; cases are {', '.join(CASES)}")
    for domain, objective in product(domains, objectives):
        try:
            Microscope(domain.partition("_")[0], domain.partition("_")[2] or "C1", objective)
        except ValueError as error:
            raise DataError(f"rendered film: {error}") from None


def _write_film(job: _Job) -> list[Picture]:
    """Render and compress the fields of one film; returns them with their labels."""
    cv2.setNumThreads(1)
    rng = rng_of(job.film_seed, 502)
    domain, camera = job.domain.split("_")
    low, high = job.zoom if job.objective == 100 else (max(job.zoom[0], 0.8), job.zoom[1])
    zoom = float(np.exp(rng.uniform(np.log(low), np.log(max(low, high)))))
    scope = Microscope(domain, camera, job.objective, unit=int(rng.integers(1, 10_000)), width_px=round(1920 * zoom))
    span = (job.size_px[0] * scope.um_per_px, job.size_px[1] * scope.um_per_px)
    film = Film(job.film_seed, job.case, (max(1200.0, 6 * span[0]), max(900.0, 6 * span[1])), cut_outs=job.cut_outs)
    out: list[Picture] = []
    depth = {10: 12.0, 40: 1.2, 100: 0.35}[job.objective]
    for k in range(job.count):
        x, y = (float(rng.uniform(s, size - s)) for s, size in zip(span, film.size_um, strict=True))
        defocus = float(rng.normal(0, depth)) if rng.random() < 0.5 else 0.0
        image, truth = film.view((x, y), scope, job.size_px, defocus, noise_seed=int(rng.integers(2**31)))
        number = "1000" if job.objective == 100 else f"{k + 1}_{job.objective}0"
        path = Path(job.root) / "Images" / job.split / f"{job.film_seed}_{k + 1}_{number}_{job.case.upper()}.jpg"
        if not cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 92]):
            raise DataError(f"{path}: cannot be written; check the disk and the rights of the folder")
        truth = FieldTruth(*(numbers[truth.visible >= MIN_VISIBLE] for numbers in vars(truth).values()))
        out.append(_labelled(path, truth, job.size_px, job.taxonomy))
    return out


def _labelled(path: Path, truth: FieldTruth, size_px: tuple[int, int], taxonomy: Taxonomy) -> Picture:
    """The picture with its cells as a label file says them: boxes in hundredths of a px, artefacts without attributes."""
    cells = []
    for box, code, attributes in zip(truth.boxes_px, *labels(truth, taxonomy), strict=True):
        x0, y0, x1, y1 = (round(float(v), 2) for v in box)
        codes = [NOT_APPLICABLE if v == UNKNOWN and taxonomy.is_artefact(int(code)) else int(v) for v in attributes]
        cells.append(CellLabel(Place(path), int(code), (x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)), tuple(codes)))
    size_hw = (size_px[1], size_px[0])
    return Picture(path, size_hw, PictureLabels(path.name, Place(path), size_hw, tuple(cells)))

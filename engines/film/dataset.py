"""Rendered fields written in the published layout of LeukemiaAttri, so that one reader reads the rendered and the real.

Train and val come from different films. Figures measured on such a folder are about the rendering, never about patients.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engines.errors import DataError
from engines.film.morphology import CASES
from engines.film.optics import Microscope
from engines.film.slide import FieldTruth, Film
from engines.film.texture import rng_of
from engines.taxonomy import LEUKEMIA_ATTRI, UNKNOWN

JSON_KEYS: tuple[str, ...] = (
    "cell_size", "nuclear_chromatio", "nuclear_shape", "nucleolus", "cytoplasm", "cytoplasmic_basophilia",
    "cytoplasmic_vacuoles",
)  # fmt: skip
"""Attribute keys of the published JSON, in order and in its spelling."""

NOT_APPLICABLE_JSON, NOT_APPLICABLE_TXT = 4, 2
MIN_VISIBLE = 0.3
"""A cell of which less than this share is inside the field gets no label, as people leave slivers out."""

FIELDS_PER_FILM = 10


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
    squeezed: float


@dataclass(frozen=True)
class _Field:
    name: str
    truth: FieldTruth


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
    squeezed: float = 0.3,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write Images, json_labels and txt_labels/AttriDet of rendered fields under `root`; returns it.

    `domains` name a microscope ("H", "L", then each film draws a camera) or a microscope and camera ("L_C2"). Each film gives up
    to ten fields of one domain, objective, case and instrument; its seed stands in the patient's place of the names. `zoom` is the
    range of sizes that a film draws from: 1 shows native pixels, 1/3 a whole 1920 px frame in 640 (lenses below 100x stop at
    0.8). `squeezed` is the share of films whose frames are a quarter to a half wider and squeezed to `size_px`, as the published
    square pictures are. `progress` is called with (fields done, fields in all). Raises DataError for an unknown domain, objective or
    case and for a folder that already holds labels.
    """
    root = Path(root)
    for split in ("train", "val"):
        if (root / "json_labels" / f"{split}.json").exists():
            raise DataError(f"{root}: already holds json_labels/{split}.json; choose an empty folder")
    _check(domains, objectives, cases)
    jobs: list[_Job] = []
    for split, fields, offset in (("train", fields_train, 0), ("val", fields_val, 500_000)):
        for k in range((fields + FIELDS_PER_FILM - 1) // FIELDS_PER_FILM):
            rng = rng_of(seed, 501, offset, k)
            domain, objective = str(domains[k % len(domains)]), int(objectives[int(rng.integers(len(objectives)))])
            case = str(cases[int(rng.integers(len(cases)))])
            camera = domain if "_" in domain else f"{domain}_C{int(rng.integers(1, 3))}"
            film_seed = seed * 1_000_000 + offset + k + 1
            count = min(FIELDS_PER_FILM, fields - k * FIELDS_PER_FILM)
            jobs.append(_Job(str(root), split, film_seed, case, camera, objective, size_px, count, zoom, squeezed))
    for split in ("train", "val"):
        (root / "Images" / split).mkdir(parents=True, exist_ok=True)
        (root / "txt_labels" / "AttriDet" / split).mkdir(parents=True, exist_ok=True)
    done, total = 0, fields_train + fields_val
    written: dict[str, list[_Field]] = {"train": [], "val": []}
    for job, fields_of_film in _run(jobs, workers):
        written[job.split].extend(fields_of_film)
        done += len(fields_of_film)
        if progress is not None:
            progress(done, total)
    (root / "json_labels").mkdir(exist_ok=True)
    for split, fields_written in written.items():
        path = root / "json_labels" / f"{split}.json"
        path.write_text(json.dumps(_coco(sorted(fields_written, key=lambda f: f.name), size_px)), encoding="utf-8")
    return root


def _check(domains: Sequence[str], objectives: Sequence[int], cases: Sequence[str]) -> None:
    for case in cases:
        if case not in CASES:
            raise DataError(f"no case {case!r} of rendered film; cases are {', '.join(CASES)}")
    for domain in domains:
        for objective in objectives:
            try:
                Microscope(domain.partition("_")[0], domain.partition("_")[2] or "C1", objective)
            except ValueError as error:
                raise DataError(f"rendered film: {error}") from None


def _run(jobs: list[_Job], workers: int) -> Any:
    """Each job with its fields, in the order of the jobs."""
    if workers <= 1:
        for job in jobs:
            yield job, _write_film(job)
        return
    with ProcessPoolExecutor(max_workers=workers) as pool:
        yield from zip(jobs, pool.map(_write_film, jobs), strict=True)


def _write_film(job: _Job) -> list[_Field]:
    """Render, compress and label the fields of one film."""
    cv2.setNumThreads(1)
    rng = rng_of(job.film_seed, 502)
    domain, camera = job.domain.split("_")
    low, high = job.zoom
    low = low if job.objective == 100 else max(low, 0.8)
    zoom = float(np.exp(rng.uniform(np.log(low), np.log(max(low, high)))))
    scope = Microscope(domain, camera, job.objective, unit=int(rng.integers(1, 10_000)), width_px=round(1920 * zoom))
    width, height = job.size_px
    wider = float(rng.uniform(1.25, 1.6))  # published squares were 4:3 to 16:9
    taken = (round(width * wider) if rng.random() < job.squeezed else width, height)
    span = (taken[0] * scope.um_per_px, height * scope.um_per_px)
    film = Film(job.film_seed, job.case, (max(1200.0, 6 * span[0]), max(900.0, 6 * span[1])))
    out: list[_Field] = []
    depth = {10: 12.0, 40: 1.2, 100: 0.35}[job.objective]
    for k in range(job.count):
        x, y = (float(rng.uniform(s, size - s)) for s, size in zip(span, film.size_um, strict=True))
        defocus = float(rng.normal(0, depth)) if rng.random() < 0.5 else 0.0
        image, truth = film.view((x, y), scope, taken, defocus, noise_seed=int(rng.integers(2**31)))
        if taken != job.size_px:
            image = np.asarray(cv2.resize(image, job.size_px, interpolation=cv2.INTER_AREA), dtype=np.uint8)
            truth.boxes_px[:, ::2] *= width / taken[0]
        dx = job.case.upper()
        number = "1000" if job.objective == 100 else f"{k + 1}_{job.objective}0"
        name = f"{job.film_seed}_{k + 1}_{number}_{dx}.jpg"
        path = Path(job.root) / "Images" / job.split / name
        if not cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 92]):
            raise DataError(f"{path}: cannot be written; check the disk and the rights of the folder")
        keep = truth.visible >= MIN_VISIBLE
        truth = FieldTruth(*(getattr(truth, f)[keep] for f in ("cell_ids", "boxes_px", "classes", "attributes", "visible")))
        text = "\n".join(_row(truth, n, job.size_px) for n in range(len(truth)))
        label = Path(job.root) / "txt_labels" / "AttriDet" / job.split / f"{Path(name).stem}.txt"
        label.write_text(text + "\n" if text else "", encoding="utf-8")
        out.append(_Field(name, truth))
    return out


def _row(truth: FieldTruth, n: int, size_px: tuple[int, int]) -> str:
    """One line of the TXT labels: class, centre and size as shares, seven attributes."""
    x0, y0, x1, y1 = (float(v) for v in truth.boxes_px[n])
    width, height = size_px
    box = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
    values = [NOT_APPLICABLE_TXT if v == UNKNOWN else int(v) for v in truth.attributes[n]]
    return " ".join([str(int(truth.classes[n])), *(f"{v:.6f}" for v in box), *map(str, values)])


def _coco(fields: list[_Field], size_px: tuple[int, int]) -> dict[str, Any]:
    """The COCO form with the published attribute keys; ids start at 1."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    names = LEUKEMIA_ATTRI.classes
    for number, field in enumerate(fields, start=1):
        images.append({"id": number, "file_name": field.name, "width": size_px[0], "height": size_px[1]})
        for n in range(len(field.truth)):
            x0, y0, x1, y1 = (round(float(v), 2) for v in field.truth.boxes_px[n])
            code = int(field.truth.classes[n])
            values = [NOT_APPLICABLE_JSON if v == UNKNOWN else int(v) for v in field.truth.attributes[n]]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": code,
                    "category_name": names[code],
                    "bbox": [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
                    "area": round((x1 - x0) * (y1 - y0), 2),
                    "iscrowd": 0,
                    **dict(zip(JSON_KEYS, values, strict=True)),
                }
            )
    info = {"description": "Rendered blood film for development; not images of patients.", "rendered": True}
    categories = [{"id": k, "name": name} for k, name in enumerate(names)]
    return {"info": info, "images": images, "annotations": annotations, "categories": categories}

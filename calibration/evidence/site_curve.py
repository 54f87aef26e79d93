"""What a site's own labelled cells bring: so many of them, drawn several times, given to the fit of `attridet learn`, judged on others.

Those are other patients. The layers stay in memory: the set that they are fitted to may be for measuring only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from calibration.evidence.plan import Site
from calibration.site.cells import Reading, folder_cells, read_folder
from calibration.site.figures import Figures, figures
from calibration.site.run import fit_site, open_cells_of
from engines.errors import DataError
from engines.evaluation.result import plain_value
from engines.naming import NamingLayer
from engines.naming.cells import LabelledCells
from engines.naming.fit import FitSettings
from engines.naming.foreign import film_likeness
from engines.naming.layer import FIRST_CELLS
from engines.progress import Reporter
from engines.runtime.engine import BundleEngine
from engines.taxonomy import Taxonomy

_SITE = "site/"


def site_curve(engine: BundleEngine, site: Site, root: Path, draws: int, seed: int, reporter: Reporter) -> dict[str, Any]:
    """Figures of layers with 0 (the bundle's own) to N site cells, by judged set. Raises DataError where a set has no other patient."""
    taxonomy = engine.info.taxonomy
    known = open_cells_of(engine.bundle)
    pool = _cells(engine, root / site.folder, _SITE + site.folder, site.split, reporter)
    owners = {_patient(name) for name in pool.patients} - {""}
    judged: dict[str, LabelledCells] = {}
    left_out: dict[str, int] = {}
    for one in site.judged:
        cells = _cells(engine, root / one.folder, one.folder, one.split, reporter)
        apart = np.array([_patient(name) not in owners for name in cells.patients])
        left_out[one.label] = len({str(name) for name in cells.patients[~apart]})
        judged[one.label] = cells.select(apart)
        if not apart.any():
            raise DataError(f"{root / one.folder}: every patient of it is in {site.folder}/{site.split} too. Name another set.")
    rng = np.random.default_rng(seed)
    rounds = sum(draws if number else 1 for number in site.cells)
    done = 0
    rows = []
    for number in site.cells:
        found: dict[str, list[dict[str, Any]]] = {label: [] for label in judged}
        for _ in range(draws if number else 1):
            layer = draw_and_fit(engine.naming, known, pool, number, rng, taxonomy)
            done += 1
            reporter.progress("site layers fitted and judged", done, rounds)
            for label, cells in judged.items():
                if layer is not None:
                    found[label].append(judge(layer, cells, taxonomy))
        rows.append({"cells": number, "judged": found})
    patients = len({str(name) for name in pool.patients})
    numbers: dict[str, Any] = plain_value(
        {
            "folder": site.folder,
            "split": site.split,
            "pool_cells": int(_white(pool, taxonomy).sum()),
            "pool_patients": patients,
            "judged": {
                label: {
                    "patients": len(np.unique(cells.patients)),
                    "white": int(_white(cells, taxonomy).sum()),
                    "left_out": left_out[label],
                }
                for label, cells in judged.items()
            },
            "rows": rows,
        }
    )
    return numbers


def draw_and_fit(
    own_layer: NamingLayer | None,
    known: LabelledCells,
    pool: LabelledCells,
    number: int,
    rng: np.random.Generator,
    taxonomy: Taxonomy,
) -> NamingLayer | None:
    """The bundle's own layer for 0 cells (None without one), else one fitted to `number` white cells and as large a share of
    artefacts."""
    if not number:
        return own_layer
    white = np.flatnonzero(_white(pool, taxonomy))
    rest = np.flatnonzero(~_white(pool, taxonomy))
    if number > len(white):
        raise DataError(f"the site has {len(white)} labelled white cells, {number} are asked for. Lower site.cells of the plan.")
    drawn = np.concatenate(
        [rng.choice(white, number, replace=False), rng.choice(rest, round(len(rest) * number / len(white)), replace=False)]
    )
    return fit_site(known, pool.select(drawn), taxonomy, FitSettings(), "site").layer


def judge(layer: NamingLayer, cells: LabelledCells, taxonomy: Taxonomy) -> dict[str, Any]:
    names, _ = layer.names(cells.features, taxonomy)
    found: Figures = figures(names.probabilities, cells.classes, cells.patients, layer.thresholds, taxonomy)
    told = found.typed + found.grouped
    white = ~np.isin(names.types, taxonomy.artefact_codes)
    films = [names.distances[white & (cells.patients == one)][:FIRST_CELLS] for one in np.unique(cells.patients)]
    return {
        "auc": found.auc,
        "j": found.j,
        "sensitivity": found.blasts_told / found.blasts if found.blasts else math.nan,
        "false_blasts": found.others_told / found.others if found.others else math.nan,
        "percent_off": found.percent_off,
        "typed_right": found.typed_right / found.typed if found.typed else math.nan,
        "typed": found.typed,
        "group_right": found.grouped_right / found.grouped if found.grouped else math.nan,
        "told": told,
        "foreign_patients": sum(film_likeness(film, max(len(film), 1)).foreign for film in films),  # however few cells a film has
    }


def _cells(engine: BundleEngine, folder: Path, source: str, split: str, reporter: Reporter) -> LabelledCells:
    reading = Reading(split)
    return folder_cells(engine, read_folder(folder, source, reading, engine.info.taxonomy), reading, reporter).cells


def _white(cells: LabelledCells, taxonomy: Taxonomy) -> Any:
    return ~np.isin(cells.classes, taxonomy.artefact_codes)


def _patient(name: str) -> str:
    """The patient of "source/patient", "" where it is unknown."""
    return str(name).rpartition("/")[2]


def mean_of(rows: Sequence[dict[str, Any]], key: str) -> tuple[float, float, float]:
    """Mean, least and largest over the draws; NaN where none has the number."""
    values = [row[key] for row in rows if row[key] is not None]
    return (float(np.mean(values)), min(values), max(values)) if values else (math.nan, math.nan, math.nan)

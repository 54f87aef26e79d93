"""Fits a naming layer: weighted ridge regression in closed form, then calibrated on cells left out. Seconds on a processor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.detections import Float32, Float64, Int64
from engines.errors import DataError
from engines.naming.calibrate import chosen_thresholds, platt, temperature
from engines.naming.cells import LabelledCells
from engines.naming.layer import NamingLayer, class_probabilities
from engines.naming.references import Origins, find_references
from engines.taxonomy import Taxonomy

Mask = NDArray[np.bool_]
_NEVER = -1e4
"""Logit of a type that no cell of the fit shows: it is never told."""
_ONLY_WHITE = 5.0
"""Logit of "a white cell" where there was no artefact to learn from: nothing speaks against it."""
_LEAST_GAIN, _USUAL_GAIN = 0.5, 4.0
"""Of a calibration: below the one the left-out cells say nothing, and the other is taken, with which a score of 1 is .98."""
_FEWEST = 5
"""Cells of a group, and of each answer that a calibration is fitted on."""


@dataclass(frozen=True)
class FitSettings:
    """ridge: penalty on the weights, a multiple of the number of cells. balance: a group of n cells of one source weighs
    n^(1 - balance), so that neither a large source nor a common type drowns the rest.

    blast_cost: what a missed blast costs, in other cells told as blasts; cell_cost: a lost white cell, in artefacts told as cells;
    lost_blasts: share of blasts that may be told as artefacts at most.
    right: share of the cells named (as a type, as a group) that must be right among those left out. references, dimensions,
    known_share: how many cells stand for the known films, in a space of how many dimensions, and the share of each source's other
    cells that lies within the limit. rendered_share: what rendered sources weigh among the open ones, 0 to 1; they teach names and make
    no film known: rendered cells differ more among each other than films of all microscopes do. rendered: sources beside the cells' own
    that make no film known either, such as copies in other colours. seed: draws the references.
    """

    ridge: float = 4.0
    balance: float = 0.5
    blast_cost: float = 3.0
    cell_cost: float = 4.0
    lost_blasts: float = 0.02
    right: float = 0.85
    references: int = 400
    dimensions: int = 256
    known_share: float = 0.9
    rendered_share: float = 0.3
    rendered: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Fitted:
    """layer: what was fitted. left_out: (N, C) probabilities of each cell by a fit without its fold; NaN rows for cells never left out.
    notes: what a person must know of the fit, a sentence each."""

    layer: NamingLayer
    left_out: Float32
    notes: tuple[str, ...]


def fit(
    cells: LabelledCells,
    taxonomy: Taxonomy,
    folds: Int64,
    settings: FitSettings = FitSettings(),
    parts: Int64 | None = None,
    name: str = "layer",
    version: str = "1",
    site: bool = False,
    card: Mapping[str, Any] | None = None,
    confirmed: LabelledCells | None = None,
    judged: Int64 | None = None,
    types: Int64 | None = None,
) -> Fitted:
    """A layer of all cells, calibrated on what a fit without its fold says of each.

    folds: (N,), such as the source or the slide of a cell; -1: never left out. parts: (N,), 1 for a site's own cells, 0 for the open
    ones: the two weigh alike. confirmed: further cells, of films that are to be known.
    types: (N,), folds of their own for the types, which are told on known films only: left out within the sources; -1: takes no part.
    judged: (N,), other folds for `left_out` alone, such as slides where they are too few to calibrate on. The same arguments always
    give the same layer. Raises DataError where blasts or other white cells are missing.
    """
    problem = _Problem(cells, taxonomy, settings, np.zeros(len(cells), np.int64) if parts is None else parts)
    everyone = np.ones(len(cells), bool)
    if not problem.has_both(everyone):
        missing = "blasts or equivalents" if problem.blast.sum() < _FEWEST else "white cells that are no blasts"
        raise DataError(f"{cells_by_group(cells, taxonomy)}: at least {_FEWEST} {missing} are needed to tell the two apart. Add some.")
    mean, scale, weights = problem.solve(everyone)
    raw, known = problem.left_out(folds)
    if types is not None:
        within, known = problem.left_out(types, types >= 0)
        raw[:, 2:] = within[:, 2:]
        raw[np.isnan(raw).any(1)] = np.nan
    seen: Mask = np.asarray(~np.isnan(raw).any(1))
    gains, offsets, notes = problem.calibration(raw, seen, known)
    count = raw.shape[1]
    weights[:, :count] *= gains
    weights[-1, :count] += offsets
    calibrated = class_probabilities((raw * gains + offsets).astype(np.float32), taxonomy)
    left_out = calibrated
    if judged is not None:
        left_out = class_probabilities((problem.left_out(judged)[0] * gains + offsets).astype(np.float32), taxonomy)
    real = ~np.isin(cells.sources, np.array((*settings.rendered, *cells.rendered), np.str_))
    real = (real if real.any() else everyone) & problem.white
    shown = [cells.select(real), *([confirmed] if confirmed is not None else [])]
    own = [problem.parts[real] > 0, *([np.ones(len(confirmed), bool)] if confirmed is not None else [])]
    sources, patients = (np.concatenate([getattr(part, key) for part in shown]) for key in ("sources", "patients"))
    like = find_references(
        (np.concatenate([part.features for part in shown]) - mean) / scale,
        Origins(sources, patients, np.concatenate(own)),
        settings.references,
        settings.dimensions,
        settings.known_share,
        settings.seed,
    )
    layer = NamingLayer(
        name,
        version,
        cells.encoder,
        taxonomy.classes,
        mean.astype(np.float32),
        scale.astype(np.float32),
        weights.astype(np.float32),
        site=site,
        projection=like.projection,
        references=like.references,
        foreign_limit=like.limit,
        card=dict(card or {}),
    )
    if seen.any():
        costs = settings.blast_cost, settings.cell_cost, settings.right, settings.lost_blasts
        chosen = chosen_thresholds(calibrated[seen], cells.classes[seen], problem.balanced(seen), taxonomy, *costs)
        layer = replace(layer, thresholds=chosen)
    else:
        notes.append("No cell could be left out, so probabilities and thresholds are not calibrated.")
    return Fitted(layer, left_out, tuple(notes))


def cells_by_group(cells: LabelledCells, taxonomy: Taxonomy) -> str:
    """Such as "12 blasts, 40 other white cells, 3 artefacts"."""
    groups = np.array([taxonomy.group_of(int(kind)) for kind in cells.classes], np.str_)
    counts = [int((groups == key).sum()) for key in ("blasts", "others", "")]
    return "{} blasts, {} other white cells, {} artefacts".format(*counts)


class _Problem:
    """The cells, what is asked of each, and their weights."""

    def __init__(self, cells: LabelledCells, taxonomy: Taxonomy, settings: FitSettings, parts: Int64) -> None:
        self.cells, self.taxonomy, self.settings, self.parts = cells, taxonomy, settings, parts
        self.x = cells.features.astype(np.float64)
        self.white = ~np.isin(cells.classes, taxonomy.artefact_codes)
        self.blast = np.isin(cells.classes, taxonomy.blast_codes)
        self.group = np.where(self.white, 1 + self.blast, 0)
        self.rendered = np.isin(cells.sources, np.array(cells.rendered, np.str_))
        self.source = np.unique(cells.sources, return_inverse=True)[1].reshape(-1)

    def has_both(self, rows: Mask) -> bool:
        blast, other = (rows & self.blast).sum(), (rows & self.white & ~self.blast).sum()
        return bool(min(blast, other) >= _FEWEST)

    def balanced(self, rows: Mask, answers: Int64 | None = None) -> Float64:
        """Weights (rows,) of mean 1: each answer (the group, unless others are given) of each source by its number; parts alike."""
        given = self.group[rows] if answers is None else answers
        key = np.stack([self.source[rows], given, self.parts[rows]])
        inverse, counts = np.unique(key, axis=1, return_inverse=True, return_counts=True)[1:]
        weights = counts.astype(np.float64)[inverse.reshape(-1)] ** -self.settings.balance
        film = self.rendered[rows]
        if film.any() and not film.all():
            for here, share in ((film, self.settings.rendered_share), (~film, 1 - self.settings.rendered_share)):
                weights[here] *= share / weights[here].sum()
        for part in np.unique(self.parts[rows]):
            here = self.parts[rows] == part
            weights[here] /= weights[here].sum()
        return np.asarray(weights * (len(weights) / weights.sum()), np.float64)

    def solve(self, rows: Mask, only_classes: bool = False) -> tuple[Float64, Float64, Float64]:
        """mean, scale (F,) and weights (F + 1, 2 + C + A) of a fit to the cells of `rows`; zeros for attributes with `only_classes`."""
        taxonomy, classes = self.taxonomy, self.cells.classes
        count = len(taxonomy.classes)
        base = self.balanced(rows)
        base /= base.sum()
        mean = base @ self.x[rows]
        scale = np.sqrt(base @ (self.x[rows] - mean) ** 2) + 1e-6
        weights = np.zeros((self.x.shape[1] + 1, 2 + count + taxonomy.n_logits))

        def ridge(where: Mask, answers: Int64, targets: Float64) -> Float64:
            return _ridge((self.x[where] - mean) / scale, targets, self.balanced(where, answers), self.settings.ridge)

        if (rows & ~self.white).sum() >= _FEWEST:
            weights[:, :1] = ridge(rows, self.white[rows].astype(np.int64), _signs(self.white[rows, None]))
        else:
            weights[-1, 0] = _ONLY_WHITE
        cells = rows & self.white
        weights[:, 1:2] = ridge(cells, self.blast[cells].astype(np.int64), _signs(self.blast[cells, None]))
        shown = np.unique(classes[cells])
        weights[-1, 2 : 2 + count] = _NEVER
        weights[:, 2 + shown] = ridge(cells, classes[cells], _signs(classes[cells, None] == shown))
        for index, columns in enumerate(taxonomy.groups if not only_classes else ()):
            codes = self.cells.attributes[:, index]
            known = cells & (codes >= 0) & (codes < columns.stop - columns.start)
            if known.sum() >= _FEWEST:
                answers = _signs(codes[known, None] == np.arange(columns.stop - columns.start))
                weights[:, 2 + count + columns.start : 2 + count + columns.stop] = 2 * ridge(known, codes[known], answers)
        return mean, scale, weights

    def left_out(self, folds: Int64, of: Mask | None = None) -> tuple[Float64, Mask]:
        """Scores (N, 2 + C) of each cell by a fit without its fold, NaN where there is none; and which classes that fit had seen.

        of: the cells that it may be fitted to, all by default.
        """
        of = np.ones(len(folds), bool) if of is None else of
        raw = np.full((len(folds), 2 + len(self.taxonomy.classes)), np.nan)
        known = np.zeros_like(raw, bool)
        for fold in np.unique(folds[folds >= 0]):
            out = folds == fold
            if self.has_both(of & ~out):
                mean, scale, weights = self.solve(of & ~out, only_classes=True)
                weights = weights[:, : raw.shape[1]]
                raw[out] = (self.x[out] - mean) / scale @ weights[:-1] + weights[-1]
                known[out] = weights[-1] > _NEVER
        return raw, known

    def calibration(self, raw: Float64, seen: Mask, known: Mask) -> tuple[Float64, Float64, list[str]]:
        """Gains and offsets (2 + C,) of left-out scores `raw` in the rows `seen`; known: which columns the fit without the fold had."""
        gains, offsets, notes = np.ones(raw.shape[1]), np.zeros(raw.shape[1]), []
        heads = (
            (0, seen, self.white, "white cells from artefacts"),
            (1, seen & self.white, self.blast, "blasts from other white cells"),
        )
        for column, rows, yes, words in heads:
            if min((yes & rows).sum(), (~yes & rows).sum()) < _FEWEST:
                notes.append(f"Telling {words} is not calibrated: too few of one of them could be left out.")
                gains[column] = _USUAL_GAIN if column or (~self.white).sum() >= _FEWEST else 1.0
                continue
            weights = self.balanced(rows, yes[rows].astype(np.int64))
            gains[column], offsets[column] = platt(raw[rows, column], yes[rows], weights)
            if gains[column] < _LEAST_GAIN:
                notes.append(f"Telling {words} could not be calibrated: by what was left out they can hardly be told apart.")
                gains[column], offsets[column] = _USUAL_GAIN, 0.0
        for blasts in (True, False):
            members = np.array([i for i in np.unique(self.cells.classes[self.white]) if self.taxonomy.is_blast(int(i)) == blasts])
            rows = seen & self.white & (self.blast == blasts)
            rows &= known[np.arange(len(rows)), 2 + self.cells.classes]
            answers = np.searchsorted(members, self.cells.classes[rows])
            weights = self.balanced(rows, self.cells.classes[rows]) if rows.any() else np.zeros(0)
            gains[2 + members] = temperature(raw[rows][:, 2 + members].clip(-4, 4), answers, weights)
        return gains, offsets, notes


def _ridge(x: Float64, targets: Float64, weights: Float64, penalty: float) -> Float64:
    """Weights (F + 1, T) of a weighted ridge regression of targets (N, T) on x (N, F) and a constant, which is penalised as well."""
    root = np.sqrt(weights)[:, None]
    z = np.concatenate([x, np.ones((len(x), 1))], 1) * root
    wall = penalty * len(x)
    if len(z) < z.shape[1]:  # the same solution from the smaller matrix
        inner = z @ z.T
        inner[np.diag_indices(len(inner))] += wall
        return np.asarray(z.T @ np.linalg.solve(inner, targets * root), np.float64)
    inner = z.T @ z
    inner[np.diag_indices(len(inner))] += wall
    return np.asarray(np.linalg.solve(inner, z.T @ (targets * root)), np.float64)


def _signs(yes: NDArray[np.bool_]) -> Float64:
    return np.where(yes, 1.0, -1.0)

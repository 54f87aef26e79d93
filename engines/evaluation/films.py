"""Judging a film as a whole, as a person reads it: is its most frequent type right, and how far off is its differential."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engines.data.layout import patient_of
from engines.detections import Float64, Int64
from engines.taxonomy import Taxonomy

ALL_PICTURES = "all pictures"
"""Name of the one film of a folder whose file names give no patient."""


@dataclass(frozen=True, eq=False)
class FilmScore:
    """White cells of one film (patient), labelled and told at the working point; artefacts are in neither.

    labelled, told: (C,) int64 by class code, the artefact's 0. pictures: how many the film has.
    """

    film: str
    pictures: int
    labelled: Int64
    told: Int64

    @property
    def most_labelled(self) -> tuple[int, ...]:
        """The most frequent labelled type; several if they are equal, none without a cell."""
        return _most(self.labelled)

    @property
    def most_told(self) -> tuple[int, ...]:
        return _most(self.told)

    @property
    def most_right(self) -> bool | None:
        """Whether the most frequent type is right: each told one is a labelled one. Nothing told: wrong. Nothing labelled: None."""
        if not self.most_labelled:
            return None
        return bool(self.most_told) and set(self.most_told) <= set(self.most_labelled)

    @property
    def difference_pp(self) -> Float64:
        """Share told minus share labelled of each class, (C,), in percentage points; NaN where either side has no cell."""
        if not self.labelled.sum() or not self.told.sum():
            return np.full(len(self.labelled), math.nan)
        difference: Float64 = 100 * (self.told / self.told.sum() - self.labelled / self.labelled.sum())
        return difference

    @property
    def l1(self) -> float:
        """Sum of the absolute differences of shares, 0 (equal) to 2 (nothing in common)."""
        return float(np.abs(self.difference_pp).sum() / 100)

    @property
    def total_variation(self) -> float:
        """Half of `l1`, 0 to 1: the least share of cells whose type would have to change."""
        return self.l1 / 2

    def share_pp(self, classes: Sequence[int]) -> tuple[float, float]:
        """Per cent of the labelled and of the told cells that bear one of `classes`; NaN without a cell."""
        labelled, told = (
            100 * float(c[list(classes)].sum()) / float(c.sum()) if c.sum() else math.nan for c in (self.labelled, self.told)
        )
        return labelled, told


def films_of(names: Sequence[str]) -> tuple[list[str], bool]:
    """For each file name the film (patient) that it belongs to, and whether the names give patients.

    Where any name gives none they are all one film: a share of the pictures without a patient cannot be told apart.
    """
    patients = [patient_of(name) for name in names]
    known = [patient for patient in patients if patient is not None]
    if len(known) < len(names) or not known:
        return [ALL_PICTURES] * len(names), False
    return known, True


def score_films(films: Sequence[str], labelled: Sequence[Int64], told: Sequence[Int64], taxonomy: Taxonomy) -> list[FilmScore]:
    """One score for each film, sorted by name, numbers by their value. labelled, told: class codes (N,) of each picture's cells."""
    count = len(taxonomy.classes)
    white = np.array([not taxonomy.is_artefact(i) for i in range(count)])
    scores = []
    for film in sorted(set(films), key=natural):
        mine = [i for i, name in enumerate(films) if name == film]
        both = (np.bincount(np.concatenate([side[i] for i in mine]), minlength=count) * white for side in (labelled, told))
        scores.append(FilmScore(film, len(mine), *both))
    return scores


def natural(name: str) -> tuple[bool, int, str]:
    """Key that sorts 4 before 28, and words after numbers."""
    return not name.isdecimal(), int(name) if name.isdecimal() else 0, name


def _most(counts: Int64) -> tuple[int, ...]:
    return tuple(int(i) for i in np.flatnonzero(counts == counts.max())) if counts.sum() else ()


def number(value: float, spec: str = ".3f") -> str:
    """Three decimals, or as Python's format `spec` says; "-" for none."""
    return "-" if math.isnan(value) else format(value, spec)


def most(codes: Sequence[int], names: Sequence[str]) -> str:
    """The most frequent types in words: equal ones are named up to three, then counted; "none" without a cell."""
    if len(codes) > 3:
        return f"{len(codes)} types equal"
    return " = ".join(names[i] for i in codes) or "none"


def largest_difference(film: FilmScore, names: Sequence[str]) -> str:
    """The type whose share is told most wrongly, and by how much."""
    differences = film.difference_pp
    if not len(differences) or math.isnan(differences[0]):
        return "-"
    worst = int(abs(differences).argmax())
    return f"{names[worst]} {differences[worst]:+.1f}"

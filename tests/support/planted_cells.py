"""Cells with planted features: groups, types and attributes lie in directions of their own, each source is moved by its microscope."""

from __future__ import annotations

import numpy as np

from engines.naming.cells import LabelledCells
from engines.taxonomy import LEUKEMIA_ATTRI

FEATURES = 40
TYPES = (0, 1, 2, 3, 7, 12)
"""An artefact, two kinds of blasts, three other white cells."""


def planted_cells(
    source: str, per_type: int, seed: int, shift: float = 2.0, patients: int = 4, types: tuple[int, ...] = TYPES
) -> LabelledCells:
    """`per_type` cells of each type. shift: how far this source's microscope moves all features, in standard deviations of a cell."""
    rng = np.random.default_rng(seed)
    classes = np.repeat(np.array(types), per_type)
    x = rng.normal(size=(len(classes), FEATURES))
    x[:, 0] += np.where(classes == 0, -4, 2)
    x[:, 1] += np.where(np.isin(classes, (1, 2)), 3, -3) * (classes != 0)
    for kind in TYPES:
        x[:, 2 + TYPES.index(kind)] += 5 * (classes == kind)
    attributes = np.full((len(classes), len(LEUKEMIA_ATTRI.attributes)), -1)
    attributes[:, 1] = rng.integers(0, 2, len(classes))
    x[:, 9] += 6 * attributes[:, 1]
    attributes[classes == 0] = -1
    x[:, 12:] += shift * np.random.default_rng(len(source) + sum(map(ord, source))).normal(size=FEATURES - 12)
    order = rng.permutation(len(classes))
    patient = np.array([f"{source}/{n % patients}" for n in range(len(classes))])
    return LabelledCells(
        x[order].astype(np.float32),
        classes[order],
        attributes[order],
        np.full(len(classes), source),
        patient,
        "e" * 64,
        {source: "ours"},
    )

"""What a leukocyte is before it is drawn: mixes of types by case, the priors of the seven attributes by type, sizes.

The label comes first and the drawing obeys it. The priors are plain haematology and are no statistics of any patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from engines.taxonomy import UNKNOWN

_Key = TypeVar("_Key")

SIZE, CHROMATIN, SHAPE, NUCLEOLUS, CYTOPLASM, BASOPHILIA, VACUOLES = range(7)
"""Columns of the attributes that are drawn."""
ATTRIBUTES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("cell_size", ("small", "medium", "large")),
    ("nuclear_chromatin", ("open", "coarse")),
    ("nuclear_shape", ("regular", "irregular")),
    ("nucleolus", ("inconspicuous", "prominent")),
    ("cytoplasm", ("scanty", "abundant")),
    ("cytoplasmic_basophilia", ("slight", "moderate")),
    ("cytoplasmic_vacuoles", ("absent", "prominent")),
)
"""Key and values of each column; `labels` finds them in a taxonomy by these names."""

NONE, MYELOBLAST, LYMPHOBLAST, NEUTROPHIL, ATYPICAL, PROMONOCYTE, MONOBLAST = range(7)
LYMPHOCYTE, MYELOCYTE, PROMYELOCYTE, MONOCYTE, METAMYELOCYTE, EOSINOPHIL, BASOPHIL = range(7, 14)
TYPES = (
    "None", "Myeloblast", "Lymphoblast", "Neutrophil", "Atypical lymphocyte", "Promonocyte", "Monoblast",
    "Lymphocyte", "Myelocyte", "Abnormal promyelocyte", "Monocyte", "Metamyelocyte", "Eosinophil", "Basophil",
)  # fmt: skip
"""Names of the classes that are drawn, by the film's own numbers above."""

DIAMETER_UM: tuple[tuple[float, float], ...] = ((8.6, 11.6), (12.4, 15.2), (16.0, 19.5))
"""Mean diameter of a cell by its Cell Size label (small, medium, large): ranges with gaps, so that a label can be seen."""

NUCLEAR_SHARE: tuple[tuple[float, float], ...] = ((0.70, 0.86), (0.27, 0.55))
"""Area of the nucleus over the cell's by its Cytoplasm label (scanty, abundant)."""


@dataclass(frozen=True)
class Kind:
    """Priors of one type: P(size), then P(label 1) of the other six attributes, and the forms its nucleus takes.

    `regular` and `irregular` name forms that `nucleus` draws, with their weights; `typical_um` pulls the diameter.
    """

    size: tuple[float, float, float]
    attributes: tuple[float, float, float, float, float, float]
    regular: dict[str, float]
    irregular: dict[str, float]
    typical_um: float


_ROUND = {"round": 1.0}

KINDS: dict[int, Kind] = {
    MYELOBLAST: Kind((0.15, 0.65, 0.20), (0.04, 0.45, 0.85, 0.25, 0.85, 0.06), _ROUND, {"irregular": 0.6, "cleft": 0.4}, 14.5),
    LYMPHOBLAST: Kind((0.35, 0.60, 0.05), (0.55, 0.45, 0.40, 0.12, 0.55, 0.08), _ROUND, {"cleft": 0.6, "irregular": 0.4}, 12.5),
    NEUTROPHIL: Kind((0.12, 0.80, 0.08), (0.98, 1.0, 0.0, 1.0, 0.08, 0.05), _ROUND, {"lobed": 0.68, "band": 0.32}, 13.3),
    ATYPICAL: Kind(
        (0.05, 0.55, 0.40), (0.75, 0.75, 0.15, 0.70, 0.80, 0.12), _ROUND, {"irregular": 0.5, "kidney": 0.3, "cleft": 0.2}, 15.0
    ),
    PROMONOCYTE: Kind((0.02, 0.48, 0.50), (0.10, 0.95, 0.55, 0.75, 0.65, 0.20), _ROUND, {"folded": 0.7, "kidney": 0.3}, 16.0),
    MONOBLAST: Kind((0.02, 0.48, 0.50), (0.03, 0.50, 0.90, 0.55, 0.80, 0.20), _ROUND, {"folded": 0.5, "irregular": 0.5}, 16.2),
    LYMPHOCYTE: Kind((0.85, 0.15, 0.0), (0.97, 0.15, 0.02, 0.12, 0.70, 0.01), _ROUND, {"irregular": 0.5, "cleft": 0.5}, 10.4),
    MYELOCYTE: Kind((0.05, 0.65, 0.30), (0.90, 0.25, 0.04, 0.70, 0.40, 0.03), _ROUND, {"flattened": 1.0}, 14.6),
    PROMYELOCYTE: Kind(
        (0.04, 0.50, 0.46), (0.15, 0.88, 0.60, 0.70, 0.60, 0.05), _ROUND, {"bilobed": 0.4, "folded": 0.35, "kidney": 0.25}, 15.8
    ),
    MONOCYTE: Kind((0.02, 0.48, 0.50), (0.45, 0.94, 0.05, 0.92, 0.55, 0.40), _ROUND, {"kidney": 0.55, "folded": 0.45}, 15.8),
    METAMYELOCYTE: Kind((0.05, 0.80, 0.15), (0.97, 0.98, 0.0, 0.90, 0.12, 0.03), _ROUND, {"kidney": 1.0}, 13.8),
    EOSINOPHIL: Kind((0.06, 0.79, 0.15), (0.97, 0.98, 0.0, 0.98, 0.10, 0.08), _ROUND, {"bilobed": 0.85, "lobed": 0.15}, 13.9),
    BASOPHIL: Kind((0.25, 0.75, 0.0), (0.96, 0.92, 0.0, 0.90, 0.15, 0.03), _ROUND, {"lobed": 0.4, "bilobed": 0.6}, 12.6),
}


@dataclass(frozen=True)
class Case:
    """What is on a film: share of each type, leukocytes a square millimetre, share of the area that red cells cover."""

    mix: dict[int, float]
    per_mm2: float
    red_cover: tuple[float, float]


_BACKGROUND = {NEUTROPHIL: 0.55, LYMPHOCYTE: 0.27, MONOCYTE: 0.08, EOSINOPHIL: 0.04, BASOPHIL: 0.015}

_CASES: dict[str, Case] = {
    "AML": Case(
        {MYELOBLAST: 0.42, MONOBLAST: 0.14, PROMONOCYTE: 0.09, MONOCYTE: 0.05, NEUTROPHIL: 0.08, MYELOCYTE: 0.03,
         METAMYELOCYTE: 0.02, LYMPHOCYTE: 0.07, EOSINOPHIL: 0.01, NONE: 0.13}, 430.0, (0.20, 0.40),
    ),
    "ALL": Case(
        {LYMPHOBLAST: 0.68, LYMPHOCYTE: 0.12, NEUTROPHIL: 0.06, MONOCYTE: 0.02, ATYPICAL: 0.02, NONE: 0.14}, 430.0, (0.20, 0.40)
    ),
    "APML": Case(
        {PROMYELOCYTE: 0.62, MYELOBLAST: 0.08, NEUTROPHIL: 0.08, LYMPHOCYTE: 0.07, MYELOCYTE: 0.03, MONOCYTE: 0.02, NONE: 0.15},
        360.0, (0.20, 0.40),
    ),
    "CLL": Case({LYMPHOCYTE: 0.62, ATYPICAL: 0.12, NEUTROPHIL: 0.07, MONOCYTE: 0.02, NONE: 0.22}, 470.0, (0.35, 0.5)),
    "CML": Case(
        {NEUTROPHIL: 0.42, METAMYELOCYTE: 0.13, MYELOCYTE: 0.17, MYELOBLAST: 0.04, BASOPHIL: 0.06, EOSINOPHIL: 0.05,
         MONOCYTE: 0.03, LYMPHOCYTE: 0.04, PROMYELOCYTE: 0.01, NONE: 0.09}, 470.0, (0.3, 0.5),
    ),
    "normal": Case({**_BACKGROUND, NONE: 0.045}, 95.0, (0.42, 0.58)),
    "mixed": Case(dict.fromkeys(range(1, 14), 1.0) | {NONE: 1.4}, 430.0, (0.3, 0.5)),
}  # fmt: skip

CASES: tuple[str, ...] = tuple(_CASES)
"""Names of the cases a film can show: AML, ALL, APML, CLL, CML, normal, and "mixed" (every type about equally often)."""


def case_of(name: str) -> Case:
    """Mix and density of a case; ValueError names the cases there are."""
    try:
        return _CASES[name]
    except KeyError:
        raise ValueError(f"no case {name!r}; cases are {', '.join(CASES)}") from None


def draw_class(rng: np.random.Generator, case: Case) -> int:
    """Class code drawn from the case's mix."""
    return _drawn(rng, case.mix)


def draw_attributes(rng: np.random.Generator, code: int) -> tuple[int, ...]:
    """Seven label codes of a cell of this class, drawn from its priors; seven times -1 for class None."""
    if code == NONE:
        return (UNKNOWN,) * len(ATTRIBUTES)
    kind = KINDS[code]
    size = int(rng.choice(3, p=kind.size))
    rest = (rng.random(6) < np.array(kind.attributes)).astype(int)
    return (size, *(int(v) for v in rest))


def draw_diameter_um(rng: np.random.Generator, code: int, size: int) -> float:
    """Mean diameter within the range of the size label, drawn towards what is typical of the type."""
    low, high = DIAMETER_UM[size]
    return float(np.clip(rng.normal(KINDS[code].typical_um, 1.0), low + rng.random() * 0.5, high - rng.random() * 0.5))


def draw_nuclear_share(rng: np.random.Generator, code: int, abundant: int) -> float:
    """Nucleus's share of the cell's area within the range of the Cytoplasm label; granulocytes have the smallest nuclei."""
    low, high = NUCLEAR_SHARE[abundant]
    middle = {NEUTROPHIL: 0.36, EOSINOPHIL: 0.36, BASOPHIL: 0.42}.get(code, 0.46) if abundant else 0.78
    return float(np.clip(rng.normal(middle, 0.06), low, high))


def draw_form(rng: np.random.Generator, code: int, irregular: int) -> str:
    """Form of the nucleus, as `nucleus` names it, obeying the Nuclear Shape label."""
    return _drawn(rng, KINDS[code].irregular if irregular else KINDS[code].regular)


def _drawn(rng: np.random.Generator, mix: Mapping[_Key, float]) -> _Key:
    """A key of the mix, as often as its weight says."""
    weights = np.array(list(mix.values()))
    return list(mix)[int(rng.choice(len(weights), p=weights / weights.sum()))]

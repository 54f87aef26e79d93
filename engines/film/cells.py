"""A leukocyte or artefact as it lies on the film: type, labels, place, outline, form of nucleus; known without painting it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engines.film import morphology as m
from engines.film.outline import Outline, blob, notched
from engines.film.texture import Array, rng_of


@dataclass(frozen=True)
class CutOut:
    """One cell of a photograph. code: its type as the film numbers them. box: x0, y0, x1, y1 px of the picture, squeezing undone."""

    path: str
    code: int
    box: tuple[int, int, int, int]
    pixel_aspect: float = 1.0


@dataclass(frozen=True)
class LaidCutOut:
    """A cut-out as it lies on the film: turned by `turn` (radians) and, if `mirrored`, turned over first."""

    source: CutOut
    um_per_px: float
    turn: float
    mirrored: bool


@dataclass(frozen=True)
class Leukocyte:
    """One nucleated thing on the film; lengths in um, `outline` around `centre_um`, `nuclear_share` = area of nucleus over cell's.

    `form` is the nucleus's form for cells, the kind of artefact (smudge, naked, broken, precipitate) for class None. `cut_out`: what is
    shown where the cell is not drawn (`cut_outs`).
    """

    cell_id: int
    code: int
    attributes: tuple[int, ...]
    centre_um: tuple[float, float]
    outline: Outline
    form: str
    nuclear_share: float
    seed: tuple[int, int]
    cut_out: LaidCutOut | None = None

    @cached_property
    def box_um(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 of the body on the plane."""
        (x, y), (x0, y0, x1, y1) = self.centre_um, self.outline.box_um
        return x + x0, y + y0, x + x1, y + y1

    @property
    def reach_um(self) -> float:
        return self.outline.reach_um


@dataclass(frozen=True)
class Sprite:
    """A drawn thing: optical density (height, width, 3) float32 in blue, green, red; its first pixel is (i0, j0) of the level."""

    i0: int
    j0: int
    density: Array


_ROUGH: dict[int, tuple[float, float]] = {  # roughness of the body and elongation of each type
    m.MYELOBLAST: (0.030, 0.16), m.LYMPHOBLAST: (0.026, 0.14), m.NEUTROPHIL: (0.026, 0.12), m.ATYPICAL: (0.075, 0.35),
    m.PROMONOCYTE: (0.042, 0.20), m.MONOBLAST: (0.040, 0.20), m.LYMPHOCYTE: (0.026, 0.12), m.MYELOCYTE: (0.026, 0.14),
    m.PROMYELOCYTE: (0.038, 0.22), m.MONOCYTE: (0.055, 0.26), m.METAMYELOCYTE: (0.026, 0.14), m.EOSINOPHIL: (0.024, 0.12),
    m.BASOPHIL: (0.034, 0.12),
}  # fmt: skip


def make_leukocyte(film_seed: int, cell_id: int, centre_um: tuple[float, float], case: m.Case) -> Leukocyte:
    """The cell with this id of the film with this seed: type drawn from the case's mix, labels from the type's priors."""
    rng = rng_of(film_seed, 3, cell_id)
    code = m.draw_class(rng, case)
    attributes = m.draw_attributes(rng, code)
    seed = (film_seed, cell_id)
    if code == m.NONE:
        form, outline = _artefact_outline(rng)
        return Leukocyte(cell_id, code, attributes, centre_um, outline, form, 1.0, seed)
    return build(seed, code, attributes, centre_um)


def build(seed: tuple[int, int], code: int, attributes: tuple[int, ...], centre_um: tuple[float, float]) -> Leukocyte:
    """A cell of this type with exactly these seven labels; everything else about it comes from the seed."""
    rng = rng_of(*seed, 4)
    diameter = m.draw_diameter_um(rng, code, attributes[m.SIZE])
    share = m.draw_nuclear_share(rng, code, attributes[m.CYTOPLASM])
    rough, long = _ROUGH[code]
    outline = blob(rng, 1.0, rough, 1.0 + abs(rng.normal(0, long)))
    for _ in range(int(rng.choice(4, p=[0.45, 0.25, 0.2, 0.1]))):  # flattened by neighbours
        outline = notched(outline, rng.random() * 2 * np.pi, rng.uniform(0.03, 0.11), rng.uniform(0.3, 0.55))
    if rng.random() < {m.MONOCYTE: 0.35, m.ATYPICAL: 0.4, m.LYMPHOBLAST: 0.12, m.LYMPHOCYTE: 0.12}.get(code, 0.05):
        outline = notched(outline, rng.random() * 2 * np.pi, -rng.uniform(0.08, 0.22), rng.uniform(0.12, 0.3))
    outline = outline.scaled_to_area(float(np.pi * diameter * diameter / 4))
    form = m.draw_form(rng, code, attributes[m.SHAPE])
    return Leukocyte(seed[1], code, attributes, centre_um, outline, form, share, seed)


def _artefact_outline(rng: np.random.Generator) -> tuple[str, Outline]:
    """Kind of artefact and the outline its box is taken from."""
    form = str(rng.choice(["smudge", "naked", "broken", "precipitate"], p=[0.44, 0.24, 0.22, 0.10]))
    radius, rough, long = {
        "smudge": (rng.uniform(6.0, 11.0), 0.11, 0.9),
        "naked": (rng.uniform(2.7, 4.9), 0.05, 0.25),
        "broken": (rng.uniform(4.0, 6.5), 0.14, 0.6),
        "precipitate": (rng.uniform(3.0, 6.5), 0.15, 0.6),
    }[form]
    return form, blob(rng, float(radius), rough, 1.0 + abs(rng.normal(0, long)), decay=0.7, fine=0.003)

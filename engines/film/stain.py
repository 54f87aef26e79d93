"""Colours of a stained film as optical densities: one palette a film, because batches of stain and their pH differ.

A colour is written as the share of red, green and blue that passes (clear film = 1, 1, 1) and turned into a density, so that
things that lie over each other darken each other as they do under a microscope. Lamp and camera are in `optics`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from engines.film.texture import Array, rng_of

Passing = tuple[float, float, float]
"""Share of light that passes in red, green, blue."""


@dataclass(frozen=True)
class Stain:
    """Palette of one film; each array is the optical density of (blue, green, red) at full strength, (3,) float32."""

    name: str
    red_cell: Array
    polychrome: Array
    nucleus_dark: Array
    nucleus_light: Array
    cytoplasm_blue: Array
    cytoplasm_pale: Array
    neutrophil_granule: Array
    eosinophil_granule: Array
    basophil_granule: Array
    azurophil_granule: Array
    platelet: Array
    plasma: Array
    pallor: float
    pallor_width: float
    pallor_spread: float
    rouleaux: float
    halo: float
    overlap: float
    drying: float


# Each batch's colours in the order of `Stain`'s fields, red cell to plasma.
_COLOURS: dict[str, tuple[Passing, ...]] = {
    "warm": (
        (0.78, 0.68, 0.78), (0.70, 0.65, 0.82),
        (0.265, 0.10, 0.60), (0.60, 0.42, 0.77), (0.57, 0.55, 0.84), (0.86, 0.80, 0.90),
        (0.72, 0.58, 0.80), (0.70, 0.44, 0.62), (0.24, 0.09, 0.50), (0.50, 0.20, 0.60),
        (0.55, 0.38, 0.70), (0.985, 0.985, 0.99),
    ),
    "steel": (
        (0.46, 0.57, 0.79), (0.52, 0.55, 0.80),
        (0.27, 0.16, 0.63), (0.66, 0.43, 0.81), (0.58, 0.55, 0.84), (0.80, 0.74, 0.90),
        (0.66, 0.48, 0.78), (0.72, 0.46, 0.64), (0.26, 0.14, 0.56), (0.55, 0.25, 0.66),
        (0.60, 0.48, 0.80), (0.98, 0.97, 0.98),
    ),
    "teal": (
        (0.70, 0.76, 0.88), (0.66, 0.66, 0.86),
        (0.27, 0.18, 0.64), (0.55, 0.36, 0.78), (0.62, 0.56, 0.84), (0.82, 0.72, 0.88),
        (0.68, 0.46, 0.76), (0.76, 0.50, 0.64), (0.28, 0.16, 0.58), (0.58, 0.28, 0.66),
        (0.62, 0.46, 0.76), (0.975, 0.96, 0.975),
    ),
    "violet": (
        (0.70, 0.57, 0.86), (0.66, 0.56, 0.86),
        (0.38, 0.19, 0.70), (0.74, 0.50, 0.86), (0.62, 0.54, 0.86), (0.86, 0.80, 0.93),
        (0.70, 0.54, 0.82), (0.78, 0.46, 0.66), (0.30, 0.14, 0.60), (0.58, 0.26, 0.70),
        (0.62, 0.44, 0.80), (0.985, 0.98, 0.99),
    ),
    "grey": (
        (0.77, 0.73, 0.88), (0.72, 0.70, 0.86),
        (0.27, 0.22, 0.62), (0.56, 0.38, 0.76), (0.60, 0.58, 0.84), (0.83, 0.78, 0.91),
        (0.70, 0.52, 0.80), (0.74, 0.48, 0.66), (0.27, 0.18, 0.58), (0.55, 0.28, 0.66),
        (0.62, 0.44, 0.76), (0.99, 0.985, 0.99),
    ),
    "rose": (
        (0.88, 0.76, 0.75), (0.82, 0.72, 0.82),
        (0.52, 0.36, 0.93), (0.78, 0.60, 0.99), (0.68, 0.62, 0.95), (0.90, 0.80, 0.94),
        (0.80, 0.60, 0.84), (0.80, 0.48, 0.58), (0.40, 0.22, 0.78), (0.62, 0.32, 0.78),
        (0.70, 0.60, 0.95), (0.985, 0.985, 0.98),
    ),
}  # fmt: skip
_HABITS: dict[str, tuple[float, float, float]] = {
    "warm": (0.75, 0.10, 0.35),
    "steel": (0.45, 0.60, 0.7),
    "teal": (0.60, 0.15, 0.6),
    "violet": (0.55, 0.05, 0.5),
    "grey": (0.35, 0.10, 0.8),
    "rose": (0.58, 0.30, 0.5),
}
"""Pallor of the red cells, rouleaux and halo of each batch."""

BATCHES: tuple[str, ...] = tuple(_COLOURS)
"""Names of the batches of stain; a film's own is drawn from its seed."""


def _density(passing: Passing) -> Array:
    return np.asarray(-np.log(np.asarray(passing[::-1])), dtype=np.float32)


def stain_of(seed: int, batch: str | None = None) -> Stain:
    """Palette of the film with this seed: a batch and its own small deviations of hue and strength; KeyError names no batch."""
    rng = rng_of(seed, 101)
    drawn = BATCHES[int(rng.integers(len(BATCHES)))]
    name = batch or drawn
    colours, (pallor, rouleaux, halo) = _COLOURS[name], _HABITS[name]
    strength = float(np.exp(rng.normal(0, 0.10)))
    hue = np.exp(rng.normal(0, 0.04, 3)).astype(np.float32)
    own = np.exp(rng.normal(0, 0.05, (len(colours), 3)) + rng.normal(0, 0.09, (len(colours), 1))).astype(np.float32)
    names = [field.name for field in fields(Stain)][1 : 1 + len(colours)]
    densities = {f: _density(c) * np.float32(strength) * hue * own[k] for k, (f, c) in enumerate(zip(names, colours, strict=True))}
    return Stain(
        name=name,
        pallor=float(np.clip(pallor + rng.normal(0, 0.12), 0.1, 0.95)),
        pallor_width=float(rng.uniform(0.30, 0.48)),
        pallor_spread=float(rng.uniform(0.08, 0.32)),
        rouleaux=float(np.clip(rouleaux * np.exp(rng.normal(0, 0.4)), 0.0, 0.7)),
        overlap=float(rng.uniform(0.05, 0.35) if name in ("steel", "rose") else rng.uniform(0.3, 0.9)),
        drying=float(max(0.0, rng.uniform(-0.5, 0.3))),
        halo=float(np.clip(halo * np.exp(rng.normal(0, 0.3)), 0.1, 1.5)),
        **densities,
    )

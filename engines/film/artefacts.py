"""What technicians must not count, painted as optical density: smudge cells, naked and broken nuclei, stain precipitate."""

from __future__ import annotations

import numpy as np

from engines.film.cells import Leukocyte
from engines.film.outline import ANGLES
from engines.film.stain import Stain
from engines.film.texture import Array, Grid, smoothstep


def paint_artefact(cell: Leukocyte, stain: Stain, grid: Grid, rng: np.random.Generator) -> Array:
    """Density (height, width, 3) float32 of an artefact by its form."""
    if cell.form == "precipitate":
        return _precipitate(cell, stain, grid, rng)
    if cell.form == "naked":
        return _naked(cell, stain, grid, rng)
    return _smudge(cell, stain, grid, rng, broken=cell.form == "broken")


def _smudge(cell: Leukocyte, stain: Stain, grid: Grid, rng: np.random.Generator, broken: bool) -> Array:
    """A burst nucleus: reddish, fibrous, frayed at the edge; a broken one is denser and smaller."""
    u = cell.outline.relative(grid.x, grid.y)
    turn = float(ANGLES[int(np.argmax(cell.outline.radii_um))]) + rng.normal(0, 0.15)  # dragged along its length
    along, across = grid.x * np.cos(turn) + grid.y * np.sin(turn), grid.y * np.cos(turn) - grid.x * np.sin(turn)
    # the solid rest of the nucleus, anywhere along the smear
    long, wide = cell.reach_um, float(cell.outline.radii_um.min())
    where = rng.uniform(-0.45, 0.2) * long
    bent = 1 + 0.30 * grid.noise(rng, 2.6) + 0.12 * grid.noise(rng, 0.9)
    away = np.hypot((along - where) / (rng.uniform(0.30, 0.55) * long), across / (rng.uniform(0.45, 0.8) * wide)) * bent
    rest = smoothstep(1.05, 0.65, away)
    # threads: noise that is long one way and short the other, at two widths
    along, across = along + 0.8 * grid.noise(rng, 3.5), across + 0.7 * grid.noise(rng, 3.0)
    threads = np.zeros_like(u)
    for width, weight in ((0.9, 0.55), (0.4, 0.45)):
        wave = grid.along(rng, along / np.float32(7.0 * width), across / np.float32(width))
        threads += weight * (1 - smoothstep(0.0, 0.8, np.abs(wave)))
    ragged = 0.25 * grid.noise(rng, 2.6) + 0.14 * grid.noise(rng, 0.9) + 0.30 * (threads - 0.4)
    inside = smoothstep(1.10, 0.75 if broken else 0.55, u + ragged)
    holes = smoothstep(0.35, 0.9, grid.noise(rng, 1.7)) * (0.25 if broken else rng.uniform(0.3, 0.95))
    clots = 0.55 + 0.45 * smoothstep(-0.6, 0.8, grid.noise(rng, 0.7))
    solid = rng.uniform(0.75, 1.05) if broken else rng.uniform(0.25, 0.9)
    amount = inside * (0.16 + 0.55 * threads * clots) * (1 - holes) + solid * rest * clots * smoothstep(1.15, 0.9, u)
    shade = rng.uniform(0.9, 1.15) if broken else rng.uniform(0.65, 1.15)
    colour = stain.nucleus_light + (stain.nucleus_dark - stain.nucleus_light) * (
        rng.uniform(0.4, 0.9) if broken else rng.uniform(0.15, 0.5)
    )
    redder = colour * np.array([0.95, 1.0, 0.80], dtype=np.float32)
    return np.asarray((amount * shade)[..., None] * redder, dtype=np.float32)


def _naked(cell: Leukocyte, stain: Stain, grid: Grid, rng: np.random.Generator) -> Array:
    """A shrunken nucleus without cytoplasm: dark, nearly structureless, at times in two pieces."""
    d = cell.outline.distance(grid.x, grid.y) + 0.12 * grid.noise(rng, 1.5)
    mask = smoothstep(0.25, -0.30, d)
    veil = 0.35 * smoothstep(1.3, -0.2, d + 0.5 * grid.noise(rng, 1.2)) * float(rng.random() < 0.5)  # a rest of cytoplasm
    if rng.random() < 0.4:
        turn, off = rng.random() * np.pi, rng.uniform(-0.5, 0.5)
        split = np.abs(grid.x * np.cos(turn) + grid.y * np.sin(turn) - off + 0.8 * grid.noise(rng, 2.2))
        mask = mask * smoothstep(0.1, 0.6, split)
    t = 0.9 + 0.12 * grid.noise(rng, 1.2)
    colour = stain.nucleus_light + (stain.nucleus_dark - stain.nucleus_light) * t[..., None]
    pale = (veil * (1 - mask))[..., None] * stain.cytoplasm_blue
    return np.asarray(colour * mask[..., None] + pale, dtype=np.float32)


def _precipitate(cell: Leukocyte, stain: Stain, grid: Grid, rng: np.random.Generator) -> Array:
    """Grains of stain that dried on the film: dark, of many sizes, strewn within the outline."""
    reach = cell.reach_um
    x, y = (rng.uniform(-reach, reach, 260).astype(np.float32) for _ in range(2))
    keep = cell.outline.distance(x, y) < -0.2
    keep &= rng.random(260) < np.exp(-np.square(np.hypot(x, y) / (0.8 * reach)))
    x, y = x[keep], y[keep]
    grains = grid.spots(x, y, 0.12 + rng.gamma(1.6, 0.14, len(x)), rng.uniform(0.5, 1.0, len(x)), 0.10)
    film = 0.10 * smoothstep(1.2, -2.0, cell.outline.distance(grid.x, grid.y) + grid.noise(rng, 1.6))
    return np.asarray((np.clip(grains, 0, 1) * 0.9 + film)[..., None] * stain.basophil_granule, dtype=np.float32)

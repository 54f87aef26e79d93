"""What technicians must not count, painted as optical density: smudge cells, naked and broken nuclei, stain precipitate."""

from __future__ import annotations

import numpy as np

from engines.data.film.cells import Leukocyte
from engines.data.film.stain import Stain
from engines.data.film.texture import Array, Grid, smoothstep


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
    turn = rng.random() * 2 * np.pi
    along = grid.x * np.cos(turn) + grid.y * np.sin(turn) + 0.8 * grid.noise(rng, 3.5)
    across = grid.y * np.cos(turn) - grid.x * np.sin(turn) + 0.7 * grid.noise(rng, 3.0)
    # threads: noise that is long one way and short the other, at two widths
    threads = np.zeros_like(u)
    for width, weight in ((0.9, 0.6), (0.4, 0.4)):
        wave = grid.along(rng, along / np.float32(5.0 * width), across / np.float32(width))
        threads += weight * (1 - smoothstep(0.0, 0.9, np.abs(wave)))
    ragged = 0.28 * grid.noise(rng, 2.6) + 0.16 * grid.noise(rng, 0.9) + 0.25 * (threads - 0.4)
    inside = smoothstep(1.10, 0.70 if broken else 0.50, u + ragged)
    core = smoothstep(0.9, 0.1, u + 0.3 * grid.noise(rng, 2.0))
    holes = smoothstep(0.45, 1.2, grid.noise(rng, 1.8)) * (0.4 if broken else 0.75)
    clots = 0.5 + 0.5 * smoothstep(-0.6, 0.8, grid.noise(rng, 0.7))
    amount = inside * (0.22 + 0.55 * threads * clots + (0.85 if broken else 0.62) * core * (0.35 + 0.65 * clots)) * (1 - holes)
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
    if rng.random() < 0.4:
        turn, off = rng.random() * np.pi, rng.uniform(-0.5, 0.5)
        split = np.abs(grid.x * np.cos(turn) + grid.y * np.sin(turn) - off)
        mask = mask * smoothstep(0.1, 0.6, split)
    t = 0.9 + 0.12 * grid.noise(rng, 1.2)
    colour = stain.nucleus_light + (stain.nucleus_dark - stain.nucleus_light) * t[..., None]
    return np.asarray(colour * mask[..., None], dtype=np.float32)


def _precipitate(cell: Leukocyte, stain: Stain, grid: Grid, rng: np.random.Generator) -> Array:
    """Grains of stain that dried on the film: dark, of many sizes, strewn within the outline."""
    reach = cell.reach_um
    x, y = (rng.uniform(-reach, reach, 260).astype(np.float32) for _ in range(2))
    keep = cell.outline.distance(x, y) < -0.2
    keep &= rng.random(260) < np.exp(-np.square(np.hypot(x, y) / (0.8 * reach)))
    x, y = x[keep], y[keep]
    grains = grid.spots(x, y, 0.12 + rng.gamma(1.6, 0.14, len(x)), rng.uniform(0.5, 1.0, len(x)), 0.10)
    film = 0.18 * smoothstep(0.6, -1.5, cell.outline.distance(grid.x, grid.y) + grid.noise(rng, 1.6))
    return np.asarray((np.clip(grains, 0, 1) * 0.9 + film)[..., None] * stain.basophil_granule, dtype=np.float32)

"""What else lies on a slide: grains of stain, refractile bubbles, fibres and scratches; of no class, too small or too odd to box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engines.film.outline import blob
from engines.film.stain import Stain
from engines.film.texture import Array, Grid, Rect, averaged, blocks, rng_of, smoothstep

BLOCK_UM = 120.0
_REACH_UM = 14.0


@dataclass(frozen=True)
class Debris:
    """One piece: its kind (grain, crumbs, bubble, scratch), place in um and the words of its seed."""

    kind: str
    centre_um: tuple[float, float]
    seed: tuple[int, ...]


def debris_in(film_seed: int, rect: Rect, size_um: tuple[float, float]) -> list[Debris]:
    """Debris that can reach into an area; how dirty a film is belongs to the film."""
    film = rng_of(film_seed, 701)
    dirt = float(film.gamma(1.5, 0.7))
    shares = film.dirichlet([6.0, 3.0, 1.2, 0.25])
    out: list[Debris] = []
    for bx, by in blocks(rect, BLOCK_UM, _REACH_UM):
        rng = rng_of(film_seed, 702, bx, by)
        for k in range(int(rng.poisson(2.6 * dirt))):
            x, y = (bx + rng.random()) * BLOCK_UM, (by + rng.random()) * BLOCK_UM
            kind = str(rng.choice(["grain", "crumbs", "bubble", "scratch"], p=shares))
            if 0 <= x < size_um[0] and 0 <= y < size_um[1]:
                out.append(Debris(kind, (x, y), (film_seed, 703, bx, by, k)))
    return out


def paint_debris(thing: Debris, stain: Stain, um_per_px: float) -> tuple[Array, int, int]:
    """Density (h, w, 3) float32 of one piece and the level's pixel of its first one."""
    rng = rng_of(*thing.seed)
    finer = 1 if um_per_px <= 0.3 else 3
    if thing.kind == "scratch":
        grid = Grid.around(thing.centre_um, 12.0, um_per_px, finer)
        turn = rng.random() * np.pi
        along = grid.x * np.cos(turn) + grid.y * np.sin(turn)
        across = grid.y * np.cos(turn) - grid.x * np.sin(turn) + rng.uniform(0.2, 0.8) * grid.noise(rng, 7.0)
        line = np.exp(-np.square(across / rng.uniform(0.3, 0.9))) * smoothstep(11.0, 6.0, np.abs(along))
        density = (-0.07 * line * (1 + 0.6 * grid.noise(rng, 2.0)))[..., None] * np.ones(3, dtype=np.float32)
    elif thing.kind == "bubble":
        radius = float(rng.uniform(0.6, 2.0))
        grid = Grid.around(thing.centre_um, radius + 1.6, um_per_px, finer)
        d = blob(rng, radius, 0.10, 1.0 + abs(rng.normal(0, 0.3))).distance(grid.x, grid.y)
        bright = smoothstep(0.3, -0.5, d) * (1 + 0.3 * grid.noise(rng, 0.8))
        density = (0.30 * np.exp(-np.square((d - 0.25) / 0.30)) - 0.20 * bright)[..., None] * np.ones(3, dtype=np.float32)
    else:
        reach = 0.9 if thing.kind == "grain" else 3.2
        grid = Grid.around(thing.centre_um, reach + 0.8, um_per_px, finer)
        n = 1 if thing.kind == "grain" else int(rng.integers(4, 22))
        x, y = rng.normal(0, 0.1 if n == 1 else 1.1, (2, n))
        radius_um = np.clip(rng.gamma(2.0, 0.12, n), 0.1, 0.7)
        grains = np.clip(
            grid.spots(np.clip(x, -reach, reach), np.clip(y, -reach, reach), radius_um, rng.uniform(0.3, 1.0, n), 0.13), 0, 1
        )
        colour = stain.platelet * 1.2 if rng.random() < 0.6 else stain.basophil_granule
        density = grains[..., None] * colour
    return averaged(density, finer), grid.i0, grid.j0

"""Red cells and platelets: a bank of each, painted once a film and level, from which the plane takes turned copies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engines.film.outline import Outline, blob, notched
from engines.film.stain import Stain
from engines.film.texture import Array, Grid, averaged, finer_pixels, rng_of, smoothstep

BANK = 192
"""Different red cells of a film; each also in eight turns and in any strength, so that none is seen twice."""

PLATELETS = 64


@dataclass(frozen=True)
class RedCells:
    """Habits of one film's red cells, drawn from its seed: size, spread, pallor, shares of odd forms; bank of outlines."""

    seed: int
    mean_um: float
    outlines: tuple[Outline, ...]
    forms: tuple[str, ...]

    @classmethod
    def of_film(cls, seed: int) -> RedCells:
        rng = rng_of(seed, 201)
        mean, spread, oval = rng.uniform(7.1, 7.9), rng.uniform(0.05, 0.12), rng.uniform(0.06, 0.20)
        odd = rng.dirichlet([9.0, 2.2, 1.0, 0.5, 0.35, 0.6])
        outlines, forms = [], []
        for _ in range(BANK):
            form = str(rng.choice(["disc", "oval", "sphere", "tear", "crenated", "bitten"], p=odd))
            radius = 0.5 * mean * float(np.exp(rng.normal(0, spread)))
            rough = rng.uniform(0.012, 0.045)
            if form == "oval":
                out = blob(rng, radius, rough, rng.uniform(1.2, 1.55))
            elif form == "sphere":
                out = blob(rng, radius * 0.86, 0.012, 1.0 + 0.05 * rng.random())
            elif form == "tear":
                out = notched(blob(rng, radius * 0.92, rough), rng.random() * 6.3, -rng.uniform(0.3, 0.7), rng.uniform(0.22, 0.35))
            elif form == "crenated":
                out = blob(rng, radius, rough, fine=rng.uniform(0.004, 0.009), orders=(2, 12), decay=0.4)
            elif form == "bitten":
                out = notched(blob(rng, radius, rough), rng.random() * 6.3, rng.uniform(0.15, 0.3), rng.uniform(0.3, 0.6))
            else:
                out = blob(rng, radius, rough, 1.0 + abs(rng.normal(0, oval)))
            for _ in range(int(rng.choice(3, p=[0.55, 0.3, 0.15]))):  # dents by neighbours
                out = notched(out, rng.random() * 6.3, rng.uniform(-0.05, 0.09), rng.uniform(0.25, 0.5))
            outlines.append(out)
            forms.append(form)
        return cls(seed, float(mean), tuple(outlines), tuple(forms))

    def paint(self, index: int, stain: Stain, um_per_px: float) -> Array:
        """Thickness of haemoglobin of one cell of the bank, square float32, 1 = a plain cell's; may be below 0 (bright halo)."""
        outline = self.outlines[index]
        rng = rng_of(self.seed, 202, index)
        grid, finer = _square(outline.reach_um + 1.3, um_per_px)
        d, u = outline.distance(grid.x, grid.y), outline.relative(grid.x, grid.y)
        edge = max(0.24, 0.6 * grid.um_per_px)
        body = smoothstep(edge, -edge, d)
        pallor = float(np.clip(stain.pallor + rng.normal(0, stain.pallor_spread), 0, 1.0))
        if self.forms[index] in ("sphere", "tear"):
            pallor *= 0.15
        width, off = stain.pallor_width * rng.uniform(0.75, 1.2), rng.normal(0, 0.05, 2) * outline.reach_um
        centre = outline.relative(grid.x - np.float32(off[0]), grid.y - np.float32(off[1]))
        flat = rng.uniform(2.0, 3.4)
        dip = np.exp(-np.power(centre / width, flat))
        thick = 0.90 + 0.22 * smoothstep(0.25, 0.8, u) - 0.16 * smoothstep(0.80, 1.05, u)
        thick = thick * (1 - 0.86 * pallor * dip) * (1 + 0.05 * grid.noise(rng, 2.5) + 0.025 * grid.noise(rng, 0.9))
        if rng.random() < stain.drying:  # water under the cell as it dried: a bright speck with a dark edge
            spot = blob(rng, rng.uniform(0.3, 0.9), 0.25, 1.0 + rng.random())
            away = spot.distance(grid.x - np.float32(off[0]), grid.y - np.float32(off[1]))
            thick = thick + 0.45 * np.exp(-np.square((away - 0.1) / 0.25)) - 0.45 * smoothstep(0.1, -0.2, away)
        rim = 0.16 * stain.halo * np.exp(-np.square((d + 0.18) / 0.22))
        halo = 0.14 * stain.halo * np.exp(-np.square((d - 0.50) / 0.32))
        return averaged(np.asarray(body * (thick + rim) - halo, dtype=np.float32), finer)


def paint_platelet(seed: int, index: int, stain: Stain, um_per_px: float) -> Array:
    """Density (n, n, 3) of one platelet of the bank: a pale ragged body with purple grains, 1.5 to 3.5 um."""
    rng = rng_of(seed, 203, index)
    radius = rng.uniform(0.75, 1.6)
    outline = blob(rng, radius, 0.10, 1.0 + abs(rng.normal(0, 0.35)), decay=0.6, fine=0.01)
    grid, finer = _square(outline.reach_um + 0.7, um_per_px)
    d = outline.distance(grid.x, grid.y) + 0.18 * grid.noise(rng, 0.8)
    body = smoothstep(0.28, -0.35, d)
    n = int(rng.uniform(8, 22) * radius * radius)
    at, rho = rng.random(n) * 2 * np.pi, np.sqrt(rng.random(n)) * 0.75 * radius
    grains = grid.spots(
        (rho * np.cos(at)).astype(np.float32), (rho * np.sin(at)).astype(np.float32), rng.uniform(0.14, 0.30, n), 0.8, 0.14
    )
    amount = body * rng.uniform(0.35, 0.6) + 0.75 * np.clip(grains, 0, 1.1) * body
    density = np.asarray(amount[..., None] * stain.platelet * rng.uniform(0.7, 1.15), dtype=np.float32)
    return averaged(density, finer)


def _square(half_um: float, um_per_px: float) -> tuple[Grid, int]:
    """Grid of an odd number of pixels a side, so that every turn of the picture has the same centre."""
    finer = finer_pixels(um_per_px)
    n = int(np.ceil(half_um / um_per_px)) * 2 + 1
    middle = 0.5 * um_per_px
    half = (n / 2 - 1e-3) * um_per_px
    return Grid.around((middle, middle), half, um_per_px, finer), finer


def turned(image: Array, turn: int) -> Array:
    """One of the eight turns and mirrors of a square picture (a view, no copy); `turn` 0 to 7."""
    if turn & 1:
        image = image[::-1]
    if turn & 2:
        image = image[:, ::-1]
    return image.swapaxes(0, 1) if turn & 4 else image

"""Where things lie on the film: leukocytes, red cells and platelets, block by block, from the seed alone.

Every thing belongs to the block its first guess fell in; where it ends up depends on nothing farther than its neighbours, so a
block can be worked out at any time, in any order, in any process. Nothing is painted here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from engines.film.cells import Leukocyte, make_leukocyte
from engines.film.cut_outs import CutOuts
from engines.film.morphology import Case
from engines.film.redcells import BANK, PLATELETS, RedCells
from engines.film.stain import Stain
from engines.film.texture import Array, Rect, blocks, lattice, rng_of

Ints = npt.NDArray[np.int64]

WHITE_BLOCK_UM = 160.0
RED_BLOCK_UM = 80.0
MAX_REACH_UM = 22.0
"""No thing on the film reaches farther than this from its centre."""

_PASSES, _MARGIN_UM = 5, 24.0
_IDS_PER_BLOCK = 1000


@dataclass(frozen=True)
class Loose:
    """Red cells or platelets of one block: centres (n, 2) um, which of the bank, which turn, strength, share of second colour."""

    centres_um: Array
    index: Ints
    turn: Ints
    strength: Array
    tint: Array


class Plane:
    """Layout of one film: what lies in an area, with bounded caches of blocks."""

    def __init__(
        self,
        seed: int,
        size_um: tuple[float, float],
        case: Case,
        stain: Stain,
        cut_outs: CutOuts | None = None,
        red_cover: float | None = None,
    ) -> None:
        self.seed, self.size_um, self.case, self.stain, self.cut_outs = seed, size_um, case, stain, cut_outs
        self.red = RedCells.of_film(seed)
        rng = rng_of(seed, 301)
        own = float(rng.uniform(*case.red_cover))
        self.red_cover = own if red_cover is None else float(red_cover)
        self.platelets_per_mm2 = float(rng.uniform(400, 2200))
        self._red_diameters = np.array([2 * float(np.sqrt(o.area_um2 / np.pi)) for o in self.red.outlines], dtype=np.float32)
        # What a block depends on lies in its neighbours, so each is asked for many times.
        self._guesses, self._white = lru_cache(1024)(self._guess_block), lru_cache(1024)(self._white_block)
        self._red_guesses, self._reds = lru_cache(1024)(self._red_guess), lru_cache(768)(self._red_block)
        self._platelets = lru_cache(768)(self._platelet_block)

    def thickness(self, x_um: float, y_um: float) -> float:
        """Crowding at a place, about 0.4 to 1.6: films are thick here and thin there."""
        value = 0.0
        for k, (wave, size) in enumerate(((900.0, 0.35), (260.0, 0.3))):
            fx, fy = x_um / wave, y_um / wave
            ix, iy = int(np.floor(fx)), int(np.floor(fy))
            n = lattice(self.seed + 77 + k, ix, iy, 2, 2)
            wx, wy = fx - ix, fy - iy
            wx, wy = wx * wx * (3 - 2 * wx), wy * wy * (3 - 2 * wy)
            value += size * float((n[0, 0] * (1 - wx) + n[0, 1] * wx) * (1 - wy) + (n[1, 0] * (1 - wx) + n[1, 1] * wx) * wy)
        return float(np.clip(1.0 + value, 0.35, 1.65))

    def leukocytes(self, rect: Rect) -> list[Leukocyte]:
        """Leukocytes and artefacts whose box touches an area, by id."""
        (x0, y0, x1, y1), found = rect, []
        for key in blocks(rect, WHITE_BLOCK_UM, MAX_REACH_UM):
            for cell in self._white(key):
                a0, b0, a1, b1 = cell.box_um
                if a1 > x0 and a0 < x1 and b1 > y0 and b0 < y1:
                    found.append(cell)
        return sorted(found, key=lambda cell: cell.cell_id)

    def _columns(self) -> int:
        return int(np.ceil(self.size_um[0] / WHITE_BLOCK_UM))

    def _guess_block(self, key: tuple[int, int]) -> list[tuple[float, Leukocyte]]:
        """Candidates of a block with their ranks; of two that lie too close the higher rank stays."""
        bx, by = key
        out: list[tuple[float, Leukocyte]] = []
        rows = int(np.ceil(self.size_um[1] / WHITE_BLOCK_UM))
        if 0 <= bx < self._columns() and 0 <= by < rows:
            rng = rng_of(self.seed, 302, bx, by)
            x0, y0 = bx * WHITE_BLOCK_UM, by * WHITE_BLOCK_UM
            crowd = self.thickness(x0 + WHITE_BLOCK_UM / 2, y0 + WHITE_BLOCK_UM / 2)
            expected = self.case.per_mm2 * WHITE_BLOCK_UM**2 * 1e-6
            count = int(rng.poisson(expected * (0.5 + 0.5 * crowd) * (1 + 190.0 * self.case.per_mm2 * 1e-6 * 1.4)))
            places = rng.random((count, 2)) * WHITE_BLOCK_UM + (x0, y0)
            ranks = rng.random(count)
            for k in range(min(count, _IDS_PER_BLOCK - 1)):
                x, y = float(places[k, 0]), float(places[k, 1])
                if x < self.size_um[0] and y < self.size_um[1]:
                    cell_id = (by * self._columns() + bx) * _IDS_PER_BLOCK + k + 1
                    cell = make_leukocyte(self.seed, cell_id, (x, y), self.case)
                    out.append((float(ranks[k]), cell if self.cut_outs is None else self.cut_outs.instead_of(cell)))
        return out

    def _white_block(self, key: tuple[int, int]) -> list[Leukocyte]:
        around = [g for dx in (-1, 0, 1) for dy in (-1, 0, 1) for g in self._guesses((key[0] + dx, key[1] + dy))]
        x, y, rank, reach = np.array([(*cell.centre_um, r, cell.reach_um) for r, cell in around]).reshape(-1, 4).T
        out: list[Leukocyte] = []
        for r, cell in self._guesses(key):
            near = np.hypot(x - cell.centre_um[0], y - cell.centre_um[1]) < 0.98 * (reach + cell.reach_um)
            if not (near & (rank > r)).any():
                out.append(cell)
        return out

    def red_cells(self, rect: Rect) -> list[Loose]:
        """Red cells of every block that can reach into an area."""
        return [self._reds(key) for key in blocks(rect, RED_BLOCK_UM, _MARGIN_UM + 6.0)]

    def _red_guess(self, key: tuple[int, int]) -> tuple[Array, Ints, Ints]:
        """First places (n, 2), bank indices and chain numbers of a block's red cells; chains are rouleaux."""
        bx, by = key
        rng = rng_of(self.seed, 303, bx, by)
        x0, y0 = bx * RED_BLOCK_UM, by * RED_BLOCK_UM
        crowd = self.thickness(x0 + RED_BLOCK_UM / 2, y0 + RED_BLOCK_UM / 2)
        area = np.pi / 4 * float(np.square(self._red_diameters).mean())
        count = int(rng.poisson(self.red_cover * crowd * 1.12 * RED_BLOCK_UM**2 / area))
        places: list[tuple[float, float]] = []
        chain: list[int] = []
        number = 0
        while len(places) < count:
            x, y = x0 + rng.random() * RED_BLOCK_UM, y0 + rng.random() * RED_BLOCK_UM
            number += 1
            length = int(rng.integers(2, 9)) if rng.random() < self.stain.rouleaux / 3.2 else 1
            turn, bend, step = rng.random() * 2 * np.pi, rng.normal(0, 0.18), rng.uniform(0.5, 0.92) * self.red.mean_um
            for _ in range(length):
                places.append((x, y))
                chain.append(number if length > 1 else -number)
                if abs(x - x0 - RED_BLOCK_UM / 2) > RED_BLOCK_UM / 2 + 14 or abs(y - y0 - RED_BLOCK_UM / 2) > RED_BLOCK_UM / 2 + 14:
                    break
                x, y = x + step * np.cos(turn), y + step * np.sin(turn)
                turn += bend + rng.normal(0, 0.22)
        n = len(places)
        where = np.array(places, dtype=np.float64).reshape(n, 2)
        chains = np.array(chain, dtype=np.int64) + (np.sign(chain) * 100_000 * (1 + (bx % 50) * 50 + by % 50)).astype(np.int64)
        return (where.astype(np.float32), rng.integers(0, BANK, n), chains)

    def _red_block(self, key: tuple[int, int]) -> Loose:
        x0, y0 = key[0] * RED_BLOCK_UM, key[1] * RED_BLOCK_UM
        x1, y1 = x0 + RED_BLOCK_UM, y0 + RED_BLOCK_UM
        parts, m = [self._red_guesses(key)], _MARGIN_UM
        own = len(parts[0][0])
        for dx, dy in ((dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy):
            part = self._red_guesses((key[0] + dx, key[1] + dy))
            x, y = part[0].T
            keep = (x > x0 - m) & (x < x1 + m) & (y > y0 - m) & (y < y1 + m)
            parts.append((part[0][keep], part[1][keep], part[2][keep]))
        xy, index, chain = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        whites = self.leukocytes((x0 - m, y0 - m, x1 + m, y1 + m))
        xy, keep = self._settle(xy, index, chain, whites)
        rng = rng_of(self.seed, 304, *key)
        turn = rng.integers(0, 8, own)
        strength = np.exp(rng.normal(0, 0.11, own)).astype(np.float32)
        tint = np.where(rng.random(own) < 0.03, rng.uniform(0.2, 0.7, own), rng.uniform(0, 0.12, own)).astype(np.float32)
        live = keep[:own] & (xy[:own] > 0).all(axis=1) & (xy[:own] < np.array(self.size_um)).all(axis=1)
        return Loose(xy[:own][live], index[:own][live], turn[live], strength[live], tint[live])

    def _settle(self, xy: Array, index: Ints, chain: Ints, whites: list[Leukocyte]) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Red cells pushed apart (but within a chain) and off the leukocytes; True for those that found room."""
        n = len(xy)
        if n == 0:
            return xy, np.ones(0, dtype=np.bool_)
        radius = self._red_diameters[index] / 2
        bonded = chain[:, None] == chain[None, :]
        # a pair's own tolerance, from hashed bank indices: some cells overlap, most only touch
        grip = ((index[:, None] * 7919 + index[None, :] * 7919) % 997) / 997.0
        want = (radius[:, None] + radius[None, :]) * np.where(grip < 0.22, 0.62 + 1.4 * grip, 1.02).astype(np.float32)
        centres = np.array([w.centre_um for w in whites], dtype=np.float32).reshape(-1, 2)
        reach = np.array([float(np.sqrt(w.outline.area_um2 / np.pi)) if w.form != "precipitate" else 0.0 for w in whites])
        x, y = xy[:, 0].copy(), xy[:, 1].copy()
        want = np.where(bonded, np.float32(0), want)
        for step in range(_PASSES):
            dx, dy = x[:, None] - x[None, :], y[:, None] - y[None, :]
            apart = np.sqrt(dx * dx + dy * dy) + np.float32(1e-4)
            push = np.maximum(want - apart, 0) * np.float32(0.45) / apart
            move_x, move_y = np.einsum("ij,ij->i", dx, push), np.einsum("ij,ij->i", dy, push)
            slow = np.minimum(1, 2.2 / (np.hypot(move_x, move_y) + 1e-6))
            x, y = x + move_x * slow, y + move_y * slow
            if len(whites):
                wx, wy = x[:, None] - centres[None, :, 0], y[:, None] - centres[None, :, 1]
                gap = np.sqrt(wx * wx + wy * wy) + np.float32(1e-4)
                short = np.maximum(reach[None, :] + 0.93 * radius[:, None] - gap, 0) / gap
                shove_x, shove_y = (wx * short).sum(axis=1), (wy * short).sum(axis=1)
                slow = np.minimum(1, (2.5 if step < _PASSES - 1 else 2.0) / (np.hypot(shove_x, shove_y) + 1e-6))
                x, y = x + shove_x * slow, y + shove_y * slow
        xy = np.stack([x, y], axis=1).astype(np.float32)
        keep = np.ones(n, dtype=np.bool_)
        if len(whites):
            away = xy[:, None, :] - centres[None, :, :]
            gap = np.sqrt(np.square(away).sum(axis=2))
            keep = (gap > reach[None, :] + 0.55 * radius[:, None]).all(axis=1)
        return xy, keep

    def platelets(self, rect: Rect) -> list[Loose]:
        """Platelets of every block that can reach into an area."""
        return [self._platelets(key) for key in blocks(rect, RED_BLOCK_UM, 12)]

    def _platelet_block(self, key: tuple[int, int]) -> Loose:
        """Platelets of a block, alone or in clumps, mostly between the red cells."""
        bx, by = key
        rng = rng_of(self.seed, 305, bx, by)
        reds = self._reds(key)
        radius = self._red_diameters[reds.index] / 2
        at: list[tuple[float, float]] = []
        for _ in range(int(rng.poisson(self.platelets_per_mm2 * RED_BLOCK_UM**2 * 1.8e-6))):
            x, y = (bx + rng.random()) * RED_BLOCK_UM, (by + rng.random()) * RED_BLOCK_UM
            covered = bool((np.hypot(reds.centres_um[:, 0] - x, reds.centres_um[:, 1] - y) < radius + 0.6).any())
            clump = 1 if rng.random() < 0.9 else int(rng.integers(2, 6))
            steps = rng.normal(0, 1.8, (clump, 2))
            if covered and rng.random() < 0.85:
                continue
            for dx, dy in steps:
                if x < self.size_um[0] and y < self.size_um[1] and x > 0 and y > 0:
                    at.append((x, y))
                x, y = x + dx, y + dy
        n = len(at)
        return Loose(
            np.array(at, dtype=np.float32).reshape(n, 2),
            rng.integers(0, PLATELETS, n),
            rng.integers(0, 8, n),
            np.exp(rng.normal(0, 0.15, n)).astype(np.float32),
            np.zeros(n, dtype=np.float32),
        )

"""Seeded randomness of the rendered film: generators keyed by place, noise in micrometres, sprites' pixel grids.

Everything here depends on integers and micrometres only, never on the order of calls, the process or the pixel size, so that a
cell keeps its looks at any objective and any view. What is drawn with it lives in the other modules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
"""Array of floats, float32 where it is large; its axes are stated where it is used."""

Rect = tuple[float, float, float, float]
"""x0, y0, x1, y1 in um."""

_MIX = np.uint64(0x9E3779B97F4A7C15)


def rng_of(*words: int) -> np.random.Generator:
    """Generator keyed by integers (negative ones allowed): the same words give the same stream in every process."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence([w & 0xFFFFFFFFFFFFFFFF for w in words])))


def lattice(seed: int, ix0: int, iy0: int, nx: int, ny: int) -> Array:
    """White noise on the nodes of an endless integer lattice: (ny, nx) float32 in [-1, 1), a hash of node and seed."""
    x = np.arange(ix0, ix0 + nx, dtype=np.int64).astype(np.uint64)[None, :]
    y = np.arange(iy0, iy0 + ny, dtype=np.int64).astype(np.uint64)[:, None]
    with np.errstate(over="ignore"):
        h = x * np.uint64(0xD6E8FEB86659FD93) ^ y * np.uint64(0xA0761D6478BD642F) ^ np.uint64(seed & 0xFFFFFFFF) * _MIX
        h ^= h >> np.uint64(32)
        h *= np.uint64(0xE7037ED1A0B428DB)
        h ^= h >> np.uint64(29)
        h *= _MIX
        h ^= h >> np.uint64(32)
    return np.asarray((h >> np.uint64(40)).astype(np.float32) / np.float32(1 << 23) - np.float32(1.0), np.float32)


def plane_noise(seed: int, i0: int, j0: int, shape: tuple[int, int], *, um_per_px: float, wavelength_um: float) -> Array:
    """Smooth noise of the whole plane, in about [-1, 1], on the pixels (i0.., j0..) of a level.

    `shape` is (height, width); the value at a place is the same whatever window it is asked in (bilinear in the lattice).
    """
    height, width = shape
    step = um_per_px / wavelength_um
    x0, y0 = (i0 + 0.5) * step, (j0 + 0.5) * step
    ix, iy = int(np.floor(x0)), int(np.floor(y0))
    nodes = lattice(seed, ix, iy, int(width * step) + 3, int(height * step) + 3)
    fx = np.float32(x0 - ix) + np.arange(width, dtype=np.float32) * np.float32(step)
    fy = np.float32(y0 - iy) + np.arange(height, dtype=np.float32) * np.float32(step)
    kx, ky = fx.astype(np.int32), fy.astype(np.int32)
    wx, wy = fx - kx, fy - ky
    wx, wy = wx * wx * (3 - 2 * wx), (wy * wy * (3 - 2 * wy))[:, None]
    across = nodes[:, kx] * (1 - wx) + nodes[:, kx + 1] * wx
    return np.asarray(across[ky] * (1 - wy) + across[ky + 1] * wy, dtype=np.float32)


def blocks(rect: Rect, side_um: float, margin_um: float) -> list[tuple[int, int]]:
    """Square blocks (column, row) of the plane that an area and so much around it touch, row by row."""
    x0, y0, x1, y1 = rect
    columns, rows = (
        range(int(np.floor((low - margin_um) / side_um)), int(np.floor((high + margin_um) / side_um)) + 1)
        for low, high in ((x0, x1), (y0, y1))
    )
    return [(column, row) for row in rows for column in columns]


@dataclass(frozen=True)
class Grid:
    """Pixel grid of one sprite: pixels (i0.., j0..) of the level and the places of their centres from the cell's centre.

    `x`, `y`: (height, width) float32, in um; `half_um`: half the side of the square that is covered.
    """

    i0: int
    j0: int
    um_per_px: float
    half_um: float
    x: Array
    y: Array

    @classmethod
    def around(cls, centre_um: tuple[float, float], half_um: float, um_per_px: float, finer: int = 1) -> Grid:
        """Grid over a square around a centre; with `finer` k the pixels are k times smaller, still aligned to the level's."""
        (cx, cy), p = centre_um, um_per_px
        i0, j0 = int(np.floor((cx - half_um) / p)), int(np.floor((cy - half_um) / p))
        i1, j1 = int(np.ceil((cx + half_um) / p)), int(np.ceil((cy + half_um) / p))
        q = p / finer
        xs = ((np.arange((i1 - i0) * finer) + 0.5) * q + (i0 * p - cx)).astype(np.float32)
        ys = ((np.arange((j1 - j0) * finer) + 0.5) * q + (j0 * p - cy)).astype(np.float32)
        x, y = np.meshgrid(xs, ys)
        return cls(i0, j0, q, half_um, x, y)

    def noise(self, rng: np.random.Generator, wavelength_um: float) -> Array:
        """Smooth noise over the sprite, standard deviation about 0.6; the draw depends on `half_um` only, not on pixels."""
        n = int(np.ceil(3.2 * self.half_um / wavelength_um)) + 4
        nodes = rng.standard_normal((n, n)).astype(np.float32)
        turn = rng.random() * 2 * np.pi  # a lattice's own directions must not show
        step = self.um_per_px / wavelength_um
        c, s, middle = np.cos(turn), np.sin(turn), (n - 1) / 2
        x0, y0 = float(self.x[0, 0]) / wavelength_um, float(self.y[0, 0]) / wavelength_um
        height, width = self.x.shape
        matrix = np.array([[step * c, -step * s, c * x0 - s * y0 + middle], [step * s, step * c, s * x0 + c * y0 + middle]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        out = cv2.warpAffine(nodes, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
        return np.asarray(out, dtype=np.float32)

    def along(self, rng: np.random.Generator, u: Array, v: Array) -> Array:
        """Smooth noise over bent coordinates `u`, `v` (in wavelengths, each at most about 40 from 0), deviation about 0.6."""
        nodes = rng.standard_normal((96, 96)).astype(np.float32)
        x, y = np.asarray(u + 48.0, dtype=np.float32), np.asarray(v + 48.0, dtype=np.float32)
        return np.asarray(cv2.remap(nodes, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT), dtype=np.float32)

    def spots(self, x: Array, y: Array, radius: Array | float, weight: Array | float = 1.0, soft: float = 0.12) -> Array:
        """Sum of small soft discs at (x, y) um: (height, width) float32; radii in um, `soft` the blur of their edges in um."""
        out = np.zeros(self.x.shape, dtype=np.float32)
        q = self.um_per_px
        px: Array = (np.asarray(x) - float(self.x[0, 0])) / q
        py: Array = (np.asarray(y) - float(self.y[0, 0])) / q
        radii: Array = np.asarray(np.broadcast_to(np.asarray(radius, dtype=np.float32), px.shape) / q)
        weights: Array = np.broadcast_to(np.asarray(weight, dtype=np.float32), px.shape)
        layer = np.zeros_like(out)
        for k in range(len(x)):
            if radii[k] < 0.9:  # below a pixel: its area, on one pixel
                a, b = round(float(px[k])), round(float(py[k]))
                if 0 <= a < self.x.shape[1] and 0 <= b < self.x.shape[0]:
                    out[b, a] += weights[k] * np.pi * radii[k] ** 2
                continue
            centre = (round(float(px[k]) * 16), round(float(py[k]) * 16))
            cv2.circle(layer, centre, max(round(float(radii[k]) * 16), 8), float(weights[k]), -1, cv2.LINE_8, 4)
        out += layer
        sigma = soft / q
        return blur(out, sigma) if sigma > 0.3 else out


def finer_pixels(um_per_px: float) -> int:
    """How many times finer than the level a thing is painted before it is averaged, so that texture does not alias."""
    return 1 if um_per_px <= 0.12 else (2 if um_per_px <= 0.3 else 4)


def averaged(density: Array, finer: int) -> Array:
    """Means of blocks of `finer` x `finer` pixels of (height, width) or (height, width, 3), float32."""
    h, w, *colours = density.shape
    blocks = density.reshape(h // finer, finer, w // finer, finer, *colours)
    return np.asarray(blocks.mean(axis=(1, 3)) if finer > 1 else density, dtype=np.float32)


def blur(image: Array, sigma_px: float) -> Array:
    """Gaussian blur of a float image, cheap for large sigma (edges repeat)."""
    size = int(np.ceil(sigma_px * 3)) * 2 + 1
    return np.asarray(cv2.GaussianBlur(image, (size, size), sigma_px, borderType=cv2.BORDER_REPLICATE), dtype=np.float32)


def smoothstep(low: float, high: float, value: Any) -> Array:
    """0 below `low`, 1 above `high` (or the reverse when low > high), a soft S between."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)

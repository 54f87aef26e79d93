"""Closed outlines as radius by angle, and what follows from them exactly: box, area, signed distance. Nothing is painted here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from engines.film.texture import Array

STEPS = 512
"""Angles of an outline."""

ANGLES: Array = (np.arange(STEPS) * (2 * np.pi / STEPS)).astype(np.float32)
_COS, _SIN = np.cos(ANGLES), np.sin(ANGLES)
_WAVES = np.stack([f(np.arange(32)[:, None] * ANGLES.astype(np.float64)) for f in (np.cos, np.sin)])


@dataclass(frozen=True)
class Outline:
    """Radius in um at each of `ANGLES`, (512,) float32, around the outline's own origin."""

    radii_um: Array

    @cached_property
    def area_um2(self) -> float:
        return float(np.square(self.radii_um).mean() * np.pi)

    @cached_property
    def reach_um(self) -> float:
        """Largest radius."""
        return float(self.radii_um.max())

    @cached_property
    def box_um(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 around the origin."""
        x, y = self.radii_um * _COS, self.radii_um * _SIN
        return float(x.min()), float(y.min()), float(x.max()), float(y.max())

    def scaled_to_area(self, area_um2: float) -> Outline:
        return Outline(self.radii_um * np.float32(np.sqrt(area_um2 / self.area_um2)))

    def distance(self, x: Array, y: Array) -> Array:
        """About the signed distance in um to the outline, negative inside; x, y in um from its origin, any shape."""
        slope = (np.roll(self.radii_um, -2) - np.roll(self.radii_um, 2)) / (4 * 2 * np.pi / STEPS)
        steep = 1 / np.sqrt(1 + np.square(slope / self.radii_um))
        rho, index = polar(x, y)
        return np.asarray((rho - self.radii_um[index]) * steep.astype(np.float32)[index], dtype=np.float32)

    def relative(self, x: Array, y: Array) -> Array:
        """Distance from the origin over the outline's radius in that direction: 0 at the origin, 1 on the outline."""
        rho, index = polar(x, y)
        return np.asarray(rho / self.radii_um[index], dtype=np.float32)


def polar(x: Array, y: Array) -> tuple[Array, np.ndarray]:
    """Distance from the origin and index into `ANGLES` of each point."""
    shape = np.shape(x)
    rho, angle = cv2.cartToPolar(np.atleast_2d(x).astype(np.float32), np.atleast_2d(y).astype(np.float32))
    index = (angle * np.float32(STEPS / (2 * np.pi))).astype(np.int32) % STEPS
    return np.asarray(rho, dtype=np.float32).reshape(shape), index.reshape(shape)


def blob(
    rng: np.random.Generator,
    radius_um: float,
    roughness: float,
    elongation: float = 1.0,
    *,
    orders: tuple[int, int] = (2, 9),
    decay: float = 1.25,
    fine: float = 0.0014,
) -> Outline:
    """A roundish outline: an ellipse with harmonics of random phase whose size falls with their order, and a fine unevenness.

    `roughness` is the size of the lowest harmonic as a share of the radius; `elongation` the ratio of the axes.
    """
    turn = rng.random() * 2 * np.pi
    e = np.sqrt(elongation)
    r = 1 / np.sqrt(np.square(np.cos(ANGLES - turn) / e) + np.square(np.sin(ANGLES - turn) * e))
    low = np.arange(*orders)
    k = np.r_[low, orders[1] : orders[1] + 14]
    sizes = rng.standard_normal(len(k)) * np.r_[roughness / (low - orders[0] + 1) ** decay, np.full(14, fine)]
    phases = rng.random(len(k)) * 2 * np.pi
    r = r + np.einsum("k,kn->n", sizes * np.cos(phases), _WAVES[0, k]) - np.einsum("k,kn->n", sizes * np.sin(phases), _WAVES[1, k])
    return Outline((np.maximum(r, 0.25) * radius_um).astype(np.float32))


def notched(outline: Outline, angle: float, depth: float, width: float) -> Outline:
    """The outline with a soft notch at an angle: `depth` as a share of the radius there, `width` in radians."""
    apart = np.abs((ANGLES - angle + np.pi) % (2 * np.pi) - np.pi)
    return Outline((outline.radii_um * (1 - depth * np.exp(-np.square(apart / width)))).astype(np.float32))

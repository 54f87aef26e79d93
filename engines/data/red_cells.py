"""The red cells of some fields, found by threshold and measured by moments: how wide and how high they are in px. No label is needed.

Red cells are round, lie in any direction and are about 7.2 um wide: their median says whether pixels are square, and about how large.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.detections import Image
from engines.errors import DataError
from engines.pictures import read_image

RED_CELL_UM = 7.2
"""Diameter of a red cell on a dried film. People and places on a film differ by a tenth: it gives an estimate, no calibration."""

PICTURES, ENOUGH_PIXELS = 120, 25_000_000
"""Pictures of a data set that are looked at, and pixels of them (a second's work), at most."""

AT_LEAST, ENOUGH = 12, 400
"""Pictures, and cells in them, that are enough."""

FEWEST = 30
"""Fewer red cells measure nothing."""

_LONGEST_PX = 1280
_SMALLEST_PX = 9.0
"""Geometric mean of a red cell's width and height below which a pixel more or less decides."""

_LARGEST_SHARE = 0.25
_SOLID = 0.94
_ELLIPSE = (0.95, 1.03)
_ALIKE = 1.35
"""Red cells are so many times as large or as small as their median at most; platelets and white cells are not."""

_DARKER = 1.8
"""So many times the median density is no red cell but a nucleus."""

_TELLING = 10
"""Red cells from which a single picture says something."""

_OTHERWISE = 1.15
_SOME = 0.1
_DRAWS = 300


@dataclass(frozen=True)
class RedCells:
    """What the single red cells of some pictures measure.

    pictures: looked at. aspect: median of width ÷ height in px, between low and high with 95 % certainty; NaN of fewer than `FEWEST`
    cells. wide_px, high_px: median width and height. otherwise: share of the pictures whose own median is another.
    """

    pictures: int
    cells: int
    aspect: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    wide_px: float = float("nan")
    high_px: float = float("nan")
    otherwise: float = 0.0

    @property
    def measured(self) -> bool:
        return self.cells >= FEWEST

    @property
    def mixed(self) -> bool:
        """Whether the pictures are not all of one aspect."""
        return self.otherwise >= _SOME

    @property
    def diameter_px(self) -> float:
        """Of a red cell once the narrower side is enlarged so that it is round."""
        return max(self.wide_px, self.high_px)

    @property
    def um_per_px(self) -> float:
        """An estimate from the diameter, of the pictures with round cells."""
        return RED_CELL_UM / self.diameter_px

    def to_dict(self) -> dict[str, Any]:
        """Plain form for machines; None for what is not measured."""
        found: dict[str, Any] = {"pictures": self.pictures, "cells": self.cells, "measured": self.measured}
        for key in ("aspect", "low", "high", "wide_px", "high_px", "diameter_px", "um_per_px"):
            found[key] = round(getattr(self, key), 4) if self.measured else None
        return found | {"pictures_otherwise": round(self.otherwise, 3)}


def measure(paths: Sequence[Path]) -> RedCells:
    """The red cells of up to `PICTURES` of the pictures, spread over them. What cannot be read is passed over: its user says so."""
    spread = np.unique(np.linspace(0, len(paths) - 1, min(PICTURES, len(paths))).round().astype(int)) if paths else np.zeros(0, int)
    found: list[NDArray[np.float64]] = []
    cells = pixels = 0
    for number in np.random.default_rng(0).permutation(spread):
        try:
            image = read_image(paths[number])
        except DataError:
            continue
        found.append(spreads(image))
        cells, pixels = cells + len(found[-1]), pixels + image.shape[0] * image.shape[1]
        if len(found) >= AT_LEAST and (cells >= ENOUGH or pixels >= ENOUGH_PIXELS):
            break
    return summed(found)


def summed(pictures: Iterable[NDArray[np.float64]]) -> RedCells:
    """`RedCells` from the `spreads` of each picture; cells of another size or much darker than most are no red cells."""
    pictures = list(pictures)
    every = np.concatenate(pictures) if pictures else np.zeros((0, 3))
    if not len(every):
        return RedCells(len(pictures), 0)
    # Weighted by size: there may be more specks than cells on a film, but they are small.
    sizes = np.sqrt(every[:, 0] * every[:, 1])
    size, density = (_weighted_median(values, sizes) for values in (sizes, every[:, 2]))
    kept = [cells[_alike(cells, size, density)] for cells in pictures]
    red = np.concatenate(kept)
    if len(red) < FEWEST:
        return RedCells(len(pictures), len(red))
    ratios = [np.log(cells[:, 0] / cells[:, 1]) for cells in kept if len(cells)]
    median = float(np.median(np.concatenate(ratios)))
    low, high = np.exp(_interval(ratios))
    wide, high_px = (float(np.median(red[:, column])) for column in (0, 1))
    return RedCells(
        len(pictures), len(red), float(np.exp(median)), float(low), float(high), wide, high_px, _share_otherwise(ratios, median)
    )


def spreads(image: Image) -> NDArray[np.float64]:
    """(N, 3) of the single cells of a BGR picture: width and height in px (four standard deviations, the axes of an ellipse), density.

    A cell that touches another or the border, that is no ellipse or too small or large, is left out. Density: of the green channel.
    """
    scale = min(1.0, _LONGEST_PX / max(image.shape[:2]))
    green: NDArray[Any] = image[..., 1]
    if scale < 1:
        green = np.asarray(cv2.resize(green, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    green = np.asarray(cv2.GaussianBlur(green, (0, 0), 1.0))
    level = cv2.threshold(green, 0, 255, cv2.THRESH_OTSU)[0]
    mask = (green < level).astype(np.uint8)
    if not mask.any() or mask.all():
        return np.zeros((0, 3))
    clear = max(float(np.median(green[mask == 0])), 1.0)
    height, width = mask.shape
    found = []
    for outline in cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]:
        x, y, w, h = cv2.boundingRect(outline)
        whole = x > 1 and y > 1 and x + w < width - 1 and y + h < height - 1
        if not whole or min(w, h) < _SMALLEST_PX / 2 or max(w / width, h / height) > _LARGEST_SHARE:
            continue
        filled = np.zeros((h, w), np.uint8)
        cv2.drawContours(filled, [outline], -1, 1, cv2.FILLED, offset=(-x, -y))
        axes = _axes(outline, filled)
        if axes is not None:
            mean = float(cv2.mean(green[y : y + h, x : x + w], filled)[0])
            found.append((axes[0] / scale, axes[1] / scale, -np.log(max(mean, 1.0) / clear)))
    return np.array(found, np.float64).reshape(-1, 3)


def _axes(outline: Any, filled: NDArray[np.uint8]) -> tuple[float, float] | None:
    """Width and height by moments of an outline that is one ellipse; None of any other. filled: its pixels."""
    moments = cv2.moments(filled, binaryImage=True)
    area = moments["m00"]
    across, down, both = (moments[key] / area for key in ("mu20", "mu02", "mu11"))
    ellipse = 4 * np.pi * np.sqrt(max(across * down - both**2, 1e-9))
    solid = cv2.contourArea(outline) / max(cv2.contourArea(cv2.convexHull(outline)), 1e-9)
    if solid < _SOLID or not _ELLIPSE[0] < area / ellipse < _ELLIPSE[1] or 4 * area / np.pi < _SMALLEST_PX**2:
        return None
    return 4 * float(np.sqrt(across)), 4 * float(np.sqrt(down))


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values)
    running = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(running, running[-1] / 2)])


def _alike(cells: NDArray[np.float64], size: float, density: float) -> NDArray[np.bool_]:
    sizes = np.sqrt(cells[:, 0] * cells[:, 1])
    alike: NDArray[np.bool_] = (sizes < size * _ALIKE) & (sizes > size / _ALIKE) & (cells[:, 2] < density * _DARKER)
    return alike


def _interval(ratios: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """95 % of the medians of draws among the pictures (cells of one field are stretched alike), of one picture among its cells."""
    rng = np.random.default_rng(0)
    parts = [ratios[0][i : i + 1] for i in range(len(ratios[0]))] if len(ratios) == 1 else ratios
    medians = [np.median(np.concatenate([parts[i] for i in rng.integers(len(parts), size=len(parts))])) for _ in range(_DRAWS)]
    low, high = np.percentile(medians, (2.5, 97.5))
    return float(low), float(high)


def _share_otherwise(ratios: Sequence[NDArray[np.float64]], median: float) -> float:
    """Of the pictures with enough cells: those whose own median lies beyond what chance among their cells explains."""
    off = []
    for cells in ratios:
        if len(cells) >= _TELLING:
            chance = 3 * 1.2533 * float(np.std(cells)) / np.sqrt(len(cells))
            off.append(abs(float(np.median(cells)) - median) > max(np.log(_OTHERWISE), chance))
    return float(np.mean(off)) if off else 0.0

"""The red cells of some fields, found by threshold and measured by moments: how wide and how high they are in px, how much they cover.
No label is needed.

Red cells are round, lie in any direction and are about 7.2 um wide: their median says whether pixels are square, and about how large.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

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

_COVER_PX, _FIELD_CELLS = 14, 16
_NO_FILM = 0.12
"""Optical density of cells below which there are none: dust and noise on bare glass."""

_NUCLEI, _PALE_SHARE, _TWO_LEVELS = 0.55, 0.08, 3.0
_CROWDED_SHARE, _TWO_CROWDED = 0.4, 2.7
"""What Otsu's level takes for cells may be nuclei where it is so dense (rendered: nuclei .59 and more, red cells .62 at most). What it
leaves is red cells and plasma where the darker part has this share of it and lies off the clearer by so many of its own standard
deviations (rendered: red cells 3.1 and more, 2.8 where they are crowded and pale; the blurred edges of cells 2.6 at most, and they are
no more than .3 of it)."""

_FEW = 4
"""Single red cells from which one field says how large they are; a crowded field at 100x has no more."""

_GRAIN_ROWS = 8
_PALE = (0.3, 1.6)
"""Share of the cells' area that is surely red cells, and so many times its density is a white cell: leukaemic fields hold many."""

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
    size, density = (_weighted_quantile(values, sizes, 0.5) for values in (sizes, every[:, 2]))
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
    level = cell_level(green)
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


class Cover(NamedTuple):
    """How much of a field red cells cover: share of its area (without white cells: twice their nuclei), share of that area in cells
    that touch others, and how clear what lies between them is (optical density against the clearest hundredth; where nothing is clear
    cells lie upon cells).

    bgr_density: median optical density of the cells in blue, green, red against what lies between them: the stain.
    """

    share: float
    touching: float
    between: float
    bgr_density: tuple[float, float, float]


def cover(image: Image, cell_px: float) -> Cover | None:
    """Of a BGR picture whose red cells are about `cell_px` wide; None where there is no film to be seen.

    Looks at the middle, `_FIELD_CELLS` cells wide at most, with a cell `_COVER_PX` wide: about 3 ms of a 1080p frame.
    """
    height, width = image.shape[:2]
    wide, high = (min(length, max(16, round(_FIELD_CELLS * cell_px))) for length in (width, height))
    part = image[(height - high) // 2 : (height + high) // 2, (width - wide) // 2 : (width + wide) // 2]
    step = max(1, int(cell_px / (2 * _COVER_PX)))
    part = np.ascontiguousarray(part[::step, ::step])
    scale = min(1.0, _COVER_PX * step / cell_px)
    small = np.asarray(cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else part)
    small = np.asarray(cv2.GaussianBlur(small, (0, 0), 0.8))
    green = np.ascontiguousarray(small[..., 1])
    cells = green <= cell_level(green)
    if not cells.any() or cells.all():
        return None
    clearest = max(float(np.percentile(green, 99)), 1.0)
    density = -np.log(np.maximum(green, 1) / clearest)
    between, usual = float(density[~cells].mean()), float(np.median(density[cells]))
    if usual < _NO_FILM:
        return None
    nuclei = float((density > _DARKER * usual).mean())
    stain = [
        float(np.log(max(float(np.median(small[..., c][~cells])), 1.0) / max(float(np.median(small[..., c][cells])), 1.0)))
        for c in range(3)
    ]
    one = np.pi / 4 * (cell_px * scale / step) ** 2
    holes, held, about, _ = cv2.connectedComponentsWithStats((~cells).astype(np.uint8), connectivity=4)
    pale = np.arange(holes) > 0
    pale &= about[:, cv2.CC_STAT_AREA] < 0.4 * one  # the pale middles of cells, and the gaps between cells that touch
    if pale.any():
        cells = cells | pale[held]
    areas = cv2.connectedComponentsWithStats(cells.astype(np.uint8), connectivity=4)[2][1:, cv2.CC_STAT_AREA].astype(float)
    touching = float(areas[areas > 1.6 * one].sum() / max(areas.sum(), 1.0))
    return Cover(max(0.0, float(cells.mean()) - 2 * nuclei), touching, between, (stain[0], stain[1], stain[2]))


def diameter_px(image: Image) -> float | None:
    """Median diameter of the single red cells of one BGR picture, weighted by area, lest many platelets outvote them.

    None of fewer than `_FEW` cells. It means nothing where cells lie upon cells: ask `cover` first.
    """
    sizes = diameters_px(image)
    return float(np.median(sizes)) if len(sizes) >= _FEW else None


def diameters_px(image: Image) -> NDArray[np.float64]:
    """(N,) of the single cells of one BGR picture that are red cells by their paleness, and alike in size."""
    cells = spreads(image)
    if len(cells) < _FEW:
        return np.zeros(0)
    areas = cells[:, 0] * cells[:, 1]
    pale = cells[:, 2] <= _PALE[1] * _weighted_quantile(cells[:, 2], areas, _PALE[0])
    sizes, areas = np.sqrt(areas[pale]), areas[pale]
    size = _weighted_quantile(sizes, areas, 0.5)
    return np.asarray(sizes[(sizes < size * _ALIKE) & (sizes > size / _ALIKE)])


def grain_px(image: Image) -> float:
    """How far one goes within cells along a row of a BGR picture: half of what cells cover lies in longer stretches; 0 of an empty one.

    About a red cell's diameter, up to thrice where cells touch. It needs no single cells, and works with cells of a few px.
    """
    green = np.asarray(cv2.GaussianBlur(np.ascontiguousarray(image[..., 1]), (0, 0), 1.0))[::_GRAIN_ROWS]
    cells = np.pad((green < cell_level(green)).astype(np.int8), ((0, 0), (1, 1)))
    edges = np.diff(cells, axis=1)
    lengths = np.sort(np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1))
    covered = np.cumsum(lengths)
    return float(lengths[np.searchsorted(covered, covered[-1] / 2)]) if len(lengths) else 0.0


def cell_level(green: NDArray[Any]) -> float:
    """Green level below which there are cells. Otsu's, but for fields with many nuclei and pale red cells, where Otsu's divides nuclei
    from all else: there what is left has two clearly separate levels again, and the line is drawn between these.
    """
    histogram = np.bincount(green.ravel(), minlength=256).astype(float)
    level = _otsu(histogram)
    pale = histogram.copy()
    pale[: level + 1] = 0
    clear = float(np.searchsorted(np.cumsum(pale), 0.9 * pale.sum()))
    dark = float(np.searchsorted(np.cumsum(histogram[: level + 1]), 0.5 * histogram[: level + 1].sum()))
    if clear <= 0 or -np.log(max(dark, 1.0) / clear) < _NUCLEI or not pale.any():
        return float(level)
    second = _otsu(pale)
    values = np.arange(256.0)
    (mean_dark, var_dark, share_dark), (mean_clear, _, _) = (
        _moments(values[part], pale[part]) for part in (slice(level + 1, second + 1), slice(second + 1, None))
    )
    share, ratio = share_dark / pale.sum(), (mean_clear - mean_dark) / np.sqrt(max(var_dark, 1.0))
    apart = share >= _PALE_SHARE and ratio >= (_TWO_LEVELS if share < _CROWDED_SHARE else _TWO_CROWDED)
    return float(second) if apart and -np.log(max(mean_dark, 1.0) / max(mean_clear, 1.0)) >= _NO_FILM else float(level)


def _otsu(histogram: NDArray[np.float64]) -> int:
    """The highest level of the darker part."""
    below = np.cumsum(histogram)
    sums = np.cumsum(histogram * np.arange(256.0))
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return int(np.nan_to_num(between).argmax())


def _moments(values: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean, variance, and weight in all; zeros of nothing."""
    total = float(weights.sum())
    if total == 0:
        return 0.0, 0.0, 0.0
    mean = float((values * weights).sum() / total)
    return mean, float((weights * (values - mean) ** 2).sum() / total), total


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


def _weighted_quantile(values: NDArray[np.float64], weights: NDArray[np.float64], share: float) -> float:
    order = np.argsort(values)
    running = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(running, running[-1] * share)])


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

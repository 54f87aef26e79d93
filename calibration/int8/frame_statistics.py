"""What a field of film looks like in a few numbers: light, focus, how crowded it is, and the colours of its nucleated cells.

They tell fields apart so that a calibration set can cover them (`calibration.int8.frames`). They know neither classes nor a network.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from engines.data.nuclei import Mask, nuclear_stain
from engines.preprocess import prepare

Image = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

SEEN_HW = (640, 640)
"""Fields are judged as a network of this input sees them, whatever the camera's size: finer detail never reaches it."""

STATISTICS: dict[str, dict[str, float]] = {
    "light": {
        "background": 3.5,
        "background green to red": 0.7,
        "background blue to yellow": 2.0,
        "background to the right": 1.8,
        "background downwards": 2,
        "background to the corners": 3.9,
    },
    "focus": {"gradient, log": 0.11, "curvature, log": 0.13},
    "density": {"lightness": 3.8, "contrast": 3.8, "film share": 0.065, "nuclei share, log": 0.37, "nuclei, root": 0.7},
    "cells": {
        "film green to red": 2.3,
        "film blue to yellow": 3.8,
        "nucleus lightness": 10.9,
        "nucleus green to red": 5.3,
        "nucleus blue to yellow": 5.5,
        "nucleus texture": 2.9,
        "nucleus size, log": 0.95,
        "rim lightness": 9.9,
        "rim green to red": 4.8,
        "rim blue to yellow": 7,
    },
}
"""What is measured, in four groups, each with its typical spread: the standard deviation among the fields of one folder, mean of
three real folders (an ordinary microscope, 40x of five patients, single-cell fields). Lightness and colours are CIE Lab, L to 255."""

NAMES = tuple(name for group in STATISTICS.values() for name in group)

_TYPICAL = np.array([spread for group in STATISTICS.values() for spread in group.values()])
_WEIGHT = np.concatenate([np.full(len(group), (len(group) * len(STATISTICS)) ** -0.5) for group in STATISTICS.values()])
"""Each group weighs alike, however many statistics it has, so that two typical fields lie about 1.4 apart."""

_BLOCKS, _BLOCK_PX = 8, 8
_FILM_BELOW_BACKGROUND = 12.0  # of lightness: less is glass and noise
_RIM_PX = 4  # of the halved field; a nucleus of film is 10 to 60 px there
_SMALLEST_NUCLEUS = 5e-4  # of the field; smaller ones are platelets and dirt


def statistics(image: Image) -> Float64:
    """The statistics of a BGR field (height, width, 3) uint8 of any size, (len(NAMES),) float64, all finite."""
    seen = _as_the_network_sees_it(image)
    # Colours and densities need no fine detail, and a quarter of the pixels is four times as quick.
    half = np.asarray(cv2.resize(seen, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    lab = cv2.cvtColor(half, cv2.COLOR_BGR2Lab).astype(np.float32) - np.array([0, 128, 128], np.float32)
    lightness = lab[..., 0]
    level, *slopes = _background(lightness)
    nuclei, film = nuclear_stain(half), lightness < level - _FILM_BELOW_BACKGROUND
    sizes = _sizes(nuclei)
    return np.array(
        [
            level,
            *_mean_colour(lab, ~film)[1:],
            *slopes,
            *_detail(seen),
            lightness.mean(),
            lightness.std(),
            film.mean(),
            np.log(nuclei.mean() + 1e-3),
            np.sqrt(len(sizes)),
            *_mean_colour(lab, film & ~nuclei)[1:],
            *_mean_colour(lab, nuclei),
            lightness[nuclei].std() if nuclei.any() else 0.0,
            np.log(np.median(sizes) if len(sizes) else _SMALLEST_NUCLEUS),
            *_mean_colour(lab, _rim(nuclei)),
        ],
        np.float64,
    )


def embedded(rows: Float64) -> Float64:
    """Statistics (N, S) as points whose Euclidean distance says how different two fields are: 1 is about as two typical ones."""
    return np.asarray(rows / _TYPICAL * _WEIGHT, np.float64)


def spread(rows: Float64) -> dict[str, float]:
    """How much fields (N, S) differ within each group of statistics: 1 as those of one real folder, 0 not at all."""
    varied = (rows.std(axis=0) / _TYPICAL) ** 2
    ends = np.cumsum([len(group) for group in STATISTICS.values()])
    return {name: float(np.sqrt(part.mean())) for name, part in zip(STATISTICS, np.split(varied, ends[:-1]), strict=True)}


def _as_the_network_sees_it(image: Image) -> Image:
    """The field within the network's input, without the grey border, BGR uint8."""
    planes, placed = prepare(image, SEEN_HW, scale_up=True)
    rows = slice(placed.top, placed.top + placed.resized_hw[0])
    columns = slice(placed.left, placed.left + placed.resized_hw[1])
    rgb = planes[0, :, rows, columns].transpose(1, 2, 0)
    return np.ascontiguousarray(np.rint(rgb[..., ::-1] * 255), np.uint8)


def _background(lightness: Float32) -> Float64:
    """The glass: its level, its slopes to the right and downwards, and its rise to the corners (vignetting), over half the field."""
    side = _BLOCKS * _BLOCK_PX
    small = cv2.resize(lightness, (side, side), interpolation=cv2.INTER_AREA)
    blocks = small.reshape(_BLOCKS, _BLOCK_PX, _BLOCKS, _BLOCK_PX).transpose(0, 2, 1, 3).reshape(_BLOCKS**2, -1)
    y, x = np.mgrid[-1 : 1 : _BLOCKS * 1j, -1 : 1 : _BLOCKS * 1j].reshape(2, -1)
    bowl = x**2 + y**2
    design = np.stack([np.ones_like(x), x, y, bowl - bowl.mean()], axis=1)
    return np.asarray(np.linalg.lstsq(design, np.percentile(blocks, 90, axis=1), rcond=None)[0], np.float64)


def _detail(seen: Image) -> tuple[float, float]:
    """Logarithms of gradient (Tenengrad) and curvature (Laplacian) over contrast, so that stain counts little; defocus lowers both."""
    grey = cv2.cvtColor(seen, cv2.COLOR_BGR2GRAY)
    smooth = cv2.GaussianBlur(grey, (5, 5), 1.0)
    contrast = float(grey.std()) + 4.0
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    gradient = float(np.sqrt((across * across + down * down).mean()))
    curvature = float(cv2.Laplacian(smooth, cv2.CV_32F).std())
    return float(np.log(gradient / contrast + 1e-2)), float(np.log(curvature / contrast + 1e-3))


def _sizes(nuclei: Mask) -> Float64:
    """Sizes of the stained parts, as shares of the field."""
    _, _, parts, _ = cv2.connectedComponentsWithStats(nuclei.astype(np.uint8))
    sizes = parts[1:, cv2.CC_STAT_AREA] / nuclei.size
    return np.asarray(sizes[sizes >= _SMALLEST_NUCLEUS], np.float64)


def _rim(nuclei: Mask) -> Mask:
    """What lies around the nuclei: the cytoplasm, for the most part."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _RIM_PX + 1, 2 * _RIM_PX + 1))
    return np.asarray((cv2.dilate(nuclei.astype(np.uint8), disc) > 0) & ~nuclei, np.bool_)


def _mean_colour(lab: Float32, where: Mask) -> Float32:
    """Mean of (h, w, 3) where the mask holds; that of the whole where it holds nowhere."""
    return np.asarray(lab[where].mean(axis=0) if where.any() else lab.reshape(-1, 3).mean(axis=0), np.float32)

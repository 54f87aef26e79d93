"""DACA: the surest quadrant of a target picture, four times, each time augmented otherwise, makes a picture to learn from (spec 3.3).

Mekhalfi, Boscaini, Poiesi: Detect, Augment, Compose, and Adapt (BMVC 2023). The published program swaps height and width, rounds
clipped boxes down and learns a made-up box where all were lost; that is not repeated. The training step is in `trainer`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.adapt.pseudo import NOTHING, Found, best_part, join
from engines.adapt.quadrant import Quadrant
from engines.decode import Thresholds
from engines.detections import Image

Float64 = NDArray[np.float64]

THRESHOLDS = Thresholds(confidence=0.1, iou=0.5, max_detections=300, agnostic=False)
"""What becomes a pseudo-label."""
CORNERS = (Quadrant.LEFT_TOP, Quadrant.LEFT_BOTTOM, Quadrant.RIGHT_BOTTOM, Quadrant.RIGHT_TOP)
"""Quadrants in the order of DACA."""
MIN_SIDE_PX = 2.0


def surest(found: Found, hw: tuple[int, int], unsure: Found = NOTHING) -> Quadrant | None:
    """The quadrant with the highest mean score, the first of equals; a box centred on a middle line counts nowhere. None: no box.

    A quadrant that holds the centre of an `unsure` box is not taken.
    """
    inside, unfit = ([_inside(some, corner, hw) for corner in CORNERS] for some in (found, unsure))
    best = best_part(found, inside, [bool(one.any()) for one in unfit])
    return None if best is None else CORNERS[best]


def cut(found: Found, corner: Quadrant, hw: tuple[int, int]) -> Found:
    """The boxes whose centre lies in `corner`, cut to it, in px from its corner."""
    rows, columns = corner.slices(hw)
    kept = found.select(_inside(found, corner, hw))
    start = np.array([columns.start, rows.start], np.float64)
    size = np.array([columns.stop, rows.stop], np.float64) - start
    return Found((kept.boxes - np.tile(start, 2)).clip(0, np.tile(size, 2)), kept.classes, kept.scores)


def _inside(found: Found, corner: Quadrant, hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Which boxes are centred in `corner`, none of its middle lines included."""
    x, y = found.centres.T
    middle_y, middle_x = hw[0] / 2, hw[1] / 2
    inside: NDArray[np.bool_] = (x > middle_x if corner.right else x < middle_x) & (y < middle_y if corner.top else y > middle_y)
    return inside


def augmented(rng: np.random.Generator, tile: Image, found: Found) -> tuple[Image, Found]:
    """One of the four copies: safe crop, flip, blur, colour, coarser pixels, brightness and contrast, each with its probability."""
    if len(found) and rng.random() < 0.2:
        tile, found = _safe_crop(rng, tile, found)
    if rng.random() < 0.5:
        width = tile.shape[1]
        tile = np.ascontiguousarray(tile[:, ::-1])
        found = Found(found.boxes[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (width, 0, width, 0), found.classes, found.scores)
    if rng.random() < 0.5:
        tile = cv2.blur(tile, (3, 3))  # type: ignore[assignment]  # cv2 stub
    if rng.random() < 0.5:
        tile = _colour(rng, tile)
    if rng.random() < 0.5:
        tile = _coarser(rng, tile)
    if rng.random() < 0.5:
        tile = _levels(tile, 1 + rng.uniform(-0.1, 0.1), 255 * rng.uniform(-0.1, 0.1))
    return tile, found


def _safe_crop(rng: np.random.Generator, tile: Image, found: Found, erosion: float = 0.1) -> tuple[Image, Found]:
    """A random window that holds all boxes but for `erosion` of their hull, enlarged to the tile's size again."""
    height, width = tile.shape[:2]
    hull = np.concatenate([found.boxes[:, :2].min(0), found.boxes[:, 2:].max(0)])
    hull += np.array([1, 1, -1, -1]) * np.tile(hull[2:] - hull[:2], 2) * erosion / 2
    x1, y1 = rng.uniform(0, 1, 2) * hull[:2]
    x2, y2 = np.array([width, height]) - rng.uniform(0, 1, 2) * (np.array([width, height]) - hull[2:])
    window = np.array([np.floor(x1), np.floor(y1), np.ceil(x2), np.ceil(y2)]).clip(0, (width, height, width, height))
    left, top, right, bottom = (int(v) for v in window)
    if right - left < 8 or bottom - top < 8:
        return tile, found
    scale = np.tile((width / (right - left), height / (bottom - top)), 2)
    boxes = ((found.boxes - (left, top, left, top)) * scale).clip(0, (width, height, width, height))
    resized: Image = cv2.resize(tile[top:bottom, left:right], (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]  # cv2 stub
    return resized, Found(boxes, found.classes, found.scores)


def _colour(rng: np.random.Generator, tile: Image, by: float = 0.2) -> Image:
    tile = _levels(tile, 1 + rng.uniform(-by, by), 0)
    grey = float(cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY).mean())
    contrast = 1 + rng.uniform(-by, by)
    tile = _levels(tile, contrast, grey * (1 - contrast))
    hsv = cv2.cvtColor(tile, cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] + 180 * rng.uniform(-by, by) / 2) % 180
    hsv[..., 1] = (hsv[..., 1] * (1 + rng.uniform(-by, by))).clip(0, 255)
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)  # type: ignore[return-value]  # cv2 stub


def _coarser(rng: np.random.Generator, tile: Image) -> Image:
    height, width = tile.shape[:2]
    scale = rng.uniform(0.5, 0.99)
    small = cv2.resize(tile, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_NEAREST)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)  # type: ignore[return-value]  # cv2 stub


def _levels(tile: Image, gain: float, offset: float) -> Image:
    return (tile.astype(np.float32) * gain + offset).clip(0, 255).astype(np.uint8)


def compose(tiles: list[tuple[Image, Found]], background: Image) -> tuple[Image, Found]:
    """Four tiles in the order of `CORNERS` on `background` (H, W, 3), and their boxes in its pixels; slivers are dropped."""
    canvas, hw = background.copy(), background.shape[:2]
    parts = []
    for corner, (tile, found) in zip(CORNERS, tiles, strict=True):
        rows, columns = corner.slices((hw[0], hw[1]))
        height, width = min(tile.shape[0], rows.stop - rows.start), min(tile.shape[1], columns.stop - columns.start)
        canvas[rows.start : rows.start + height, columns.start : columns.start + width] = tile[:height, :width]
        boxes = found.boxes.clip(0, (width, height) * 2) + np.array((columns.start, rows.start) * 2)
        large = (boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf) >= MIN_SIDE_PX
        parts.append(Found(boxes[large], found.classes[large], found.scores[large]))
    return canvas, join(parts)

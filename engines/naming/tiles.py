"""Cells cut from the full-resolution frame and brought to one size, as the second look reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from engines.detections import Float32, Image
from engines.preprocess import PAD_VALUE, to_planes

_SOFTEN_BELOW = 0.7
"""From this scale down a picture is blurred before it is shrunk, so that fine chromatin does not alias."""


@dataclass(frozen=True)
class TileGeometry:
    """side_px: of a tile, a multiple of 32. cell_px: what a cell's side, the root of its box's area, becomes in the tile."""

    side_px: int = 224
    cell_px: float = 130.0


def cut_tiles(frame: Image, boxes_px: Float32, geometry: TileGeometry) -> Image:
    """One tile for each box, (N, side, side, 3) uint8 BGR, the box's centre in the tile's; grey where the frame ends.

    frame: BGR (h, w, 3). boxes_px: (N, 4) x1 y1 x2 y2 in its pixels, which must be square (`pixel aspect` undone before).
    """
    side = geometry.side_px
    tiles = np.full((len(boxes_px), side, side, 3), PAD_VALUE, np.uint8)
    for tile, (x1, y1, x2, y2) in zip(tiles, np.asarray(boxes_px, np.float64), strict=True):
        scale = geometry.cell_px / np.sqrt(max((x2 - x1) * (y2 - y1), 1.0))
        reach = side / scale / 2 + 4  # the tile's half side in the frame, and what a cubic reads around it
        cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
        left, top = max(int(cx - reach), 0), max(int(cy - reach), 0)
        part = frame[top : int(cy + reach) + 2, left : int(cx + reach) + 2]
        if not part.size:
            continue
        if scale < _SOFTEN_BELOW:
            part = np.asarray(cv2.GaussianBlur(part, (0, 0), 0.5 / scale), np.uint8)
        at = np.array([[scale, 0, side / 2 - scale * (cx - left)], [0, scale, side / 2 - scale * (cy - top)]])
        how = cv2.INTER_LINEAR if scale < 1 else cv2.INTER_CUBIC
        cv2.warpAffine(part, at, (side, side), tile, how, cv2.BORDER_CONSTANT, (PAD_VALUE,) * 3)
    return tiles


def tile_runs(tiles: Image, run: int) -> Iterator[tuple[Float32, int]]:
    """Tiles (N, side, side, 3) as the second look's graph eats them: planes (run, 3, side, side) float32 RGB 0 to 1, and how many.

    What the last run has no tile for is 0. The array is overwritten by the next run.
    """
    planes = np.zeros((run, 3, *tiles.shape[1:3]), np.float32)
    for start in range(0, len(tiles), run):
        some = tiles[start : start + run]
        for tile, out in zip(some, planes, strict=False):
            to_planes(tile, out)
        planes[len(some) :] = 0
        yield planes, len(some)

"""Which ground of the film has been counted, in tiles of a sixteenth of the frame's width: how much of a field is new."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import numpy as np
from numpy.typing import NDArray

from device.slide.model import Place

_TILES = 16  # across a frame
_BLOCK = 32  # tiles across a block of the raster, which about seven touching fields share
_Key = tuple[int, int, int, int]
"""(chart, tile's size in px, column and row of the block)."""


class Ground:
    """How many fields cover each tile of a slide. size_px: of the frames at a place."""

    def __init__(self) -> None:
        self._blocks: dict[_Key, NDArray[np.uint8]] = {}

    def clear(self) -> None:
        self._blocks.clear()

    def add(self, place: Place, size_px: tuple[int, int], times: int = 1) -> None:
        """A field was counted there; with times -1 it was taken back."""
        for key, rows, columns in self._pieces(place, size_px):
            block = self._blocks.setdefault(key, np.zeros((_BLOCK, _BLOCK), np.uint8))
            block[rows, columns] += np.uint8(times % 256)
            if times < 0 and not block.any():
                del self._blocks[key]

    def new_share(self, place: Place, size_px: tuple[int, int]) -> float:
        """The share of the field at a place that no field has covered, 0 to 1."""
        tiles = known = 0
        for key, rows, columns in self._pieces(place, size_px):
            tiles += (rows.stop - rows.start) * (columns.stop - columns.start)
            block = self._blocks.get(key)
            known += 0 if block is None else int(np.count_nonzero(block[rows, columns]))
        return 1.0 - known / tiles

    def covers(self, chart: int, x_px: float, y_px: float, size_px: tuple[int, int]) -> bool:
        """Whether a point of the film lies in the tile of a counted field."""
        side = _side(size_px)
        column, row = int(x_px // side), int(y_px // side)
        block = self._blocks.get((chart, side, column // _BLOCK, row // _BLOCK))
        return block is not None and bool(block[row % _BLOCK, column % _BLOCK])

    def _pieces(self, place: Place, size_px: tuple[int, int]) -> Iterator[tuple[_Key, slice, slice]]:
        """The tiles whose middle lies in the frame, block by block."""
        side = _side(size_px)
        left, right = ceil(place.x_px / side - 0.5), ceil((place.x_px + size_px[0]) / side - 0.5)
        top, bottom = ceil(place.y_px / side - 0.5), ceil((place.y_px + size_px[1]) / side - 0.5)
        for row in range(top // _BLOCK, (bottom - 1) // _BLOCK + 1):
            for column in range(left // _BLOCK, (right - 1) // _BLOCK + 1):
                down = slice(max(0, top - row * _BLOCK), min(_BLOCK, bottom - row * _BLOCK))
                across = slice(max(0, left - column * _BLOCK), min(_BLOCK, right - column * _BLOCK))
                yield (place.chart, side, column, row), down, across


def _side(size_px: tuple[int, int]) -> int:
    return max(1, size_px[0] // _TILES)

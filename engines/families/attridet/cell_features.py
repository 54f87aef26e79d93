"""The features of the second look: maps of backbone and neck, each averaged over the cell in the middle of a tile."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from engines.detections import Float32
from engines.families.attridet.attridet import AttriDet
from engines.families.attridet.yolov5 import DETECT_SOURCES, STRIDES, TAP_P2, TAP_P3
from engines.naming.tiles import TileGeometry


class Pooled(NamedTuple):
    """A layer whose map is averaged: its stride in px, and the sides of the squares that are averaged, as shares of the cell's."""

    layer: int
    stride: int
    shares: tuple[float, ...]


POOLED = (
    Pooled(TAP_P2, 4, (1.0,)),
    Pooled(TAP_P3, 8, (1.0,)),
    *(Pooled(i, s, (1.0, 0.5)) for i, s in zip(DETECT_SOURCES, STRIDES, strict=True)),
)
"""In the order of the features."""


def pooling_matrix(pooled: Pooled, geometry: TileGeometry) -> Float32:
    """Weights (n * n, squares) that average a map of n x n places over centred squares of a tile, by area; each column sums to 1."""
    n = geometry.side_px // pooled.stride
    place = np.arange(n)
    columns = []
    for share in pooled.shares:
        start, end = ((geometry.side_px + sign * share * geometry.cell_px) / 2 / pooled.stride for sign in (-1, 1))
        covered = (np.minimum(place + 1, end) - np.maximum(place, start)).clip(0)
        square = np.outer(covered, covered)
        columns.append((square / square.sum()).ravel())
    return np.stack(columns, 1).astype(np.float32)


def feature_count(model: AttriDet) -> int:
    """How many features a cell has."""
    widths = (*model.tap_channels, *(conv.in_channels for conv in model.detect.m if isinstance(conv, nn.Conv2d)))
    return sum(width * len(pooled.shares) for width, pooled in zip(widths, POOLED, strict=True))


def cell_features(model: AttriDet, tiles: Tensor, geometry: TileGeometry) -> Tensor:
    """Features (N, F) of tiles (N, 3, side, side), RGB, 0 to 1; of each map first the whole cell, then its inner half."""
    maps = model.feature_maps(tiles)
    parts = []
    for pooled in POOLED:
        matrix = torch.from_numpy(pooling_matrix(pooled, geometry)).to(tiles.device)
        parts.append((maps[pooled.layer].flatten(2) @ matrix).mT.flatten(1))
    return torch.cat(parts, 1)

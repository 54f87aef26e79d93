"""Which anchor and cell answers for which labelled box (YOLOv5's rule). The loss that follows is in `losses`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Assignment(NamedTuple):
    """M matches of one level; order: neighbour offset (own, left, up, right, down) outermost, then anchor, then target.

    image, anchor, gj, gi, cls: (M,) int64: image in the batch, anchor of the level, row and column of the cell, class.
    box: (M, 4): centre relative to the cell's corner (-0.5 to 1.5) and size, in cells. anchor_wh: (M, 2) in cells.
    """

    image: Tensor
    anchor: Tensor
    gj: Tensor
    gi: Tensor
    cls: Tensor
    box: Tensor
    anchor_wh: Tensor


def assign_targets(targets: Tensor, anchors: Tensor, grids: Sequence[tuple[int, int]], anchor_t: float = 4.0) -> list[Assignment]:
    """Match labelled boxes with anchors and cells, one `Assignment` a level.

    targets: (n, 6): image, class, centre x, centre y, width, height, normalised to 0..1. anchors: (levels, A, 2) in cells. grids:
    rows and columns of each level. An anchor matches if neither side differs by a factor of `anchor_t` or more; the box is then
    given to its own cell and to the neighbours its centre lies nearer to than half a cell, not beyond the map's border.
    """
    return [_assign_level(targets, a, g, anchor_t) for a, g in zip(anchors, grids, strict=True)]


def _assign_level(targets: Tensor, anchors: Tensor, grid: tuple[int, int], anchor_t: float) -> Assignment:
    ny, nx = grid
    size = targets.new_tensor((nx, ny))
    wh = targets[:, 4:6] * size
    ratio = wh[None] / anchors[:, None].to(wh)
    anchor, target = torch.where(torch.maximum(ratio, 1 / ratio).amax(2) < anchor_t)  # ordered by anchor, then target
    xy = targets[target, 2:4] * size
    from_end = size - xy
    left, up = ((xy % 1 < 0.5) & (xy > 1)).T
    right, down = ((from_end % 1 < 0.5) & (from_end > 1)).T
    offset, row = torch.where(torch.stack((torch.ones_like(left), left, up, right, down)))
    shifts = xy.new_tensor(((0, 0), (0.5, 0), (0, 0.5), (-0.5, 0), (0, -0.5)))
    xy, anchor, target = xy[row], anchor[row], target[row]
    cell = (xy - shifts[offset]).long()
    gi, gj = cell[:, 0].clamp(0, nx - 1), cell[:, 1].clamp(0, ny - 1)
    box = torch.cat((xy - torch.stack((gi, gj), 1), wh[target]), 1)
    return Assignment(targets[target, 0].long(), anchor, gj, gi, targets[target, 1].long(), box, anchors[anchor].to(wh))

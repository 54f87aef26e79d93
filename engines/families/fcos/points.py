"""Where an FCOS answers, and which labelled cell each of its points answers for (Tian et al. 2019, with centre sampling)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

STRIDES = (8, 16, 32, 64, 128)
"""Of P3 to P7, px of the input."""
RADIUS = 1.5
"""Centre sampling: a point answers for a cell whose centre lies less than so many strides away, along both axes."""
_LEAST, _MOST = 4, 8
"""A level's range: the farthest side of a cell lies between so many strides; open below at P3 and above at P7."""


@dataclass(frozen=True, eq=False)
class Points:
    """All points of one input, level by level, each row by row.

    xy: (P, 2) px of the input; the first of a level lies at 0, 0, in the middle of what its convolution sees. stride: (P,) px, the
    unit that sides are told in. least, most: (P,) px, the range of cells, told by the farthest side.
    """

    xy: Tensor
    stride: Tensor
    least: Tensor
    most: Tensor

    @classmethod
    def of(cls, grids: Sequence[tuple[int, int]], hw: tuple[int, int], device: torch.device | str = "cpu") -> Points:
        """grids: height and width of each level's map, P3 first. hw: of the input.

        Where a map does not divide the input, its points lie nearer than a stride (320 px in 3: every 106), as torchvision lays them.
        """
        xy, strides, least, most = [], [], [], []
        for number, ((high, wide), stride) in enumerate(zip(grids, STRIDES, strict=True)):
            y, x = torch.meshgrid(torch.arange(high), torch.arange(wide), indexing="ij")
            step = torch.tensor((hw[1] // wide, hw[0] // high), dtype=torch.float32)
            xy.append(torch.stack((x, y), -1).reshape(-1, 2).float() * step)
            strides.append(torch.full((high * wide,), float(stride)))
            least.append(torch.full((high * wide,), float(_LEAST * stride if number else 0)))
            most.append(torch.full((high * wide,), float(_MOST * stride if number < len(STRIDES) - 1 else math.inf)))
        return cls(*(torch.cat(parts).to(device) for parts in (xy, strides, least, most)))

    def sides_to(self, boxes_px: Tensor) -> Tensor:
        """How far the sides of boxes (..., 4) x1 y1 x2 y2 lie from the points: left, top, right, bottom, px; negative beyond a side."""
        return torch.cat((self.xy - boxes_px[..., :2], boxes_px[..., 2:] - self.xy), -1)

    def boxes(self, sides: Tensor) -> Tensor:
        """Boxes (..., P, 4) x1 y1 x2 y2 in px from sides (..., P, 4) in strides: left, top, right, bottom of the point."""
        far = sides * self.stride[:, None]
        return torch.cat((self.xy - far[..., :2], self.xy + far[..., 2:]), -1)

    def matched(self, boxes_px: Tensor) -> Tensor:
        """Which of the labelled boxes (n, 4) each point answers for, (P,) int64; -1: none, it lies on background.

        The point lies in the box, near its centre, and the box is of the level's size; of several the smallest counts.
        """
        if not len(boxes_px):
            return torch.full((len(self.xy),), -1, dtype=torch.int64, device=self.xy.device)
        centre = (boxes_px[:, :2] + boxes_px[:, 2:]) / 2
        near = (self.xy[:, None] - centre).abs().amax(2) < RADIUS * self.stride[:, None]
        sides = torch.cat((self.xy[:, None] - boxes_px[:, :2], boxes_px[:, 2:] - self.xy[:, None]), 2)
        farthest = sides.amax(2)
        fits = near & (sides.amin(2) > 0) & (farthest > self.least[:, None]) & (farthest < self.most[:, None])
        area = (boxes_px[:, 2:] - boxes_px[:, :2]).prod(1).expand(len(self.xy), -1)
        smallest, which = torch.where(fits, area, math.inf).min(1)
        return torch.where(smallest.isinf(), -1, which)

    def within(self, regions_px: Tensor) -> Tensor:
        """Whether each point lies in one of the regions (m, 4), (P,) bool."""
        x, y = self.xy[:, :1], self.xy[:, 1:]
        inside = (x >= regions_px[:, 0]) & (y >= regions_px[:, 1]) & (x <= regions_px[:, 2]) & (y <= regions_px[:, 3])
        return inside.any(1)

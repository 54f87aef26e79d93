"""Multi-scale deformable attention in plain torch, and the sines that tell places and boxes.

Each query looks at a few points of each level, whose offsets and weights it gives itself (Zhu et al., Deformable DETR, 2021). Names of
the state dict are the published ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

_EDGE = 1e-5
"""How near to 0 and 1 a share may come before its logit is taken."""


class DeformableAttention(nn.Module):
    """`attention(query, reference, memory, shapes)` -> (B, Q, width).

    query: (B, Q, width). reference: (B, Q, 2) points or (B, Q, 4) boxes cx cy w h, shares of the picture: offsets count in cells of
    each level around a point, in halves of the box around a box. memory: (B, S, width), the levels' cells one after another. shapes:
    rows and columns of each level; their products add up to S. Samples outside a map are 0.
    """

    def __init__(self, width: int, levels: int, heads: int, points: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} cannot be shared out among {heads} heads")
        self.levels, self.heads, self.points = levels, heads, points
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Each head begins by looking in a direction of its own, point by point farther, all weighing the same."""
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        direction = torch.stack((angle.cos(), angle.sin()), -1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.points + 1).view(1, 1, -1, 1)
        nn.init.zeros_(self.sampling_offsets.weight)
        self.sampling_offsets.bias.copy_((direction[:, None, None] * steps).repeat(1, self.levels, 1, 1).flatten())
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)

    def forward(self, query: Tensor, reference: Tensor, memory: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
        batch, n = query.shape[:2]
        value = self.value_proj(memory).view(batch, memory.shape[1], self.heads, -1)
        offsets = self.sampling_offsets(query).view(batch, n, self.heads, self.levels, self.points, 2)
        weights = self.attention_weights(query).view(batch, n, self.heads, -1).softmax(-1)
        weights = weights.view(batch, n, self.heads, self.levels, self.points)
        around = reference[:, :, None, None, None]
        if reference.shape[-1] == 2:
            places = around + offsets / offsets.new_tensor([(columns, rows) for rows, columns in shapes])[:, None]
        else:
            places = around[..., :2] + offsets / self.points * around[..., 2:] / 2
        seen: Tensor = self.output_proj(sampled(value, shapes, places, weights))
        return seen


def sampled(value: Tensor, shapes: Sequence[tuple[int, int]], places: Tensor, weights: Tensor) -> Tensor:
    """Weighted bilinear samples, (B, Q, heads * depth).

    value: (B, S, heads, depth). places: (B, Q, heads, levels, points, 2), x and y as shares of the picture. weights: (B, Q, heads,
    levels, points).
    """
    batch, _, heads, depth = value.shape
    n = places.shape[1]
    found = value.new_zeros((batch * heads, depth, n))
    grid = (places * 2 - 1).transpose(1, 2).flatten(0, 1)
    weight = weights.transpose(1, 2).flatten(0, 1)
    parts = torch.split(value, [rows * columns for rows, columns in shapes], 1)
    for level, (part, (rows, columns)) in enumerate(zip(parts, shapes, strict=True)):
        cells = part.permute(0, 2, 3, 1).reshape(batch * heads, depth, rows, columns)
        seen = functional.grid_sample(cells, grid[:, :, level], mode="bilinear", padding_mode="zeros", align_corners=False)
        found = found + (seen * weight[:, None, :, level]).sum(-1)
    return found.view(batch, heads * depth, n).transpose(1, 2)


def sines(places: Tensor, width: int, temperature: float) -> Tensor:
    """Each of the last axis' numbers (0..1) as `width` sines and cosines of falling frequency: (..., k) -> (..., k * width)."""
    power = torch.arange(width // 2, dtype=torch.float32, device=places.device) * 2 / width
    angle = (places * (2 * math.pi))[..., None] / temperature**power
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(-3)


def map_sines(rows: int, columns: int, width: int, like: Tensor) -> Tensor:
    """Where each cell of a map lies, (rows * columns, width): the row's sines, then the column's; temperature 20, as DINO has it."""
    y = torch.arange(1, rows + 1, dtype=torch.float32, device=like.device) / rows
    x = torch.arange(1, columns + 1, dtype=torch.float32, device=like.device) / columns
    return sines(torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).flatten(0, 1), width // 2, 20.0)


def box_sines(boxes: Tensor, width: int) -> Tensor:
    """Boxes (B, Q, 4) cx cy w h as sines (B, Q, 2 * width), in the order y, x, w, h; temperature 10,000."""
    return sines(boxes[..., [1, 0, 2, 3]], width // 2, 10_000.0)


def logit(share: Tensor) -> Tensor:
    """The inverse of the sigmoid, of a share kept off 0 and 1."""
    kept = share.clamp(0, 1)
    return kept.clamp(min=_EDGE).log() - (1 - kept).clamp(min=_EDGE).log()

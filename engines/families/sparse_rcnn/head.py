"""One stage of Sparse R-CNN: pooled region, attention among the proposals, dynamic convolution, class and better box.

Names of the state dict are the published ones (`head.head_series.N...`), so that its weights fit. (Sun et al., Sparse R-CNN, 2021;
spec 4.3.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.families.roi_align import roi_align

POOLED = 7
"""Cells of a pooled region along each side."""
_DELTA_WEIGHTS = (2.0, 2.0, 1.0, 1.0)
"""What the four logits of a box are divided by: shift of the centre in widths and heights, logarithm of the growth."""
_MOST_GROWTH = math.log(100_000 / 16)
_CANONICAL_PX, _CANONICAL_LEVEL = 224.0, 4
"""A region of this side is read from P4, one of half the side from P3 (Lin et al., FPN, 2017)."""
_PRIOR = 0.01
"""Probability of each class before anything is learnt."""


class DynamicConv(nn.Module):
    """Two 1x1 convolutions over a pooled region whose weights the proposal itself gives.

    proposals: (K, width). regions: (K, 49, width). Returns (K, width).
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.width, self.inner = width, inner
        self.dynamic_layer = nn.Linear(width, 2 * width * inner)
        self.norm1 = nn.LayerNorm(inner)
        self.norm2 = nn.LayerNorm(width)
        self.out_layer = nn.Linear(width * POOLED**2, width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, proposals: Tensor, regions: Tensor) -> Tensor:
        narrowing, widening = self.dynamic_layer(proposals).chunk(2, -1)
        x = torch.bmm(regions, narrowing.view(-1, self.width, self.inner))
        x = functional.relu(self.norm1(x))
        x = torch.bmm(x, widening.view(-1, self.inner, self.width))
        x = functional.relu(self.norm2(x))
        return functional.relu(self.norm3(self.out_layer(x.flatten(1))))


class Stage(nn.Module):
    """One of the iterations: `stage(regions, boxes, proposals)` -> class logits, boxes, proposals.

    width: of maps and proposals. inner: width between the dynamic convolutions. wide: of the feed-forward layer.
    regions: (B, N, width, 7, 7), what lies under the boxes. boxes: (B, N, 4) x1 y1 x2 y2, in any unit. proposals: (B, N, width).
    Returns logits (B, N, classes), boxes (B, N, 4) in the same unit, proposals (B, N, width).
    """

    def __init__(self, width: int, classes: int, heads: int, wide: int, inner: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.inst_interact = DynamicConv(width, inner)
        self.linear1, self.linear2 = nn.Linear(width, wide), nn.Linear(wide, width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.cls_module = _tower(width, 1)
        self.reg_module = _tower(width, 3)
        self.class_logits = nn.Linear(width, classes)
        self.bboxes_delta = nn.Linear(width, 4)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        nn.init.constant_(self.class_logits.bias, -math.log((1 - _PRIOR) / _PRIOR))

    def forward(self, regions: Tensor, boxes: Tensor, proposals: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, n, width = proposals.shape
        x = self.norm1(proposals + self.self_attn(proposals, proposals, proposals, need_weights=False)[0])
        seen = self.inst_interact(x.reshape(batch * n, width), regions.flatten(3).reshape(batch * n, width, -1).transpose(1, 2))
        x = self.norm2(x + seen.view(batch, n, width))
        x = self.norm3(x + self.linear2(functional.relu(self.linear1(x))))
        kind, place = x, x
        for layer in self.cls_module:
            kind = layer(kind)
        for layer in self.reg_module:
            place = layer(place)
        return self.class_logits(kind), moved(boxes, self.bboxes_delta(place)), x


def _tower(width: int, layers: int) -> nn.ModuleList:
    """Linear, norm, ReLU, so many times; a list, since the published state dict numbers them so."""
    tower = nn.ModuleList()
    for _ in range(layers):
        tower.extend((nn.Linear(width, width, bias=False), nn.LayerNorm(width), nn.ReLU()))
    return tower


def moved(boxes: Tensor, deltas: Tensor) -> Tensor:
    """Boxes (..., 4) x1 y1 x2 y2 shifted and grown by logits (..., 4); in the precision of the boxes."""
    d = deltas.to(boxes.dtype) / deltas.new_tensor(_DELTA_WEIGHTS, dtype=boxes.dtype)
    size = boxes[..., 2:] - boxes[..., :2]
    centre = boxes[..., :2] + size / 2 + d[..., :2] * size
    half = size * d[..., 2:].clamp(max=_MOST_GROWTH).exp() / 2
    return torch.cat((centre - half, centre + half), -1)


def pool(levels: Sequence[Tensor], boxes_px: Tensor) -> Tensor:
    """What lies under boxes (B, N, 4) in input px, each read from the level that fits its size; (B, N, C, 7, 7).

    levels: P2 to P5, (B, C, H/4, W/4) and so on. RoIAlign with 2 x 2 samples a cell; a region's place carries no gradient.
    """
    batch, n = boxes_px.shape[:2]
    boxes = boxes_px.detach().reshape(-1, 4)
    side = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1).sqrt()
    index = (_CANONICAL_LEVEL + torch.log2(side / _CANONICAL_PX + 1e-8)).floor().nan_to_num(2) - 2
    index = index.clamp(0, len(levels) - 1).long()
    rois = torch.cat((torch.arange(batch, device=boxes.device).repeat_interleave(n)[:, None].to(boxes), boxes), 1)
    regions = levels[0].new_zeros((batch * n, levels[0].shape[1], POOLED, POOLED))
    for i, level in enumerate(levels):
        mine = (index == i).nonzero()[:, 0]
        pooled = roi_align(level, rois[mine], (POOLED, POOLED), 1 / (4 << i), sampling_ratio=2, aligned=True)
        regions = regions.index_put((mine,), pooled)
    return regions.view(batch, n, -1, POOLED, POOLED)

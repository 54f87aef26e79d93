"""AttriDet's attribute head: regions of two early maps, pooled, then a small CNN with one softmax group per attribute."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.families.attridet.yolov5 import Taps
from engines.families.roi_align import roi_align

ROI_SIZE = (24, 30)
"""Height and width of a pooled region."""
TAP_SCALES = (1 / 4, 1 / 8)
"""Cells a pixel of the taps p2 and p3."""


class AttributeHead(nn.Module):
    """Three convolutions and three linear layers over pooled regions: (K, C, 24, 30) -> logits (K, sum(groups)).

    in_channels: channels of both taps together (p2 first, then p3). groups: number of values of each attribute, in the order of the
    logits; (3,2,2,2,2,2,2) is LeukemiaAttri with Cell Size first. state_dict: `conv1..3`, `fc1..3`, each `weight`, `bias`; with 480
    channels and six groups of two it takes the published head's. Leaky ReLU 0.01, max-pool 2 after each convolution, dropout 0.5
    before each linear layer in training mode.
    """

    def __init__(self, in_channels: int, groups: Sequence[int] = (3, 2, 2, 2, 2, 2, 2)) -> None:
        super().__init__()
        if not groups or min(groups) < 2:
            raise ValueError(f"every attribute needs two values or more; groups are {tuple(groups)}")
        self.groups = tuple(groups)
        self.conv1 = nn.Conv2d(in_channels, 128, 3, padding=1)
        self.conv2 = nn.Conv2d(128, 64, 3, padding=1)
        self.conv3 = nn.Conv2d(64, 64, 3, padding=1)
        self.fc1 = nn.Linear(64 * 3 * 3, 1024)
        self.fc2 = nn.Linear(1024, 256)
        self.fc3 = nn.Linear(256, sum(groups))
        self.dropout = nn.Dropout(0.5)

    def pool(self, taps: Taps, rois: Tensor) -> Tensor:
        """Regions (K, 5: batch index, x1, y1, x2, y2 in input px) of both taps, (K, C, 24, 30), p2's channels first.

        RoIAlign with spatial scale 1/4 and 1/8, not aligned, adaptive sampling, boxes not rounded.
        """
        return torch.cat([roi_align(x, rois, ROI_SIZE, s) for x, s in zip(taps, TAP_SCALES, strict=True)], 1)

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits (K, sum(groups)) of pooled regions (K, C, 24, 30)."""
        x = pooled
        for conv in (self.conv1, self.conv2, self.conv3):
            x = functional.max_pool2d(functional.leaky_relu(conv(x)), 2)
        x = functional.leaky_relu(self.fc1(self.dropout(x.flatten(1))))
        x = functional.leaky_relu(self.fc2(self.dropout(x)))
        return self.fc3(self.dropout(x))  # type: ignore[no-any-return]  # nn.Module.__call__ is typed Any

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax within each attribute's group: (K, sum(groups)) -> the same shape, each group sums to 1; float32 at least."""
        logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        return torch.cat([g.softmax(-1) for g in torch.split(logits, list(self.groups), -1)], -1)

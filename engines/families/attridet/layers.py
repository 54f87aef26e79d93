"""The blocks YOLOv5 is made of: CBS, Bottleneck, C3, SPPF, Concat. The order they stand in is in `yolov5`.

Names of sub-modules follow the published state dict (`conv`, `bn`, `cv1` ...), so that its weights fit.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

BN_EPS = 1e-3
"""Not in a state dict: with PyTorch's own 1e-5 the published weights give logits that are off by about 0.3."""
BN_MOMENTUM = 0.03


class CBS(nn.Module):
    """Convolution without bias, batch normalisation, SiLU; padding k // 2 unless given. (B,c1,H,W) -> (B,c2,H/s,W/s)."""

    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1, p: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, s, k // 2 if p is None else p, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(c2, eps=BN_EPS, momentum=BN_MOMENTUM)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))  # type: ignore[no-any-return]  # nn.Module.__call__ is typed Any

    def fuse(self) -> None:
        """Fold the normalisation's running statistics into the convolution (now with bias); a second call does nothing."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv = fuse_conv_bn(self.conv, self.bn)
            self.bn = nn.Identity()


@torch.no_grad()
def fuse_conv_bn(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> nn.Conv2d:
    """One convolution equal to `conv` followed by `bn` in evaluation mode.

    Weight w * gamma / sqrt(var + eps); bias beta + (b - mean) * gamma / sqrt(var + eps).
    """
    if bn.running_mean is None or bn.running_var is None:
        raise ValueError("a batch normalisation without running statistics cannot be fused")
    scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)
    bias = -bn.running_mean if conv.bias is None else conv.bias - bn.running_mean
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = nn.Parameter(conv.weight * scale[:, None, None, None]), nn.Parameter(bn.bias + bias * scale)
    return fused.requires_grad_(False)


class Bottleneck(nn.Module):
    """CBS 1x1, CBS 3x3 at constant width, plus the input itself when `shortcut`. (B,c,H,W) -> the same."""

    def __init__(self, c: int, shortcut: bool) -> None:
        super().__init__()
        self.cv1 = CBS(c, c, 1)
        self.cv2 = CBS(c, c, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cv2(self.cv1(x))
        return x + y if self.shortcut else y


class C3(nn.Module):
    """Two half-width branches, one through `n` bottlenecks, joined by a 1x1 CBS. (B,c1,H,W) -> (B,c2,H,W)."""

    def __init__(self, c1: int, c2: int, n: int, shortcut: bool) -> None:
        super().__init__()
        hidden = c2 // 2
        self.cv1 = CBS(c1, hidden, 1)
        self.cv2 = CBS(c1, hidden, 1)
        self.cv3 = CBS(2 * hidden, c2, 1)
        self.m = nn.Sequential(*(Bottleneck(hidden, shortcut) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))  # type: ignore[no-any-return]  # see CBS


class SPPF(nn.Module):
    """Spatial pyramid pooling: three chained max-pools of size k, stacked between two 1x1 CBS. (B,c1,H,W) -> (B,c2,H,W)."""

    def __init__(self, c1: int, c2: int, k: int = 5) -> None:
        super().__init__()
        hidden = c1 // 2
        self.cv1 = CBS(c1, hidden, 1)
        self.cv2 = CBS(4 * hidden, c2, 1)
        self.m = nn.MaxPool2d(k, stride=1, padding=k // 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cv1(x)
        once = self.m(x)
        twice = self.m(once)
        return self.cv2(torch.cat((x, once, twice, self.m(twice)), 1))  # type: ignore[no-any-return]  # see CBS


class Concat(nn.Module):
    """Maps of equal size, stacked on the channel axis."""

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        return torch.cat(tuple(maps), 1)

"""Two losses that families share: the focal one of types, and the generalised IoU of boxes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

ALPHA, GAMMA = 0.25, 2.0
"""Of the focal loss (Lin et al. 2017): the weight of what is there against what is not, and how little the easy count."""
_TINY = 1e-12
"""Least area that is divided by: two empty boxes overlap by 0."""


def focal_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Focal loss of independent logits, each element's (Lin et al. 2017); wanted: 0 or 1, equal shape."""
    p = logits.sigmoid()
    loss = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    miss = wanted * (1 - p) + (1 - wanted) * p
    return loss * miss**GAMMA * (wanted * ALPHA + (1 - wanted) * (1 - ALPHA))


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al. 2019) of boxes x1 y1 x2 y2 that broadcast against each other, (..., 4) -> (...)."""
    shared = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    return shared / union.clamp(min=_TINY) - (hull - union) / hull.clamp(min=_TINY)

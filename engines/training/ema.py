"""Exponential moving average of a model's floats, the copy that is judged and shipped (spec 1.7)."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn


class ModelEma:
    """Holds `model`, a copy whose floating-point state follows the original's with a decay that grows with the updates."""

    def __init__(self, model: nn.Module, decay: float = 0.9999, tau: float = 2000.0) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay, self.tau, self.updates = decay, tau, 0

    def decay_at(self, updates: int) -> float:
        """decay x (1 - exp(-updates / tau))."""
        return self.decay * (1 - math.exp(-updates / self.tau))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """One step towards `model`; called after each optimiser step."""
        self.updates += 1
        d = self.decay_at(self.updates)
        source = model.state_dict()
        for name, value in self.model.state_dict().items():
            if value.dtype.is_floating_point:
                value.mul_(d).add_(source[name].detach(), alpha=1 - d)
            else:
                value.copy_(source[name])

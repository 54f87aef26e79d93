"""The optimiser of a network: which parameters decay, and how the schedule's values enter it. When it steps is the loop's business."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from engines.families.hyper import Hyper
from engines.training.schedule import NOMINAL_BATCH, Step


def parameter_groups(model: nn.Module, hyper: Hyper, batch: int = NOMINAL_BATCH) -> list[dict[str, Any]]:
    """Biases, decayed weights, norm weights: only the second group decays (spec 1.7).

    With SGD the decay is for a nominal batch of 64: it grows where batches, gathered or not, are larger than that.
    """
    biases, decayed, norms = [], [], []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias":
                biases.append(parameter)
            elif isinstance(module, nn.BatchNorm2d):
                norms.append(parameter)
            else:
                decayed.append(parameter)
    gathered = batch * max(round(NOMINAL_BATCH / batch), 1) if hyper.optimiser == "sgd" else NOMINAL_BATCH
    return [
        {"params": biases, "weight_decay": 0.0},
        {"params": decayed, "weight_decay": hyper.weight_decay * gathered / NOMINAL_BATCH},
        {"params": norms, "weight_decay": 0.0},
    ]


def build_optimiser(model: nn.Module, hyper: Hyper, batch: int = NOMINAL_BATCH) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum as published, or AdamW."""
    groups = parameter_groups(model, hyper, batch)
    if hyper.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=hyper.lr0, momentum=hyper.momentum, nesterov=True)
    return torch.optim.AdamW(groups, lr=hyper.lr0, betas=(hyper.momentum, 0.999))


def apply_step(optimiser: torch.optim.Optimizer, step: Step) -> None:
    """Put the schedule's values into the groups of `parameter_groups`."""
    for number, group in enumerate(optimiser.param_groups):
        group["lr"] = step.lr_bias if number == 0 else step.lr
        if "momentum" in group:
            group["momentum"] = step.momentum

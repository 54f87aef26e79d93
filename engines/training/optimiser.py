"""The optimiser of a network: which parameters decay, and how the schedule's values enter it. When it steps is the loop's business."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from engines.errors import DataError
from engines.families.hyper import Hyper
from engines.training.schedule import NOMINAL_BATCH, Step

BACKBONE = "backbone."
"""How the names of a backbone's parameters begin, in families that have one of their own."""


def parameter_groups(model: nn.Module, hyper: Hyper, batch: int = NOMINAL_BATCH) -> list[dict[str, Any]]:
    """Biases, decayed weights, norm weights: only the second group decays (spec 1.7).

    Where the backbone has a rate of its own, the same three groups of it follow, with that as `rate`. With SGD the decay is for a
    nominal batch of 64: it grows where batches, gathered or not, are larger than that. Raises DataError where there is no backbone.
    """
    if hyper.backbone_rate == 1:
        return _groups(model.named_modules(), hyper, batch)
    named = list(model.named_modules())
    rest, backbone = ([one for one in named if f"{one[0]}.".startswith(BACKBONE) is mine] for mine in (False, True))
    if not backbone:
        raise DataError(f"--backbone-rate {hyper.backbone_rate:g}: a network of this family has no backbone apart; leave it out")
    return _groups(rest, hyper, batch) + [{**group, "rate": hyper.backbone_rate} for group in _groups(backbone, hyper, batch)]


def _groups(modules: Iterable[tuple[str, nn.Module]], hyper: Hyper, batch: int) -> list[dict[str, Any]]:
    biases, decayed, norms = [], [], []
    for _, module in modules:
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
        group["lr"] = (step.lr_bias if number % 3 == 0 else step.lr) * group.get("rate", 1.0)
        if "momentum" in group:
            group["momentum"] = step.momentum

"""Learning rates, momentum and accumulation of every iteration, as one pure function of its number (spec 1.7)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engines.families.hyper import Hyper

NOMINAL_BATCH = 64


@dataclass(frozen=True)
class Step:
    """What the optimiser uses in one iteration."""

    lr_bias: float
    lr: float  # decayed weights and norm weights
    momentum: float
    accumulate: int


@dataclass(frozen=True)
class Schedule:
    """Warm-up over the first iterations, then linear or cosine decay once an epoch."""

    hyper: Hyper
    epochs: int
    batches: int  # in one epoch
    batch: int
    cosine: bool = False

    @property
    def warmup_iterations(self) -> int:
        asked = self.hyper.warmup_epochs * self.batches
        if self.hyper.warmup_share:
            return max(round(min(asked, self.hyper.warmup_share * self.epochs * self.batches)), 1)
        return max(round(asked), 100)

    @property
    def leaves_warmup(self) -> bool:
        """Whether the run lasts at least twice as long as its warm-up, so that half of it has its learning rate."""
        return self.epochs * self.batches >= 2 * self.warmup_iterations

    def factor(self, epoch: int) -> float:
        """Share of lr0 in `epoch`."""
        done = epoch / self.epochs
        if self.cosine:
            return (1 - math.cos(done * math.pi)) / 2 * (self.hyper.lrf - 1) + 1
        return (1 - done) * (1 - self.hyper.lrf) + self.hyper.lrf

    def at(self, iteration: int) -> Step:
        """Values for the `iteration`-th batch since the start of training."""
        epoch = iteration // self.batches
        target = self.hyper.lr0 * self.factor(epoch)
        full = max(round(NOMINAL_BATCH / self.batch), 1)
        if iteration > self.warmup_iterations:
            return Step(target, target, self.hyper.momentum, full)
        span = [0, self.warmup_iterations]
        return Step(
            float(np.interp(iteration, span, [self.hyper.warmup_bias_lr, target])),
            float(np.interp(iteration, span, [0.0, target])),
            float(np.interp(iteration, span, [self.hyper.warmup_momentum, self.hyper.momentum])),
            max(1, int(np.interp(iteration, span, [1, NOMINAL_BATCH / self.batch]).round())),
        )

"""Contrastive denoising: labelled boxes, spoilt by noise, as more queries that find their way back, or say that nothing is there.

No matching is needed for them, so that the decoder learns from its first step on. (Zhang et al., DINO, 2023; spec 4.4.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engines.families.matching import Pairs, Wanted, to_centres

CLASS_NOISE = 0.5
"""Half of this share is given a random class."""
BOX_NOISE = 1.0
"""Noise of corners in halves of the box's sides. The published configuration says .4, but the published command 1.0."""


@dataclass(frozen=True, eq=False)
class Spoilt:
    """Queries of denoising for each picture, Q of them: groups one after another, in each first the wanted, then the unwanted.

    classes: (B, Q) int64. boxes: (B, Q, 4) cx cy w h, shares. there: (B, Q), False where a picture has fewer cells than another and the
    place is empty. pairs: which query is to find which cell; the others are to say that nothing is there. groups: how often each cell
    is asked for.
    """

    classes: Tensor
    boxes: Tensor
    there: Tensor
    pairs: Pairs
    groups: int

    @property
    def n(self) -> int:
        return self.classes.shape[1]

    def blocked(self, queries: int) -> Tensor:
        """Who must not see whom (Q + queries, Q + queries), True = blocked: the real queries no spoilt one, a group no other group."""
        total = self.n + queries
        group = torch.full((total,), self.groups, device=self.classes.device)
        group[: self.n] = torch.arange(self.groups, device=group.device).repeat_interleave(self.n // max(self.groups, 1))
        real = group == self.groups
        return (group[:, None] != group[None]) & ~real[None]


def spoil(
    wanted: Wanted, classes: int, generator: torch.Generator | None = None, budget: int = 100, box_noise: float = BOX_NOISE
) -> Spoilt:
    """Queries of denoising for a batch; none (Q = 0) where no picture has a cell.

    classes: number of classes. generator: of the noise, on the CPU; the global one unless given. Corners of the wanted move by less
    than half a side times `box_noise`, those of the unwanted by one to two halves. budget: spoilt cells a picture, a wanted and an
    unwanted one counted once: as many groups as fit the fullest picture of all processes, at least one.
    """
    device, batch, most = wanted.boxes.device, len(wanted.counts), wanted.everyone.most
    groups = max(budget // most, 1) if most else 0
    n = len(wanted.classes)
    # Cells of all groups, wanted then unwanted in each: (groups, 2, n).
    shape = (groups, 2, n)
    kind = wanted.classes.expand(shape)
    # Every process draws for the cells of all and takes its own, so that the number of processes changes nothing.
    first, drawn_for = wanted.everyone.before, wanted.everyone.cells
    noise = torch.rand((groups, 2, drawn_for, 10), generator=generator)[:, :, first : first + n].to(device)
    drawn, far, sign = noise[..., :2], noise[..., 2:6], noise[..., 6:]
    kind = torch.where(drawn[..., 0] < CLASS_NOISE / 2, (drawn[..., 1] * classes).long().clamp(max=classes - 1), kind)
    far[:, 1] += 1
    far = torch.where(sign < 0.5, far, -far)
    half = (wanted.boxes[:, 2:] - wanted.boxes[:, :2]).repeat(1, 2) / 2
    boxes = to_centres((wanted.boxes + far.to(half) * half * box_noise).clamp(0, 1))
    counts = torch.tensor(wanted.counts, device=device)
    rank = torch.arange(n, device=device) - (counts.cumsum(0) - counts)[wanted.image]
    block = torch.arange(2 * groups, device=device).view(groups, 2, 1)
    place = (block * most + rank).flatten()
    image = wanted.image.expand(shape).flatten()
    total = 2 * groups * most
    made = Spoilt(
        torch.zeros((batch, total), dtype=torch.int64, device=device),
        boxes.new_full((batch, total, 4), 0.5),
        torch.zeros((batch, total), dtype=torch.bool, device=device),
        Pairs(
            wanted.image.expand(groups, n).flatten(),
            (block[:, 0] * most + rank).flatten(),
            torch.arange(n, device=device).expand(groups, n).flatten(),
        ),
        groups,
    )
    made.classes[image, place] = kind.flatten()
    made.boxes[image, place] = boxes.flatten(0, 2)
    made.there[image, place] = True
    return made

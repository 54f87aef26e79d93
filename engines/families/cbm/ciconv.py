"""CIConv: edges that neither the lamp's strength nor its colour makes, as one channel, from a layer with a single learnt number.

Lengyel, Garg, Milford, van Gemert: Zero-Shot Day-Night Domain Adaptation with a Physics Prior (ICCV 2021), after the Gaussian colour
model (Geusebroek et al. 2001). spec 4.1.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Invariant = Literal["W", "E"]
INVARIANTS: tuple[Invariant, ...] = ("W", "E")
"""W: edges divided by the light that falls on them, whatever its strength. E: edges as they are."""
COLOUR = ((0.06, 0.63, 0.27), (0.3, 0.04, -0.35), (0.34, -0.6, 0.17))
"""Energy and its first and second derivative by wavelength, from linear red, green, blue."""
EPS = 1e-5
_REACH = 3.0
"""Half-width of a filter in standard deviations."""
MOST = 2.5
"""Scales are kept between -MOST and MOST, as powers of 2 in px."""


class CIConv(nn.Module):
    """(B, 3, H, W) RGB 0 to 1 -> (B, 1, H, W), each picture with mean 0 and variance 1 (log, then instance normalisation).

    invariant: "W" or "E". scale: log2 of the Gaussian's standard deviation in px, which is learnt; the filters' width follows it.
    state_dict: `scale`, one number. Raises ValueError for another invariant.
    """

    colour: Tensor

    def __init__(self, invariant: Invariant = "W", scale: float = 0.0) -> None:
        super().__init__()
        if invariant not in INVARIANTS:
            raise ValueError(f"an invariant is one of {', '.join(INVARIANTS)}, not {invariant!r}")
        self.invariant = invariant
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        self.register_buffer("colour", torch.tensor(COLOUR), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        filters = self.filters()
        energies = torch.einsum("ij,bjhw->bihw", self.colour.to(images.dtype), images)
        batch, _, height, width = energies.shape
        answers = functional.conv2d(
            energies.reshape(-1, 1, height, width), filters.to(images.dtype), padding=filters.shape[-1] // 2
        ).view(batch, 3, 3, height, width)
        smooth, edges = answers[:, :1, 0], answers[:, :, 1:].flatten(1, 2)
        if self.invariant == "W":
            edges = edges / (smooth + EPS)
        return functional.instance_norm(torch.log(edges.square().sum(1, keepdim=True) + EPS))

    def filters(self) -> Tensor:
        """(3, 1, S, S): the Gaussian and its derivatives across and down, each with absolute sum 1; differentiable in the scale."""
        deviation = 2.0 ** self.scale.clamp(-MOST, MOST)
        half = math.ceil(_REACH * float(deviation.detach()) + 0.5)
        steps = torch.arange(-half, half + 1, dtype=self.scale.dtype, device=self.scale.device)
        down, across = torch.meshgrid(steps, steps, indexing="ij")
        bell = torch.exp(-(across**2 + down**2) / (2 * deviation**2))
        some = torch.stack([bell, -across * bell, -down * bell])
        return (some / some.abs().sum((1, 2), keepdim=True))[:, None]

"""Hyper-parameter sets: the published low, med and high (spec 1.6), and ours for cells that have no up and no neighbours."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Hyper:
    """One set. Learning rates are for a nominal batch of 64 (`accumulate`), gains before the scaling of spec 1.5."""

    name: str
    lr0: float = 0.01
    lrf: float = 0.01
    momentum: float = 0.937
    weight_decay: float = 5e-4
    warmup_epochs: float = 3.0
    warmup_share: float = 0.0  # above 0: the warm-up is at most this share of the run; else at least 100 steps, as published
    warmup_momentum: float = 0.8
    warmup_bias_lr: float = 0.1
    box: float = 0.05
    cls: float = 0.5
    obj: float = 1.0
    anchor_t: float = 4.0
    fl_gamma: float = 0.0
    label_smoothing: float = 0.0
    hsv_h: float = 0.015
    hsv_s: float = 0.7
    hsv_v: float = 0.4
    stain: float = 0.0  # strength of another stain for the picture (or tile): log deviation of its dyes' amounts
    stain_cells: float = 0.0  # and of another for each labelled cell by itself
    degrees: float = 0.0
    translate: float = 0.1
    scale: float = 0.5
    shear: float = 0.0
    perspective: float = 0.0
    flipud: float = 0.0
    fliplr: float = 0.5
    quarter_turns: bool = False  # a film has no up: turn each picture by a multiple of 90 degrees
    crop: float = 0.0  # probability that a picture is cut to a random window first, so that a centred cell loses its place
    squeeze: float = 0.0  # probability that a picture is narrowed by up to a fifth, as smears and cameras distort
    mosaic: float = 1.0
    patchwork: float = 0.0  # probability of n x n tiles, each at a scale of its own, in place of the published mosaic
    cell_px: tuple[float, float] = (26.0, 210.0)  # range of cell sides in a patchwork, in px of the network's input
    mixup: float = 0.0
    blur: float = 0.0  # probability of a defocus blur
    optimiser: str = "sgd"  # "sgd" as published (Nesterov, batches accumulated to 64) or "adamw" (each batch steps)
    backbone_rate: float = 1.0  # the backbone's learning rate is this share of the others'
    clip_norm: float = 10.0  # the gradient of a step, of all parameters together, is no longer than this
    ema_tau: float = 2000.0
    ema_share: float = 0.0  # above 0: tau is this share of the run's steps, in place of ema_tau
    attribute: float = 1.0  # lambda of L = L_det + lambda x L_attr
    class_weights: bool = False  # weigh cells in the class loss by 1 / sqrt(cells of their type), artefacts held down
    balance_patients: bool = False  # n pictures of a patient count sqrt(n) together when pictures are drawn

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def cuts_windows(self) -> bool:
        """Whether cells are seen at their own scale, in windows cut out of larger fields."""
        return bool(self.crop or self.patchwork)

    def at_rate(self, rate: float) -> Hyper:
        """This set with another learning rate; the biases' rate, from which they are warmed up, keeps its proportion to it."""
        return replace(self, lr0=rate, warmup_bias_lr=self.warmup_bias_lr * rate / self.lr0)

    def tau(self, steps: int) -> float:
        """The average's time constant, in steps, for a run of `steps` steps.

        An average of a small tau stands still long before a long run ends: what it gives to step k is largest near tau x ln(tau), and
        hardly anything later. A share of the run makes it follow to the end, however long that is.
        """
        return self.ema_share * steps if self.ema_share else self.ema_tau


LOW = Hyper("low", cls=0.5, obj=1.0, scale=0.5, lrf=0.01)
MED = Hyper("med", cls=0.3, obj=0.7, scale=0.9, lrf=0.1, mixup=0.1)
HIGH = replace(MED, name="high")  # copy-paste needs segments; on boxes high equals med (spec 1.6)
FILM = Hyper(
    "film",
    optimiser="adamw",
    lr0=2e-3,
    lrf=0.02,
    weight_decay=0.02,
    momentum=0.9,
    warmup_epochs=1.0,
    warmup_share=0.1,
    warmup_bias_lr=2e-3,
    scale=0.5,
    patchwork=0.8,
    flipud=0.5,
    quarter_turns=True,
    crop=0.8,
    squeeze=0.3,
    hsv_h=0.02,
    hsv_s=0.5,
    hsv_v=0.3,
    blur=0.15,
    ema_tau=500.0,
    attribute=0.2,
)
"""For short runs on a CPU from random weights: AdamW steps at each batch, so a few thousand batches are enough.

At an attribute weight of 1 the attributes pull at the shared layers nearly as hard as the detector does, and detection suffers; at
0.2 it gains, and the head, whose steps AdamW scales by themselves, learns as well (docs/experiments.md).
"""

ADAPT = replace(FILM, name="adapt", lr0=5e-4, warmup_bias_lr=5e-4, ema_share=0.2, attribute=1.0)
"""For a hundred steps or a few from trained weights: small steps, and an average that is slow early on, since it teaches."""

FINETUNE = replace(
    FILM,
    name="finetune",
    lr0=3e-4,
    warmup_bias_lr=0.0,
    warmup_share=0.1,
    ema_share=0.2,
    class_weights=True,
    balance_patients=True,
    hsv_h=0.03,
)
"""From trained weights to other pictures, without losing what they know: small steps, a warm-up of a tenth of the run at most, an
average that follows to the end of a run of any length. Rare types and patients with few pictures are not drowned by the others. Stains
are not shaken: in a hundred steps that unlearnt more than it taught (docs/training.md)."""

SETS = {h.name: h for h in (LOW, MED, HIGH, FILM, FINETUNE, ADAPT)}

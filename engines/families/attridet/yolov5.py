"""YOLOv5 v6/v7 in its five sizes: layer list, detection layer, decoding. No loss, no NMS, no weights.

Written from the published layer list and formulas; names of parameters are those of the published state dict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import Self

from engines.families.attridet.layers import C3, CBS, SPPF, Concat


class Variant(NamedTuple):
    """One size of the network: multipliers of repeats (`depth`) and channels (`width`)."""

    depth: float
    width: float


VARIANTS = {
    "n": Variant(0.33, 0.25),
    "s": Variant(0.33, 0.50),
    "m": Variant(0.67, 0.75),
    "l": Variant(1.0, 1.0),
    "x": Variant(1.33, 1.25),
}
"""The five sizes by letter."""

STRIDES = (8, 16, 32)
"""Pixels a cell of levels P3, P4, P5."""

ANCHORS_PX: tuple[tuple[tuple[float, float], ...], ...] = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
"""Width and height in px of three anchors for each of P3, P4, P5, as published for COCO."""

VARIANCES = 4
"""Logits an anchor that a detection layer with variances has more than one without."""

TAP_P2, TAP_P3 = 1, 4
"""Layers whose outputs are the taps."""
SOURCES = {12: (11, 6), 16: (15, 4), 19: (18, 14), 22: (21, 10), 24: (17, 20, 23)}
"""Layers that read others than the one before them, and which."""
DETECT_SOURCES = SOURCES[24]
_KEPT = {TAP_P2, TAP_P3}.union(*SOURCES.values())


class Taps(NamedTuple):
    """The two early maps that the attribute head reads: `p2` (B,C1,H/4,W/4) of layer 1, `p3` (B,C4,H/8,W/8) of layer 4."""

    p2: Tensor
    p3: Tensor


class Prediction(NamedTuple):
    """What evaluation mode returns.

    rows: (B, N, 5+classes) float32: centre x, centre y, width, height in input px, objectness, class probabilities (both after
        the sigmoid). N = 3 * sum(ny * nx); levels P3, P4, P5 one after another, in each anchor, then y, then x.
    levels: the three raw levels (B, 3, ny, nx, 5+classes), logits, as in training mode.
    """

    rows: Tensor
    levels: list[Tensor]


class Detect(nn.Module):
    """The detection layer (index 24): one 1x1 convolution a level, and the arithmetic from logits to boxes.

    Buffer `anchors` (3,3,2): width and height **in cells** (px / stride), as published. Parameters `m.0`, `m.1`, `m.2`.
    variances: four more logits an anchor, last, that say how uncertain x, y, width and height are (ConfMix; spec 3.1).
    """

    anchors: Tensor
    stride: Tensor

    def __init__(
        self,
        classes: int,
        channels: Sequence[int],
        anchors_px: Sequence[Sequence[Sequence[float]]] = ANCHORS_PX,
        variances: bool = False,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.variances = variances
        self.outputs = classes + 5 + (VARIANCES if variances else 0)
        self.register_buffer("stride", torch.tensor(STRIDES, dtype=torch.float32), persistent=False)
        anchors = torch.tensor(_in_stride_order(anchors_px), dtype=torch.float32)
        self.register_buffer("anchors", anchors / self.stride.view(-1, 1, 1))
        self.m = nn.ModuleList(nn.Conv2d(c, 3 * self.outputs, 1) for c in channels)
        self._init_biases()

    @torch.no_grad()
    def _init_biases(self) -> None:
        """Priors: 8 objects on a field of 640 px, and a class probability of 0.6 shared out."""
        for layer, stride in zip(self.m, STRIDES, strict=True):
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            bias = layer.bias.view(3, -1)
            bias[:, 4] += math.log(8 / (640 / stride) ** 2)
            bias[:, 5 : 5 + self.classes] += math.log(0.6 / (self.classes - 0.99999))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Raw levels: logits (B, 3, ny, nx, 5+classes) for each of the three maps (B, C, ny, nx)."""
        levels = []
        for layer, x in zip(self.m, maps, strict=True):
            y = layer(x)
            b, _, ny, nx = y.shape
            levels.append(y.view(b, 3, self.outputs, ny, nx).permute(0, 1, 3, 4, 2).contiguous())
        return levels

    def decode(self, levels: Sequence[Tensor], delta: float = 1.0) -> Tensor:
        """Rows (B, N, 5+classes) of `Prediction` from raw levels.

        xy = (2 s - 0.5 + cell) * stride; wh = (2 s)^2 * anchor_px; s = sigmoid(logit). Computed in float32 at least: half
        precision has not the digits for a pixel. With variances the objectness C becomes (1 - delta) C + delta C (1 - mean(s)), s over
        the four variance logits: how far a box may be trusted, too (spec 3.1).
        """
        rows = []
        for level, anchors, stride in zip(levels, self.anchors, self.stride, strict=True):
            y = (level.float() if level.dtype in (torch.float16, torch.bfloat16) else level).sigmoid()
            _, _, ny, nx, _ = level.shape
            cell_y, cell_x = (torch.arange(n, device=y.device, dtype=y.dtype) for n in (ny, nx))
            cells = torch.stack((cell_x.expand(ny, nx), cell_y[:, None].expand(ny, nx)), -1)
            xy = (y[..., 0:2] * 2 - 0.5 + cells) * stride.to(y.dtype)
            wh = (y[..., 2:4] * 2) ** 2 * (anchors * stride).to(y.dtype)[:, None, None]
            objectness = y[..., 4:5]
            if self.variances:
                objectness = objectness * (1 - delta * y[..., 5 + self.classes :].mean(-1, keepdim=True))
            rows.append(torch.cat((xy, wh, objectness, y[..., 5 : 5 + self.classes]), -1).flatten(1, 3))
        return torch.cat(rows, 1)


def _in_stride_order(anchors_px: Sequence[Sequence[Sequence[float]]]) -> list[list[tuple[float, float]]]:
    """Anchors checked, and turned round if the large ones stand at the fine level; ValueError if they cannot be anchors."""
    levels = [[(float(w), float(h)) for w, h in level] for level in anchors_px]
    if [len(level) for level in levels] != [3] * len(STRIDES) or min(min(wh) for level in levels for wh in level) <= 0:
        raise ValueError(f"anchors need the shape ({len(STRIDES)}, 3, 2), positive widths and heights in px; got {anchors_px}")
    first, last = (sum(w * h for w, h in level) for level in (levels[0], levels[-1]))
    return levels[::-1] if last < first else levels


class YOLOv5(nn.Module):
    """The detector of one size: `YOLOv5("x", classes=14)`.

    size: "n", "s", "m", "l" or "x". classes: number of classes (1 or more). anchors_px: (3,3,2) width and height in px of the
    anchors of P3, P4, P5; the published ones unless given; turned round if large anchors stand at the fine level. variances: the
    detection layer of ConfMix and DACA, with four logits an anchor more in the raw levels; decoded rows keep their shape.
    Raises ValueError for an unknown size or impossible anchors.

    Input: images (B, 3, H, W), RGB, 0 to 1, float; H and W multiples of 32 (ValueError otherwise).

    `model(images)`
        training mode: a list of three **raw levels** P3, P4, P5: logits (B, 3, ny, nx, 5+classes) with ny = H/stride, stride 8, 16,
        32; the last axis is x, y, w, h, objectness, classes.
        evaluation mode: `Prediction(rows, levels)`, a tuple: **decoded rows** (B, N, 5+classes) and the same raw levels.
    `model.forward_with_taps(images)`
        `(output, Taps(p2, p3))`: what `model(images)` returns, and from the same single pass the outputs of layer 1 (B, C1, H/4, W/4)
        and layer 4 (B, C4, H/8, W/8). `model.tap_channels` is (C1, C4): n 32, 64; s 64, 128; m 96, 192; l 128, 256; x 160, 320.

    state_dict: the published names, `model.0.conv.weight` ... `model.24.anchors` (3,3,2; anchors / stride), `model.24.m.0.weight` ...;
    349 entries for n and s, 481 m, 613 l, 745 x. Batch normalisation has eps 1e-3 and momentum 0.03. Weights published for another
    number of classes fit but for `model.24.m.*`.

    `fuse()` folds the batch normalisations into the convolutions for inference; the state dict has fewer entries then.
    """

    def __init__(
        self, size: str, classes: int = 80, anchors_px: Sequence[Sequence[Sequence[float]]] = ANCHORS_PX, variances: bool = False
    ) -> None:
        super().__init__()
        if size not in VARIANTS:
            raise ValueError(f"YOLOv5 has the sizes {', '.join(VARIANTS)}; there is no {size!r}")
        if classes < 1:
            raise ValueError(f"a detector needs at least one class, not {classes}")
        self.size = size
        self.classes = classes
        depth, width = VARIANTS[size]

        def n(repeats: int) -> int:
            return max(round(repeats * depth), 1)

        c64, c128, c256, c512, c1024 = (math.ceil(c * width / 8) * 8 for c in (64, 128, 256, 512, 1024))
        self.tap_channels = (c128, c256)
        self.model = nn.ModuleList(
            (
                CBS(3, c64, 6, 2, 2),  # 0
                CBS(c64, c128, 3, 2),  # 1, stride 4: tap p2
                C3(c128, c128, n(3), shortcut=True),
                CBS(c128, c256, 3, 2),
                C3(c256, c256, n(6), shortcut=True),  # 4, stride 8: tap p3
                CBS(c256, c512, 3, 2),
                C3(c512, c512, n(9), shortcut=True),  # 6, stride 16
                CBS(c512, c1024, 3, 2),
                C3(c1024, c1024, n(3), shortcut=True),  # 8, stride 32
                SPPF(c1024, c1024, 5),
                CBS(c1024, c512, 1),  # 10: here the head begins
                nn.Upsample(scale_factor=2.0, mode="nearest"),
                Concat(),  # with 6
                C3(c512 + c512, c512, n(3), shortcut=False),
                CBS(c512, c256, 1),  # 14
                nn.Upsample(scale_factor=2.0, mode="nearest"),
                Concat(),  # with 4
                C3(c256 + c256, c256, n(3), shortcut=False),  # 17: P3
                CBS(c256, c256, 3, 2),
                Concat(),  # with 14
                C3(c256 + c256, c512, n(3), shortcut=False),  # 20: P4
                CBS(c512, c512, 3, 2),
                Concat(),  # with 10
                C3(c512 + c512, c1024, n(3), shortcut=False),  # 23: P5
                Detect(classes, (c256, c512, c1024), anchors_px, variances=variances),
            )
        )

    @property
    def detect(self) -> Detect:
        """The last layer, which knows anchors and strides."""
        layer = self.model[-1]
        assert isinstance(layer, Detect)
        return layer

    def forward(self, images: Tensor) -> list[Tensor] | Prediction:
        """Raw levels in training mode, `Prediction` in evaluation mode; see the class."""
        return self.forward_with_taps(images)[0]

    def forward_with_taps(self, images: Tensor) -> tuple[list[Tensor] | Prediction, Taps]:
        """What `forward` returns, and the two early maps, from one pass."""
        levels, taps = self.forward_levels(images)
        return (levels if self.training else Prediction(self.decode(levels), levels)), taps

    def forward_levels(self, images: Tensor) -> tuple[list[Tensor], Taps]:
        """Raw levels and taps of one pass in either mode: what a loss needs. Raises ValueError for another shape of images."""
        kept = self.feature_maps(images)
        levels: list[Tensor] = self.detect([kept[source] for source in DETECT_SOURCES])
        return levels, Taps(kept[TAP_P2], kept[TAP_P3])

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        """The maps that other layers, heads and the second look read, by layer: the taps and the detection layer's inputs among them.

        Raises ValueError for another shape of images than (B, 3, H, W) with H, W multiples of 32.
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] % 32 or images.shape[3] % 32:
            raise ValueError(f"images need the shape (B, 3, H, W) with H, W multiples of 32; got {tuple(images.shape)}")
        kept: dict[int, Tensor] = {}
        x: Any = images
        for i, layer in enumerate(self.model[:-1]):
            x = layer([kept[source] for source in SOURCES[i]] if i in SOURCES else x)
            if i in _KEPT:
                kept[i] = x
        return kept

    def decode(self, levels: Sequence[Tensor], delta: float = 1.0) -> Tensor:
        """Decoded rows (B, N, 5+classes) of `Prediction` from raw levels. delta: share of the variances in the objectness."""
        return self.detect.decode(levels, delta)

    def fuse(self) -> Self:
        """Fold every batch normalisation into its convolution, in place; for inference only. Returns the model."""
        for module in self.modules():
            if isinstance(module, CBS):
                module.fuse()
        return self

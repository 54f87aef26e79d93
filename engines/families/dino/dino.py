"""DINO: DETR with improved denoising anchor boxes; a set of queries that find cells, no anchors and no suppression.

Zhang et al., DINO (ICLR 2023); spec 4.4. Written from the paper and the published program's formulas (Apache-2.0). Not to be taken for
RT-DETR, D-FINE or DINOv2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from engines.families.base import Course, Learner, Network, Truth
from engines.families.dino.denoising import Spoilt, spoil
from engines.families.dino.transformer import Layer, Transformer
from engines.families.matching import COST, Wanted, Weights, add, gather, match, set_loss, to_corners
from engines.families.resnet import ResNet
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy

LOSS = Weights(cls=1.0, l1=5.0, giou=2.0)
LEVELS = 4


class Scale(NamedTuple):
    """One size. queries: how many cells a picture can have at most. width, wide: of the layers. encoders, decoders: how many layers.
    spoilt: cells a picture and training step that are spoilt to be found again, and as many to be refused."""

    queries: int
    width: int
    wide: int
    heads: int
    points: int
    encoders: int
    decoders: int
    spoilt: int = 100


SCALES = {
    "r18": Scale(queries=300, width=128, wide=512, heads=8, points=4, encoders=2, decoders=3),
    "r50": Scale(queries=900, width=256, wide=2048, heads=8, points=4, encoders=6, decoders=6),
}
"""r50 is the published one with four levels; r18 is ours, for few pictures and a CPU."""


class DINO(Network):
    """The detector of one size, "r18" or "r50": `DINO("r18", taxonomy)`. It tells no attributes.

    A row for each query; its objectness is 1. `scale`: other numbers than those of the size.
    """

    family: ClassVar[str] = "dino"
    sizes: ClassVar[tuple[str, ...]] = tuple(SCALES)
    iou: ClassVar[float] = 1.0
    learning_rate: ClassVar[float | None] = 2e-4
    backbone_rate: ClassVar[float | None] = 0.1
    clip_norm: ClassVar[float | None] = 0.1

    def __init__(self, size: str, taxonomy: Taxonomy = LEUKEMIA_ATTRI, scale: Scale | None = None) -> None:
        super().__init__()
        self.size, self.taxonomy = size, taxonomy
        self.backbone = ResNet(size)
        scale = SCALES[size] if scale is None else scale
        classes, width, channels = len(taxonomy.classes), scale.width, self.backbone.channels[1:]
        convolutions = [nn.Conv2d(c, width, 1) for c in channels] + [nn.Conv2d(channels[-1], width, 3, 2, 1)]
        for convolution in convolutions:
            nn.init.xavier_uniform_(convolution.weight)
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)
        self.input_proj = nn.ModuleList(nn.Sequential(convolution, nn.GroupNorm(32, width)) for convolution in convolutions)
        self.spoilt = scale.spoilt
        self.label_enc = nn.Embedding(classes, width)
        """What a spoilt query of each class says of itself."""
        self.transformer = Transformer(
            classes, width, scale.wide, LEVELS, scale.heads, scale.points, scale.encoders, scale.decoders, scale.queries
        )
        self.noise: torch.Generator | None = None
        """Draws of the denoising; torch's own where there is none."""

    def learner(self, course: Course) -> Learner:
        self.noise = course.noise
        return super().learner(course)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Four levels (B, width, H, W) with strides 8, 16, 32 and 64."""
        given = self.backbone(images)[1:]
        return [projection(x) for projection, x in zip(self.input_proj, (*given, given[-1]), strict=True)]

    def losses(self, images: Tensor, truth: Sequence[Truth]) -> dict[str, Tensor]:
        """Parts "cls", "l1" and "giou" of the decoder's layers and the encoder's choice, and "denoise": all of the spoilt queries."""
        wanted = gather(truth, images)
        spoilt = spoil(wanted, len(self.taxonomy.classes), self.noise, self.spoilt)
        contents = self.label_enc(spoilt.classes) * spoilt.there[..., None]
        maps = self.maps(images)
        real = min(self.transformer.queries, sum(level.shape[2] * level.shape[3] for level in maps))
        layers, chosen = self.transformer(maps, contents, spoilt.boxes, spoilt.blocked(real))
        total: dict[str, Tensor] = {}
        for layer in (*layers, chosen):
            start = 0 if layer is chosen else spoilt.n
            add(total, _matched(Layer(layer.logits[:, start:], layer.boxes[:, start:]), wanted))
        return {**total, "denoise": _denoised(layers, spoilt, wanted) + self.label_enc.weight.sum() * 0}

    def look(self, images: Tensor) -> tuple[Tensor, Any]:
        layers, _ = self.transformer(self.maps(images))
        logits, boxes = layers[-1]
        size = images.new_tensor([images.shape[3], images.shape[2]] * 2)
        return torch.cat((boxes * size, torch.ones_like(boxes[..., :1]), logits.sigmoid()), -1), None


def _matched(layer: Layer, wanted: Wanted) -> dict[str, Tensor]:
    """Parts of the loss of one layer whose queries are matched with the cells."""
    boxes = to_corners(layer.boxes)
    pairs = match(layer.logits, boxes, wanted, COST, centres=True)
    return set_loss(layer.logits, boxes, wanted, pairs, LOSS, centres=True)


def _denoised(layers: Sequence[Layer], spoilt: Spoilt, wanted: Wanted) -> Tensor:
    """The loss of the spoilt queries in all layers; 0 where there is none."""
    total = wanted.boxes.new_zeros(())
    if spoilt.n:
        for layer in layers:
            logits, boxes = layer.logits[:, : spoilt.n], to_corners(layer.boxes[:, : spoilt.n])
            parts = set_loss(logits, boxes, wanted, spoilt.pairs, LOSS, centres=True, repeats=spoilt.groups)
            total = total + torch.stack(list(parts.values())).sum()
    return total

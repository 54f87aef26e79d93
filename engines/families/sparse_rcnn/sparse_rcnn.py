"""Sparse R-CNN: a fixed set of learnt boxes and features, drawn better stage by stage; no anchors and no suppression.

Sun et al., Sparse R-CNN: End-to-End Object Detection with Learnable Proposals (CVPR 2021); spec 4.3. Written from the paper and held to
numbers of the published program (MIT licence) in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from engines.families.base import Network, Truth
from engines.families.matching import COST, add, gather, match, set_loss, to_centres, to_corners
from engines.families.resnet import FeaturePyramid, ResNet
from engines.families.sparse_rcnn.head import Stage, pool
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy


class Scale(NamedTuple):
    """One size. proposals: how many cells a picture can have at most. width: of maps and proposals. wide: of the feed-forward layers.
    inner: between the dynamic convolutions."""

    proposals: int
    stages: int
    width: int
    heads: int
    wide: int
    inner: int


SCALES = {
    "r18": Scale(proposals=100, stages=3, width=128, heads=8, wide=512, inner=32),
    "r50": Scale(proposals=300, stages=6, width=256, heads=8, wide=2048, inner=64),
}
"""r50 is the published one with 300 proposals; r18 is ours, for few pictures and a CPU."""


class Stages(nn.Module):
    """The iterations, one after another; a module of its own, since the published state dict calls it `head`."""

    def __init__(self, scale: Scale, classes: int) -> None:
        super().__init__()
        self.head_series = nn.ModuleList(Stage(scale.width, classes, scale.heads, scale.wide, scale.inner) for _ in range(scale.stages))


class SparseRCNN(Network):
    """The detector of one size, "r18" or "r50": `SparseRCNN("r18", taxonomy)`. It tells no attributes.

    A row for each proposal; its objectness is 1. `scale`: other numbers than those of the size.
    """

    family: ClassVar[str] = "sparse_rcnn"
    sizes: ClassVar[tuple[str, ...]] = tuple(SCALES)
    iou: ClassVar[float] = 1.0
    learning_rate: ClassVar[float | None] = 2e-4
    clip_norm: ClassVar[float | None] = 1.0

    def __init__(self, size: str, taxonomy: Taxonomy = LEUKEMIA_ATTRI, scale: Scale | None = None) -> None:
        super().__init__()
        self.size, self.taxonomy = size, taxonomy
        self.backbone = ResNet(size)
        scale = SCALES[size] if scale is None else scale
        self.fpn = FeaturePyramid(self.backbone.channels, scale.width, extra=0)
        self.init_proposal_features = nn.Embedding(scale.proposals, scale.width)
        self.init_proposal_boxes = nn.Embedding(scale.proposals, 4)
        with torch.no_grad():  # each begins with the whole picture
            self.init_proposal_boxes.weight.copy_(torch.tensor([0.5, 0.5, 1.0, 1.0]).expand(scale.proposals, 4))
        self.head = Stages(scale, len(taxonomy.classes))

    def stages(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Class logits (B, N, classes) and boxes (B, N, 4) x1 y1 x2 y2 in input px, of each stage."""
        batch, _, height, width = images.shape
        levels = self.fpn(self.backbone(images))
        size = images.new_tensor([width, height] * 2)
        boxes = (to_corners(self.init_proposal_boxes.weight) * size).expand(batch, -1, -1)
        proposals = self.init_proposal_features.weight.expand(batch, -1, -1)
        told = []
        for stage in self.head.head_series:
            logits, boxes, proposals = stage(pool(levels, boxes), boxes, proposals)
            told.append((logits, boxes))
            boxes = boxes.detach()
        return told

    def losses(self, images: Tensor, truth: Sequence[Truth]) -> dict[str, Tensor]:
        """Parts "cls", "l1" and "giou", each a sum over the stages, with the weights of the matching (see `Network.losses`)."""
        wanted = gather(truth, images)
        size = images.new_tensor([images.shape[3], images.shape[2]] * 2)
        total: dict[str, Tensor] = {}
        for logits, boxes_px in self.stages(images):
            boxes = boxes_px / size
            pairs = match(logits, boxes, wanted, COST, centres=False)
            add(total, set_loss(logits, boxes, wanted, pairs, COST, centres=False))
        return total

    def look(self, images: Tensor) -> tuple[Tensor, Any]:
        logits, boxes = self.stages(images)[-1]
        return torch.cat((to_centres(boxes), torch.ones_like(boxes[..., :1]), logits.sigmoid()), -1), None

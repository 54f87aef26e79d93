"""FCOS in torch (Tian et al. 2019, improved): ResNet, feature pyramid, two towers that all levels share. Names are torchvision's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import Self

from engines.families.base import Course, Learner, Network, Truth
from engines.families.fcos.learner import FcosLearner
from engines.families.fcos.losses import fcos_losses
from engines.families.fcos.points import Points
from engines.families.resnet import FeaturePyramid, ResNet
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy

_HEADS = {"r18": (128, 2), "r50": (256, 4)}
"""Width of pyramid and towers, and convolutions in a tower. r50 is the published network, r18 our own for small machines."""
_GROUPS = 32
_PRIOR = 0.01
"""What an untrained network says every type's probability is, so that background does not drown the first steps."""


class Answers(NamedTuple):
    """What the head says of every point: classes (B, P, C) logits, sides (B, P, 4) in strides, centres (B, P) logits."""

    classes: Tensor
    sides: Tensor
    centres: Tensor


class Tower(nn.Module):
    """Convolutions with group normalisation, and the last ones that answer; the same for every level."""

    def __init__(self, width: int, depth: int, answers: dict[str, int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [nn.Conv2d(width, width, 3, 1, 1), nn.GroupNorm(_GROUPS, width), nn.ReLU()]
        self.conv = nn.Sequential(*layers)
        for name, channels in answers.items():
            self.add_module(name, nn.Conv2d(width, channels, 3, 1, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                assert module.bias is not None
                nn.init.zeros_(module.bias)


class FCOS(Network):
    """FCOS of the size "r18" or "r50". It tells boxes and types, no attributes.

    A row's objectness is the root of the centre-ness, its classes are roots of the types' probabilities, so that the score, their
    product, is sqrt(centre-ness x type) as published. Boxes end at the input's edge. Rows lie level by level, P3 first.
    """

    family: ClassVar[str] = "fcos"
    sizes: ClassVar[tuple[str, ...]] = tuple(_HEADS)
    iou: ClassVar[float] = 0.6

    def __init__(self, size: str, taxonomy: Taxonomy = LEUKEMIA_ATTRI) -> None:
        super().__init__()
        self.size, self.taxonomy = size, taxonomy
        self.backbone = ResNet(size)
        width, depth = _HEADS[size]
        self.pyramid = FeaturePyramid(self.backbone.channels[1:], width)
        self.head = nn.ModuleDict(
            {
                "classification_head": Tower(width, depth, {"cls_logits": len(taxonomy.classes)}),
                "regression_head": Tower(width, depth, {"bbox_reg": 4, "bbox_ctrness": 1}),
            }
        )
        bias = self.head["classification_head"].get_submodule("cls_logits").bias
        assert isinstance(bias, Tensor)
        nn.init.constant_(bias, math.log(_PRIOR / (1 - _PRIOR)))

    def forward(self, images: Tensor) -> tuple[Answers, Points]:
        """What is said of every point, and where they lie. images: (B, 3, H, W) RGB 0 to 1, H and W multiples of 32."""
        types, regression = self.head["classification_head"], self.head["regression_head"]
        parts, grids, hw = [], [], (images.shape[2], images.shape[3])
        for level in self.pyramid(self.backbone(images)[1:]):
            seen = regression.get_submodule("conv")(level)
            answers = (
                types.get_submodule("cls_logits")(types.get_submodule("conv")(level)),
                functional.relu(regression.get_submodule("bbox_reg")(seen)),
                regression.get_submodule("bbox_ctrness")(seen),
            )
            parts.append([some.flatten(2).transpose(1, 2) for some in answers])
            grids.append((level.shape[2], level.shape[3]))
        classes, sides, centres = (torch.cat(some, 1) for some in zip(*parts, strict=True))
        return Answers(classes, sides, centres[..., 0]), Points.of(grids, hw, images.device)

    def losses(self, images: Tensor, truth: Sequence[Truth]) -> dict[str, Tensor]:
        answers, points = self(images)
        with torch.autocast(images.device.type, enabled=False):
            return fcos_losses(points, answers.classes, answers.sides, answers.centres, truth)

    def learner(self, course: Course) -> Learner:
        return FcosLearner(self, course)

    def look(self, images: Tensor) -> tuple[Tensor, Any]:
        answers, points = self(images)
        return rows_of(points, answers, (images.shape[2], images.shape[3])), None

    def fuse(self) -> Self:
        self.backbone.fuse()
        return self


def rows_of(points: Points, answers: Answers, hw: tuple[int, int]) -> Tensor:
    """Rows (B, P, 5 + classes) of what the head says; hw: height and width of the input, at which boxes end."""
    end = points.xy.new_tensor((hw[1], hw[0]))
    boxes = points.boxes(answers.sides.to(points.xy.dtype))
    low, high = (torch.minimum(corner.clamp(min=0), end) for corner in (boxes[..., :2], boxes[..., 2:]))
    shares = torch.cat((answers.centres[..., None], answers.classes), 2).to(points.xy.dtype).sigmoid().sqrt()
    return torch.cat(((low + high) / 2, high - low, shares), 2)

"""CBM: a trained detector's boxes, and for each the attributes that a small network sees in it, of which alone its type is told.

After Keser et al. (CVPR Workshops 2023: a concept bottleneck on a detector's crops, with a trainable colour invariance) and Koh et al.
(ICML 2020: joint, sequential and independent training, interventions); no program of the former is public. spec 4.1.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import Self

from engines.decode import Thresholds, candidates
from engines.detections import Int64
from engines.errors import DataError
from engines.families import parallel
from engines.families.attridet.attridet import AttriDet
from engines.families.attridet.yolov5 import VARIANTS
from engines.families.base import Batch, Course, Learner, Network, Truth
from engines.families.cbm.ciconv import CIConv
from engines.families.cbm.concepts import Concepts
from engines.families.resnet import ResNet
from engines.families.roi_align import roi_align
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy

CROP_PX = 64
MARGIN = 0.1
"""By how much a crop is wider and higher than its box."""
BOX_JITTER = 0.05
"""Share of a box's side by which labelled boxes are shaken in training, since a detector draws them so."""
LOOKED_AT = Thresholds(confidence=0.001, iou=0.6, max_detections=100, agnostic=True)
"""Which of the detector's boxes are looked at: one for each cell, whatever the detector calls it."""
BOTTLENECKS = ("joint", "sequential", "independent")
"""joint: types are learnt through the concepts that are told, and teach these. sequential: they learn from the concepts that are told
and teach them nothing. independent: they learn from the concepts that the labels state."""
SPREAD = 8.0
"""Concepts, 0 to 1, reach the linear layer as -4 to 4, so that it need not grow large weights first."""
_CROPS = 256
"""Crops that go through the network together."""


class _OnePlane(ResNet):
    """A ResNet-18 for pictures of one plane, which are normalised already."""

    def __init__(self) -> None:
        super().__init__("r18")
        self.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.mean, self.std = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)


class CBM(Network):
    """A frozen detector, and beside it crop -> CIConv -> ResNet-18 -> concepts -> linear -> type.

    size: "binary", the attributes of two values are the concepts (six of LeukemiaAttri's), or "all", Cell Size too. bottleneck: one
    of `BOTTLENECKS`, how types are taught. The detector is an AttriDet of the same types, which `take` brings; without one it can be
    taught, but looks at nothing. state_dict: the detector's entries begin with `detector.`.
    """

    family: ClassVar[str] = "cbm"
    sizes: ClassVar[tuple[str, ...]] = ("binary", "all")
    describes: ClassVar[bool] = True
    needs_start: ClassVar[bool] = True
    learning_rate: ClassVar[float | None] = 1e-3

    def __init__(self, size: str, taxonomy: Taxonomy = LEUKEMIA_ATTRI, bottleneck: str = "joint") -> None:
        super().__init__()
        if size not in self.sizes or bottleneck not in BOTTLENECKS:
            raise ValueError(f"a CBM is {' or '.join(self.sizes)} and {', '.join(BOTTLENECKS)}, not {size!r} and {bottleneck!r}")
        self.size, self.taxonomy, self.bottleneck = size, taxonomy, bottleneck
        self.concepts = Concepts.every(taxonomy) if size == "all" else Concepts.two_valued(taxonomy)
        if not self.concepts.columns:
            raise DataError("the taxonomy has no attribute of two values; a concept bottleneck needs one, or --size all")
        self.invariant = CIConv("W")
        self.backbone = _OnePlane()
        self.concept = nn.Linear(self.backbone.channels[-1], self.concepts.width)
        self.kind = nn.Linear(self.concepts.width, len(taxonomy.classes))
        nn.init.zeros_(self.kind.weight)
        self.detector: AttriDet | None = None

    def crops(self, images: Tensor, rois: Tensor) -> Tensor:
        """What is seen of each box, (K, 3, 64, 64): the box and a twentieth of its sides around it, cut at the picture's edge.

        images: (B, 3, H, W). rois: (K, 5), index of the picture, x1, y1, x2, y2 in px.
        """
        height, width = images.shape[2:]
        grown = (rois[:, 3:] - rois[:, 1:3]) * MARGIN / 2
        end = rois.new_tensor((width, height))
        low, high = (rois[:, 1:3] - grown).clamp(min=0), torch.minimum(rois[:, 3:] + grown, end)
        return roi_align(images, torch.cat([rois[:, :1], low, high], 1), (CROP_PX, CROP_PX), 1.0)

    def concept_logits(self, crops: Tensor) -> Tensor:
        """Logits (K, width) of the concepts of crops (K, 3, 64, 64)."""
        logits: Tensor = self.concept(self.backbone(self.invariant(crops))[-1].mean((2, 3)))
        return logits

    def types(self, values: Tensor) -> Tensor:
        """Logits (K, classes) of the types of cells with such concepts (K, width, 0 to 1): told by the network, or said by a person."""
        logits: Tensor = self.kind((values - 0.5) * SPREAD)
        return logits

    def told(self, images: Tensor, rois: Tensor) -> Tensor:
        """Concepts (K, width) that are told of K boxes; see `crops`."""
        parts = [self.concepts.values(self.concept_logits(self.crops(images, some))) for some in torch.split(rois, _CROPS)]
        return torch.cat(parts) if parts else images.new_zeros(0, self.concepts.width)

    def losses(
        self,
        images: Tensor,
        truth: Sequence[Truth],
        weight: float = 1.0,
        class_weights: Tensor | None = None,
        noise: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """As `Network.losses`: `concepts`, the mean over what labels state, times `weight`, and `type`, a mean over labelled cells.

        Boxes are not learnt, so regions to ignore change nothing. noise: shakes the boxes where it is given.
        """
        rois = _rois(truth)
        if noise is not None:
            sides = (rois[:, 3:] - rois[:, 1:3]).repeat(1, 2)
            drawn = torch.rand(len(rois), 4, generator=noise).to(rois)
            rois = torch.cat([rois[:, :1], rois[:, 1:] + (drawn * 2 - 1) * BOX_JITTER * sides], 1)
        if not len(rois):
            nothing = self.concept.weight.sum() * 0 + self.kind.weight.sum() * 0
            return {"concepts": nothing, "type": nothing.clone()}
        classes, attributes = (torch.cat([getattr(one, name) for one in truth]) for name in ("classes", "attributes"))
        logits = self.concept_logits(self.crops(images, rois)).float()
        values = self.concepts.values(logits)
        if self.bottleneck != "joint":
            values = values.detach()
        if self.bottleneck == "independent":
            values = self.concepts.labelled(attributes)
        types = functional.cross_entropy(self.types(values), classes, class_weights)
        return {"concepts": weight * self.concepts.loss(logits, attributes), "type": types}

    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The detector's boxes and scores after suppression, each with the one type that its concepts give; and the pictures."""
        boxes, rois = self._boxes(images)
        types = self.types(self.told(images, rois)).argmax(1)
        most = max((len(one) for one in boxes), default=0)
        rows = images.new_zeros(len(images), max(most, 1), 5 + len(self.taxonomy.classes))
        for number, one in enumerate(boxes):
            mine = types[rois[:, 0] == number]
            rows[number, : len(one), :5] = one
            rows[number, torch.arange(len(one), device=rows.device), 5 + mine] = 1.0
        return rows, images

    def describe(self, maps: Tensor, rois: Tensor) -> Tensor:
        """As `Network.describe`: the concepts; an attribute that is none is NaN."""
        return self.concepts.probabilities(self.told(maps, rois))

    @property
    def untold(self) -> tuple[int, ...]:
        groups = self.taxonomy.groups
        left = [groups[n] for n in range(len(groups)) if n not in self.concepts.columns]
        return tuple(place for group in left for place in range(group.start, group.stop))

    @property
    def concept_columns(self) -> tuple[int, ...]:
        return self.concepts.columns

    @torch.no_grad()
    def types_given(self, attributes: Int64) -> Int64:
        """As `Network.types_given`: what the linear layer makes of the labels; an unknown attribute counts as told by nothing."""
        values = self.concepts.labelled(torch.from_numpy(attributes)).to(self.kind.weight)
        found: Int64 = self.types(values).argmax(1).cpu().numpy()
        return found

    def _boxes(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """For each picture cx, cy, w, h and score of its boxes (N, 5); all of them as regions (K, 5)."""
        if self.detector is None:
            raise DataError("this CBM has no detector: it was not begun with --initial")
        found, regions = [], []
        for number, rows in enumerate(self.detector.look(images)[0].detach().float().cpu().numpy()):
            best = candidates(rows, LOOKED_AT)
            corners, scores = torch.from_numpy(best.boxes_px).to(images), torch.from_numpy(best.scores).to(images)
            low, high = corners[:, :2], corners[:, 2:]
            found.append(torch.cat([(low + high) / 2, high - low, scores[:, None]], 1))
            regions.append(functional.pad(corners, (1, 0), value=float(number)))
        return found, torch.cat(regions)

    def learner(self, course: Course) -> Learner:
        """Concepts weigh what attributes do in the set."""
        if self.detector is None:
            raise DataError("--family cbm tells types of the cells that a trained detector finds: name --initial, an AttriDet")
        return BottleneckLearner(self, course)

    def train(self, mode: bool = True) -> Self:
        """The detector stays as it is."""
        super().train(mode)
        if self.detector is not None:
            self.detector.eval()
        return self

    def fuse(self) -> Self:
        self.backbone.fuse()
        if self.detector is not None:
            self.detector.fuse()
        return self

    def take(self, other: Network) -> tuple[list[str], list[str]]:
        """Start from another CBM, or with an AttriDet as the detector; what it has not is begun anew."""
        if isinstance(other, AttriDet):
            if other.taxonomy.classes != self.taxonomy.classes:
                raise DataError("was trained with other types; name its --taxonomy")
            self.detector = copy.deepcopy(other).eval().requires_grad_(False)
            return ["the concepts and the types told by them"], []
        if not isinstance(other, CBM) or other.detector is None:
            raise DataError(f"is of the family {other.family}; --family cbm takes an AttriDet as its detector, or another cbm")
        self.detector = copy.deepcopy(other.detector)
        return super().take(other)

    @classmethod
    def begun(cls, size: str, taxonomy: Taxonomy, **options: Any) -> Self:
        """bottleneck: as of the class."""
        return cls(size, taxonomy, options.get("bottleneck", "joint"))

    @classmethod
    def restored(cls, size: str, taxonomy: Taxonomy, state: Mapping[str, Tensor]) -> Self:
        """As `Network.restored`; the detector's size is told by its first layer."""
        network = cls(size, taxonomy)
        own = {name.removeprefix("detector."): value for name, value in state.items() if name.startswith("detector.")}
        if own:
            width = len(own["model.0.conv.weight"])
            kind = next(name for name, variant in VARIANTS.items() if round(64 * variant.width) == width)
            network.detector = AttriDet.restored(kind, taxonomy, own).requires_grad_(False)
        network.load_state_dict(state)
        return network.eval()


class BottleneckLearner(Learner):
    """Concepts, weighed as the set weighs attributes, and types, weighed by class; of this process's cells."""

    def __init__(self, network: CBM, course: Course) -> None:
        super().__init__(network, course)
        self.bottleneck = network

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        device, course = next(self.network.parameters()).device, self.course
        images, truth = batch.images.to(device, non_blocking=True).float() / 255, batch.truth(device)
        weights = None if course.class_weights is None else course.class_weights.to(device)
        parts = self.bottleneck.losses(images, truth, course.hyper.attribute, weights, course.noise)
        (share,) = parallel.shares([len(batch.targets)])
        total = torch.stack(list(parts.values())).sum() * share
        return total, {name: value.detach() * share for name, value in parts.items()}


def _rois(truth: Sequence[Truth]) -> Tensor:
    return torch.cat([functional.pad(one.boxes_px, (1, 0), value=float(number)) for number, one in enumerate(truth)])

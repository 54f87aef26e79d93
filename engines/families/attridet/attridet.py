"""AttriDet: YOLOv5 that also tells each cell's morphological attributes; detector and head in one module and one checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from engines.data.augment import Sample
from engines.errors import DataError
from engines.families import parallel
from engines.families.attridet.attribute_head import AttributeHead
from engines.families.attridet.autoanchor import AnchorChoice, choose_anchors
from engines.families.attridet.losses import DetectionLoss, attribute_loss
from engines.families.attridet.yolov5 import ANCHORS_PX, VARIANCES, VARIANTS, Taps, YOLOv5
from engines.families.base import Batch, Course, Learner, Network
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy

BOX_JITTER = 0.05
"""Share of a box's side by which the attribute head's boxes are shaken, so that it meets boxes as a detector draws them."""


class AttriDet(YOLOv5, Network):
    """A detector of one size with the attribute head on its layers 1 and 4: `AttriDet("n")`.

    size: "n", "s", "m", "l" or "x". taxonomy: classes of the detector and attributes of the head (default: 14 classes, 7 attributes,
    15 logits). anchors_px and variances as in `YOLOv5`. detach_features: keep the attribute loss from reaching the detector's layers.

    state_dict: the detector's published names (`model.0.conv.weight` ...) and `attribute_head.conv1.weight` ...
    `attribute_head.fc3.bias` (12 entries); a published YOLOv5 state dict loads with `strict=False`.
    """

    family: ClassVar[str] = "attridet"
    sizes: ClassVar[tuple[str, ...]] = tuple(VARIANTS)
    describes: ClassVar[bool] = True
    weighs_classes: ClassVar[bool] = True

    def __init__(
        self,
        size: str,
        taxonomy: Taxonomy = LEUKEMIA_ATTRI,
        anchors_px: Sequence[Sequence[Sequence[float]]] = ANCHORS_PX,
        detach_features: bool = False,
        variances: bool = False,
    ) -> None:
        super().__init__(size, len(taxonomy.classes), anchors_px, variances)
        self.taxonomy = taxonomy
        self.detach_features = detach_features
        self.attribute_head = AttributeHead(sum(self.tap_channels), tuple(len(a.values) for a in taxonomy.attributes))

    forward_train = YOLOv5.forward_levels
    """Raw levels for the detection loss and taps for the attributes' one, in either mode."""

    def attribute_logits(self, taps: Taps, rois: Tensor) -> Tensor:
        """Attribute logits (K, n_logits) of K boxes, 0 or more; rois (K, 5): index in the batch, x1, y1, x2, y2 in input px."""
        if self.detach_features:
            taps = Taps(taps.p2.detach(), taps.p3.detach())
        logits: Tensor = self.attribute_head(self.attribute_head.pool(taps, rois))
        return logits

    def attribute_probabilities(self, logits: Tensor) -> Tensor:
        """Probabilities (K, n_logits) from logits, softmax within each attribute, in the taxonomy's order."""
        return self.attribute_head.probabilities(logits)

    def look(self, images: Tensor) -> tuple[Tensor, Taps]:
        """Decoded rows, and the taps; in either mode."""
        levels, taps = self.forward_train(images)
        return self.decode(levels), taps

    def describe(self, maps: Taps, rois: Tensor) -> Tensor:
        """As `Network.describe`."""
        return self.attribute_probabilities(self.attribute_logits(maps, rois))

    def learner(self, course: Course) -> Learner:
        """The joint loss of detector and attributes."""
        return AttriDetLearner(self, course)

    def fit_anchors(self, samples: Sequence[Sample], course: Course, seed: int) -> AnchorChoice:
        """Other anchors where too few labels match these (spec 1.4)."""
        stride = self.detect.stride.view(-1, 1, 1)
        given = (self.detect.anchors * stride).double().numpy()
        choice = choose_anchors(samples, given, course.imgsz, seed, course.hyper.anchor_t)
        if choice.adopted:
            self.detect.anchors.copy_(torch.from_numpy(choice.anchors_px) / stride)
        return choice

    def take(self, other: Network) -> tuple[list[str], list[str]]:
        """As `Network.take`; classes and attributes find each other by name, in whatever order."""
        if not isinstance(other, AttriDet):
            raise DataError(f"is of the family {other.family}; name its --family, or weights of an AttriDet")
        left = copy_fitting(self, other)
        misfits = [name for name in left if not name.startswith(("model.24.", "attribute_head."))]
        if misfits:
            raise DataError(f"is of another size than {self.size} ({len(misfits)} parameters do not fit); name its --size")
        return left, unknown_to(self.taxonomy, other.taxonomy)

    @classmethod
    def begun(cls, size: str, taxonomy: Taxonomy, **options: Any) -> Self:
        """detach, variances: as `detach_features` and `variances` of the class."""
        return cls(size, taxonomy, detach_features=options.get("detach", False), variances=options.get("variances", False))

    @classmethod
    def restored(cls, size: str, taxonomy: Taxonomy, state: Mapping[str, Tensor]) -> Self:
        """As `Network.restored`; whether it has variances is told by the detection layer's rows."""
        variances = len(state["model.24.m.0.bias"]) == 3 * (len(taxonomy.classes) + 5 + VARIANCES)
        network = cls(size, taxonomy, variances=variances)
        network.load_state_dict(state)
        return network.eval()


class AttriDetLearner(Learner):
    """L_det + lambda x L_attr of a batch.

    An attribute weight of 0 teaches YOLOv5 alone: the attribute head neither learns nor costs time.
    """

    def __init__(self, network: AttriDet, course: Course) -> None:
        super().__init__(network, course)
        self.attridet = network
        self.detection_loss = DetectionLoss(network, course.hyper, imgsz=course.imgsz, class_weights=course.class_weights)

    def forward(self, network: AttriDet, images: Tensor) -> tuple[list[Tensor], Taps]:
        """Raw levels and taps of `network` for uint8 pictures (B, 3, H, W), convolved in half precision, given in the network's own."""
        own = next(network.parameters())
        pixels = images.to(own.device, non_blocking=True, memory_format=torch.channels_last).to(own.dtype) / 255
        with self.course.halved():
            levels, taps = network.forward_train(pixels)
        return [level.to(own.dtype) for level in levels], Taps(taps.p2.to(own.dtype), taps.p3.to(own.dtype))

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The joint loss, and its parts box, obj, cls, attr."""
        levels, taps = self.forward(self.attridet, batch.images)
        device = levels[0].device
        total, parts = self.detection_loss(levels, batch.targets.to(device), batch.ignored)
        weight = self.course.hyper.attribute
        if weight == 0:
            return total, {**parts._asdict(), "attr": torch.zeros_like(parts.box)}
        known = (batch.attributes >= 0).any(1)
        rois = self._shaken(batch.rois()[known]).to(device)
        with self.course.halved():  # regions are pooled in full precision all the same
            logits = self.attridet.attribute_logits(taps, rois)
        groups = self.attridet.taxonomy.groups
        attr = attribute_loss(logits.to(taps.p2.dtype), batch.attributes[known], groups) * parallel.shares([len(rois)])[0]
        return total + weight * attr, {**parts._asdict(), "attr": attr.detach()}

    def _shaken(self, rois: Tensor) -> Tensor:
        sides = (rois[:, 3:5] - rois[:, 1:3]).repeat(1, 2)
        rows = [n for (n,) in parallel.gathered([len(rois)])]
        first = sum(rows[: parallel.current().rank])
        # Every process draws for all rows and takes its own, so that the number of processes changes nothing.
        noise = torch.rand(sum(rows), 4, generator=self.course.noise)[first : first + len(rois)]
        return torch.cat([rois[:, :1], rois[:, 1:] + (noise * 2 - 1) * BOX_JITTER * sides], dim=1)


def copy_fitting(model: AttriDet, other: AttriDet) -> list[str]:
    """Copy what fits of `other`'s parameters and buffers into `model`; returns the names that were left as they are.

    Rows of the detection layer and of the attributes' last layer are found by the names of classes, attributes and values, whatever
    their order in the two taxonomies; a class or an attribute that `other` has not is named behind its layer. Of detection layers with
    and without variances the rows of boxes, objectness and classes fit each other.
    """
    given, left = other.state_dict(), []
    for name, value in model.state_dict().items():
        start, named = given.get(name), next((_ROWS[layer] for layer in _ROWS if name.startswith(f"{layer}.")), None)
        if start is None or start.shape[1:] != value.shape[1:] or (named is None and start.shape != value.shape):
            left.append(name)
        elif named is None:
            value.copy_(start)
        else:
            anchors = 3 if named is _class_rows else 1
            ours, theirs = (t.view(anchors, -1, *t.shape[1:]).transpose(0, 1) for t in (value, start))
            found = dict(zip(named(other.taxonomy), theirs, strict=False))  # a layer may lack the last names: the variances
            for row, word in zip(ours, named(model.taxonomy), strict=False):
                row.copy_(found.get(word, row))
    return left + unknown_to(other.taxonomy, model.taxonomy)


def _class_rows(taxonomy: Taxonomy) -> list[tuple[str, ...]]:
    """What each row of one anchor stands for; variances, where there are some, come behind the classes."""
    classes = [f"class {name}" for name in taxonomy.classes]
    return [(word,) for word in ("x", "y", "w", "h", "objectness", *classes, *(f"variance {i}" for i in range(VARIANCES)))]


def _value_rows(taxonomy: Taxonomy) -> list[tuple[str, ...]]:
    return [(f"attribute {a.name}", a.key, value) for a in taxonomy.attributes for value in a.values]


_ROWS = {"model.24.m": _class_rows, "attribute_head.fc3": _value_rows}


def unknown_to(one: Taxonomy, other: Taxonomy) -> list[str]:
    """Classes and attributes of `other` that `one` has not, or not with the same values, each behind the layer that tells them."""
    found: list[str] = []
    for layer, named in _ROWS.items():
        known = named(one)
        found += [f"{layer}, {name}" for name in dict.fromkeys(row[0] for row in named(other) if row not in known)]
    return found


def without_variances(model: AttriDet) -> AttriDet:
    """The same network with a plain detection layer, in evaluation mode: its scores are objectness times class, delta 0 of spec 3.1."""
    plain = AttriDet(model.size, model.taxonomy)
    copy_fitting(plain, model)
    return plain.eval()

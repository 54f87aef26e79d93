"""AttriDet: YOLOv5 that also tells each cell's morphological attributes; detector and head in one module and one checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from engines.network.attribute_head import AttributeHead
from engines.network.yolov5 import ANCHORS_PX, VARIANCES, Taps, YOLOv5
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy


class AttriDet(YOLOv5):
    """A detector of one size with the attribute head on its layers 1 and 4: `AttriDet("n")`.

    size: "n", "s", "m", "l" or "x". taxonomy: classes of the detector and attributes of the head (default: 14 classes, 7 attributes,
    15 logits). anchors_px and variances as in `YOLOv5`. detach_features: keep the attribute loss from reaching the detector's layers.

    state_dict: the detector's published names (`model.0.conv.weight` ...) and `attribute_head.conv1.weight` ...
    `attribute_head.fc3.bias` (12 entries); a published YOLOv5 state dict loads with `strict=False`.
    """

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

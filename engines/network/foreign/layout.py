"""Which YOLOv5 a state dict is: version of the layer list, size n to x, classes; and how its names and shapes become ours."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from engines.families.attridet.yolov5 import VARIANTS
from engines.network.foreign.archive import ForeignWeightsError, StoredTensor
from engines.network.foreign.modules import Network

DETECT = "model.24"
_LAYERS = 25
_BOX_AND_OBJECTNESS = 5
_MASK_COEFFICIENTS = 32


@dataclass(frozen=True)
class Layout:
    """One way in which YOLOv5 has been published.

    name: for people. kernel: of the first convolution, without its output channels. differs: what is not the same network even where
    everything fits; "" when nothing is. first_as_ours: makes that convolution ours, where it is another.
    """

    name: str
    kernel: tuple[int, int, int]
    differs: str = ""
    first_as_ours: Callable[[Tensor], Tensor] | None = None

    def source(self, key: str) -> str:
        """Their name of our entry `key`."""
        if self is V6:
            return key
        # v5.0 begins with Focus, which holds a block of its own, and its layers 8 and 9 stand the other way round.
        key = re.sub(r"^model\.0\.", "model.0.conv.", key)
        return re.sub(r"^model\.([89])\.", lambda layer: f"model.{17 - int(layer[1])}.", key)


def focus_as_convolution(weight: Tensor) -> Tensor:
    """The first layer of v5.0 as a plain convolution: (c, 12, 3, 3) over four interleaved pictures -> (c, 3, 6, 6) stride 2, padding 2.

    Focus stacks the pixels of even and odd rows and columns, rows changing first: (0,0), (1,0), (0,1), (1,1). The result is exact.
    """
    channels, stacked, high, wide = weight.shape
    parts = weight.reshape(channels, 2, 2, stacked // 4, high, wide)  # by column, by row, then the picture's own channels
    return parts.permute(0, 3, 4, 2, 5, 1).reshape(channels, stacked // 4, 2 * high, 2 * wide)


FIRST = "model.0.conv.weight"
V6 = Layout("YOLOv5 v6.0 to v7.0", (3, 6, 6))
V5 = Layout(
    "YOLOv5 v5.0",
    (12, 3, 3),
    "v5.0 is another network than v6.0 and later: more blocks in layer 4, pooling before the last blocks of the backbone, and no "
    "shortcut in these. What fits is a start for training; it does not detect as it is.",
    focus_as_convolution,
)


def layout_of(network: Network, file: str) -> Layout:
    """Which layer list the network has. Raises ForeignWeightsError saying what it is instead."""
    layers = [int(match[1]) for key in network.tensors if (match := re.match(r"model\.(\d{1,4})\.", key))]
    for layout in (V6, V5):
        tensor = network.tensors.get(layout.source(FIRST))
        if tensor is not None and tensor.shape[1:] == layout.kernel:
            if max(layers) + 1 != _LAYERS:
                raise ForeignWeightsError(
                    f"{file}: has {max(layers) + 1} layers, and YOLOv5 n to x has {_LAYERS}. Checkpoints with a fourth "
                    "level (n6 to x6) and classifiers are other networks; give one named as yolov5n.pt or yolov5x.pt is."
                )
            if layout.source("model.0.bn.weight") not in network.tensors:
                raise ForeignWeightsError(
                    f"{file}: its normalisations are folded into the convolutions, so nothing can be trained from it. "
                    "Give the checkpoint that it was exported from."
                )
            return layout
    if any(key.endswith("layer1.0.conv1.weight") for key in network.tensors):
        raise ForeignWeightsError(f"{file}: a ResNet, not a YOLOv5. Name the detectors' family that begins with it: --family fcos")
    keys = ", ".join(list(network.tensors)[:3])
    raise ForeignWeightsError(f"{file}: not a YOLOv5 (its first entries are {keys[:120]!r}). Give a checkpoint of YOLOv5 v5.0 to v7.0.")


def size_of(network: Network, layout: Layout, file: str) -> str:
    """The size n to x by channels of the first layer and blocks of the third. Raises ForeignWeightsError."""
    channels = network.tensors[layout.source(FIRST)].shape[0]
    blocks = len({match[1] for key in network.tensors if (match := re.match(r"model\.2\.m\.(\d+)\.cv1\.conv\.weight$", key))})
    for size, (depth, width) in VARIANTS.items():
        if (channels, blocks) == (math.ceil(64 * width / 8) * 8, max(round(3 * depth), 1)):
            return size
    known = ", ".join(VARIANTS)
    raise ForeignWeightsError(
        f"{file}: a YOLOv5 of {channels} channels in its first layer and {blocks} blocks in layer 2, which is none of the sizes "
        f"{known}. Give one of these."
    )


def classes_of(tensors: Mapping[str, StoredTensor]) -> int | None:
    """How many classes the detection layer tells apart, or None where it is none of YOLOv5's (three anchors a level)."""
    bias = tensors.get(f"{DETECT}.m.0.bias")
    if bias is None or len(bias.shape) != 1 or bias.shape[0] % 3:
        return None
    extra = _MASK_COEFFICIENTS if any(key.startswith(f"{DETECT}.proto.") for key in tensors) else 0
    classes = bias.shape[0] // 3 - _BOX_AND_OBJECTNESS - extra
    return classes if classes >= 1 else None


def detection_rows(classes: Mapping[int, int]) -> dict[int, int]:
    """Rows of one anchor, ours -> theirs, that a detection layer takes over: box, objectness, and the `classes` (ours -> theirs)."""
    own = {row: row for row in range(_BOX_AND_OBJECTNESS)}
    return own | {_BOX_AND_OBJECTNESS + ours: _BOX_AND_OBJECTNESS + theirs for ours, theirs in classes.items()}


def with_rows(own: Tensor, rows: Mapping[int, int], anchors: int, given: Tensor) -> Tensor:
    """A copy of `own`, a layer's weight or bias, with `rows` (ours -> theirs) of each of its `anchors` taken from `given`."""
    made = own.clone()
    ours, theirs = made.view(anchors, -1, *own.shape[1:]), given.reshape(anchors, -1, *own.shape[1:])
    ours[:, list(rows)] = theirs[:, list(rows.values())]
    return made

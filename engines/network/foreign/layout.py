"""Which YOLOv5 a state dict is: version of the layer list, size n to x, classes; and how its names and shapes become ours."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engines.network.foreign.archive import ForeignWeightsError, StoredTensor
from engines.network.foreign.modules import Network
from engines.network.yolov5 import VARIANTS

DETECT = "model.24"
_LAYERS = 25
_BOX_AND_OBJECTNESS = 5
_MASK_COEFFICIENTS = 32


@dataclass(frozen=True)
class Layout:
    """One way in which YOLOv5 has been published.

    name: for people. moved: our layer number -> theirs, where they differ. first: the name of their first convolution, and what makes
    it ours. differs: what is not the same network even where everything fits; "" when nothing is.
    """

    name: str
    moved: Mapping[int, int]
    first: str
    first_as_ours: Callable[[Tensor], Tensor]
    differs: str = ""

    def source(self, key: str) -> str:
        """Their name of our entry `key`."""
        if key == "model.0.conv.weight":
            return self.first
        if key.startswith("model.0.bn."):
            return self.first.removesuffix("conv.weight") + key.removeprefix("model.0.")
        match = re.match(r"model\.(\d+)(\..*)", key)
        return key if match is None else f"model.{self.moved.get(int(match[1]), int(match[1]))}{match[2]}"

    def source_shape(self, key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that their entry needs to become ours of `shape`."""
        if key != "model.0.conv.weight" or self.first == key:
            return shape
        return shape[0], 4 * shape[1], shape[2] // 2, shape[3] // 2


def focus_as_convolution(weight: Tensor) -> Tensor:
    """The first layer of v5.0 as a plain convolution: (c, 12, 3, 3) over four interleaved pictures -> (c, 3, 6, 6) stride 2, padding 2.

    Focus stacks the pixels of even and odd rows and columns, rows changing first: (0,0), (1,0), (0,1), (1,1). The result is exact.
    """
    channels, stacked, high, wide = weight.shape
    made = weight.new_empty((channels, stacked // 4, 2 * high, 2 * wide))
    for number, (row, column) in enumerate(((0, 0), (1, 0), (0, 1), (1, 1))):
        made[:, :, row::2, column::2] = weight[:, number * (stacked // 4) : (number + 1) * (stacked // 4)]
    return made


def _as_it_is(weight: Tensor) -> Tensor:
    return weight


V6 = Layout("YOLOv5 v6.0 to v7.0", {}, "model.0.conv.weight", _as_it_is)
V5 = Layout(
    "YOLOv5 v5.0",
    {8: 9, 9: 8},
    "model.0.conv.conv.weight",
    focus_as_convolution,
    "v5.0 is another network than v6.0 and later: more blocks in layer 4, pooling before the last blocks of the backbone, and no "
    "shortcut in these. What fits is a start for training; it does not detect as it is.",
)


def layout_of(network: Network, file: str) -> Layout:
    """Which layer list the network has. Raises ForeignWeightsError saying what it is instead."""
    layers = [int(match[1]) for key in network.tensors if (match := re.match(r"model\.(\d{1,4})\.", key))]
    for layout, kernel in ((V6, (3, 6, 6)), (V5, (12, 3, 3))):
        tensor = network.tensors.get(layout.first)
        if tensor is not None and tensor.shape[1:] == kernel:
            if max(layers) + 1 != _LAYERS:
                raise ForeignWeightsError(
                    f"{file}: has {max(layers) + 1} layers, and YOLOv5 n to x has {_LAYERS}. Checkpoints with a fourth "
                    "level (n6 to x6) and classifiers are other networks; give one named as yolov5n.pt or yolov5x.pt is."
                )
            if f"{layout.first.removesuffix('conv.weight')}bn.weight" not in network.tensors:
                raise ForeignWeightsError(
                    f"{file}: its normalisations are folded into the convolutions, so nothing can be trained from it. "
                    "Give the checkpoint that it was exported from."
                )
            return layout
    keys = ", ".join(list(network.tensors)[:3])
    raise ForeignWeightsError(f"{file}: not a YOLOv5 (its first entries are {keys[:120]!r}). Give a checkpoint of YOLOv5 v5.0 to v7.0.")


def size_of(network: Network, layout: Layout, file: str) -> str:
    """The size n to x by channels of the first layer and blocks of the third. Raises ForeignWeightsError."""
    channels = network.tensors[layout.first].shape[0]
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


@torch.no_grad()
def detection_rows(own: Tensor, given: Tensor, classes: Mapping[int, int]) -> Tensor:
    """Weight or bias of a detection level: box and objectness rows of `given`, and the class rows named in `classes` (ours -> theirs).

    own: (3 * ours, ...); given: (3 * theirs, ...), the same behind. Returns a new tensor of `own`'s shape; the other rows are own's.
    """
    made = own.clone()
    rows, source = made.view(3, -1, *own.shape[1:]), given.to(own.dtype).reshape(3, -1, *own.shape[1:])
    rows[:, :_BOX_AND_OBJECTNESS] = source[:, :_BOX_AND_OBJECTNESS]
    for ours, theirs in classes.items():
        rows[:, _BOX_AND_OBJECTNESS + ours] = source[:, _BOX_AND_OBJECTNESS + theirs]
    return made

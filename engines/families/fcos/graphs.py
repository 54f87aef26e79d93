"""FCOS as one static ONNX graph, written node by node from its modules; that it equals the network is measured at each export.

Nodes keep the names of the state dict. The towers' nodes stand once for each level (`head.regression_head.conv.0.p3`), their weights
once for all. What follows the last convolutions is called `decode.*`.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from engines.families.fcos.fcos import FCOS, Tower
from engines.families.fcos.points import STRIDES, Points
from engines.families.resnet import FeaturePyramid
from engines.families.resnet_graphs import ResNetWriter
from engines.runtime.graphs import IMAGE, ROWS

_LAST = {"classification_head": ("cls_logits",), "regression_head": ("bbox_reg", "bbox_ctrness")}
"""Each tower's last convolutions."""


@torch.no_grad()
def detector_graph(model: FCOS, input_hw: tuple[int, int]) -> onnx.ModelProto:
    """`detector.onnx` of a network: `image` -> `rows` as in `engines.runtime.graphs`, no maps. The network is left as it is.

    Convolutions carry their folded normalisations; a group normalisation becomes InstanceNormalization between two Reshape, since ONNX
    has an operator for it only after opset 17.
    """
    graph = FcosWriter()
    height, width = input_hw
    maps = graph.backbone(IMAGE, model.backbone, "backbone")
    levels = graph.pyramid(maps[1:], model.pyramid, "pyramid")
    grids = [(-(-height // stride), -(-width // stride)) for stride in STRIDES]
    parts = []
    for number, (x, grid) in enumerate(zip(levels, grids, strict=True)):
        answers = []
        for head, last in _LAST.items():
            tower = model.head[head]
            assert isinstance(tower, Tower)
            at, name = f"p{number + 3}", f"head.{head}"
            seen = graph.tower(x, tower, name, at, grid)
            said = [graph.shared(seen, tower.get_submodule(one), f"{name}.{one}", at) for one in last]
            answers += [graph.flat(y, f"decode.{one}.{at}", grid) for one, y in zip(last, said, strict=True)]
        parts.append(answers)
    classes, sides, centres = (
        graph.add("Concat", [level[i] for level in parts], f"decode.{name}", axis=1)
        for i, name in enumerate(("classes", "sides", "centres"))
    )
    graph.rows(classes, sides, centres, Points.of(grids, input_hw), input_hw)
    rows = sum(h * w for h, w in grids)
    return graph.model("fcos-detector", {IMAGE: (1, 3, height, width)}, {ROWS: (1, rows, 5 + len(model.taxonomy.classes))})


class FcosWriter(ResNetWriter):
    """A writer that knows the pyramid and towers whose weights all levels share."""

    def __init__(self) -> None:
        super().__init__()
        self._there: set[str] = set()

    def once(self, name: str, value: Tensor) -> str:
        """A weight that several nodes read."""
        if name not in self._there:
            self._there.add(name)
            self.weight(name, value)
        return name

    def shared(self, x: str, conv: nn.Module, name: str, at: str) -> str:
        """A convolution that other levels have as well."""
        assert isinstance(conv, nn.Conv2d) and conv.bias is not None
        inputs = [x, self.once(f"{name}.weight", conv.weight), self.once(f"{name}.bias", conv.bias)]
        pad_h, pad_w = (int(p) for p in conv.padding)
        return self.add(
            "Conv",
            inputs,
            f"{name}.{at}",
            kernel_shape=list(conv.kernel_size),
            strides=list(conv.stride),
            pads=[pad_h, pad_w, pad_h, pad_w],
        )

    def pyramid(self, maps: list[str], net: FeaturePyramid, name: str) -> list[str]:
        """P3 to P7 of C3 to C5."""
        inner = [
            self._only(x, block, f"{name}.inner_blocks.{i}.0") for i, (x, block) in enumerate(zip(maps, net.inner_blocks, strict=True))
        ]
        for i in range(len(inner) - 2, -1, -1):
            inner[i] = self.add("Add", [inner[i], self.upsample(inner[i + 1], f"{name}.up{i}")], f"{name}.add{i}")
        made = [
            self._only(x, block, f"{name}.layer_blocks.{i}.0") for i, (x, block) in enumerate(zip(inner, net.layer_blocks, strict=True))
        ]
        assert net.extra_blocks is not None
        p6, p7 = net.extra_blocks["p6"], net.extra_blocks["p7"]
        assert isinstance(p6, nn.Conv2d) and isinstance(p7, nn.Conv2d)
        made.append(self.conv(made[-1], p6, f"{name}.extra_blocks.p6"))
        made.append(self.conv(self.add("Relu", [made[-1]], f"{name}.extra_blocks.relu"), p7, f"{name}.extra_blocks.p7"))
        return made

    def _only(self, x: str, block: nn.Module, name: str) -> str:
        conv = block.get_submodule("0")
        assert isinstance(conv, nn.Conv2d)
        return self.conv(x, conv, name)

    def tower(self, x: str, tower: Tower, name: str, at: str, grid: tuple[int, int]) -> str:
        """The convolutions, group normalisations and ReLU of a tower, on one level."""
        for i, layer in enumerate(tower.conv):
            here = f"{name}.conv.{i}"
            if isinstance(layer, nn.Conv2d):
                x = self.shared(x, layer, here, at)
            elif isinstance(layer, nn.GroupNorm):
                x = self._group_norm(x, layer, here, at, grid)
            else:
                x = self.add("Relu", [x], f"{here}.{at}")
        return x

    def _group_norm(self, x: str, norm: nn.GroupNorm, name: str, at: str, grid: tuple[int, int]) -> str:
        groups, channels = norm.num_groups, norm.num_channels
        split = self.weight(f"{name}.{at}.split", np.array([1, groups, channels // groups * grid[0] * grid[1]], np.int64))
        whole = self.weight(f"{name}.{at}.whole", np.array([1, channels, *grid], np.int64))
        plain = [self.once(f"{name}.ones", torch.ones(groups)), self.once(f"{name}.zeros", torch.zeros(groups))]
        x = self.add("Reshape", [x, split], f"{name}.{at}.grouped")
        x = self.add("InstanceNormalization", [x, *plain], f"{name}.{at}", epsilon=norm.eps)
        x = self.add("Reshape", [x, whole], f"{name}.{at}.ungrouped")
        x = self.add("Mul", [x, self.once(f"{name}.weight", norm.weight.view(1, -1, 1, 1))], f"{name}.{at}.scaled")
        return self.add("Add", [x, self.once(f"{name}.bias", norm.bias.view(1, -1, 1, 1))], f"{name}.{at}.shifted")

    def flat(self, x: str, name: str, grid: tuple[int, int]) -> str:
        """(1, C, h, w) -> (1, h w, C)."""
        shape = self.weight(f"{name}.shape", np.array([1, -1, grid[0] * grid[1]], np.int64))
        return self.add("Transpose", [self.add("Reshape", [x, shape], f"{name}.reshape")], f"{name}.transpose", perm=[0, 2, 1])

    def rows(self, classes: str, sides: str, centres: str, points: Points, hw: tuple[int, int]) -> None:
        """As `engines.families.fcos.fcos.rows_of`."""
        cuts = [self.weight(f"decode.at{n}", np.array([n], np.int64)) for n in (0, 2, 4)]
        axis = self.weight("decode.last_axis", np.array([2], np.int64))
        xy = self.weight("decode.points", points.xy[None])
        zero, half = (self.weight(f"decode.{word}", np.array(value, np.float32)) for word, value in (("zero", 0), ("half", 0.5)))
        end = self.weight("decode.end", np.array(hw[::-1], np.float32))
        far = self.add("Relu", [sides], "decode.relu")
        far = self.add("Mul", [far, self.weight("decode.stride", points.stride[None, :, None])], "decode.far")
        corners = []
        for i, (op, word) in enumerate((("Sub", "low"), ("Add", "high"))):
            part = self.add("Slice", [far, cuts[i], cuts[i + 1], axis], f"decode.{word}.far")
            corner = self.add(op, [xy, part], f"decode.{word}.corner")
            corner = self.add("Max", [corner, zero], f"decode.{word}.inside")
            corners.append(self.add("Min", [corner, end], f"decode.{word}"))
        low, high = corners
        centre = self.add("Mul", [self.add("Add", [low, high], "decode.both"), half], "decode.centre")
        size = self.add("Sub", [high, low], "decode.size")
        shares = self.add("Sigmoid", [self.add("Concat", [centres, classes], "decode.logits", axis=2)], "decode.sigmoid")
        self.add("Concat", [centre, size, self.add("Sqrt", [shares], "decode.sqrt")], "decode.concat", [ROWS], axis=2)

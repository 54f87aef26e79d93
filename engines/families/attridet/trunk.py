"""The part that all graphs of an AttriDet share, its backbone and neck, as ONNX.

Nodes and weights keep the names of the state dict (`model.2.cv1.conv`).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from engines.families.attridet.attridet import AttriDet
from engines.families.attridet.layers import C3, CBS, SPPF, Bottleneck, Concat, fuse_conv_bn
from engines.families.attridet.yolov5 import SOURCES
from engines.families.graph_writer import GraphWriter


class TrunkWriter(GraphWriter):
    """A writer that knows YOLOv5's blocks."""

    def cbs(self, x: str, block: CBS, name: str, out: str | None = None) -> str:
        conv = fuse_conv_bn(block.conv, block.bn) if isinstance(block.bn, nn.BatchNorm2d) else block.conv
        y = self.conv(x, conv, f"{name}.conv")
        gate = self.add("Sigmoid", [y], f"{name}.sigmoid")
        return self.add("Mul", [y, gate], f"{name}.silu", [out] if out else None)

    def bottleneck(self, x: str, block: Bottleneck, name: str) -> str:
        y = self.cbs(self.cbs(x, block.cv1, f"{name}.cv1"), block.cv2, f"{name}.cv2")
        return self.add("Add", [x, y], f"{name}.add") if block.shortcut else y

    def c3(self, x: str, block: C3, name: str, out: str | None = None) -> str:
        y = self.cbs(x, block.cv1, f"{name}.cv1")
        for i, inner in enumerate(block.m):
            assert isinstance(inner, Bottleneck)
            y = self.bottleneck(y, inner, f"{name}.m.{i}")
        both = self.add("Concat", [y, self.cbs(x, block.cv2, f"{name}.cv2")], f"{name}.concat", axis=1)
        return self.cbs(both, block.cv3, f"{name}.cv3", out)

    def sppf(self, x: str, block: SPPF, name: str) -> str:
        size = block.m.kernel_size
        assert isinstance(size, int)
        parts = [self.cbs(x, block.cv1, f"{name}.cv1")]
        for i in range(3):
            parts.append(
                self.add("MaxPool", [parts[-1]], f"{name}.m.{i}", kernel_shape=[size] * 2, strides=[1, 1], pads=[size // 2] * 4)
            )
        return self.cbs(self.add("Concat", parts, f"{name}.concat", axis=1), block.cv2, f"{name}.cv2")


def trunk(graph: TrunkWriter, model: AttriDet, x: str, named: Mapping[int, str]) -> dict[int, str]:
    """Every layer but the detection layer, on the input `x`: the name of each one's output. named: outputs with a name of their own."""
    outputs: dict[int, str] = {}
    for i, layer in enumerate(model.model[:-1]):
        name = f"model.{i}"
        if isinstance(layer, CBS):
            x = graph.cbs(x, layer, name, named.get(i))
        elif isinstance(layer, C3):
            x = graph.c3(x, layer, name, named.get(i))
        elif isinstance(layer, SPPF):
            x = graph.sppf(x, layer, name)
        elif isinstance(layer, nn.Upsample):
            x = graph.upsample(x, name)
        elif isinstance(layer, Concat):
            x = graph.add("Concat", [outputs[j] for j in SOURCES[i]], name, axis=1)
        else:
            raise TypeError(f"{name} is a {type(layer).__name__}, which has no form in ONNX here")
        outputs[i] = x
    return outputs

"""An ONNX graph under construction, and the part that all graphs of a network share: its backbone and neck.

Nodes and weights keep the names of the state dict (`model.2.cv1.conv`); every shape is a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from engines.network.attridet import AttriDet
from engines.network.layers import C3, CBS, SPPF, Bottleneck, Concat, fuse_conv_bn
from engines.network.yolov5 import SOURCES

OPSET = 17
IR_VERSION = 8
"""Old enough for the ONNX Runtime and TensorRT of every supported board."""


class GraphWriter:
    """Nodes and weights under construction; each method appends nodes and returns the name of their output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, op: str, inputs: Sequence[str], name: str, outputs: Sequence[str] | None = None, **attributes: Any) -> str:
        made = list(outputs or [f"{name}.out"])
        self.nodes.append(helper.make_node(op, list(inputs), made, name=name, **attributes))
        return made[0]

    def weight(self, name: str, value: Tensor | NDArray[np.generic]) -> str:
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def conv(self, x: str, conv: nn.Conv2d, name: str) -> str:
        inputs = [x, self.weight(f"{name}.weight", conv.weight)]
        if conv.bias is not None:
            inputs.append(self.weight(f"{name}.bias", conv.bias))
        pad_h, pad_w = (int(p) for p in conv.padding)
        return self.add(
            "Conv", inputs, name, kernel_shape=list(conv.kernel_size), strides=list(conv.stride), pads=[pad_h, pad_w, pad_h, pad_w]
        )

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

    def upsample(self, x: str, name: str) -> str:
        scales = self.weight(f"{name}.scales", np.array([1, 1, 2, 2], np.float32))
        return self.add(
            "Resize", [x, "", scales], name, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )

    def model(self, name: str, inputs: dict[str, tuple[int, ...]], outputs: dict[str, tuple[int, ...]]) -> onnx.ModelProto:
        ends = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in some.items()] for some in (inputs, outputs)]
        graph = helper.make_graph(self.nodes, name, ends[0], ends[1], self.weights)
        made = helper.make_model(
            graph, producer_name="leukoscope", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
        )
        made = onnx.shape_inference.infer_shapes(made, check_type=True, strict_mode=True)
        onnx.checker.check_model(made, full_check=True)
        return made


def trunk(graph: GraphWriter, model: AttriDet, x: str, named: Mapping[int, str]) -> dict[int, str]:
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

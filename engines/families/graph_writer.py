"""An ONNX graph under construction: what the graphs of every family are written with.

Nodes and weights keep the names of the state dict; every shape is a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

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

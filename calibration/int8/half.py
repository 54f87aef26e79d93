"""A Q/DQ graph whose remaining float arithmetic is FP16, for TensorRT: casts at the borders, opset 19, where scales may be FP16.

Detection layers and what follows them stay FP32, since pixels up to 640 have steps of half a pixel in FP16; so do RoiAlign, whose
regions are such pixels, and the attribute head's last layer with its softmax. Inputs and outputs keep their FP32.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

from calibration.int8.qdq import FLOAT_BLOCKS, block_of

OPSET = 19
IR_VERSION = 9
_EXACT_OPERATORS = ("RoiAlign", "Softmax", "Split")
_EXACT_BLOCKS = (*FLOAT_BLOCKS, "attribute_head.fc3")
_NOT_VALUES: Mapping[str, tuple[int, ...]] = {"Resize": (1, 2)}
"""Inputs that say how, not what: they keep their type. (roi and scales)"""


def in_half(graph: bytes) -> bytes:
    """The serialised graph with FP16 between its quantisers; names, inputs and outputs as before, opset 19.

    Raises ValueError when a tensor's type cannot be told.
    """
    model = version_converter.convert_version(onnx.load_model_from_string(graph), OPSET)
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    model.ir_version = IR_VERSION
    _convert(model.graph)
    del model.graph.value_info[:]  # their types are not true any more
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    serialised: bytes = model.SerializeToString()
    return serialised


def _convert(graph: onnx.GraphProto) -> None:
    """The conversion, in place."""
    weights = {w.name: w for w in graph.initializer}
    values: Iterable[onnx.ValueInfoProto] = (*graph.input, *graph.value_info, *graph.output)
    floats = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    floats |= {w.name for w in graph.initializer if w.data_type == TensorProto.FLOAT}
    made_in_half = {name for n in graph.node if _is_halved(n) for name in n.output if name in floats}
    outputs = {o.name for o in graph.output}
    added: set[str] = set()  # tensors that were cast or converted, by the name they are known as
    nodes: list[onnx.NodeProto] = []

    def half_of(name: str) -> str:
        """What a halved node reads in place of `name`."""
        half = _half_name(name)
        if name not in made_in_half and half not in added:
            added.add(half)
            if name in weights:
                weights[half] = numpy_helper.from_array(numpy_helper.to_array(weights[name]).astype(np.float16), half)
            else:
                nodes.append(helper.make_node("Cast", [name], [half], name=f"{name}.to_half", to=TensorProto.FLOAT16))
        return half

    def exact(name: str) -> str:
        """What a node that stays FP32 reads in place of `name`."""
        if name in made_in_half and name not in added:
            added.add(name)
            nodes.append(helper.make_node("Cast", [_half_name(name)], [name], name=f"{name}.to_float", to=TensorProto.FLOAT))
        return name

    for node in graph.node:
        halved, skipped = _is_halved(node), _NOT_VALUES.get(node.op_type, ())
        for i, name in enumerate(node.input):
            if name in floats and i not in skipped:
                node.input[i] = half_of(name) if halved else exact(name)
        nodes.append(node)
        for i, name in enumerate(node.output):
            if halved and name in made_in_half:
                node.output[i] = _half_name(name)
                if name in outputs:
                    exact(name)
    used = {name for node in nodes for name in node.input}
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(w for w in weights.values() if w.name in used)


def _is_halved(node: onnx.NodeProto) -> bool:
    return node.op_type not in _EXACT_OPERATORS and block_of(node.name) not in _EXACT_BLOCKS


def _half_name(name: str) -> str:
    return f"{name}.half"

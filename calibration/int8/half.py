"""A graph whose float arithmetic is FP16, float or with Q/DQ, for TensorRT: casts at the borders, opset and scales as they were.

What is quantised keeps FP32 around it: quantisers, their scales, and the convolutions and sums that read them, which compute in 8 bits;
their results are cast behind. (Scales in FP16, which opset 19 allows, are what TensorRT 10.16 builds no plan of on Orin:
NVIDIA/TensorRT 4832.) Detection layers and what follows them stay FP32, since pixels up to 640 have steps of half a pixel in FP16; so
do RoiAlign, whose regions are such pixels, and the attribute head's last layer with its softmax. Inputs and outputs keep their FP32.

FP16 ends at 65504, and what lies below 6.1e-5 loses bits: both are errors here that name the layer, `in_half` for what stands in the
file, `check_reach` for what the layers make of pictures.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from calibration.int8.qdq import FLOAT_BLOCKS, Float32, block_of
from engines.errors import BundleError
from engines.runtime.onnx import open_session, session_options

LARGEST, SMALLEST = float(np.finfo(np.float16).max), float(np.finfo(np.float16).tiny)
"""Of FP16: the largest number, and the smallest one that has all its bits."""
_EXACT_OPERATORS = ("RoiAlign", "Softmax", "Split", "QuantizeLinear", "DequantizeLinear")
_EXACT_BLOCKS = (*FLOAT_BLOCKS, "attribute_head.fc3")
_SCALING = ("Mul", "Div", "BatchNormalization")
"""Operators each of whose constants is a factor of its own: one that is lost changes a whole channel, as a single weight does not."""
_NOT_VALUES: Mapping[str, tuple[int, ...]] = {"Resize": (1, 2)}
"""Inputs that say how, not what: they keep their type. (roi and scales)"""


def in_half(graph: bytes, float_blocks: Collection[str] = ()) -> bytes:
    """The serialised graph with FP16 between its quantisers; names, inputs, outputs and opset as before.

    float_blocks: blocks that stay FP32. Raises BundleError, naming layer and next step, for a number that FP16 does not hold, and
    ValueError when a tensor's type cannot be told.
    """
    model = _typed(onnx.load_model_from_string(graph))
    _convert(model.graph, _halved(model.graph, float_blocks))
    del model.graph.value_info[:]  # their types are not true any more
    model = _typed(model)
    onnx.checker.check_model(model, full_check=True)
    del model.graph.value_info[:]
    serialised: bytes = model.SerializeToString()
    return serialised


def check_reach(graph: bytes, feeds: Iterable[Mapping[str, Float32]], float_blocks: Collection[str] = ()) -> float:
    """The largest number that a layer which would be FP16 makes of inputs (name -> array), computed in FP32.

    Raises BundleError, naming the layer and the next step, where it is beyond what FP16 holds, or no number.
    """
    model = _typed(onnx.load_model_from_string(graph))
    known = {value.name: value for value in model.graph.value_info}
    halved, there = _halved(model.graph, float_blocks), {output.name for output in model.graph.output}
    makers = {name: node for node in model.graph.node if node.name in halved for name in node.output if name in known or name in there}
    makers = {name: node for name, node in makers.items() if name in there or _is_float(known[name])}
    model.graph.output.extend(known[name] for name in makers if name not in there)
    session, largest = open_session(model.SerializeToString(), session_options(1)), 0.0
    for feed in feeds:
        for name, values in zip(makers, session.run(list(makers), dict(feed)), strict=True):
            reach = float(np.abs(values).max(initial=0.0))
            if not reach <= LARGEST:
                raise _beyond(makers[name], f"{name} reaches {reach:.6g}" if np.isfinite(reach) else f"{name} is no number")
            largest = max(largest, reach)
    return largest


def blocks_in_half(graph: bytes) -> tuple[str, ...]:
    """Blocks of a serialised graph that would be FP16, in the order of computing: those that may be kept in float32."""
    model = onnx.load_model_from_string(graph)
    halved = _halved(model.graph, ())
    return tuple(dict.fromkeys(block_of(node.name) for node in model.graph.node if node.name in halved))


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


def _is_float(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == TensorProto.FLOAT)


def _halved(graph: onnx.GraphProto, float_blocks: Collection[str]) -> frozenset[str]:
    """Names of the nodes that compute in FP16."""
    dequantised = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    exact = {*_EXACT_BLOCKS, *float_blocks}
    return frozenset(
        node.name
        for node in graph.node
        if node.op_type not in _EXACT_OPERATORS and block_of(node.name) not in exact and not dequantised & set(node.input)
    )


def _beyond(node: onnx.NodeProto, what: str, why: str = f"FP16 ends at {LARGEST:.0f}") -> BundleError:
    block = block_of(node.name)
    return BundleError(
        f"{node.op_type} {node.name}: {what}, and {why}. Its block {block} belongs in float32: `attridet half --float {block}`, "
        "or quantise without --half."
    )


def _in_16_bits(node: onnx.NodeProto, name: str, values: Float32) -> np.ndarray:
    """A constant of a node as FP16. Raises BundleError for what it cannot hold."""
    sizes = np.abs(values)
    if not sizes.max(initial=0.0) <= LARGEST:  # also what is no number
        raise _beyond(node, f"{name} reaches {sizes.max():.6g}")
    present = sizes[sizes > 0]
    least = present.min(initial=np.inf) if node.op_type in _SCALING else present.max(initial=0.0) or np.inf
    if least < SMALLEST:
        raise _beyond(node, f"{name} is as small as {least:.3g}", f"FP16 loses what is below {SMALLEST:.1e}")
    return values.astype(np.float16)


def _convert(graph: onnx.GraphProto, halved_nodes: Collection[str]) -> None:
    """The conversion, in place. halved_nodes: names of those that compute in FP16. Raises BundleError."""
    weights = {w.name: w for w in graph.initializer}
    values: Iterable[onnx.ValueInfoProto] = (*graph.input, *graph.value_info, *graph.output)
    floats = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    floats |= {w.name for w in graph.initializer if w.data_type == TensorProto.FLOAT}
    made_in_half = {name for n in graph.node if n.name in halved_nodes for name in n.output if name in floats}
    outputs = {o.name for o in graph.output}
    added: set[str] = set()  # tensors that were cast or converted, by the name they are known as
    nodes: list[onnx.NodeProto] = []

    def half_of(node: onnx.NodeProto, name: str) -> str:
        """What a halved node reads in place of `name`."""
        half = _half_name(name)
        if name not in made_in_half and half not in added:
            added.add(half)
            if name in weights:
                weights[half] = numpy_helper.from_array(_in_16_bits(node, name, numpy_helper.to_array(weights[name])), half)
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
        halved, skipped = node.name in halved_nodes, _NOT_VALUES.get(node.op_type, ())
        for i, name in enumerate(node.input):
            if name in floats and i not in skipped:
                node.input[i] = half_of(node, name) if halved else exact(name)
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


def _half_name(name: str) -> str:
    return f"{name}.half"

"""A graph with Q/DQ pairs in torch, as it will be computed in 8 bits, with gradients that pass straight through the rounding.

The graph is read from the ONNX file itself, node by node, so that quantisers stand where the quantiser put them, with its scales; only
weights are those of the float graph, quantised anew by channel at each pass. (Bengio et al., 2013: straight-through estimator.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor
from torch.nn import functional

_LOW, _HIGH = -128, 127
_WEIGHTED = ("Conv", "Gemm")


class StraightThrough:
    """`quantised` with the float weights of `graph`, both serialised; for a float teacher they are the same.

    weights: the trainable tensors by the names of the float graph's initializers (weights and biases of Conv and Gemm).
    """

    def __init__(self, graph: bytes, quantised: bytes) -> None:
        model = onnx.load_model_from_string(quantised)
        self._nodes = list(model.graph.node)
        self._constants = {w.name: torch.from_numpy(numpy_helper.to_array(w).copy()) for w in model.graph.initializer}
        of_float = onnx.load_model_from_string(graph).graph
        values = {w.name: w for w in of_float.initializer}
        self._weights_of = {n.name: tuple(n.input[1:3]) for n in of_float.node if n.op_type in _WEIGHTED}
        self.weights = {
            name: torch.from_numpy(numpy_helper.to_array(values[name]).copy()) for names in self._weights_of.values() for name in names
        }
        made = {output: node for node in self._nodes for output in node.output}
        # A weight that comes out of a DequantizeLinear is one that is in 8 bits.
        self._in_8_bits = {n.name for n in self._nodes if n.op_type in _WEIGHTED and n.input[1] in made}

    def trainable(self) -> list[Tensor]:
        """The weights, from now on with gradients."""
        return [weight.requires_grad_() for weight in self.weights.values()]

    def run(self, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> dict[str, Tensor]:
        """The tensors named by `outputs`, of any name in the graph, from those that are given. Shapes may be others than the file's.

        Raises ValueError for a node that is not known here.
        """
        values: dict[str, Tensor] = dict(inputs)
        for node in self._needed(outputs, set(inputs)):
            values[node.output[0]] = self._computed(node, values)
        return {name: values[name] for name in outputs}

    def written_into(self, graph: bytes) -> bytes:
        """The float graph, serialised, with the weights as they are now; of another with the same names too."""
        model = onnx.load_model_from_string(graph)
        for weight in model.graph.initializer:
            if weight.name in self.weights:
                array = self.weights[weight.name].detach().numpy().astype(np.float32)
                weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), weight.name))
        serialised: bytes = model.SerializeToString()
        return serialised

    def _needed(self, outputs: Sequence[str], given: set[str]) -> list[onnx.NodeProto]:
        wanted, needed = set(outputs) - given, []
        for node in reversed(self._nodes):
            if wanted & set(node.output):
                needed.append(node)
                wanted |= set(node.input) - given
        return needed[::-1]

    def _computed(self, node: onnx.NodeProto, values: Mapping[str, Tensor]) -> Tensor:
        how = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type in _WEIGHTED:
            weight, bias = (self.weights[name] for name in self._weights_of[node.name])
            return _weighted(
                node, how, values[node.input[0]], weight_in_8_bits(weight) if node.name in self._in_8_bits else weight, bias
            )
        if node.op_type == "QuantizeLinear":  # the pair at once; DequantizeLinear hands it on
            return in_8_bits(values[node.input[0]], self._constants[node.input[1]])
        given = [values[name] for name in node.input if name in values]
        if node.op_type == "DequantizeLinear" and not given:
            return torch.empty(0)  # a weight's: its convolution does it
        if node.op_type not in _OPERATORS or (node.op_type in ("Mul", "Add") and len(given) != 2):
            raise ValueError(f"{node.op_type} {node.name}: not known to the fine-tuning")
        return _OPERATORS[node.op_type](given, how)


_OPERATORS: dict[str, Callable[[list[Tensor], dict[str, Any]], Tensor]] = {
    "Sigmoid": lambda given, how: given[0].sigmoid(),
    "LeakyRelu": lambda given, how: functional.leaky_relu(given[0], how["alpha"]),
    "Mul": lambda given, how: given[0] * given[1],
    "Add": lambda given, how: given[0] + given[1],
    "Concat": lambda given, how: torch.cat(given, how["axis"]),
    "MaxPool": lambda given, how: functional.max_pool2d(given[0], how["kernel_shape"], how["strides"], how.get("pads", [0])[0]),
    "Resize": lambda given, how: functional.interpolate(given[0], scale_factor=2.0, mode="nearest"),
    "Flatten": lambda given, how: given[0].flatten(how["axis"]),
    "DequantizeLinear": lambda given, how: given[0],
}


def _weighted(node: onnx.NodeProto, how: dict[str, Any], x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if node.op_type == "Gemm":
        return functional.linear(x, weight, bias)
    return functional.conv2d(x, weight, bias, how["strides"], how["pads"][:2])


def in_8_bits(x: Tensor, scale: Tensor) -> Tensor:
    """QuantizeLinear and DequantizeLinear with zero at 0: rounded to steps of `scale` from -128 to 127 (half to even).

    The gradient passes where the value was in the range, and is 0 where it was clipped.
    """
    clipped = x.clamp(_LOW * float(scale), _HIGH * float(scale))
    with torch.no_grad():
        rounded = (x / scale).round().clamp(_LOW, _HIGH) * scale
    return clipped + (rounded - clipped).detach()


def weight_in_8_bits(weight: Tensor) -> Tensor:
    """A weight (out, ...) in symmetric 8 bits by channel, as ONNX Runtime's quantiser makes it; its gradient passes."""
    with torch.no_grad():
        reach = weight.abs().amax(tuple(range(1, weight.ndim)), keepdim=True)
        scale = torch.where(reach > 0, reach / _HIGH, torch.ones_like(reach))
        rounded = (weight / scale).round().clamp(_LOW, _HIGH) * scale
    return weight + (rounded - weight).detach()

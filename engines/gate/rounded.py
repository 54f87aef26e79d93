"""An FP16 graph as a GPU keeps its numbers, computed on a processor: what stands in FP16 in the file is rounded to FP16.

ONNX Runtime has no FP16 arithmetic for most processors. It widens such a graph to float32 and takes away the casts that it put in,
so that of FP16 only the weights' rounding is left (seen with 1.32: bit for bit the answer of rounded weights). A gate on that would
pass what a GPU loses. Here each tensor that is FP16 in the file is rounded where it is made; sums within an operator stay float32, as
in a GPU's matrix units with a wide accumulator. What one with a narrow accumulator loses besides, only that GPU tells.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.bundle import Bundle
from engines.errors import BundleError
from engines.runtime.engine import BundleEngine
from engines.runtime.factory import open_engine
from engines.runtime.graphs import check_names
from engines.runtime.onnx import OnnxEngine, OnnxGraphs, open_session, version
from engines.runtime.precision import HALF

if TYPE_CHECKING:
    import onnx


def open_judged(reference: str | Path, runtime: str, threads: int, plans: Path | None = None) -> BundleEngine:
    """The engine that a gate judges, not yet opened: on ONNX Runtime what is FP16 in its graphs is rounded. Raises as `open_engine`.

    Its golden picture is not asked on opening, and it needs no verdict: both are what the gate finds out.
    """
    engine = open_engine(reference, runtime, threads, verify=False, ungated=True, plans=plans)
    if isinstance(engine, OnnxEngine) and engine.bundle.manifest.precision.endswith(HALF):
        return RoundedEngine(engine.bundle, threads)
    return engine


class RoundedGraphs(OnnxGraphs):
    """A bundle's graphs in ONNX Runtime, each by `rounded`."""

    @staticmethod
    def _session(path: Path, options: Any, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Any:
        try:
            session = open_session(rounded(path.read_bytes()), options)
        except ModuleNotFoundError:
            raise
        except Exception as error:  # neither onnx's exceptions nor the runtime's share a base of their own
            words = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BundleError(f"{path}: ONNX Runtime cannot load it ({words}). Make the bundle again.") from error
        found = {i.name for i in session.get_inputs()}, {o.name for o in session.get_outputs()}
        check_names(path, found, inputs, outputs)
        return session


class RoundedEngine(BundleEngine):
    """A bundle with FP16 in its graphs on ONNX Runtime, as exact as FP16 keeps it and no more."""

    def __init__(self, bundle: Bundle, threads: int = 2, verify: bool = False) -> None:
        super().__init__(bundle, RoundedGraphs(bundle, threads), f"onnxruntime {version()} CPU, rounding to FP16", verify=verify)


def rounded(graph: bytes) -> bytes:
    """The serialised graph in float32, each tensor that is FP16 in it rounded to FP16 where it is made; names of both ends as before.

    Raises ValueError when a type cannot be told, or for an input or output in FP16: an engine's are float32.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(graph), check_type=True, strict_mode=True)
    ends = (*model.graph.input, *model.graph.output)
    if any(_is_half(value) for value in ends):
        raise ValueError("an input or output is FP16")
    half = {value.name for value in model.graph.value_info if _is_half(value)}
    for weight in model.graph.initializer:
        if weight.data_type == TensorProto.FLOAT16:
            half.add(weight.name)
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float32), weight.name))
    nodes = list[onnx.NodeProto]()
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in half and _to(node) == TensorProto.FLOAT:
            nodes.append(helper.make_node("Identity", node.input, node.output, name=node.name))
            continue
        made = [name for name in node.output if name in half]
        if node.op_type == "Cast" and made:  # to FP16: only the rounding of it is left
            nodes += _rounding(node.input[0], made[0])
            continue
        if made and node.op_type == "Constant":
            raise ValueError(f"{node.name} is a constant in FP16 that is no weight")
        for i, name in enumerate(node.output):
            if name in half:
                node.output[i] = f"{name}.wide"
        nodes.append(node)
        for name in made:
            nodes += _rounding(f"{name}.wide", name)
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    serialised: bytes = model.SerializeToString()
    return serialised


def _rounding(name: str, made: str) -> list[onnx.NodeProto]:
    """To FP16 and back: a pair that loses bits, which no runtime may take away."""
    from onnx import TensorProto, helper

    return [
        helper.make_node("Cast", [name], [f"{made}.rounded"], name=f"{made}.round", to=TensorProto.FLOAT16),
        helper.make_node("Cast", [f"{made}.rounded"], [made], name=f"{made}.widen", to=TensorProto.FLOAT),
    ]


def _is_half(value: onnx.ValueInfoProto) -> bool:
    from onnx import TensorProto

    return bool(value.type.tensor_type.elem_type == TensorProto.FLOAT16)


def _to(node: onnx.NodeProto) -> int:
    return next(int(each.i) for each in node.attribute if each.name == "to")

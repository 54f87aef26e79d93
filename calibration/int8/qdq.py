"""FP32 ONNX to explicit Q/DQ ONNX: how far each tensor reaches is measured on frames of one microscope, then quantisers are put in.

ONNX Runtime's quantizer with the recipe that NVIDIA's parser accepts: symmetric signed 8 bits, weights by channel, biases in float,
convolutions and residual sums only, nothing put behind their outputs (the pair would fall between a convolution and its SiLU).
Detection layers and what follows them stay float: pixels of 0 to 640 beside scores of 0 to 1 have no common scale. Which frames are
used is chosen in `frames`; whether the result may be believed is measured in `engines.gate`.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Collection, Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx

Float32 = npt.NDArray[np.float32]
Method = Literal["minmax", "percentile"]
METHODS: tuple[Method, ...] = ("minmax", "percentile")

OPERATORS = ("Conv", "Add")
FLOAT_BLOCKS = ("model.24", "decode")
"""The detection layer and what follows it; the attribute head's last layers are no convolutions and stay float by that."""
PERCENTILE = 99.999
"""Share of a tensor's values, in per cent, that its scale must reach with the method percentile; what lies beyond is clipped."""


Ranges: TypeAlias = Any
"""Smallest and largest value of each tensor of one graph, made by `measure`: ONNX Runtime's TensorsData, which has no stub."""


def block_of(node: str) -> str:
    """The block that a node's name says it belongs to: "model.2.cv1.conv" is of "model.2"."""
    first, _, rest = node.partition(".")
    return f"{first}.{rest.partition('.')[0]}" if rest and first != "decode" else first


def blocks_of(graph: bytes) -> tuple[str, ...]:
    """Blocks of a serialised graph that may be put into INT8, in the order of computing."""
    nodes = onnx.load_model_from_string(graph).graph.node
    return tuple(dict.fromkeys(b for n in nodes if n.op_type in OPERATORS and (b := block_of(n.name)) not in FLOAT_BLOCKS))


def measure(graph: bytes, feeds: Iterable[Mapping[str, Float32]], method: Method = "percentile") -> Ranges:
    """Runs a serialised float graph on inputs (name -> array) and keeps how far its tensors reach.

    percentile: all values but the outermost 0.001 % fit, so that one bright speck does not make every step coarser. minmax: all fit.
    Raises ValueError if there is no input.
    """
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "float.onnx"
        path.write_bytes(graph)
        calibrator = create_calibrator(
            path,
            list(OPERATORS),
            augmented_model_path=str(Path(scratch) / "watched.onnx"),
            calibrate_method=CalibrationMethod.MinMax if method == "minmax" else CalibrationMethod.Percentile,
            extra_options={"symmetric": True, "percentile": PERCENTILE},
        )
        feed = None
        for feed in feeds:
            # One at a time: the calibrator holds the tensors of all inputs of a call at once. It prints a line at each call.
            with redirect_stdout(io.StringIO()):
                calibrator.collect_data(SimpleNamespace(get_next=iter((feed, None)).__next__))
        if feed is None:
            raise ValueError("ranges are measured on at least one frame")
        with redirect_stdout(io.StringIO()):
            return calibrator.compute_data()


def quantise(graph: bytes, ranges: Ranges, float_blocks: Collection[str] = (), only: Collection[str] | None = None) -> bytes:
    """The serialised graph with Q/DQ pairs around the convolutions and sums of every block but `float_blocks`, or of `only` alone.

    Opset, names, inputs and outputs stay. A graph none of whose blocks is to be quantised comes back as it was.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    model = onnx.load_model_from_string(graph)
    chosen = (set(blocks_of(graph)) if only is None else set(only)) - set(float_blocks) - set(FLOAT_BLOCKS)
    nodes = [n.name for n in model.graph.node if n.op_type in OPERATORS and block_of(n.name) in chosen]
    if not nodes:
        return graph
    quantizer = QDQQuantizer(
        onnx.shape_inference.infer_shapes(model),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8,
        tensors_range=ranges,
        nodes_to_quantize=nodes,
        nodes_to_exclude=[],
        op_types_to_quantize=list(OPERATORS),
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": list(OPERATORS),
        },
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    made: onnx.ModelProto = quantizer.model.model
    # The quantizer adds its own domain and changes nothing else that a reader of the file relies on.
    del made.opset_import[:]
    made.opset_import.extend(model.opset_import)
    made.ir_version = model.ir_version
    del made.metadata_props[:]
    onnx.checker.check_model(made, full_check=True)
    serialised: bytes = made.SerializeToString()
    return serialised

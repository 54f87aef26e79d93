"""A stand-in for TensorRT's Python module: it enforces its rules and answers by ONNX Runtime, so an engine on it gives real detections.

A plan of it is the ONNX file with a mark before it. What it cannot show: speed, and the numbers of a GPU. Memory, streams and graphs
are in `recording_cuda`; `install` puts both where the house imports them from.
"""

from __future__ import annotations

import enum
import sys
import threading
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx as onnx_file
import pytest
from recording_cuda import LibCuda, Machine, Op, RuleBrokenError, pycuda_driver

from engines.runtime.onnx import open_session, session_options

OBEY = "OBEY_PRECISION_CONSTRAINTS"
MARK = b"a plan of the stand-in\n"
VERSION = "10.16.2"

DataType = enum.Enum("DataType", ["FLOAT", "HALF", "INT8"])
LayerType = enum.Enum("LayerType", ["CONVOLUTION", "CONSTANT", "CAST", "QUANTIZE", "DEQUANTIZE", "SHAPE", "PLUGIN_V2"])
KINDS = {
    "Constant": "CONSTANT",
    "Cast": "CAST",
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
    "RoiAlign": "PLUGIN_V2",
}
"""Layers by operator; every other one is a "convolution" here."""
TYPES = {
    onnx_file.TensorProto.FLOAT: DataType.FLOAT,
    onnx_file.TensorProto.FLOAT16: DataType.HALF,
    onnx_file.TensorProto.INT8: DataType.INT8,
}
Severity = enum.IntEnum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"], start=0)


def install(machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str = "tensorrt", version: str = VERSION) -> None:
    """Puts the stand-ins of TensorRT, pycuda and libcuda where the house imports them from."""
    pycuda: Any = ModuleType("pycuda")
    pycuda.driver = pycuda_driver(machine)
    for module, stand_in in {name: tensorrt(machine, name, version), "pycuda": pycuda, "pycuda.driver": pycuda.driver}.items():
        monkeypatch.setitem(sys.modules, module, stand_in)
    monkeypatch.setattr("engines.runtime.tensorrt.driver.library", lambda: LibCuda(machine))


@cache
def session(onnx: bytes) -> Any:
    """ONNX Runtime for a graph; it keeps nothing from run to run, so engines of one graph share it."""
    return open_session(onnx, session_options(1))


class Engine:
    """A deserialised plan: names, shapes and types as in the ONNX file."""

    def __init__(self, machine: Machine, onnx: bytes) -> None:
        self.session = session(onnx)
        self.inputs = {value.name: tuple(value.shape) for value in self.session.get_inputs()}
        self.outputs = {value.name: tuple(value.shape) for value in self.session.get_outputs()}
        self._machine = machine
        self.handle = machine.keep("engine")

    @property
    def num_io_tensors(self) -> int:
        return len(self.inputs) + len(self.outputs)

    def get_tensor_name(self, i: int) -> str:
        return [*self.inputs, *self.outputs][i]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return {**self.inputs, **self.outputs}[name]

    def get_tensor_dtype(self, _name: str) -> DataType:
        return DataType.FLOAT

    def create_execution_context(self) -> ExecutionContext:
        return ExecutionContext(self._machine, self)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self._machine.alive.pop(self.handle, None)


class ExecutionContext:
    """Belongs to the thread that made it, here as in the house."""

    def __init__(self, machine: Machine, engine: Engine) -> None:
        self._handle = machine.make("execution context", "create_execution_context")
        self._machine, self._engine = machine, engine
        self._addresses: dict[str, int] = {}
        self._thread = threading.get_ident()
        self._ran = False

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._machine.call(f"set_tensor_address {name}")
        if name in self._addresses:
            raise RuleBrokenError(f"the address of {name} is set twice")
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        machine, engine = self._machine, self._engine
        machine.call("execute", in_capture=True)
        if threading.get_ident() != self._thread:
            raise RuleBrokenError("execute_async_v3 by another thread than the context's")
        if machine.alive.get(stream) != "Stream":
            raise RuleBrokenError("execute_async_v3 on a stream that is gone")
        if machine.capturing is not None and not self._ran:
            raise RuleBrokenError("a capture before the context ran once")
        shapes = {**engine.inputs, **engine.outputs}
        if missing := set(shapes) - set(self._addresses):
            raise RuleBrokenError(f"execute_async_v3 without an address for {missing}")
        if not machine.execute_answers:
            machine.log(Severity.ERROR, "[standIn.cpp::enqueueV3::1] the execution context says no")
            return False
        for name, shape in shapes.items():
            self._tensor(name, shape)  # each must lie in living memory of its size
        self._ran = True
        machine.put(Op("execute", self._run))
        return True

    def _tensor(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        return self._machine.at(self._addresses[name], 4 * int(np.prod(shape))).view(np.float32).reshape(shape)

    def _run(self) -> None:
        canned = self._machine.canned
        answers: dict[str, np.ndarray] = canned
        if not canned:
            inputs = {name: self._tensor(name, shape) for name, shape in self._engine.inputs.items()}
            names = list(self._engine.outputs)
            answers = dict(zip(names, self._engine.session.run(names, inputs), strict=True))
        for name, shape in self._engine.outputs.items():
            if name in answers:
                self._tensor(name, shape)[:] = answers[name] * np.float32(self._machine.bends)

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            self._machine.alive.pop(self._handle, None)


class Network:
    """What the parser fills: the file, and its layers as far as `engines.build` asks for them."""

    def __init__(self, strongly: bool) -> None:
        self.strongly, self.onnx = strongly, b""
        self._layers: list[Layer] = []

    def parse(self, content: bytes) -> None:
        self.onnx = content
        model = onnx_file.shape_inference.infer_shapes(onnx_file.load_model_from_string(content))
        typed = {value.name: value.type.tensor_type.elem_type for value in (*model.graph.value_info, *model.graph.output)}
        for node in model.graph.node:
            self._layers.append(Layer(node.op_type, node.name, [TYPES.get(typed.get(name, 0)) for name in node.output]))

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    def get_layer(self, i: int) -> Layer:
        return self._layers[i]


class Layer:
    """precision: what the build held it to, if anything."""

    def __init__(self, operator: str, name: str, outputs: list[DataType | None]) -> None:
        self.type = getattr(LayerType, KINDS.get(operator, "CONVOLUTION"))
        self.name, self._outputs = name, [SimpleNamespace(dtype=dtype) for dtype in outputs]
        self.num_outputs = len(outputs)
        self.precision: DataType | None = None
        self.held: dict[int, DataType] = {}

    def get_output(self, i: int) -> SimpleNamespace:
        return self._outputs[i]

    def set_output_type(self, i: int, dtype: DataType) -> None:
        assert self._outputs[i].dtype == dtype
        self.held[i] = dtype


class Configuration:
    """What a build was asked for; `machine.asked` keeps it for the test."""

    def __init__(self, machine: Machine) -> None:
        self.progress_monitor: Any = None
        self.flags_cleared: list[str] = []
        self.flags: list[str] = []
        self.network: Network | None = None
        self.workspace = 0
        self.timings: bytes | None = None
        self._machine = machine
        machine.asked.append(self)

    def set_memory_pool_limit(self, pool: str, nbytes: int) -> None:
        assert pool == "workspace"
        self.workspace = nbytes

    def clear_flag(self, flag: str) -> None:
        self.flags_cleared.append(flag)

    def set_flag(self, flag: str) -> None:
        self.flags.append(flag)

    def create_timing_cache(self, content: bytes) -> bytes:
        return content

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache and not cache.startswith(b"timings"):
            return False
        self.timings = cache
        return True

    def get_timing_cache(self) -> Any:
        class Cache:
            def serialize(cache) -> bytes:  # noqa: N805  # `self` is the configuration here
                return b"timings" + bytes([len(self._machine.asked)])

        return Cache()


def tensorrt(machine: Machine, name: str, version: str) -> ModuleType:
    """The module, as far as `engines.build` and `engines.runtime.tensorrt` use it."""
    module: Any = ModuleType(name)

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO = Severity.INTERNAL_ERROR, Severity.ERROR, Severity.WARNING, Severity.INFO

        def __init__(self) -> None:
            machine.loggers.append(self)

    class IProgressMonitor:
        pass

    class Runtime:
        def __init__(self, _logger: Any) -> None:
            machine.call("Runtime", context=False)

        def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
            machine.call("deserialize")
            if not machine.deserialises or not plan.startswith(MARK):
                machine.log(Severity.ERROR, "[standIn.cpp::deserialize::1] Serialization assertion magicTag failed.")
                return None
            return Engine(machine, plan.removeprefix(MARK))

    class ParserError:
        def desc(self) -> str:
            return "the stand-in was told to refuse"

        def node_name(self) -> str:
            return "model.0.conv"

        def node_operator(self) -> str:
            return "Conv"

    class OnnxParser:
        num_errors = 1

        def __init__(self, network: Network, _logger: Any) -> None:
            self._network = network

        def parse_from_file(self, path: str) -> bool:
            parses = machine.parses and not (self._network.strongly and machine.refuses_strongly == "parser")
            if not parses:
                machine.log(Severity.ERROR, "[standIn.cpp::parse::1] In node 0")
                return False
            self._network.parse(Path(path).read_bytes())
            return True

        def get_error(self, _i: int) -> ParserError:
            return ParserError()

    class Builder:
        def __init__(self, _logger: Any) -> None:
            machine.call("Builder", context=False)
            if machine.no_builder:
                machine.log(Severity.ERROR, machine.no_builder)
                raise TypeError("pybind11::init(): factory function returned nullptr")

        def create_network(self, flags: int) -> Network:
            strongly = flags == 1 << int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
            assert strongly or (flags == 0 and (machine.refuses_strongly or not machine.builds or not machine.parses))
            return Network(strongly)

        def create_builder_config(self) -> Configuration:
            return Configuration(machine)

        def build_serialized_network(self, network: Network, config: Configuration) -> bytes | None:
            config.network = network
            if config.flags and network.strongly:
                raise RuleBrokenError("a strongly typed network with the flags of a weakly typed one")
            monitor = config.progress_monitor
            monitor.phase_start("Building engine", None, 2)
            monitor.phase_start("Timing tactics", "Building engine", 3)
            goes_on = [monitor.step_complete("Timing tactics", i) for i in range(3)]
            monitor.phase_finish("Timing tactics")
            monitor.phase_finish("Building engine")
            builds = machine.builds and not (network.strongly and machine.refuses_strongly == "builder")
            if not all(goes_on) or not builds:
                machine.log(Severity.ERROR, "[standIn.cpp::build::1] no implementation")
                return None
            return MARK + network.onnx

    module.__version__ = version
    module.ILogger, module.IProgressMonitor, module.Runtime = ILogger, IProgressMonitor, Runtime
    module.OnnxParser, module.Builder, module.DataType = OnnxParser, Builder, DataType
    module.NetworkDefinitionCreationFlag = enum.IntEnum("Flag", {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1})
    module.MemoryPoolType = type("MemoryPoolType", (), {"WORKSPACE": "workspace"})
    newer = name == "tensorrt_rtx" or int(version.partition(".")[0]) > 10
    weakly = {} if newer else {"FP16": "fp16", "INT8": "int8", OBEY: "obey"}
    module.BuilderFlag = type("BuilderFlag", (), {"TF32": "tf32", **weakly})
    module.LayerType = LayerType
    module.init_libnvinfer_plugins = lambda _logger, _namespace: True
    return module

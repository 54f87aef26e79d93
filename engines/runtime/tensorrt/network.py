"""One deserialised graph with its execution context: its tensors' shapes, their addresses, and putting it on a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from engines.errors import InferenceError, RuntimeUnavailableError
from engines.runtime.tensorrt.library import Library, Words
from engines.runtime.tensorrt.memory import Buffer

Tensor = tuple[tuple[int, ...], np.dtype[Any]]
"""Shape and type of one of a graph's inputs or outputs."""


class Network:
    """A plan that runs. Raises RuntimeUnavailableError, with TensorRT's own lines, where the plan does not become an engine.

    what: its name in messages. names: the inputs and outputs it must have, no more and no fewer.
    """

    def __init__(self, library: Library, runtime: Any, words: Words, plan: bytes, what: str, names: tuple[str, ...]) -> None:
        self._what = what
        self._words = words
        self._engine = runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise self._unusable("cannot be deserialised")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise self._unusable("gets no execution context (is the GPU's memory full?)")
        trt = library.module
        types: dict[Any, np.dtype[Any]] = {trt.DataType.FLOAT: np.dtype(np.float32), trt.DataType.HALF: np.dtype(np.float16)}
        self.tensors: dict[str, Tensor] = {}
        for i in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(i)
            shape, kind = tuple(self._engine.get_tensor_shape(name)), self._engine.get_tensor_dtype(name)
            if kind not in types or min(shape, default=1) < 1:
                raise self._unusable(f"has {name} as {kind} {shape}, expected float32 or float16 of a fixed shape")
            self.tensors[name] = (shape, types[kind])
        if set(self.tensors) != set(names):
            raise self._unusable(f"has {', '.join(sorted(self.tensors))}, expected {', '.join(sorted(names))}")

    def bind(self, buffers: Mapping[str, Buffer]) -> None:
        """Says where each tensor lies, once, before the first `enqueue`. Raises RuntimeUnavailableError."""
        for name in self.tensors:
            if not self._context.set_tensor_address(name, buffers[name].address):
                raise self._unusable(f"takes no address for {name}")

    def enqueue(self, stream: int) -> None:
        """Puts the whole graph on a stream. Raises InferenceError with TensorRT's own lines."""
        if not self._context.execute_async_v3(stream):
            raise InferenceError(f"TensorRT refused to run the {self._what}{self._words.last() or '; it said nothing about it'}")

    def close(self) -> None:
        """Frees context and engine, in this order."""
        self._context = None
        self._engine = None

    def _unusable(self, fault: str) -> RuntimeUnavailableError:
        return RuntimeUnavailableError(f"the plan of the {self._what} {fault}. Run attridet build --force.{self._words.last()}")

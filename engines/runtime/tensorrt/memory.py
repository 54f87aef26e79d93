"""The one module with pycuda, or cuda-bindings in its place: the GPU's context and memory, a stream, an event, the kernel's launch.

No order of an inference lives here; that is `engines.runtime.tensorrt.loop`.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray
from typing_extensions import Self

from engines.errors import RuntimeUnavailableError
from engines.runtime.tensorrt.driver import Driver

BINDINGS = {"pycuda": "pycuda.driver", "cuda-bindings": "engines.runtime.tensorrt.bindings"}
"""By package: the module with pycuda.driver's names. The first that imports is taken."""

log = logging.getLogger(__name__)
_KERNEL_ARGUMENTS = "PPPPP"
"""frame, out, columns, rows, geometry: five addresses."""
_NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: a call on the default stream, by anything in the process, neither waits for ours nor ends its capture."""


def bindings() -> tuple[str, Any]:
    """The package that speaks to CUDA, and its module. Raises RuntimeUnavailableError where none imports."""
    faults = []
    for package, module in BINDINGS.items():
        try:
            return package, import_module(module)
        except ImportError as error:
            faults.append(f"{package}: {error}")
    raise RuntimeUnavailableError(
        f"neither pycuda nor cuda-bindings can be imported ({'; '.join(faults)}). Run: pip install cuda-bindings, which needs no "
        "compiler, or pip install 'leukoscope[gpu]', which builds pycuda where CUDA's headers, g++ and python3-dev are; or use the "
        "runtime onnx or openvino."
    )


def spoken_by() -> str:
    """Name and version of the package that speaks to CUDA here, for the provenance; "" where none imports, which opening tells."""
    try:
        package, _ = bindings()
    except RuntimeUnavailableError:
        return ""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return package


class _Memory:
    def __init__(self, allocation: Any, nbytes: int) -> None:
        self._allocation = allocation
        self.nbytes = nbytes

    @property
    def held_bytes(self) -> int:
        """What it takes: nothing once it was freed."""
        return 0 if self._allocation is None else self.nbytes

    def free(self) -> None:
        """Gives it back, after which it must not be used; a second time does nothing."""
        if self._allocation is not None:
            self._allocation.free()
            self._allocation = None


class Buffer(_Memory):
    """Memory of the GPU: its address and size in bytes."""

    def __init__(self, allocation: Any, nbytes: int) -> None:
        super().__init__(allocation, nbytes)
        self.address = int(allocation)


class Pinned(_Memory):
    """Memory of the processor that the GPU copies from and to by itself; `array` is a view of it."""

    def __init__(self, array: NDArray[Any]) -> None:
        super().__init__(array.base, array.nbytes)
        self.array = array


_Some = TypeVar("_Some", Buffer, Pinned)


class Gpu:
    """The first GPU's primary context, the one TensorRT works in, current on the thread that enters it; a stream and an event.

    Everything asked of it between entering and leaving is freed in reverse on leaving. After `abandon` nothing is freed: a context with
    a fault refuses, and its memory goes with the process. Entering raises RuntimeUnavailableError.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._made = ExitStack()
        self._memory: list[_Memory] = []
        self._cuda: Any = None
        self._stream: Any = None
        self._event: Any = None

    def __enter__(self) -> Self:
        package, cuda = bindings()
        self._cuda = cuda
        log.info("CUDA by %s", package)
        with ExitStack() as made:
            try:
                cuda.init()
                made.callback(self._leave_thread, self._driver.current_context())
                context = cuda.Device(0).retain_primary_context()
                made.callback(context.detach)
                context.push()
                made.callback(cuda.Context.pop)
                self._stream = cuda.Stream(_NON_BLOCKING)
                # No timing: such an event costs the least to ask.
                self._event = cuda.Event(cuda.event_flags.DISABLE_TIMING)
            except cuda.Error as error:
                raise RuntimeUnavailableError(
                    f"the GPU does not open ({error}). Is another program holding it? Try again, or use the runtime onnx or openvino."
                ) from error
            self._made = made.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # Stream and event before their context, which is popped and released last.
        self._event = self._stream = None
        self._made.close()

    def _leave_thread(self, before: int | None) -> None:
        """Gives the thread the context it had: pycuda (2026.1) pushes a primary context to release it, and leaves it there."""
        if self._driver.current_context() != before:
            self._driver.pop_context()

    @property
    def errors(self) -> type[Exception]:
        """What pycuda, or cuda-bindings in its place, raises."""
        kind: type[Exception] = self._cuda.Error
        return kind

    @property
    def stream(self) -> int:
        """The stream's handle, as TensorRT and libcuda take it."""
        return int(self._stream.handle)

    @property
    def held_bytes(self) -> int:
        """Memory that was asked for here and is not freed yet, the GPU's and pinned together; TensorRT's own is not in it."""
        return sum(part.held_bytes for part in self._memory)

    def buffer(self, nbytes: int) -> Buffer:
        """Memory of the GPU, at least one byte."""
        made = Buffer(self._cuda.mem_alloc(max(nbytes, 1)), nbytes)
        return self._kept(made)

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> Pinned:
        """Page-locked memory of the processor as an array."""
        made = Pinned(self._cuda.pagelocked_empty(shape, np.dtype(dtype)))
        return self._kept(made)

    def _kept(self, made: _Some) -> _Some:
        self._made.callback(made.free)
        self._memory = [part for part in self._memory if part.held_bytes] + [made]
        return made

    def kernel(self, cubin: bytes, name: str) -> Any:
        """A function of a compiled kernel, for `launch`."""
        function = self._cuda.module_from_buffer(cubin).get_function(name)
        function.prepare(_KERNEL_ARGUMENTS)
        return function

    def up(self, buffer: Buffer, array: NDArray[Any]) -> None:
        """Puts a copy of a pinned array to the GPU on the stream."""
        self._cuda.memcpy_htod_async(buffer.address, array, self._stream)

    def down(self, array: NDArray[Any], buffer: Buffer) -> None:
        """Puts a copy from the GPU into a pinned array on the stream."""
        self._cuda.memcpy_dtoh_async(array, buffer.address, self._stream)

    def launch(self, kernel: Any, grid: tuple[int, int, int], block: tuple[int, int, int], addresses: tuple[int, ...]) -> None:
        """Puts a launch on the stream; arguments are addresses."""
        kernel.prepared_async_call(grid, block, self._stream, *addresses)

    def mark(self) -> None:
        """Marks the stream's end as of now; `done` speaks of this mark."""
        self._event.record(self._stream)

    def done(self) -> bool:
        """Has everything before the mark run? Raises `errors` where something of it failed."""
        return bool(self._event.query())

    def abandon(self) -> None:
        """Leaves everything to the process's end, but takes the context off the thread: pycuda aborts on exit where one is left."""
        self._made.pop_all()
        with suppress(self.errors):
            self._cuda.Context.pop()

"""libcuda by ctypes: is there a GPU and which, how much of its memory is free, and CUDA graphs, which pycuda does not have.

Everything that allocates or copies is in `engines.runtime.tensorrt.memory`.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from engines.errors import InferenceError, RuntimeUnavailableError

_CAPABILITY_MAJOR, _CAPABILITY_MINOR, _INTEGRATED, _MULTIPROCESSORS = 75, 76, 18, 16  # CUdevice_attribute
_NOT_READY = 600
_CAPTURE_THREAD_LOCAL = 1
"""What other threads ask CUDA for meanwhile does not disturb a capture."""

log = logging.getLogger(__name__)


class DriverError(Exception):
    """libcuda refused; the message has its own words. Never leaves the room: the loop makes a house error of it."""


@dataclass(frozen=True)
class Device:
    """The first GPU. capability: (8, 7) is sm_87. integrated: it shares the board's memory, as on a Jetson. multiprocessors: how many
    it has, which a Jetson's power mode may lower; 0 where that is not known."""

    name: str
    capability: tuple[int, int]
    integrated: bool
    multiprocessors: int = 0

    @property
    def arch(self) -> str:
        """As nvcc calls it: "sm_87"."""
        return f"sm_{self.capability[0]}{self.capability[1]}"


def library() -> Any:
    """libcuda. Raises RuntimeUnavailableError where it is not installed."""
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise RuntimeUnavailableError(
            "there is no NVIDIA driver on this machine (libcuda.so.1). Install it (on a Jetson: JetPack), or use the runtime onnx or "
            "openvino."
        ) from error


class Driver:
    """libcuda after `cuInit`. Made before anything of TensorRT: its runtime segfaults where there is no driver.

    Raises RuntimeUnavailableError where there is no driver or no GPU.
    """

    def __init__(self) -> None:
        self._cuda = library()
        code = self._cuda.cuInit(0)
        if code:
            raise RuntimeUnavailableError(
                f"the NVIDIA driver finds no GPU that it can use ({self._words(code)}). Is its kernel module loaded, and may this user "
                "open /dev/nvidia* or /dev/nvhost* (groups video and render)? Otherwise use the runtime onnx or openvino."
            )
        self._device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(self._device), 0)

    def device(self) -> Device:
        """Name, capability, kind and size of the first GPU."""
        name = ctypes.create_string_buffer(128)
        self._call("cuDeviceGetName", name, 128, self._device)
        values = {number: ctypes.c_int() for number in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR, _INTEGRATED, _MULTIPROCESSORS)}
        for number, value in values.items():
            self._call("cuDeviceGetAttribute", ctypes.byref(value), number, self._device)
        major, minor, integrated, multiprocessors = (value.value for value in values.values())
        return Device(name.value.decode(errors="replace"), (major, minor), bool(integrated), multiprocessors)

    def free_bytes(self) -> int:
        """Free memory of the GPU, which takes a context for as long as it asks."""
        context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
        with ExitStack() as undo:
            self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
            undo.callback(self._call, "cuDevicePrimaryCtxRelease_v2", self._device)
            self._call("cuCtxPushCurrent_v2", context)
            undo.callback(self.pop_context)
            self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def current_context(self) -> int | None:
        """The context that is current on this thread, or None."""
        context = ctypes.c_void_p()
        self._call("cuCtxGetCurrent", ctypes.byref(context))
        return context.value

    def pop_context(self) -> None:
        """Takes the current context off this thread."""
        self._call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def stream_fault(self, stream: int) -> str:
        """Why nothing runs on the stream any more, or "". A kernel's fault comes back from every call until the process ends."""
        code = self._cuda.cuStreamQuery(ctypes.c_void_p(stream))
        return "" if code in (0, _NOT_READY) else self._words(code)

    def capture(self, stream: int, enqueue: Callable[[], None]) -> ctypes.c_void_p:
        """What `enqueue` puts on the stream as a graph to `launch` again and again and to `destroy`; nothing of it runs now.

        Raises DriverError where something cannot be captured, and what `enqueue` raises; the stream is free again either way.
        """
        handle, graph, executable = ctypes.c_void_p(stream), ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", handle, _CAPTURE_THREAD_LOCAL)
        try:
            enqueue()
        except BaseException:
            if not self._cuda.cuStreamEndCapture(handle, ctypes.byref(graph)) and graph.value:
                self._cuda.cuGraphDestroy(graph)
            raise
        self._call("cuStreamEndCapture", handle, ctypes.byref(graph))
        try:
            self._call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, ctypes.c_ulonglong(0))
        finally:
            self._cuda.cuGraphDestroy(graph)
        return executable

    def launch(self, graph: ctypes.c_void_p, stream: int) -> None:
        """Puts a whole graph on a stream. Raises DriverError."""
        self._call("cuGraphLaunch", graph, ctypes.c_void_p(stream))

    def destroy(self, graph: ctypes.c_void_p) -> None:
        """Frees a graph, once."""
        self._cuda.cuGraphExecDestroy(graph)

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._cuda, function)(*arguments)
        if code:
            raise DriverError(f"{function} failed: {self._words(code)}")

    def _words(self, code: int) -> str:
        text = ctypes.c_char_p()
        self._cuda.cuGetErrorString(code, ctypes.byref(text))
        return (text.value or b"").decode(errors="replace") or f"CUDA error {code}"


class Replay:
    """Work that is the same for each frame. errors: what else than InferenceError and DriverError a capture that fails may raise.

    The first run of a key goes call by call, which sets up what a capture may not; the second captures; all later ones launch the
    graph. A capture holds the addresses and sizes of its moment, so another key (another size of frame) starts over.
    """

    def __init__(self, driver: Driver, stream: int, errors: type[Exception]) -> None:
        self._driver, self._stream, self._errors = driver, stream, errors
        self._key: Hashable = None
        self._graph: ctypes.c_void_p | None = None
        self._captures = True

    def run(self, key: Hashable, enqueue: Callable[[], None]) -> None:
        """Puts the work on the stream. Raises what `enqueue` raises, and DriverError."""
        if key != self._key:
            self.forget()
        elif self._graph is None and self._captures:
            try:
                self._graph = self._driver.capture(self._stream, enqueue)
            except (DriverError, InferenceError, self._errors) as error:
                # The same calls in the same order without a graph: the same numbers, a little later.
                log.warning("no CUDA graph could be captured (%s); every frame goes call by call", error)
                self._captures = False
        if self._graph is not None:
            self._driver.launch(self._graph, self._stream)
        else:
            enqueue()
            self._key = key

    def forget(self) -> None:
        """Frees the graph; the next run goes call by call."""
        if self._graph is not None:
            self._driver.destroy(self._graph)
        self._graph = self._key = None

"""A stand-in for pycuda and libcuda where there is no GPU: it keeps their rules, and breaks the test that breaks one.

It is not fast and knows nothing of a GPU's speed. Work is put off until an event is asked twice, as on a GPU: who reads too early reads
the old numbers. The letterbox kernel is kernel.cu built for the processor. TensorRT's part is in `recording_tensorrt`.
"""

# ruff: noqa: N802  # functions are called as in libcuda

from __future__ import annotations

import ctypes
import enum
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np


class RuleBrokenError(AssertionError):
    """TensorRT or CUDA forbids this."""


class CudaError(Exception):
    """pycuda.driver.Error."""


class Op:
    """Work on the stream. `pinned`: memory of the processor that it reads, which must stay as it is until then."""

    def __init__(self, words: str, run: Callable[[], None], pinned: np.ndarray | None = None) -> None:
        self.words, self._run, self._pinned = words, run, pinned
        self._then = b""

    def put(self) -> Op:
        self._then = b"" if self._pinned is None else self._pinned.tobytes()
        return self

    def run(self) -> None:
        if self._pinned is not None and self._pinned.tobytes() != self._then:
            raise RuleBrokenError(f"the memory of {self.words} was changed before the GPU had read it")
        self._run()


class Machine:
    """One GPU that is none.

    What a test sets: `execute_answers`, `deserialises`, `parses`, `builds`, `bends` (every answer, by a factor), `hangs`, `fault`
    (sticky), `fails_at` (which making of memory fails), `captures`, `polls` (how often an event says no first), `canned` (outputs in
    place of ONNX Runtime's), `no_builder` (TensorRT's words where it gives none),
    `refuses_strongly` ("parser" or "builder": which does not take a strongly typed network).

    calls: what was asked, in order. ran: what the stream did, in order. made: how often memory or a graph was made, ever. alive: what
    is not freed.
    """

    def __init__(self, kernel: ctypes.CDLL | None) -> None:
        self.calls: list[str] = []
        self.ran: list[str] = []
        self.made = 0
        self.alive: dict[int, Any] = {}
        self.memory: dict[int, np.ndarray] = {}
        self.queue: list[Op] = []
        self.capturing: list[Op] | None = None
        self.initialised = False
        self.current: dict[int, int] = {}  # contexts pushed, by thread
        self.execute_answers = self.deserialises = self.parses = self.captures = True
        self.hangs = False
        self.fault = ""
        self.fails_at: int | None = None
        self.polls = 1
        self.canned: dict[str, np.ndarray] = {}
        self.builds = True
        self.no_builder = self.refuses_strongly = ""
        self.bends = 1.0
        self.asked: list[Any] = []
        self.loggers: list[Any] = []
        self.kernel = kernel
        self._next = 0x10000

    def log(self, severity: int, line: str) -> None:
        """TensorRT says something."""
        for logger in self.loggers:
            logger.log(severity, line)

    # ---- rules

    def call(self, words: str, in_capture: bool = False, context: bool = True) -> None:
        self.calls.append(words)
        if not self.initialised:
            raise RuleBrokenError(f"{words} before cuInit")
        if context and not self.current.get(threading.get_ident()):
            raise RuleBrokenError(f"{words} by a thread that has no context")
        if self.capturing is not None and not in_capture:
            raise RuleBrokenError(f"{words} during a capture")
        if self.fault:
            raise CudaError(f"{words} failed: {self.fault}")

    def make(self, thing: Any, words: str) -> int:
        self.call(words)
        if self.fails_at is not None and self.made == self.fails_at:
            raise CudaError(f"{words} failed: out of memory")
        self.made += 1
        return self.keep(thing)

    def keep(self, thing: Any) -> int:
        self._next += 0x1000000
        self.alive[self._next] = thing
        return self._next

    def drop(self, handle: int, words: str) -> None:
        if self.fault:
            raise RuleBrokenError(f"{words} in a context with a fault")
        if self.alive.pop(handle, None) is None:
            raise RuleBrokenError(f"{words} a second time")
        self.memory.pop(handle, None)

    def at(self, address: int, nbytes: int) -> np.ndarray:
        """The bytes at an address, which may lie inside a buffer."""
        for start, content in self.memory.items():
            if start <= address and address + nbytes <= start + len(content):
                return content[address - start : address - start + nbytes]
        raise RuleBrokenError(f"{nbytes} bytes at {address:#x} are no living memory of the GPU")

    def put(self, op: Op) -> None:
        (self.queue if self.capturing is None else self.capturing).append(op if self.capturing is not None else op.put())

    def run_all(self) -> None:
        while self.queue:
            op = self.queue.pop(0)
            self.ran.append(op.words)
            op.run()


class LibCuda:
    """The functions of libcuda that `engines.runtime.tensorrt.driver` asks. Arguments by reference are filled in as C does."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def cuInit(self, _flags: int) -> int:
        self._machine.initialised = True
        return 0

    def cuDeviceGet(self, out: Any, _number: int) -> int:
        out._obj.value = 0
        return 0

    def cuDeviceGetName(self, out: Any, _size: int, _device: Any) -> int:
        out.value = b"Stand-in"
        return 0

    def cuDeviceGetAttribute(self, out: Any, number: int, _device: Any) -> int:
        out._obj.value = {75: 8, 76: 7, 18: 1, 16: 8}[number]
        return 0

    def cuDevicePrimaryCtxRetain(self, out: Any, _device: Any) -> int:
        out._obj.value = self._machine.keep("context")
        self._asking = out._obj.value
        return 0

    def cuDevicePrimaryCtxRelease_v2(self, _device: Any) -> int:
        self._machine.drop(self._asking, "releasing the context")
        return 0

    def cuCtxPushCurrent_v2(self, _context: Any) -> int:
        self._machine.current[threading.get_ident()] = self._machine.current.get(threading.get_ident(), 0) + 1
        return 0

    def cuCtxPopCurrent_v2(self, _out: Any) -> int:
        self._machine.current[threading.get_ident()] -= 1
        return 0

    def cuCtxGetCurrent(self, out: Any) -> int:
        out._obj.value = self._machine.current.get(threading.get_ident()) or None  # how many are pushed stands for which one
        return 0

    def cuMemGetInfo_v2(self, free: Any, total: Any) -> int:
        self._machine.call("cuMemGetInfo")
        free._obj.value, total._obj.value = 4 << 30, 8 << 30
        return 0

    def cuStreamQuery(self, _stream: Any) -> int:
        if self._machine.capturing is not None:
            raise RuleBrokenError("cuStreamQuery during a capture")
        return 700 if self._machine.fault else 600 if self._machine.queue else 0

    def cuGetErrorString(self, code: int, out: Any) -> int:
        words = {700: self._machine.fault, 901: "operation failed due to a previous error during capture"}
        out._obj.value = words.get(code, f"error {code}").encode()
        return 0

    def cuStreamBeginCapture_v2(self, stream: Any, mode: int) -> int:
        self._machine.call("begin capture")
        if stream.value not in self._machine.alive or mode != 1:
            raise RuleBrokenError("a capture of a stream that is none, or of other threads' work")
        self._machine.capturing = []
        return 0

    def cuStreamEndCapture(self, _stream: Any, out: Any) -> int:
        captured, self._machine.capturing = self._machine.capturing, None
        if not self._machine.captures:
            return 901
        out._obj.value = self._machine.keep(captured)
        return 0

    def cuGraphInstantiateWithFlags(self, out: Any, graph: Any, _flags: Any) -> int:
        out._obj.value = self._machine.make(self._machine.alive[graph.value], "instantiate")
        return 0

    def cuGraphDestroy(self, graph: Any) -> int:
        self._machine.drop(graph.value, "destroying a graph")
        return 0

    def cuGraphExecDestroy(self, executable: Any) -> int:
        self._machine.drop(executable.value, "destroying a captured graph")
        return 0

    def cuGraphLaunch(self, executable: Any, stream: Any) -> int:
        self._machine.call("launch graph")
        if executable.value not in self._machine.alive or stream.value not in self._machine.alive:
            raise RuleBrokenError("a graph or stream that was destroyed is launched")
        for op in self._machine.alive[executable.value]:
            self._machine.put(op)
        return 0


def pycuda_driver(machine: Machine) -> ModuleType:
    """The module `pycuda.driver`, as far as `engines.runtime.tensorrt.memory` uses it."""
    module: Any = ModuleType("pycuda.driver")

    class Allocation:
        def __init__(self, nbytes: int) -> None:
            content = np.zeros(nbytes, np.uint8)
            self._handle = machine.make(content, "mem_alloc")
            machine.memory[self._handle] = content

        def __int__(self) -> int:
            return self._handle

        def free(self) -> None:
            machine.call("free")
            machine.drop(self._handle, "freeing memory")

    class HostAllocation:
        def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
            self._content = np.zeros(shape, dtype)
            self._handle = machine.make(self._content, "pagelocked_empty")
            self.__array_interface__ = self._content.__array_interface__

        def free(self) -> None:
            machine.call("free")
            machine.drop(self._handle, "freeing pinned memory")

    class Context:
        def __init__(self) -> None:
            self._handle = machine.keep("context")

        def push(self) -> None:
            machine.current[threading.get_ident()] = machine.current.get(threading.get_ident(), 0) + 1

        @staticmethod
        def pop() -> None:
            machine.current[threading.get_ident()] -= 1

        def detach(self) -> None:
            machine.drop(self._handle, "detaching the context")
            self.push()  # as pycuda 2026.1 does to release it, and leaves it there

    class Device:
        def __init__(self, _number: int) -> None:
            machine.call("device", context=False)

        def retain_primary_context(self) -> Context:
            return Context()

    class Handled:
        """A stream or an event, gone when nobody holds it."""

        def __init__(self, *_flags: object) -> None:
            machine.call(type(self).__name__)
            self.handle = machine.keep(type(self).__name__)

        def __del__(self) -> None:
            machine.alive.pop(self.handle, None)

    class Event(Handled):
        _asked = 0

        def record(self, _stream: Any) -> None:
            machine.call("record")
            self._asked = 0

        def query(self) -> bool:
            machine.call("query")
            self._asked += 1
            if machine.hangs or self._asked <= machine.polls:
                return False
            machine.run_all()
            return True

    class Function:
        def __init__(self, name: str) -> None:
            self._name = name

        def prepare(self, arguments: str) -> None:
            assert arguments == "PPPPP"

        def prepared_async_call(self, grid: Any, block: Any, stream: Any, *addresses: int) -> None:
            machine.call("launch kernel", in_capture=True)
            if stream.handle not in machine.alive:
                raise RuleBrokenError("a launch on a stream that is gone")
            frame, image, columns, rows, geometry = addresses
            numbers = [np.array(size, np.uint32) for size in (grid, block)]

            def run() -> None:
                if machine.kernel is None:
                    return
                pointers = [number.ctypes.data for number in numbers]
                pointers += [machine.at(a, 1).ctypes.data for a in (frame, image, columns, rows, geometry)]
                getattr(machine.kernel, f"run_{self._name}")(*map(ctypes.c_void_p, pointers))

            machine.put(Op("kernel", run))

    class Module:
        def get_function(self, name: str) -> Function:
            return Function(name)

    def pagelocked_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.asarray(HostAllocation(shape, dtype))

    def copy(words: str, to: Callable[[], np.ndarray], source: Callable[[], np.ndarray], pinned: np.ndarray | None) -> None:
        machine.call(words, in_capture=True)
        to(), source()  # both must be there now

        def run() -> None:
            to()[:] = source()

        machine.put(Op(words, run, pinned))

    def up(address: int, array: np.ndarray, _stream: Any) -> None:
        flat = array.reshape(-1).view(np.uint8)
        copy("up", lambda: machine.at(address, array.nbytes), lambda: flat, flat)

    def down(array: np.ndarray, address: int, _stream: Any) -> None:
        flat = array.reshape(-1).view(np.uint8)
        copy("down", lambda: flat, lambda: machine.at(address, array.nbytes), None)

    def module_from_buffer(cubin: bytes) -> Module:
        machine.call("module_from_buffer")
        if cubin[:4] != b"\x7fELF":
            raise CudaError("module_from_buffer failed: device kernel image is invalid")
        return Module()

    class Stream(Handled):
        pass

    module.Error, module.Device, module.Context, module.Stream, module.Event = CudaError, Device, Context, Stream, Event
    module.event_flags = enum.IntFlag("event_flags", {"DISABLE_TIMING": 2})
    module.init, module.mem_alloc, module.module_from_buffer = lambda: None, Allocation, module_from_buffer
    module.pagelocked_empty, module.memcpy_htod_async, module.memcpy_dtoh_async = pagelocked_empty, up, down
    return module

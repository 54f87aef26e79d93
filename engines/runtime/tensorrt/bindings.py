"""pycuda.driver's names, as far as `engines.runtime.tensorrt.memory` uses them, over cuda-bindings: wheels for all boards, no compiler.

Each call of cuda-bindings gives its error code first; here it is raised as Error, with CUDA's words. Imported where it is opened only.
"""

from __future__ import annotations

import ctypes
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_cuda: Any = import_module("cuda.bindings.driver")  # ImportError where cuda-bindings is not installed
_NOT_READY = 600


class Error(Exception):
    """CUDA refused; the message names the function and has CUDA's words."""


def _call(function: str, *arguments: object) -> Any:
    code, *values = getattr(_cuda, function)(*arguments)
    if int(code):
        raise Error(f"{function} failed: {_words(code)}")
    return values[0] if values else None


def _words(code: Any) -> str:
    _, words = _cuda.cuGetErrorString(code)
    return (words or b"").decode(errors="replace") or f"CUDA error {int(code)}"


class event_flags:  # noqa: N801  # pycuda's name
    """CUevent_flags."""

    DISABLE_TIMING = 2


def init() -> None:
    """Before anything else. Raises Error."""
    _call("cuInit", 0)


class Context:
    """The primary context of a device, retained until `detach`."""

    def __init__(self, device: Any) -> None:
        self._device, self._context = device, _call("cuDevicePrimaryCtxRetain", device)

    def push(self) -> None:
        """Makes it current on this thread."""
        _call("cuCtxPushCurrent", self._context)

    @staticmethod
    def pop() -> None:
        """Takes the current one off this thread. No stack is kept beside the driver's, so a fault leaves nothing here."""
        _call("cuCtxPopCurrent")

    def detach(self) -> None:
        """Releases it, once."""
        _call("cuDevicePrimaryCtxRelease", self._device)


class Device:
    """The GPU of that number, from 0."""

    def __init__(self, number: int) -> None:
        self._device = _call("cuDeviceGet", number)

    def retain_primary_context(self) -> Context:
        """The context that TensorRT works in too."""
        return Context(self._device)


class Stream:
    """Destroyed when nobody holds it, as pycuda's. flags: 1 is CU_STREAM_NON_BLOCKING."""

    def __init__(self, flags: int = 0) -> None:
        self._stream = _call("cuStreamCreate", flags)
        self.handle = int(self._stream)

    def __del__(self) -> None:
        if hasattr(self, "_stream"):
            _cuda.cuStreamDestroy(self._stream)


class Event:
    """Destroyed when nobody holds it, as pycuda's. flags: of `event_flags`."""

    def __init__(self, flags: int = 0) -> None:
        self._event = _call("cuEventCreate", flags)

    def __del__(self) -> None:
        if hasattr(self, "_event"):
            _cuda.cuEventDestroy(self._event)

    def record(self, stream: Stream) -> None:
        """Marks the stream's end as of now."""
        _call("cuEventRecord", self._event, stream.handle)

    def query(self) -> bool:
        """Has everything before the mark run? Raises Error where something of it failed."""
        (code,) = _cuda.cuEventQuery(self._event)
        if int(code) not in (0, _NOT_READY):
            raise Error(f"cuEventQuery failed: {_words(code)}")
        return int(code) == 0


class _Allocation:
    def __init__(self, nbytes: int) -> None:
        self._address = int(_call("cuMemAlloc", nbytes))

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        _call("cuMemFree", self._address)


class _HostAllocation:
    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        nbytes = max(int(np.prod(shape)) * dtype.itemsize, 1)
        self._address = int(_call("cuMemHostAlloc", nbytes, 0))
        self.__array_interface__ = {
            "shape": shape, "typestr": dtype.str, "descr": dtype.descr, "data": (self._address, False), "version": 3,
        }  # fmt: skip

    def free(self) -> None:
        _call("cuMemFreeHost", self._address)


def mem_alloc(nbytes: int) -> _Allocation:
    """Memory of the GPU; int() of it is its address."""
    return _Allocation(nbytes)


def mem_get_address_range(address: int) -> tuple[int, int]:
    """Base and size in bytes of the allocation that an address of the GPU lies in. Raises Error where there is none."""
    code, base, size = _cuda.cuMemGetAddressRange(address)
    if int(code):
        raise Error(f"cuMemGetAddressRange failed: {_words(code)}")
    return int(base), int(size)


def pagelocked_empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Page-locked memory of the processor as an array, whose `base.free()` gives it back."""
    return np.asarray(_HostAllocation(shape, np.dtype(dtype)))


class _Function:
    def __init__(self, function: Any) -> None:
        self._function = function
        self._count = 0

    def prepare(self, arguments: str) -> None:
        self._count = len(arguments)

    def prepared_async_call(self, grid: tuple[int, int, int], block: tuple[int, int, int], stream: Stream, *addresses: int) -> None:
        if len(addresses) != self._count:
            raise Error(f"the kernel takes {self._count} addresses, not {len(addresses)}")
        kinds = (ctypes.c_void_p,) * self._count
        _call("cuLaunchKernel", self._function, *grid, *block, 0, stream.handle, (addresses, kinds), 0)


class _Module:
    def __init__(self, cubin: bytes) -> None:
        self._module = _call("cuModuleLoadData", cubin)

    def get_function(self, name: str) -> _Function:
        return _Function(_call("cuModuleGetFunction", self._module, name.encode()))


def module_from_buffer(cubin: bytes) -> _Module:
    """A compiled kernel; it goes with the context."""
    return _Module(cubin)


def memcpy_htod_async(address: int, array: NDArray[Any], stream: Stream) -> None:
    """Puts a copy of a page-locked array to the GPU on the stream."""
    _call("cuMemcpyHtoDAsync", address, array.ctypes.data, array.nbytes, stream.handle)


def memcpy_dtoh_async(array: NDArray[Any], address: int, stream: Stream) -> None:
    """Puts a copy from the GPU into a page-locked array on the stream."""
    _call("cuMemcpyDtoHAsync", array.ctypes.data, address, array.nbytes, stream.handle)

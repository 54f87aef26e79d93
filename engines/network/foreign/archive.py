"""Files of `torch.save`, zip and older, opened without torch's own reader: the pickle as data, tensors by what they say of themselves.

A tensor's numbers are read when somebody asks for them, and never more than its own storage holds.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, Any

import torch
from torch import Tensor
from typing_extensions import Self

from engines.errors import EnginesError
from engines.network.foreign.inert_pickle import LONGEST_BYTES, TOO_LONG, MalformedError, Name, Reader, Stream, read_pickle


class ForeignWeightsError(EnginesError):
    """A file of somebody else's weights is missing, damaged or of another network. Download it again, or name another."""


DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        "torch.HalfStorage": torch.float16,
        "torch.FloatStorage": torch.float32,
        "torch.DoubleStorage": torch.float64,
        "torch.BFloat16Storage": torch.bfloat16,
        "torch.CharStorage": torch.int8,
        "torch.ByteStorage": torch.uint8,
        "torch.ShortStorage": torch.int16,
        "torch.IntStorage": torch.int32,
        "torch.LongStorage": torch.int64,
        "torch.BoolStorage": torch.bool,
    }
)
_ZIP = b"PK\x03\x04"
_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_MOST_AXES = 8


@dataclass(frozen=True)
class Storage:
    """A run of numbers somewhere in the file."""

    key: str
    dtype: torch.dtype
    elements: int

    @property
    def size_bytes(self) -> int:
        return self.elements * self.dtype.itemsize


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor that the file describes; `TorchFile.numbers` reads it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class TorchFile:
    """One open file of `torch.save`. `value`: what was saved, as data; `names`: every global that its pickle names.

    Use as a context. Raises ForeignWeightsError naming the file, at opening and at reading numbers.
    """

    value: Any
    names: Counter[Name]

    def __init__(self, path: Path) -> None:
        self.path = path
        self._storages: dict[str, Storage] = {}
        self._at: dict[str, int] = {}

    def __enter__(self) -> Self:
        try:
            self._file: IO[bytes] = self.path.open("rb")
        except FileNotFoundError as error:
            raise ForeignWeightsError(f"{self.path}: no such file. Give the .pt that was published.") from error
        except OSError as error:
            raise ForeignWeightsError(f"{self.path}: cannot be opened ({error.strerror}).") from error
        try:
            with _advice(self.path):
                self._open()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def numbers(self, tensor: StoredTensor) -> Tensor:
        """The tensor itself, on the CPU, in its stored dtype. Raises ForeignWeightsError when the file is cut off or damaged."""
        with _advice(self.path):
            if math.prod(tensor.shape) > tensor.storage.elements:  # a grid of the detection layer may be, a weight never
                raise MalformedError("a weight that repeats few numbers many times")
            if 0 in tensor.shape:
                return torch.empty(tensor.shape, dtype=tensor.storage.dtype)
            flat = torch.frombuffer(bytearray(self._bytes(tensor.storage)), dtype=tensor.storage.dtype)
            return flat.as_strided(tensor.shape, tensor.stride, tensor.offset).clone()

    def _open(self) -> None:
        head = self._file.read(len(_LEGACY))
        self._file.seek(0)
        if head.startswith(_ZIP):
            self._open_zip()
        elif head == _LEGACY:
            self._open_legacy()
        else:
            raise MalformedError("not a file of torch.save")

    def _read(self, file: IO[bytes]) -> Stream:
        return read_pickle(file, READERS, self._storage)

    # The zip form, since torch 1.6

    def _open_zip(self) -> None:
        self._zip = zipfile.ZipFile(self._file)
        names = self._zip.namelist()
        pickles = [n for n in names if n.count("/") == 1 and n.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise MalformedError("a zip file, but none of torch.save (it holds no data.pkl)")
        self._folder = pickles[0].removesuffix("data.pkl")
        if any(n.startswith(f"{self._folder}code/") for n in names):
            raise MalformedError("a TorchScript program, not a checkpoint; the .pt that it was made from is wanted")
        order = f"{self._folder}byteorder"
        if order in names and self._entry(order).read(8) != b"little":
            raise MalformedError("written on a machine of the other byte order")
        with self._entry(pickles[0]) as file:
            pickled = file.read(LONGEST_BYTES + 1)
        if len(pickled) > LONGEST_BYTES:
            raise MalformedError(f"{pickles[0]} is {TOO_LONG}")
        stream = self._read(io.BytesIO(pickled))
        self.value, self.names = stream.value, stream.names
        self._bytes: Callable[[Storage], bytes] = self._bytes_of_zip

    def _entry(self, name: str) -> IO[bytes]:
        info = self._zip.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise MalformedError("its parts are compressed, which torch.save never does")
        return self._zip.open(info)

    def _bytes_of_zip(self, storage: Storage) -> bytes:
        name = f"{self._folder}data/{storage.key}"
        with self._entry(name) as file:
            # To the end: zipfile compares the checksum only there.
            data = file.read()
        if len(data) < storage.size_bytes:
            raise MalformedError(f"{name} is cut off")
        return data[: storage.size_bytes]

    # The older form: pickles one after the other, then the numbers

    def _open_legacy(self) -> None:
        magic, version, system = (self._read(self._file).value for _ in range(3))
        if magic != _MAGIC or version != 1001 or not isinstance(system, dict) or system.get("little_endian") is not True:
            raise MalformedError("an older form of torch.save than this knows")
        stream = self._read(self._file)
        self.value, self.names = stream.value, stream.names
        keys = self._read(self._file).value
        if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys) or set(keys) != set(self._storages):
            raise MalformedError("its list of storages is not that of its tensors")
        end = self.path.stat().st_size
        at = self._file.tell()
        for key in keys:
            self._file.seek(at)
            (elements,) = struct.unpack("<q", self._file.read(8))
            storage = self._storages[key]
            if elements != storage.elements:
                raise MalformedError(f"storage {key} has another length than its tensors say")
            self._at[key] = at + 8
            at += 8 + storage.size_bytes
        if at > end:
            raise MalformedError("it is cut off")
        self._bytes = self._bytes_of_legacy

    def _bytes_of_legacy(self, storage: Storage) -> bytes:
        self._file.seek(self._at[storage.key])
        data = self._file.read(storage.size_bytes)
        if len(data) < storage.size_bytes:
            raise MalformedError("it is cut off")
        return data

    def _storage(self, identity: Any) -> Storage | None:
        """A persistent id: ("storage", type, key, device, elements), with a view (None) in the older form."""
        if not isinstance(identity, tuple) or not identity:
            raise MalformedError("a reference to something outside that is no storage")
        if identity[0] == "module":  # the older form keeps a module's source text beside it
            return identity[1] if len(identity) > 1 else None
        if identity[0] != "storage" or len(identity) not in (5, 6):
            raise MalformedError("a reference to something outside that is no storage")
        _, kind, key, _, elements, *view = identity
        if not isinstance(kind, Name) or str(kind) not in DTYPES:
            raise MalformedError("a storage of a type that this does not know")
        if not isinstance(key, str) or type(elements) is not int or elements < 0 or any(view):
            raise MalformedError("a storage that cannot be")
        storage = Storage(key, DTYPES[str(kind)], elements)
        # Once a key: what was taken for it is read by it.
        if self._storages.setdefault(key, storage) != storage:
            raise MalformedError(f"storage {key} is described twice and differently")
        return storage


@contextmanager
def _advice(path: Path) -> Iterator[None]:
    """Turns what reading a damaged file raises into one error that names it."""
    try:
        yield
    except MemoryError as error:
        raise ForeignWeightsError(f"{path}: asks for more memory than there is; not a file to trust.") from error
    except (ValueError, KeyError, OSError, EOFError, RuntimeError, struct.error, zipfile.BadZipFile) as error:
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise ForeignWeightsError(f"{path}: {reason[:300]}. Download it again, or give a checkpoint as YOLOv5 writes it.") from error


def _tensor(arguments: tuple[Any, ...]) -> StoredTensor:
    storage, offset, shape, stride = arguments[:4]
    if not isinstance(storage, Storage):
        raise MalformedError("a tensor without a storage")
    if not isinstance(shape, tuple) or not isinstance(stride, tuple) or len(shape) != len(stride) or len(shape) > _MOST_AXES:
        raise MalformedError("a tensor with an impossible shape")
    if any(type(n) is not int or n < 0 for n in (offset, *shape, *stride)):
        raise MalformedError("a tensor with an impossible shape")
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if 0 not in shape and last >= storage.elements:
        raise MalformedError("a tensor that reaches beyond its storage")
    return StoredTensor(storage, offset, shape, stride)


def _ordered(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for key, value in _sequence(arguments):
        if not isinstance(key, str | int):  # before it is hashed: nested tuples could take for ever
            raise MalformedError("an ordered dictionary with odd keys")
        made[key] = value
    return made


def _sequence(arguments: tuple[Any, ...]) -> list[Any]:
    return list(arguments[0]) if arguments else []


def _typed(arguments: tuple[Any, ...]) -> Any:
    """A tensor of a subclass or with attributes of its own: (function, type, its arguments, state)."""
    function, _, inner = arguments[:3]
    if not isinstance(function, Name) or str(function) not in _TENSORS or not isinstance(inner, tuple):
        raise MalformedError("a tensor made in an unknown way")
    return _TENSORS[str(function)](inner)


_TENSORS: Mapping[str, Reader] = MappingProxyType(
    {
        "torch._utils._rebuild_tensor": _tensor,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_parameter": itemgetter(0),
        "torch._utils._rebuild_parameter_with_state": itemgetter(0),
        "torch.nn.parameter.Parameter": itemgetter(0),
    }
)
READERS: Mapping[str, Reader] = MappingProxyType(
    {
        **_TENSORS,
        "torch._tensor._rebuild_from_type_v2": _typed,
        "torch.Size": lambda arguments: tuple(_sequence(arguments)),
        "collections.OrderedDict": _ordered,
        "builtins.set": _sequence,
        "__builtin__.set": _sequence,
    }
)
"""The only names that a file can make something of: ordered dictionaries, sets and tensors. Each is read by a function of this
module."""

"""A pickle read as data, by the standard library's unpickler with every way to import or to call something taken out.

A global that the stream names stays a `Name`; a call of it becomes an `Inert` that keeps the arguments. The few names that the caller
knows (an ordered dictionary, a tensor) are read by the caller's own functions.

It is the unpickler written in Python (`pickle._Unpickler`, which joblib extends too): the one in C cannot be kept from hashing a key of
nested tuples for ever, nor from clearing the memory for a memo of four thousand million places.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, ClassVar

LONGEST_BYTES = 2 << 20
"""A published checkpoint's pickle has 0.5 MB at most: names and shapes. Four bytes of a stream can ask for 500 of memory."""
TOO_LONG = f"longer than {LONGEST_BYTES >> 20} MiB, which no network's description is"


class MalformedError(ValueError):
    """The stream is cut off, damaged or not a pickle. Whoever reads the file adds its name."""


@dataclass(frozen=True)
class Name:
    """A global that the stream names; nothing is looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, repr=False)
class Inert:
    """What the stream wants made by calling `made_by`; not made. Kept are the arguments, and in `state` what BUILD would restore."""

    made_by: Any
    arguments: tuple[Any, ...] = ()
    state: list[Any] = field(default_factory=list)

    def append(self, value: Any) -> None:
        """Items of an unknown object say nothing that a network needs."""

    extend = append

    def __setitem__(self, key: Any, value: Any) -> None:
        """Likewise."""


class PlainKeys(dict[Any, Any]):
    """A dictionary that hashes only plain keys: of tuples in tuples a hash could take for ever."""

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key if isinstance(key, str | int | float | bytes | None) else Inert(None, (key,)), value)


Reader = Callable[[tuple[Any, ...]], Any]
"""Makes a value from the arguments of a known name; raises ValueError or TypeError on arguments that cannot be."""


@dataclass(frozen=True)
class Stream:
    """What a pickle says: its value, and how often it names each global."""

    value: Any
    names: Counter[Name]


def read_pickle(file: IO[bytes], known: Mapping[str, Reader], persistent: Callable[[Any], Any]) -> Stream:
    """The pickle at the file's position, which is behind it afterwards.

    known: names with a reader. persistent: reads the id of something outside the pickle, such as a tensor's numbers. Raises
    MalformedError.
    """
    begin = file.tell()
    data = io.BytesIO(file.read(LONGEST_BYTES + 1))
    reader = _InertUnpickler(data, known, persistent)
    try:
        value = reader.load()
        if reader.stack or reader.metastack:
            raise MalformedError("it ends with something other than one value")
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, EOFError, struct.error, pickle.UnpicklingError) as error:
        reason = str(error) if isinstance(error, MalformedError) else f"{type(error).__name__}: {error}"
        if data.tell() > LONGEST_BYTES:
            reason = TOO_LONG
        raise MalformedError(f"not a sound pickle (before byte {data.tell()}: {reason[:200]})") from error
    file.seek(begin + data.tell())
    return Stream(value, reader.names)


class _InertUnpickler(pickle._Unpickler):
    """Only the opcodes of `dispatch` below are obeyed; none of them imports, calls what is named or looks into an object."""

    dispatch: ClassVar[dict[int, Any]] = {}
    stack: list[Any]
    metastack: list[list[Any]]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: IO[bytes], known: Mapping[str, Reader], persistent: Callable[[Any], Any]) -> None:
        super().__init__(file, encoding="latin-1")
        self.known, self.persistent, self.names = known, persistent, Counter[Name]()

    def persistent_load(self, pid: Any) -> Any:
        return self.persistent(pid)

    def find_class(self, module: str, name: str) -> Any:
        made = Name(module, name)
        self.names[made] += 1
        return made

    def _instantiate(self, made_by: Any, arguments: Any) -> None:
        self.append(self._called(made_by, tuple(arguments)))

    def _called(self, made_by: Any, arguments: Any) -> Any:
        if not isinstance(arguments, tuple):
            raise MalformedError("arguments that are no tuple")
        read = self.known.get(str(made_by)) if isinstance(made_by, Name) else None
        return Inert(made_by, arguments) if read is None else read(arguments)

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.append(self._called(self.stack.pop(), arguments))

    def load_newobj_ex(self) -> None:
        self.stack.pop()  # keywords
        self.load_reduce()

    def load_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Inert):
            target.state.append(state)
        # On what a reader made (a dictionary's own attributes, a tensor's) the state says nothing that a network needs.

    def load_empty_dictionary(self) -> None:
        self.append(PlainKeys())

    def load_dict(self) -> None:
        items, made = self.pop_mark(), PlainKeys()
        for key, value in zip(items[::2], items[1::2], strict=True):
            made[key] = value
        self.append(made)

    def refuse(self) -> None:
        raise MalformedError("an opcode that no network's file needs")


_INHERITED = (
    "PROTO FRAME STOP MARK POP POP_MARK DUP MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET NONE NEWTRUE NEWFALSE FLOAT BINFLOAT "
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8 APPEND APPENDS SETITEM SETITEMS LIST EMPTY_LIST TUPLE EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "GLOBAL STACK_GLOBAL INST OBJ BINPERSID"  # these by find_class, _instantiate and persistent_load above
)
_AS = {
    "EMPTY_SET": "EMPTY_LIST",  # a list: nothing of the stream is hashed but plain keys
    "ADDITEMS": "APPENDS",
    "FROZENSET": "LIST",
    "BYTEARRAY8": "BINBYTES8",  # a bytearray's memory would be cleared before anything is read into it
}
_OWN = {
    "REDUCE": _InertUnpickler.load_reduce,
    "NEWOBJ": _InertUnpickler.load_reduce,
    "NEWOBJ_EX": _InertUnpickler.load_newobj_ex,
    "BUILD": _InertUnpickler.load_build,
    "EMPTY_DICT": _InertUnpickler.load_empty_dictionary,
    "DICT": _InertUnpickler.load_dict,
}
_InertUnpickler.dispatch = {
    **dict.fromkeys(range(256), _InertUnpickler.refuse),
    **{
        getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, _AS.get(name, name))[0]]
        for name in (*_INHERITED.split(), *_AS)
    },
    **{getattr(pickle, name)[0]: load for name, load in _OWN.items()},
}

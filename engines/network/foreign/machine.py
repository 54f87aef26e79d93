"""A pickle read as data: an interpreter of its opcodes that can import, call and look up nothing. No torch, no files of torch here.

Python's own unpickler runs what the stream names. This one has no operation for that: a name stays a `Name`, a call of it becomes an
`Inert` that keeps what it was given. The few names that the caller knows (an ordered dictionary, a tensor) are read by the caller's own
functions.
"""

from __future__ import annotations

import pickletools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

LONGEST_BYTES = 2 << 20
"""A published checkpoint's pickle has 0.5 MB at most: names and shapes. Four bytes of a stream can ask for 500 of memory."""
TOO_LONG = f"longer than {LONGEST_BYTES >> 20} MiB, which no network's description is"
_PUSHED = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
"""Opcodes whose argument is the value."""
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NOTHING = frozenset(("PROTO", "FRAME"))


class MalformedError(ValueError):
    """The stream is cut off, damaged or none of a pickle. The reader of the file adds its name."""


@dataclass(frozen=True)
class Name:
    """A global that the stream names; nothing is looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, repr=False)
class Inert:
    """What the stream wants made by calling `made_by`: kept, not made.

    state: what `__setstate__` would have got, in order. items and pairs: what would have been appended and set.
    """

    made_by: Any
    arguments: tuple[Any, ...] = ()
    state: list[Any] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)
    pairs: list[tuple[Any, Any]] = field(default_factory=list)


Reader = Callable[[tuple[Any, ...]], Any]
"""Makes a value from the arguments of a known name; raises ValueError or TypeError on arguments that cannot be."""


@dataclass(frozen=True)
class Stream:
    """What a pickle says: its value, and how often it names each global."""

    value: Any
    names: Counter[Name]


class Machine:
    """Reads one pickle after the other from a file; `known`: names with a reader; `persistent`: reads ids of what lies outside."""

    def __init__(self, known: Mapping[str, Reader], persistent: Callable[[Any], Any]) -> None:
        self.known, self.persistent = known, persistent

    def read(self, file: IO[bytes]) -> Stream:
        """The pickle at the file's position, which is behind it afterwards. Raises MalformedError."""
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._names: Counter[Name] = Counter()
        where = "its beginning"
        try:
            begin = file.tell()
            for opcode, argument, position in pickletools.genops(file):
                where = f"{opcode.name} at byte {position}"
                if position is not None and position - begin > LONGEST_BYTES:
                    raise MalformedError(TOO_LONG)
                self._step(opcode.name, argument)
            if len(self._stack) != 1 or self._below:
                raise MalformedError("it ends with something other than one value")
        except (ValueError, TypeError, IndexError, KeyError, OverflowError, RecursionError) as error:
            reason = str(error) if isinstance(error, MalformedError) else f"{type(error).__name__}: {error}"
            raise MalformedError(f"not a sound pickle ({where}: {reason[:200]})") from error
        return Stream(self._stack.pop(), self._names)

    def _step(self, code: str, argument: Any) -> None:
        if code in _PUSHED:
            self._stack.append(argument)
        elif code in _CONSTANTS:
            self._stack.append(_CONSTANTS[code])
        elif code in _TUPLES:
            self._stack.append(self._taken(_TUPLES[code]))
        elif code in _NOTHING:
            return
        else:
            act = getattr(self, f"_do_{code.lower()}", None)
            if act is None:
                raise MalformedError("an opcode that no network's file needs")
            act(argument)

    def _taken(self, n: int) -> tuple[Any, ...]:
        """The last n values, off the stack."""
        if len(self._stack) < n:
            raise MalformedError("the stack is empty")
        taken = tuple(self._stack[-n:])
        del self._stack[-n:]
        return taken

    def _since_mark(self) -> list[Any]:
        if not self._below:
            raise MalformedError("no mark")
        taken, self._stack = self._stack, self._below.pop()
        return taken

    def _top(self) -> Any:
        if not self._stack:
            raise MalformedError("the stack is empty")
        return self._stack[-1]

    # Values

    def _do_empty_list(self, _: Any) -> None:
        self._stack.append([])

    def _do_empty_tuple(self, _: Any) -> None:
        self._stack.append(())

    def _do_empty_dict(self, _: Any) -> None:
        self._stack.append({})

    def _do_empty_set(self, _: Any) -> None:
        self._stack.append([])  # a list: nothing of the stream is hashed but plain keys

    def _do_list(self, _: Any) -> None:
        taken = self._since_mark()
        self._stack.append(taken)

    _do_frozenset = _do_list

    def _do_tuple(self, _: Any) -> None:
        taken = self._since_mark()
        self._stack.append(tuple(taken))

    def _do_dict(self, _: Any) -> None:
        taken = self._since_mark()
        made: dict[Any, Any] = {}
        _set_all(made, _pairs(taken))
        self._stack.append(made)

    # Putting into

    def _do_append(self, _: Any) -> None:
        (value,) = self._taken(1)
        _extend(self._top(), [value])

    def _do_appends(self, _: Any) -> None:
        taken = self._since_mark()
        _extend(self._top(), taken)

    _do_additems = _do_appends

    def _do_setitem(self, _: Any) -> None:
        key, value = self._taken(2)
        _set_all(self._top(), [(key, value)])

    def _do_setitems(self, _: Any) -> None:
        taken = self._since_mark()
        _set_all(self._top(), _pairs(taken))

    def _do_build(self, _: Any) -> None:
        (state,) = self._taken(1)
        top = self._top()
        if isinstance(top, Inert):
            top.state.append(state)
        # On what a reader made (a dictionary's own attributes, a tensor's) the state says nothing that a network needs.

    # Stack and memo

    def _do_mark(self, _: Any) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _do_pop(self, _: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def _do_pop_mark(self, _: Any) -> None:
        self._since_mark()

    def _do_dup(self, _: Any) -> None:
        self._stack.append(self._top())

    def _do_stop(self, _: Any) -> None:
        return

    def _do_put(self, number: int) -> None:
        self._memo[number] = self._top()

    _do_binput = _do_long_binput = _do_put

    def _do_memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._top()

    def _do_get(self, number: int) -> None:
        self._stack.append(self._memo[number])

    _do_binget = _do_long_binget = _do_get

    # Names and calls

    def _named(self, module: Any, name: Any) -> Name:
        if not isinstance(module, str) or not isinstance(name, str):
            raise MalformedError("a name that is no text")
        made = Name(module, name)
        self._names[made] += 1
        return made

    def _do_global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(self._named(module, name))

    def _do_stack_global(self, _: Any) -> None:
        self._stack.append(self._named(*self._taken(2)))

    def _called(self, made_by: Any, arguments: Any) -> Any:
        if not isinstance(arguments, tuple):
            raise MalformedError("arguments that are no tuple")
        read = self.known.get(str(made_by)) if isinstance(made_by, Name) else None
        return Inert(made_by, arguments) if read is None else read(arguments)

    def _do_reduce(self, _: Any) -> None:
        made_by, arguments = self._taken(2)
        self._stack.append(self._called(made_by, arguments))

    _do_newobj = _do_reduce

    def _do_newobj_ex(self, _: Any) -> None:
        made_by, arguments, keywords = self._taken(3)
        made = self._called(made_by, arguments)
        if keywords and isinstance(made, Inert):
            made.pairs.append(("keywords", keywords))
        self._stack.append(made)

    def _do_inst(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        taken = self._since_mark()
        self._stack.append(self._called(self._named(module, name), tuple(taken)))

    def _do_obj(self, _: Any) -> None:
        made_by, *arguments = self._since_mark()
        self._stack.append(self._called(made_by, tuple(arguments)))

    def _do_binpersid(self, _: Any) -> None:
        (identity,) = self._taken(1)
        self._stack.append(self.persistent(identity))


def _pairs(flat: list[Any]) -> list[tuple[Any, Any]]:
    if len(flat) % 2:
        raise MalformedError("a key without a value")
    return list(zip(flat[::2], flat[1::2], strict=True))


def _extend(target: Any, values: list[Any]) -> None:
    if isinstance(target, Inert):
        target.items.extend(values)
    elif isinstance(target, list):
        target.extend(values)
    else:
        raise MalformedError(f"values for a {type(target).__name__}")


def _set_all(target: Any, pairs: Iterable[tuple[Any, Any]]) -> None:
    if isinstance(target, Inert):
        target.pairs.extend(pairs)
    elif isinstance(target, dict):
        # A nested tuple as key could take for ever to hash; only plain ones are looked up later.
        target.update(
            (key if isinstance(key, str | int | float | bytes | None) else Inert(None, (key,)), value) for key, value in pairs
        )
    else:
        raise MalformedError(f"keys for a {type(target).__name__}")

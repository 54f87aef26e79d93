"""What an ONNX file says of itself, read without a runtime: its operators, whether it holds FP16, and which files it would load.

Only the few parts of onnx.proto that lead to these are walked (protobuf's wire format); weights are stepped over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engines.errors import BundleError

EIGHT_BITS = frozenset(
    (
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "QLinearConv",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
    )
)
"""Operators of a graph that does not compute in float."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEEPEST = 24
_WITHIN = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
}
"""Message: number of a field, and the message in it, as in onnx.proto."""
_OPERATOR, _KEY, _VALUE = 4, 1, 2
_NAME, _TYPE, _NUMBER, _FLOAT16 = 1, 2, 3, 10
"""Of an attribute its name and number, of a tensor its type; and FP16's number among types."""


@dataclass
class GraphFile:
    """operators: names of all in the file. external: other files that hold its weights, as it names them. half: some of it is FP16."""

    operators: set[str] = field(default_factory=set)
    external: set[str] = field(default_factory=set)
    half: bool = False

    @classmethod
    def read(cls, path: Path) -> GraphFile:
        """Raises BundleError, naming the file, where it cannot be read or is no such file."""
        try:
            return cls.of(path.read_bytes())
        except (OSError, ValueError, IndexError) as error:
            raise BundleError(f"{path}: is no ONNX graph that can be read ({error}). Copy or export the bundle again.") from error

    @classmethod
    def of(cls, data: bytes) -> GraphFile:
        """From a file's content. Raises ValueError or IndexError where it is none."""
        found = cls()
        found._walk(memoryview(data), "model", 0)
        return found

    def _walk(self, data: memoryview, kind: str, depth: int) -> None:
        if depth > _DEEPEST:
            raise ValueError("graphs within graphs without an end")
        inside, entry = _WITHIN.get(kind, {}), {}
        name, to = b"", 0
        for number, value in _fields(data):
            if isinstance(value, int):
                self.half |= kind == "tensor" and number == _TYPE and value == _FLOAT16
                to = value if number == _NUMBER else to
            elif number in inside:
                self._walk(value, inside[number], depth + 1)
            elif kind == "node" and number == _OPERATOR:
                self.operators.add(bytes(value).decode(errors="replace"))
            elif kind == "attribute" and number == _NAME:
                name = bytes(value)
            elif kind == "external":
                entry[number] = bytes(value).decode(errors="replace")
        if entry.get(_KEY) == "location":
            self.external.add(entry.get(_VALUE, ""))
        self.half |= kind == "attribute" and name == b"to" and to == _FLOAT16  # of a Cast


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Number and content of each field that holds bytes or a whole number."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _BYTES:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("it is cut short")
            yield number, data[at : at + length]
            at += length
        elif wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"a field of kind {wire}")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number too long")

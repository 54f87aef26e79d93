"""JSON read with the place of every element of its long lists, so that a fault in one can be named by line and column."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Collection
from pathlib import Path
from typing import Any

from engines.data.faults import Place

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


class JsonText:
    """A JSON text that knows line and column of an offset."""

    def __init__(self, file: Path, text: str) -> None:
        self.file, self.text = file, text
        self._starts = [0, *(m.end() for m in re.finditer("\n", text))]

    def place(self, offset: int) -> Place:
        line = bisect_right(self._starts, offset)
        return Place(self.file, line, offset - self._starts[line - 1] + 1)

    def skip(self, offset: int) -> int:
        found = _SPACE.match(self.text, offset)
        return found.end() if found else offset

    def value(self, offset: int) -> tuple[Any, int]:
        value, end = _DECODER.raw_decode(self.text, offset)
        return value, self.skip(end)

    def expect(self, marks: str, offset: int) -> tuple[str, int]:
        """The mark at `offset`, one of `marks`, and where what follows it begins."""
        mark = self.text[offset : offset + 1]
        if not mark or mark not in marks:
            words = " or ".join(f"'{m}'" for m in marks)
            raise json.JSONDecodeError(f"expecting {words}", self.text, offset)
        return mark, self.skip(offset + 1)


Entry = tuple[Any, int]
"""An element of a list and the offset at which it begins."""


def walk(text: JsonText, names: Collection[str]) -> tuple[dict[str, list[Entry]], dict[str, Any]]:
    """The three lists of a COCO file, each element with its offset, and all other top-level values. Raises JSONDecodeError."""
    lists: dict[str, list[Entry]] = {}
    extra: dict[str, Any] = {}
    mark, at = text.expect("{", text.skip(0))
    if text.text[at : at + 1] == "}":
        mark, at = text.expect("}", at)
    while mark != "}":
        if text.text[at : at + 1] != '"':
            raise json.JSONDecodeError("expecting a name in double quotes", text.text, at)
        key, at = text.value(at)
        _, at = text.expect(":", at)
        if key in names and text.text[at : at + 1] == "[":
            lists[key], at = _elements(text, at)
        else:
            extra[key], at = text.value(at)
        mark, at = text.expect(",}", at)
    if at < len(text.text):
        raise json.JSONDecodeError("something follows the end", text.text, at)
    return lists, extra


def _elements(text: JsonText, at: int) -> tuple[list[Entry], int]:
    elements: list[Entry] = []
    _, at = text.expect("[", at)
    if text.text[at : at + 1] == "]":
        return elements, text.skip(at + 1)
    mark = ","
    while mark == ",":
        start = at
        value, at = text.value(at)
        elements.append((value, start))
        mark, at = text.expect(",]", at)
    return elements, at

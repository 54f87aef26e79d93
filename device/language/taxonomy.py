"""Finds the words of a taxonomy file for the message catalogues: names of classes, groups and attributes, and the phrases of them.

Used by Babel alone (babel.cfg); the words are those that `device.display.words`, `device.slide.description` and the panel ask for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import IO, Any

import yaml

Found = tuple[int, str, str, list[str]]


def extract(file: IO[bytes], keywords: Collection[str], comments: Collection[str], options: dict[str, Any]) -> Iterator[Found]:
    """Babel's way to ask: (line, function, words, comments) of each."""
    source = yaml.safe_load(file)
    for one in source["classes"]:
        yield 1, "_", one["name"], ["a type of cell"]
        if "plural" in one:
            yield 1, "_", one["plural"], ["a type of cell, as within a sentence"]
    for one in source.get("told_groups", ()):
        for key in ("name", "short", "plural"):
            if key in one:
                yield 1, "_", one[key], ["a group of cells"]
    for one in source.get("person_classes", ()):
        for key in ("name", "short", "plural"):
            if key in one:
                yield 1, "_", one[key], ["said by a person only"]
    for one in source["attributes"]:
        noun = one.get("noun") or one["name"].lower()
        yield 1, "_", one["name"], ["an attribute of cells"]
        for value in one["values"]:
            yield 1, "_", value, [f"a value of {one['name']}"]
            yield 1, "_", f"{'no' if value == 'absent' else value} {noun}", [f"{one['name']} of one cell"]
        for words in one.get("phrases", {}).values():
            yield 1, "_", words, [f"{one['name']} of many cells, within a sentence; {one.get('part', '')}"]

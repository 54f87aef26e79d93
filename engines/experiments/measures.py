"""The numbers that `attridet evaluate --json` writes, by their place ("detection.yolov5.map50"): read, and looked up before any run."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engines.errors import DataError
from engines.taxonomy import Taxonomy


def number_at(content: Any, path: str) -> float:
    """The number at "a.b.c" in JSON content; NaN where there is none."""
    for key in path.split("."):
        content = content.get(key) if isinstance(content, dict) else None
    return float(content) if isinstance(content, int | float) else math.nan


class Measures:
    """The measures that an evaluation of a network of `taxonomy` has.

    They are those of a real evaluation, of one blank picture with a cell of each type on which nothing is found: so that this can never
    know other names than the evaluation itself.
    """

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._taxonomy = taxonomy
        self._names: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every place of a number, in order."""
        if not self._names:
            from engines.evaluation.blank import blank_evaluation  # numpy and OpenCV, which `--help` must not load

            self._names = tuple(_numbers(blank_evaluation(self._taxonomy).to_dict(), ""))
        return self._names

    def check(self, where: Path, asked: Mapping[str, str]) -> None:
        """DataError naming the first of `asked` (title: place) that no evaluation has, with the nearest there is. where: the plan."""
        for title, path in asked.items():
            if path not in self.names:
                near = difflib.get_close_matches(path, self.names, 1, 0.5) or [_same_end(path, self.names)]
                words = f" Did you mean {near[0]}?" if near[0] else ""
                raise DataError(f"{where}: measure {title!r}: an evaluation has no number at {path!r}.{words}")


def _same_end(path: str, names: tuple[str, ...]) -> str:
    last = path.rpartition(".")[2]
    return next((name for name in names if name.rpartition(".")[2] == last), "")


def _numbers(content: Mapping[str, Any], before: str) -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{before}{key}.")
        elif value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            yield f"{before}{key}"

"""The bounding box of a COCO `segmentation`: outlines, or a mask in runs, plain or compressed. The masks themselves are not used."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

Box = tuple[float, float, float, float]
"""Left, top, width, height in px."""


def segmentation_box(segmentation: Any) -> Box | None:
    """The box around a segmentation; None where there is none or nothing in it. Raises ValueError for what is no segmentation."""
    try:
        box = _mask_box(segmentation) if isinstance(segmentation, dict) else _outline_box(segmentation or [])
    except (KeyError, TypeError, IndexError, ZeroDivisionError, OverflowError) as error:
        raise ValueError(f"no outline and no mask: {error}") from error
    if box is not None and not all(map(math.isfinite, box)):
        raise ValueError("an outline that is not finite")
    return box


def _outline_box(segmentation: list[Any]) -> Box | None:
    outlines = segmentation if segmentation and isinstance(segmentation[0], list) else [segmentation]
    xs, ys = ([float(v) for outline in outlines for v in outline[start::2]] for start in (0, 1))
    return (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)) if xs and ys else None


def _mask_box(mask: dict[str, Any]) -> Box | None:
    """Of runs of 0 and 1 in turn, down the columns of a picture of `size` (height, width)."""
    height, at = int(mask["size"][0]), 0
    rows: list[int] = []
    columns: list[int] = []
    for number, run in enumerate(_runs(mask["counts"])):
        if number % 2 and run > 0:
            first, last = (divmod(place, height) for place in (at, at + run - 1))
            columns += [first[0], last[0]]
            rows += [first[1], last[1]] if first[0] == last[0] else [0, height - 1]
        at += run
    if not rows:
        return None
    return min(columns), min(rows), max(columns) - min(columns) + 1, max(rows) - min(rows) + 1


def _runs(counts: str | Sequence[int]) -> Iterable[int]:
    """Plain runs, or those in the text of pycocotools: five bits a character, from the fourth run on less the last but one."""
    if not isinstance(counts, str):
        return [int(run) for run in counts]
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            value -= (1 << shift) if bits & 0x10 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs

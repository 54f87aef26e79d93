"""Charts as coordinates for inline SVG: drawn on the server, they need no script and print as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_SCALES = (10.0, 25.0, 50.0, 100.0)
_BREAK_SHARE = 0.06  # of the time shown: a longer pause between two points is a gap in the line, not a straight line across it


@dataclass(frozen=True)
class Line:
    """One quantity over time. paths: SVG path data, broken where nothing was heard. low, high: of the axis. last: the newest value."""

    paths: tuple[str, ...]
    low: float
    high: float
    last: float | None


def scale(highest_percent: float) -> float:
    """The end of a bar chart's axis: the least round per cent that holds everything."""
    return next((end for end in _SCALES if highest_percent <= end), 100.0)


def line(points: Sequence[Any], name: str, width: float = 600.0, height: float = 60.0, least_range: float = 1.0) -> Line | None:
    """`name` of the points ({at, name}) as paths within width x height; None where no point says it."""
    known: list[tuple[datetime, float]] = [(p.at, float(value)) for p in points if (value := getattr(p, name)) is not None]
    if not known:
        return None
    known.sort()
    start, whole = known[0][0], max((known[-1][0] - known[0][0]).total_seconds(), 1.0)
    low, high = min(value for _at, value in known), max(value for _at, value in known)
    if high - low < least_range:
        middle = (high + low) / 2
        low, high = max(0.0, middle - least_range / 2), max(0.0, middle - least_range / 2) + least_range
    paths: list[list[str]] = []
    before = None
    for at, value in known:
        x = width * (at - start).total_seconds() / whole
        y = height - height * (value - low) / (high - low)
        if before is None or (at - before).total_seconds() > _BREAK_SHARE * whole:
            paths.append([f"M{x:.1f} {y:.1f}h.01"])
        else:
            paths[-1].append(f"L{x:.1f} {y:.1f}")
        before = at
    return Line(tuple("".join(path) for path in paths), low, high, known[-1][1])

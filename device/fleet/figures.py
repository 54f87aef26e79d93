"""From what every process saw to the figures of a run: how long, how many, how many at once. Plain numbers, no connection."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from device.fleet.outbox import Journey


def spread(values: Sequence[float]) -> dict[str, float]:
    """Number of values, median, 99th percentile (nearest rank) and largest, in seconds; empty where there are none."""
    ordered = sorted(values)
    if not ordered:
        return {}
    ranks = {"p50": ordered[rank(len(ordered), 0.5)], "p99": ordered[rank(len(ordered), 0.99)], "max": ordered[-1]}
    return {"n": len(ordered), **{name: round(value, 4) for name, value in ranks.items()}}


def rank(count: int, share: float) -> int:
    return max(0, math.ceil(share * count) - 1)


def busiest(times: Sequence[float], window_s: float) -> int:
    """The most events within any window of that length."""
    ordered = sorted(times)
    return max((bisect_left(ordered, at + window_s) - index for index, at in enumerate(ordered)), default=0)


def connected(parts: Sequence[Sequence[tuple[float, int]]]) -> list[tuple[float, int]]:
    """How many were connected when, of all processes together: each part is (when, so many of this process)."""
    events = sorted((at, part, count) for part, counts in enumerate(parts) for at, count in counts)
    now, total = [0] * len(parts), []
    for at, part, count in events:
        now[part] = count
        total.append((at, sum(now)))
    return total


def outages(total: Sequence[tuple[float, int]], connects: Sequence[float], devices: int) -> list[dict[str, Any]]:
    """Each time from all being connected to all being connected again; of the last one perhaps not. Seconds from its beginning.

    first_back_s: when the first one was connected again, all_back_s: when the last one was.
    """
    found: list[dict[str, Any]] = []
    began: float | None = None
    was_all, lowest = False, devices
    for at, count in total:
        if count == devices:
            if began is not None:
                found.append(_outage(began, at, lowest, connects))
            began, was_all, lowest = None, True, devices
        elif was_all:
            began = at if began is None else began
            lowest = min(lowest, count)
    if began is not None:
        found.append(_outage(began, math.inf, lowest, connects))
    return found


def _outage(began: float, ended: float, lowest: int, connects: Sequence[float]) -> dict[str, Any]:
    back = [at for at in connects if began <= at <= ended]
    return {
        "lowest": lowest,
        "connects": len(back),
        "first_back_s": round(min(back) - began, 1) if back else None,
        "all_back_s": None if math.isinf(ended) else round(ended - began, 1),
        "busiest_1s": busiest(back, 1.0),
        "busiest_10s": busiest(back, 10.0),
    }


def summaries(left: Sequence[Journey], waiting: Sequence[Journey], made: int) -> dict[str, Any]:
    """What became of the summaries, and how long each part of the way took, in seconds from the first time it was sent."""
    gone = [journey for journey in left if journey.sent_s]
    confirmed = [journey for journey in gone if journey.confirmed_s]
    return {
        "made": made,
        "delivered": len(left),
        "confirmed": len(confirmed),
        "waiting": len(waiting),
        "sent_again": sum(journey.tries > 1 for journey in (*left, *waiting)),
        "broker_s": spread([journey.acknowledged_s - journey.sent_s for journey in gone]),
        "receipt_s": spread([journey.confirmed_s - journey.sent_s for journey in confirmed]),
        "from_the_slides_end_s": spread([(journey.confirmed_s or journey.acknowledged_s) - journey.made_s for journey in gone]),
    }

"""What an engine loses against its float reference, which of it weighs most, and the floors that the reference itself must reach."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from engines.manifest import GateFloors, GateLimits, ReferenceScores

_LEAST_LIMIT = 0.01
"""A limit of 0 points is taken as this, so that a loss can be divided by it."""


@dataclass(frozen=True)
class Losses:
    """Points lost, reference minus candidate: mAP50-95 (COCO), mean attribute F1, Youden's J of blasts; NaN where not measured."""

    map_points: float
    f1_points: float
    youden_points: float

    def worst(self, limits: GateLimits) -> tuple[str, float]:
        """The loss that uses up most of its limit: its name here, and loss / limit (above 1: beyond it). A NaN weighs nothing.

        All of them NaN: "map_points" and 0.
        """
        shares = {name: lost / max(getattr(limits, name), _LEAST_LIMIT) for name, lost in asdict(self).items() if not math.isnan(lost)}
        return max(shares.items(), key=lambda share: share[1], default=("map_points", 0.0))


def floor_faults(scores: ReferenceScores, floors: GateFloors) -> tuple[str, ...]:
    """Which floors are not reached, in words that follow "the reference"; empty where all are. What was not measured is not reached."""
    faults = []
    if not scores.found >= floors.found:
        faults.append(f"finds {_percent(scores.found)} of the cells (at least {_percent(floors.found)} asked)")
    if scores.sensitivity is None:
        faults.append("was not tried on blasts: none is labelled there")
        return tuple(faults)
    if not scores.sensitivity >= floors.sensitivity:
        told = f"{_percent(scores.sensitivity)} of the blasts" if scores.sensitivity else "no blast"
        faults.append(f"tells {told} as a blast (at least {_percent(floors.sensitivity)} asked)")
    if scores.youden is None:
        faults.append("was not tried on other cells than blasts: none is labelled there")
    elif not scores.youden >= floors.youden:
        faults.append(f"has a Youden's J of {scores.youden:.2f} for blasts (at least {floors.youden:g} asked; 0 is chance)")
    return tuple(faults)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"

"""When a slide's end is usual: nothing counted, below the target, many unidentified cells; and how far to count beyond the target."""

from __future__ import annotations

from device.language import _
from device.slide.model import Slide
from device.slide.tally import Differential

MANY_UNIDENTIFIED_PERCENT = 10.0
_STEPS = (100, 200, 400, 500)
_LIMITS_PERCENT = (5.0, 20.0)
"""Shares of blasts at which what follows differs: where their 95 % interval spans one, counting on decides."""
_DECIDES = 500


def nothing_counted(counted: Differential) -> bool:
    """No white cell: there is nothing to review and nothing to send."""
    return not counted.white_cells


def unusual(slide: Slide, counted: Differential) -> tuple[str, ...]:
    """What a person should know before this slide is finished, one sentence each; empty where its end is as it should be."""
    said = []
    if counted.white_cells < slide.target_cells:
        said.append(_("{n} of {target} white cells are counted.").format(n=counted.white_cells, target=slide.target_cells))
    if counted.unidentified_percent > MANY_UNIDENTIFIED_PERCENT:
        share = f"{counted.unidentified_percent:.0f}"
        said.append(_("{percent} % of the white cells are unidentified.").format(percent=share))
    return tuple(said)


def next_target(target: int, counted: Differential) -> int:
    """How far to count when `target` was reached: 100 → 200 → 400 → 500 and on by 500; at once 500 where blasts decide."""
    low, high = counted.blast_range
    if target < _DECIDES and counted.blasts and any(low < limit < high for limit in _LIMITS_PERCENT):
        return _DECIDES
    return next((step for step in _STEPS if step > target), target - target % _DECIDES + _DECIDES)

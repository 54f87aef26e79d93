"""The focus meter: how sharp a frame is beside the best of its own rest, whether that gets better, whether it may be counted."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

import numpy as np

from device.language import N_, _

SHARP_SHARE = 0.9
"""A frame is sharp within a tenth of the best that this rest has shown."""
TYPICAL_SHARE = 0.7
"""Of what the slide's fields reach when they are in focus; below it a rest that has only just begun is not believed to be at its best.
Rendered and real fields of one slide, all in focus, reach .72 to 1.3 of their median; a hand arrives at .3 to .65 of it."""
FAR_SHARE = 0.5
TREND_S, TREND_SHARE = 0.5, 0.03
"""Better or worse than so many seconds ago by more than this share: less is the sensor's noise and the bench's vibration."""
EXPECTED = 0.6
"""What a film in focus has at the least: the first fields of a slide are measured by it."""
_TURNED_FRAMES = 2  # so many frames below the best in a row are the hand at the focus, one alone is a knock at the bench
_RESTS_KEPT = 25


@dataclass(frozen=True)
class Focus:
    """level, peak: 0 (blurred) to 1 (as sharp as the slide's fields get), now and the best of this rest; text: what to do.

    sharp: the frame may be counted and its cells named. It says nothing of whether the stage rests.
    """

    level: float
    text: str
    peak: float = 0.0
    sharp: bool = True


class FocusMeter:
    """Follows `sharpness` frame by frame. Used by one thread.

    A frame is sharp when it is within a tenth of the best of its rest, and that best is to be believed: because it is near to what the
    slide's other fields reached, or because the focus was turned up to it and beyond. can_turn: False for stored pictures, whose focus
    nobody can turn; there the best of the rest is all that there is.
    """

    def __init__(self, can_turn: bool = True) -> None:
        self._can_turn = can_turn
        self._peaks: deque[float] = deque(maxlen=_RESTS_KEPT)
        self._lately: deque[tuple[float, float]] = deque(maxlen=64)
        self._first = self._peak = 0.0
        self._below, self._turned, self._was_sharp = 0, False, False

    def reset(self) -> None:
        """Forget what was seen, as for another slide."""
        self._peaks.clear()
        self._begin(0.0)

    def observe(self, value: float, at_s: float, resting: bool) -> Focus:
        """Take in the next frame's sharpness at a monotonic time in seconds. resting: whether the stage rested at the frame before."""
        if not resting:
            if self._was_sharp:
                self._peaks.append(self._peak)
            self._begin(value)
        self._lately.append((at_s, value))
        if value >= self._peak:
            self._peak, self._below = value, 0
        elif value < SHARP_SHARE * self._peak:
            self._below += 1
            self._turned = self._turned or (self._below >= _TURNED_FRAMES and self._first < SHARP_SHARE * self._peak)
        else:
            self._below = 0
        typical = median([EXPECTED, *self._peaks])
        believed = self._turned or not self._can_turn or self._peak >= TYPICAL_SHARE * typical
        sharp = believed and value >= SHARP_SHARE * self._peak
        self._was_sharp = self._was_sharp or (sharp and resting)  # what passes by says nothing of what this film can show
        scale = max(self._peak, typical)
        return Focus(_level(value / scale), self._words(value, sharp, scale), _level(self._peak / scale), sharp)

    def _begin(self, value: float) -> None:
        self._first = self._peak = value
        self._below, self._turned, self._was_sharp = 0, False, False
        self._lately.clear()

    def _words(self, value: float, sharp: bool, scale: float) -> str:
        if sharp:
            return _(SHARP)
        now_s = self._lately[-1][0]
        before = next((seen for at_s, seen in self._lately if now_s - at_s <= TREND_S), value)
        if value > (1 + TREND_SHARE) * before:
            return _(BETTER)
        if value < (1 - TREND_SHARE) * before:
            return _(WORSE)
        return _(TURN) if value >= FAR_SHARE * scale else _(FAR)


SHARP, TURN, FAR = N_("sharp"), N_("turn the fine focus"), N_("out of focus")
BETTER, WORSE = N_("better: go on"), N_("worse: turn back")
NOT_SHARP = N_("not counted: out of focus")


def _level(share: float) -> float:
    return float(np.clip((share - 0.2) / 0.8, 0.0, 1.0))

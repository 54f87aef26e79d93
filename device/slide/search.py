"""Looking for one picture in many keyframes, a bounded number at a time: coarse at half size, then exact for those that come close."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from device.slide.correlation import Match, Spectrum
from device.slide.keyframes import Key, KeyframeMap
from engines.detections import Float32

BUDGET = 60
"""So many keyframes are looked at for one frame: some 10 ms of a core."""
_COARSE_LENIENCE = 0.12  # the coarse look may miss the curve by this
_COARSE_REACH_PX = 4  # around twice the coarse shift
_WAITING = 16  # so many searches wait at most; the oldest gives way to a newer one


class Search:
    """One picture that is looked for among the keyframes of those numbers. It need not be in sight any longer."""

    def __init__(self, here: KeyframeMap, picture: Spectrum, numbers: list[int]) -> None:
        height, width = here.half.shape
        coarse = cv2.resize(picture.band, (width, height), interpolation=cv2.INTER_AREA)
        self.here = here
        self._band: Float32 = picture.band
        self._coarse = here.half.spectrum(np.asarray(coarse, np.float32))
        self._numbers = np.asarray(numbers, np.int32)
        self._at = 0

    @property
    def left(self) -> int:
        """How many keyframes have not been looked at."""
        return len(self._numbers) - self._at

    def advance(self, most: int, without_chart: int = 0) -> tuple[Key, Match] | None:
        """Look at up to `most` keyframes more, none of the chart to be left out; the best of those that are believed."""
        best: tuple[Key, Match] | None = None
        picture: Spectrum | None = None
        here = self.here
        needed = here.acceptance.far(len(here))
        for number in self._numbers[self._at : self._at + most]:
            key = here[int(number)]
            if key.chart == without_chart:
                continue
            coarse = here.half.match(here.half.spectrum(here.half_band(key)), self._coarse, coarse=True)
            if coarse.margin < -_COARSE_LENIENCE:
                continue
            picture = picture or here.full.spectrum(self._band)
            match = here.full.match_near(here.spectrum(key), picture, 2 * coarse.x, 2 * coarse.y, _COARSE_REACH_PX)
            if match.accepted and match.evidence >= needed and (best is None or match.evidence > best[1].evidence):
                best = key, match
        self._at = min(len(self._numbers), self._at + most)
        return best


class Searches:
    """Those that wait for their turn, each for a keyframe by its number. All together keep to the budget of a frame."""

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = self._left = budget
        self._waiting: deque[tuple[int, Search]] = deque(maxlen=_WAITING)

    def next_frame(self) -> None:
        """A frame's budget may be spent anew."""
        self._left = self._budget

    def now(self, search: Search, without_chart: int = 0) -> tuple[Key, Match] | None:
        """Go on with a search as far as the budget goes."""
        before = search.left
        hit = search.advance(self._left, without_chart)
        self._left -= before - search.left
        return hit

    def add(self, number: int, search: Search) -> None:
        """Let a search go on with the frames to come; it takes the place of an earlier one for the same keyframe."""
        kept = [item for item in self._waiting if item[0] != number or item[1].here is not search.here]
        self._waiting = deque([*kept, (number, search)], maxlen=_WAITING)

    def advance(self) -> tuple[int, KeyframeMap, Key, Match] | None:
        """Go on within the budget, at most to the first hit: its number, map, the keyframe found, the match."""
        while self._waiting and self._left > 0:
            number, search = self._waiting[0]
            hit = self.now(search, search.here[number].chart)
            if not search.left:
                self._waiting.popleft()
            if hit is not None:
                return number, search.here, *hit
        return None

"""How long a slide is open, by the monotonic clock, and whether the wall clock kept step with it.

A box without a battery behind its clock may be set right, or wrong, while a slide is counted.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from device.clock import Clock
from device.slide.model import Slide

log = logging.getLogger(__name__)

JUMP_S = 5.0
"""A wall clock that differs by more from the monotonic one was set; time services move it by less, or slowly."""


class Stopwatch:
    """Of one slide at a time; begun again for each, and for one that is taken up after a stop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_s = self._before_s = 0.0
        self._began = clock.now()

    def begin(self, slide: Slide | None = None) -> None:
        """From now on; `slide` was open before: its time is gone on with."""
        self._began_s, self._began = self._clock.monotonic_s(), self._clock.now()
        self._before_s = 0.0 if slide is None else slide.duration_s or 0.0

    def timed(self, slide: Slide) -> Slide:
        """The slide with how long it has been open, and with a word where the wall clock was set meanwhile."""
        open_s = self._clock.monotonic_s() - self._began_s
        fault = slide.clock_fault or self._fault(slide, open_s)
        if fault and not slide.clock_fault:
            log.warning("slide %s: %s; its dates are not to be trusted", slide.slide_id, fault)
        return replace(slide, duration_s=round(self._before_s + open_s, 3), clock_fault=fault)

    def ended(self, slide: Slide) -> Slide:
        """The same, with when it ended: never before it began, and where the clock was set, as long after that as it was open."""
        slide, now = self.timed(slide), self._clock.now()
        open_for = timedelta(seconds=slide.duration_s or 0.0)
        return replace(slide, finished_at=slide.started_at + open_for if slide.clock_fault or now < slide.started_at else now)

    def _fault(self, slide: Slide, open_s: float) -> str:
        off_s = (self._clock.now() - self._began).total_seconds() - open_s
        if abs(off_s) > JUMP_S:
            return f"the clock was set {'forward' if off_s > 0 else 'back'} by {_words(abs(off_s))} while it was open"
        newest = max((field.captured_at for field in slide.fields), default=slide.started_at)
        back_s = (max(newest, slide.started_at) - _later(self._clock.now())).total_seconds()
        return f"the clock stands {_words(back_s)} before what was counted" if back_s > 0 else ""


def _later(now: datetime) -> datetime:
    return now + timedelta(seconds=JUMP_S)


def _words(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86_400 else f"{seconds / 86_400:.0f} days"

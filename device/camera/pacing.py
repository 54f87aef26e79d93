"""Pauses of the cameras: an even frame rate for sources that have none of their own, and growing pauses between attempts."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from device.clock import Clock


class Pacer:
    """Keeps a frame rate through the clock's sleep. A slower consumer is not made to wait again, and lost time is not made up."""

    def __init__(self, clock: Clock, fps: float) -> None:
        self._clock = clock
        self._period_s = 1.0 / fps
        self._due_s: float | None = None

    def wait(self) -> None:
        """Sleeps until the next frame is due."""
        now = self._clock.monotonic_s()
        due = now if self._due_s is None else self._due_s
        if now < due:
            self._clock.sleep(due - now)
        self._due_s = max(now, due) + self._period_s


@dataclass(frozen=True)
class Pauses:
    """Pauses between attempts: each `factor` times the last, at most `cap_s`, varied by `jitter` lest devices march in step."""

    first_s: float = 0.1
    factor: float = 2.0
    cap_s: float = 5.0  # a camera that is plugged in again should be back while the technician is still looking
    jitter: float = 0.25

    def pause_s(self, attempt: int, random: Random) -> float:
        """Seconds before attempt number `attempt` (0: the first retry)."""
        grown = min(self.cap_s, self.first_s * self.factor ** min(attempt, 64))
        return min(self.cap_s, grown * (1.0 + random.uniform(-self.jitter, self.jitter)))

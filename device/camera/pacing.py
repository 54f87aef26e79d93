"""An even frame rate for sources that have none of their own."""

from __future__ import annotations

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

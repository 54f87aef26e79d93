"""What the appliance finds when it starts: the slide that was left open, taken up as soon as the record can be read."""

from __future__ import annotations

import logging
from collections.abc import Callable

from device.clock import Backoff, Clock
from device.errors import StoreError
from device.store.events import LeftOpen

log = logging.getLogger(__name__)


class Recovery:
    """Tries until it has happened. find: asks the record what was left open; take_up: opens it again.

    reason: why it has not happened yet, one line; "" afterwards. Until then no slide may be started: one may be open in the record.
    """

    def __init__(self, find: Callable[[], LeftOpen], take_up: Callable[[LeftOpen], None], clock: Clock) -> None:
        self._find, self._take_up, self._clock = find, take_up, clock
        self._backoff, self._retry_at_s = Backoff(first_s=1.0, cap_s=15.0, jitter=0.0), float("-inf")
        self._done = False
        self.reason = "it was not looked at yet"

    def attempt(self) -> None:
        """Try, if it is due and has not happened. Never raises."""
        if self._done or self._clock.monotonic_s() < self._retry_at_s:
            return
        try:
            left = self._find()
        except Exception as error:
            known = isinstance(error, StoreError)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            if reason != self.reason:
                log.error("no slide can be counted before the record is read: %s", reason, exc_info=None if known else error)
            self.reason = reason
            self._retry_at_s = self._clock.monotonic_s() + self._backoff.next_s()
            return
        self._done = True
        if self._backoff.tried:
            log.warning("the record is read, slides can be counted")
        self.reason = ""
        try:
            self._take_up(left)
        except Exception:  # the slide stays in the record as it is; others can be counted
            log.exception("what was left open cannot be taken up")

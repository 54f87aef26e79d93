"""A display that is opened again when it went away, with growing, capped pauses; the count never waits for it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

from typing_extensions import Self

from device.clock import Backoff, Clock
from device.display.base import Display, ScreenView
from device.display.inputs import Input
from device.errors import DisplayError

log = logging.getLogger(__name__)


class ReopeningDisplay:
    """Hands views to `display`; after a failure tells it once by DisplayError and tries to open it again, 2 s later, then 4, 8 … 60.

    Opening for the first time raises DisplayError as the display itself does: a screen that was never there is the person's to mend.
    With `wait` it is tried again like one that went away (at boot the display server may come later).
    """

    def __init__(self, display: Display, clock: Clock, wait: bool = False) -> None:
        self._display, self._clock, self._wait = display, clock, wait
        self._open = False
        self._backoff, self._retry_at_s = Backoff(first_s=2.0, cap_s=60.0, jitter=0.0), 0.0

    def show(self, view: ScreenView) -> None:
        """Show, or quietly wait until it is time to open again. Raises DisplayError when the display has just gone away."""
        if not self._open and not self._opened_again():
            return
        try:
            self._display.show(view)
        except DisplayError:
            self._close()
            raise
        self._backoff.reset()

    def inputs(self) -> Sequence[Input]:
        return self._display.inputs() if self._open else ()

    def _opened_again(self) -> bool:
        if self._clock.monotonic_s() < self._retry_at_s:
            return False
        try:
            self._display.__enter__()
        except DisplayError as error:
            log.debug("the screen is still away: %s", error)
            self._later()
            return False
        log.warning("the screen is back")
        self._open = True
        return True

    def _close(self) -> None:
        self._open = False
        with suppress(DisplayError):
            self._display.__exit__(None, None, None)
        self._later()

    def _later(self) -> None:
        self._retry_at_s = self._clock.monotonic_s() + self._backoff.next_s()

    def __enter__(self) -> Self:
        try:
            self._display.__enter__()
        except DisplayError as error:
            if not self._wait:
                raise
            log.warning("no screen yet, the count goes on: %s", error)
            self._later()
        else:
            self._open = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._open:
            self._open = False
            self._display.__exit__(kind, error, trace)

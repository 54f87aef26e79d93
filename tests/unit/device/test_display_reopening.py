"""A display that goes away is opened again, with growing pauses, and told about once."""

from __future__ import annotations

from datetime import datetime, timezone

import gallery
import pytest

from device.display.base import NullDisplay, ScreenView
from device.display.reopening import ReopeningDisplay
from device.errors import DisplayError

VIEW = gallery.view(None)


class HandClock:
    """Moved by hand."""

    s = 0.0

    def monotonic_s(self) -> float:
        return self.s

    def now(self) -> datetime:
        return datetime(2026, 3, 2, tzinfo=timezone.utc)

    def sleep(self, seconds: float) -> None:
        self.s += seconds


class Cable(NullDisplay):
    """A screen whose cable can be out; counts what was tried and shown."""

    plugged = True
    opened = shown = closed = 0

    def __enter__(self) -> Cable:
        self.opened += 1
        if not self.plugged:
            raise DisplayError("no display; plug it in")
        return self

    def __exit__(self, *_: object) -> None:
        self.closed += 1

    def show(self, view: ScreenView) -> None:
        if not self.plugged:
            raise DisplayError("the display went away")
        self.shown += 1


def test_a_screen_that_was_never_there_is_refused() -> None:
    cable = Cable()
    cable.plugged = False
    with pytest.raises(DisplayError, match="plug it in"), ReopeningDisplay(cable, HandClock()):
        pass


def test_at_boot_a_screen_is_waited_for() -> None:
    cable, clock = Cable(), HandClock()
    cable.plugged = False
    with ReopeningDisplay(cable, clock, wait=True) as display:
        display.show(VIEW)
        cable.plugged = True
        clock.s = 2.0
        display.show(VIEW)
    assert (cable.shown, cable.closed) == (1, 1)


def test_a_screen_that_went_away_comes_back() -> None:
    cable, clock = Cable(), HandClock()
    with ReopeningDisplay(cable, clock) as display:
        display.show(VIEW)
        cable.plugged = False
        with pytest.raises(DisplayError, match="went away"):
            display.show(VIEW)
        assert cable.closed == 1
        tries = []
        for second in range(40):
            clock.s = float(second)
            before = cable.opened
            display.show(VIEW)  # told once; now it waits quietly
            if cable.opened > before:
                tries.append(second)
        assert tries == [2, 6, 14, 30]
        assert tuple(display.inputs()) == ()
        cable.plugged = True
        clock.s = 100.0
        display.show(VIEW)
        assert cable.shown == 2
    assert cable.closed == 2

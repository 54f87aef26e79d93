"""Tells a barcode scanner from a hand: both are keyboards, and what a scanner types must not be taken for commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from device.clock import Clock
from device.display.inputs import Input, Kind

GAP_S = 0.03
"""A scanner types its next character sooner than this after the one before; no hand does so for long. Looks may be further apart
than that: then several characters come with each."""
LEAST_CHARACTERS = 4
"""So many in a row are a scan."""
_LOOK_AGAIN_S, _LONGEST_S = 0.003, 0.3
"""How soon it is looked again where it is waited for a scan's end, and for how long at most."""


class ScannerGuard:
    """Holds keys back until the next look after them, and hands a row of quick ones on as one scan. Used by one thread."""

    def __init__(self) -> None:
        self._held: list[Input] = []
        self._last_s = float("-inf")

    def given(self, look: Callable[[], Sequence[Input]], clock: Clock, open_to_all: bool, to_the_end: bool) -> list[Input]:
        """What may be acted on of what `look` gives. to_the_end: where nothing else is to be done until the next look, it is waited for
        whether a key is the first of a label, which the next look would settle later."""
        given, until_s = list[Input](), clock.monotonic_s() + _LONGEST_S
        while True:
            now = clock.monotonic_s()
            given += self.sorted(look(), now, open_to_all)
            if not (self._held and to_the_end and now < until_s):
                return given
            clock.sleep(_LOOK_AGAIN_S)

    def sorted(self, inputs: Sequence[Input], now_s: float, open_to_all: bool) -> list[Input]:
        """What may be acted on now: `inputs` since the last look, at a monotonic time. open_to_all: keys are letters of an answer."""
        if open_to_all:
            return [*self._released(), *inputs]
        sure: list[Input] = []
        fresh, waiting = sum(map(_typed, inputs)), sum(map(_typed, self._held))
        goes_on = fresh and (now_s - self._last_s < GAP_S or max(fresh, waiting) >= LEAST_CHARACTERS - 1)
        if self._held and not goes_on and now_s - self._last_s >= GAP_S:
            sure += self._released()
        for given in inputs:
            if _typed(given) or (self._held and given.word in ("RETURN", "TAB")):
                self._held.append(given)
                self._last_s = now_s
            else:
                sure += (*self._released(), given)
        return sure

    def _released(self) -> Iterator[Input]:
        """What was held back: as it was pressed, or as one scan."""
        held, self._held = self._held, []
        characters = "".join(given.text for given in held if _typed(given))
        if len(characters) >= LEAST_CHARACTERS:
            yield Input(Kind.SCAN, text=characters)
        else:
            yield from held


def _typed(given: Input) -> bool:
    return given.kind is Kind.KEY and bool(given.text.strip())

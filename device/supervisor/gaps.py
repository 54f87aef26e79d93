"""Numbers that are missing: what a receiver knows of the summaries that it did not get. In memory, for as long as it watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from device.mqtt.payloads import SlideSummary

GRACE_S: Final = 5.0
"""A number that comes so soon after the one behind it was not missing: order is not kept where one was refused at first."""


@dataclass
class _Stream:
    """highest: the last number; missing: those below it that did not come, each with when that was noticed; since: when the summary
    before the first of them was made."""

    highest: int
    made: datetime
    missing: dict[int, float] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)
    since: datetime | None = None


class Gaps:
    """The streams of all devices. monotonic_s: a clock for the grace."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._streams: dict[tuple[str, str], _Stream] = {}

    def came(self, summary: SlideSummary) -> str:
        """One summary; a line to show where it was missing and that had been told, else "". Those of older devices have no number."""
        stream, number = summary.stream, summary.sequence
        if not stream or not number:
            return ""
        known = self._streams.get((summary.device_id, stream))
        if known is None:  # what was sent before we came is not missing
            self._streams[summary.device_id, stream] = _Stream(number, summary.finished_at)
            return ""
        if number > known.highest:
            now_s = self._monotonic_s()
            new = range(known.highest + 1, number)
            if new and not known.missing:
                known.since = known.made
            known.missing.update(dict.fromkeys(new, now_s))
            known.highest, known.made = number, summary.finished_at
            return ""
        known.missing.pop(number, None)
        if number not in known.told:
            return ""
        known.told.discard(number)
        left = len(known.missing)
        still = f"{_count(left)} missing still" if left else "none is missing any more"
        return f"summary {number} of {summary.device_id} came late; {still}"

    def to_tell(self, at_once: bool = False) -> list[str]:
        """A line for each device of which summaries are missing that was not told yet. at_once: without the grace."""
        lines = []
        for (device, _), known in self._streams.items():
            due_s = self._monotonic_s() - (0.0 if at_once else GRACE_S)
            new = [number for number, noticed_s in known.missing.items() if number not in known.told and noticed_s <= due_s]
            if not new:
                continue
            known.told.update(new)
            since = known.since or known.made
            again = f"leukoscope resend --since {since:%Y-%m-%dT%H:%M} --all on the device sends them again"
            lines.append(f"{_count(len(known.told))} of {device} {_are(len(known.told))} missing ({_spans(known.told)}); {again}")
        return lines


def _count(number: int) -> str:
    return "1 summary" if number == 1 else f"{number} summaries"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _spans(numbers: set[int]) -> str:
    """ "41 to 43, 50"; the first few."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    words = [f"{first}" if first == last else f"{first} to {last}" for first, last in spans[:5]]
    return ", ".join(words) + (", and more" if len(spans) > 5 else "")

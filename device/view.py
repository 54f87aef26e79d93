"""From the state of the parts to what is shown and sent: lamps, the engine's gauge, the device's status."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from statistics import median

from device.camera.base import CameraState, CameraStatus, SkippedPicture
from device.display.base import PartState
from device.language import N_, _, ngettext, number
from device.mqtt.device_status import PartStatus
from device.mqtt.publisher import BrokerStatus
from device.slide.model import Slide
from device.store.journal import JournalStatus
from engines.runtime.base import EngineInfo

log = logging.getLogger(__name__)

_CAMERA = {
    CameraState.OPENING: ("busy", N_("opening")),
    CameraState.STALLED: ("fail", N_("picture stands still")),
    CameraState.LOST: ("fail", N_("no picture, trying again")),
    CameraState.BLOCKED: ("fail", N_("picture does not come")),
    CameraState.ENDED: ("ok", N_("all pictures shown")),
}
_BROKER = {
    "connecting": ("busy", N_("connecting")),
    "disabled": ("ok", N_("switched off")),
    "refused": ("warn", N_("refuses us")),
    "lost": ("warn", N_("not reached")),
}
"""Level and text of each state but the good one."""


_WORKS_AGAIN = 50
"""Answers in a row after which a fault of the engine is over: one that fails now and then is told once, not every time."""
_MOST_TOLD = 10
_NUMBERS = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class EngineStatus:
    """How the network does. frames: processed since start; failures: frames that it failed on; median_ms: of the last frames.

    ungated: it is not the float network and passed no gate, so its counts are for trials. unnamed: the second look failed on the field
    counted last. foreign: the film is unlike all that the naming layer knows. precision, unchecked: as in `EngineInfo`. waits_s: how
    long it has given no answer, in the middle of a frame. non_finite: boxes and attributes since start that were no numbers.
    """

    frames: int = 0
    failures: int = 0
    failing: str = ""  # the runtime's own words while it fails
    median_ms: float = 0.0
    fps: float = 0.0
    ungated: bool = False
    unnamed: bool = False
    foreign: bool = False
    precision: str = ""
    waits_s: float = 0.0
    non_finite: int = 0
    unchecked: str = ""


class EngineGauge:
    """Counts the frames of the engine, its failures and how long it takes. frames, failures, failing: as in `EngineStatus`."""

    def __init__(self) -> None:
        self.frames = self.failures = self.non_finite = 0
        self.failing = ""
        self.waits = 0.0
        self._told = set[str]()  # of the faults that last
        self._good = 0  # answers since the last of them
        self._times_ms: deque[float] = deque(maxlen=60)
        self._done_s: deque[float] = deque(maxlen=60)

    def fails(self, reason: str) -> bool:
        """It failed on a frame, for this reason; whether that is news, and not one of many such frames."""
        self.failures += 1
        self.waits, self._good = 0.0, 0
        self.failing = reason
        kind = _NUMBERS.sub("#", reason)
        new = kind not in self._told and len(self._told) < _MOST_TOLD
        self._told.add(kind)
        if new:
            log.error("the engine failed on a frame: %s", reason)
        return new

    def works(self, non_finite: int = 0) -> None:
        """It gave an answer, with so many boxes and attributes left out that were no numbers."""
        if non_finite and not self.non_finite:
            log.warning("the engine tells what is no number: left out, and counted from now on")
        self.non_finite += non_finite
        self.waits, self.failing = 0.0, ""
        self._good += 1
        if self._told and self._good >= _WORKS_AGAIN:
            log.warning("the engine works again, after %d failed frames", self.failures)
            self._told.clear()

    def took(self, ms: float, done_s: float) -> None:
        """A frame took the engine so long, and had gone its whole way at that moment."""
        self._times_ms.append(ms)
        self._done_s.append(done_s)

    def status(self, engine: EngineInfo, slide: Slide | None) -> EngineStatus:
        """All of it, with what the engine and the slide say of themselves."""
        span = self._done_s[-1] - self._done_s[0] if len(self._done_s) > 1 else 0.0
        fps = (len(self._done_s) - 1) / span if span > 0 else 0.0
        median_ms = median(self._times_ms) if self._times_ms else 0.0
        unnamed = slide is not None and bool(slide.fields) and bool(slide.fields[-1].naming_fault)
        foreign = slide is not None and bool(slide.foreign)
        told = self.frames, self.failures, self.failing, median_ms, fps, bool(engine.gate_fault), unnamed, foreign
        return EngineStatus(*told, engine.precision, self.waits, self.non_finite, engine.unchecked)


def camera_lamp(status: CameraStatus) -> PartState:
    """The camera in one short line."""
    if status.state is CameraState.STREAMING:
        size = f"{status.size_px[0]} x {status.size_px[1]}, " if status.size_px else ""
        text = _("{size}{fps} fps").format(size=size, fps=number(status.fps, 1))
        level = "warn" if status.reason or status.skipped else "ok"
        if status.skipped:
            skipped = len(status.skipped)
            text = ngettext("{n} picture unreadable, skipped", "{n} pictures unreadable, skipped", skipped).format(n=skipped)
        return PartState(N_("Camera"), level, text)
    level, text = _CAMERA[status.state]
    return PartState("Camera", level, _(text))


def engine_lamp(status: EngineStatus) -> PartState:
    """The engine in one short line."""
    level, text = next(_of_engine(status))
    return PartState(N_("Engine"), level, text)


def _of_engine(status: EngineStatus) -> Iterator[tuple[str, str]]:
    """Level and text of all that is to be said of it, the worst first."""
    if status.waits_s:
        yield "fail", _("no answer for {n} s").format(n=f"{status.waits_s:.0f}")
    if status.failing:
        yield "fail", _("failing, {n} frames not read").format(n=status.failures)
    if status.unnamed:
        yield "fail", _("second look failing, cells not named")
    if status.ungated:
        yield "warn", _("engine not gated, for trials only")
    if status.non_finite:
        yield "warn", ngettext("{n} value without meaning", "{n} values without meaning", status.non_finite).format(n=status.non_finite)
    if status.unchecked:
        yield "warn", _("no golden picture, cannot be checked")
    if status.foreign:
        yield "warn", _("foreign film, groups only")
    if not status.frames:
        yield "busy", _("waits for a picture")
    precision = f", {status.precision}" if status.precision else ""
    yield "ok", _("{fields} fields/s, {ms} ms").format(fields=number(status.fps, 1), ms=f"{status.median_ms:.0f}") + precision


def broker_lamp(status: BrokerStatus) -> PartState:
    """The broker in one short line."""
    waits = ngettext(", {n} message waits", ", {n} messages wait", status.waiting).format(n=status.waiting) if status.waiting else ""
    if status.unconfirmed:
        n = status.unconfirmed
        waits += ngettext(", {n} message not confirmed", ", {n} messages not confirmed", n).format(n=n)
    level, text = _BROKER.get(status.state, ("busy" if status.waiting else "ok", N_("connected")))
    return PartState(N_("Broker"), "warn" if status.unheard else level, _(text) + waits)


def record_lamp(status: JournalStatus) -> PartState:
    """The record in one short line."""
    if status.waiting:
        return PartState(N_("Record"), "fail", _("NOT SAVED: {n} waiting").format(n=status.waiting))
    if status.fails:
        return PartState("Record", "fail", _("does not answer, trying again"))
    if status.lost:
        lost = ngettext("{n} write put aside, call the field team", "{n} writes put aside, call the field team", status.lost)
        return PartState("Record", "fail", lost.format(n=status.lost))
    if status.put_aside:
        aside = ngettext("{n} thing put aside, call the field team", "{n} things put aside, call the field team", status.put_aside)
        return PartState("Record", "warn", aside.format(n=status.put_aside))
    if status.reason:
        return PartState("Record", "warn", _("disk nearly full"))
    return PartState("Record", "ok", _("saved"))


def in_words(lamps: Sequence[PartState], slide: Slide | None, white_cells: int) -> str:
    """One line for `systemctl status`."""
    cells = ngettext("{n} white cell", "{n} white cells", white_cells).format(n=white_cells)
    counted = f"; slide {slide.slide_id} {slide.state.value}, {cells}" if slide is not None else "; no slide"
    return ", ".join(f"{lamp.name.lower()} {lamp.level}" for lamp in lamps) + counted


def part_status(lamp: PartState, reason: str = "") -> PartStatus:
    """A lamp as the status topic carries it: while all is well without its running numbers, which would be sent every second."""
    text = "" if lamp.level == "ok" else lamp.text
    return PartStatus.model_validate({"level": lamp.level, "text": f"{text}: {reason}" if reason and text else reason or text})


def skipped_words(skipped: Sequence[SkippedPicture]) -> str:
    """Names of the pictures that were not read, the first few in full."""
    shown = ", ".join(PurePath(picture.name).name for picture in skipped[:3])
    return shown + (_(" and {n} more").format(n=len(skipped) - 3) if len(skipped) > 3 else "")

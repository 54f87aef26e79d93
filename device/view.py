"""From the state of the parts to what is shown and sent: lamps, the screen's view, the device's status. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from device.camera.base import CameraState, CameraStatus, SkippedPicture
from device.display.base import PartState
from device.mqtt.payloads import PartStatus
from device.mqtt.publisher import BrokerStatus
from device.store.journal import JournalStatus

_CAMERA = {
    CameraState.OPENING: ("busy", "opening"),
    CameraState.STALLED: ("fail", "picture stands still"),
    CameraState.LOST: ("fail", "no picture, trying again"),
    CameraState.ENDED: ("ok", "all pictures shown"),
}
_BROKER = {
    "connecting": ("busy", "connecting"),
    "disabled": ("ok", "switched off"),
    "refused": ("warn", "refuses us"),
    "lost": ("warn", "not reached"),
}
"""Level and text of each state but the good one."""


@dataclass(frozen=True)
class EngineStatus:
    """How the network does. frames: processed since start; failures: frames that it failed on; median_ms: of the last frames.

    ungated: it is not the float network and passed no gate, so its counts are for trials. unnamed: the second look failed on the field
    counted last. foreign: the film is unlike all that the naming layer knows. precision: as in `EngineInfo`.
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


def camera_lamp(status: CameraStatus) -> PartState:
    """The camera in one short line."""
    if status.state is CameraState.STREAMING:
        size = f"{status.size_px[0]} x {status.size_px[1]}, " if status.size_px else ""
        text = f"{size}{status.fps:.1f} fps"
        level = "warn" if status.reason or status.skipped else "ok"
        if status.skipped:
            text = f"{len(status.skipped)} pictures unreadable, skipped"
        return PartState("Camera", level, text)
    return PartState("Camera", *_CAMERA[status.state])


def engine_lamp(status: EngineStatus) -> PartState:
    """The engine in one short line."""
    if status.failing:
        return PartState("Engine", "fail", f"failing, {status.failures} frames not read")
    if status.unnamed:
        return PartState("Engine", "fail", "second look failing, cells not named")
    if status.ungated:
        return PartState("Engine", "warn", "engine not gated, for trials only")
    if status.foreign:
        return PartState("Engine", "warn", "foreign film, groups only")
    if not status.frames:
        return PartState("Engine", "busy", "waits for a picture")
    precision = f", {status.precision}" if status.precision else ""
    return PartState("Engine", "ok", f"{status.fps:.1f} fields/s, {status.median_ms:.0f} ms{precision}")


def broker_lamp(status: BrokerStatus) -> PartState:
    """The broker in one short line."""
    waiting = f", {status.pending} {'summary waits' if status.pending == 1 else 'summaries wait'}" if status.pending else ""
    level, text = _BROKER.get(status.state, ("busy" if status.pending else "ok", "connected"))
    return PartState("Broker", level, f"{text}{waiting}")


def record_lamp(status: JournalStatus) -> PartState:
    """The record in one short line."""
    if status.waiting:
        return PartState("Record", "fail", f"NOT SAVED: {status.waiting} waiting")
    if status.reason:
        return PartState("Record", "warn", "disk nearly full")
    return PartState("Record", "ok", "saved")


def part_status(lamp: PartState, reason: str = "") -> PartStatus:
    """A lamp as the status topic carries it: while all is well without its running numbers, which would be sent every second."""
    text = "" if lamp.level == "ok" else lamp.text
    return PartStatus.model_validate({"level": lamp.level, "text": f"{text}: {reason}" if reason and text else reason or text})


def skipped_words(skipped: Sequence[SkippedPicture]) -> str:
    """Names of the pictures that were not read, the first few in full."""
    shown = ", ".join(PurePath(picture.name).name for picture in skipped[:3])
    return shown + (f" and {len(skipped) - 3} more" if len(skipped) > 3 else "")

"""`leukoscope` with a stand-in engine and a hand on engine, clock and pauses: `python -m tests.faults.daemon WORDS...`.

The folder that LEUKOSCOPE_FAULTS names may hold the files `engine` (what it does instead of answering), `clock` (seconds that the wall
clock is wrong) and `pauses` (the longest pause between two attempts at the broker, seconds). All else is the shipped daemon.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from device.clock import Backoff, SystemClock
from device.mqtt.sending import Pauses
from engines.detections import Image
from engines.errors import InferenceError
from engines.runtime.base import Inference
from tests.support.picture_line import OneNeutrophil

FOLDER = "LEUKOSCOPE_FAULTS"


def _said(name: str) -> str:
    try:
        return (Path(os.environ[FOLDER]) / name).read_text()
    except FileNotFoundError:
        return ""


def _raise(error: Exception) -> Inference:
    raise error


def _hang(right: Inference) -> Inference:
    while _said("engine") == "hang":  # a thread that is given up ends with the fault
        time.sleep(0.05)
    return right


def _slow(right: Inference) -> Inference:
    time.sleep(0.1)
    return right


def _nan(right: Inference) -> Inference:
    return replace(right, detections=replace(right.detections, boxes_px=right.detections.boxes_px * np.float32(np.nan)))


def _infinite(right: Inference) -> Inference:
    return replace(right, detections=replace(right.detections, scores=right.detections.scores * np.float32(np.inf)))


def _class(right: Inference) -> Inference:
    return replace(right, detections=replace(right.detections, classes=right.detections.classes + 99))


ACTS: dict[str, Callable[[Inference], Inference]] = {
    "hang": _hang,
    "slow": _slow,
    "fails": lambda right: _raise(InferenceError("CUDA error: an illegal memory access")),
    "raises": lambda right: _raise(RuntimeError("driver exploded")),
    "memory": lambda right: _raise(MemoryError()),
    "NaN": _nan,
    "infinite": _infinite,
    "class 99": _class,
}


class Misled(OneNeutrophil):
    """Does what the file says; "sometimes": fails at every second frame."""

    frames = 0

    def infer(self, image: Image) -> Inference:
        right, word = super().infer(image), _said("engine")
        Misled.frames += 1
        if word == "sometimes":
            return _raise(InferenceError("odd frame")) if Misled.frames % 2 else right
        return ACTS[word](right) if word else right


def main() -> None:
    """Run the command."""
    import device.line
    import device.mqtt.publisher
    from device.cli import call

    device.line.open_configured = lambda config: Misled()  # type: ignore[assignment,return-value]
    true_time = SystemClock.now

    def now(self: SystemClock) -> datetime:
        return true_time(self) + timedelta(seconds=float(_said("clock") or 0))

    SystemClock.now = now  # type: ignore[method-assign]
    if cap := _said("pauses"):
        device.mqtt.publisher.Backoff = lambda first_s, cap_s: Backoff(first_s, float(cap))  # type: ignore[misc,assignment]
        shorter = Pauses(10.0, (10.0, 20.0), (20.0, 40.0), 60.0, (2.0, 4.0))
        device.mqtt.publisher.Pauses = lambda: shorter  # type: ignore[misc,assignment]
    sys.exit(call(sys.argv[1:]))


if __name__ == "__main__":
    main()

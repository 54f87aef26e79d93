"""One round of the pipeline: where its frame comes from, what it did, and the guard that keeps a fault in it from ending the count."""

from __future__ import annotations

import hashlib
import logging
import re
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import cv2

from device.camera.base import CameraStatus, Frame, FrameSource, SkippedPicture
from device.clock import Backoff, Clock
from device.display.base import PartState
from device.language import N_, _
from device.mqtt.message import one_line
from device.slide.counting import Observation
from engines.detections import Image
from engines.errors import DeviceLostError

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_U = TypeVar("_U")

WAIT_FOR_FRAME_S = 0.1
"""How long a round waits for a frame before it looks after keys, screen and record without one."""
REVIEW_WAIT_S = 0.02
"""The same during a review, whose pages answer to keys and to nothing else."""
FOR_GOOD = 20
"""So many faults of one stage in a row are no accident: its part's lamp says so, and it is tried with growing pauses."""
_MOST_COPIED_BYTES = 8_000_000  # a frame of 1080p; larger pictures are named and not copied
_MOST_COPIES = 20
_ROOMS = ("device", "engines", "calibration")

CAMERA, PICTURE, COMMAND, SCREEN, RECORD, REPORTS = "camera", "picture", "command", "screen", "record", "reports"
"""The stages of a round."""
_LAMPS = {CAMERA: "Camera", PICTURE: "Engine", RECORD: "Record"}


@dataclass(frozen=True)
class Round:
    """What one round did: for the watchdog, the demo's progress and the benchmark."""

    frame: Frame | None
    observation: Observation | None
    timings_ms: dict[str, float]


@dataclass
class _Stage:
    """In a row: faults since it last went well. words: of the last one."""

    in_a_row: int = 0
    words: str = ""
    retry_at_s: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(first_s=0.2, cap_s=5.0, jitter=0.0))


class RoundGuard:
    """Catches what nobody foresaw in a stage of a round, names it, and lets the rest of the round go on.

    say: tells the technician (words that are marked for translation, and what is put into their places); put_aside: keeps a picture
    that raised (its name, why, its bytes as PNG or b""). stored: frames are pictures of a folder, each of which is named once.
    """

    def __init__(
        self, clock: Clock, say: Callable[[str, dict[str, object]], object], put_aside: Callable[[str, str, bytes], None], stored: bool
    ) -> None:
        self._clock, self._say, self._put_aside, self._stored = clock, say, put_aside, stored
        self._stages: dict[str, _Stage] = {}
        self._logged = set[str]()
        self._pictures: dict[str, SkippedPicture] = {}
        self.caught = self._copies = 0
        self.engine_note: Callable[[], tuple[str, str]] = lambda: ("", "")  # level and words about which engine counts, if any

    def run(self, stage: str, act: Callable[[], _T], otherwise: _U, frame: Frame | None = None) -> _T | _U:
        """What `act` gives; `otherwise` where it raises, or is not tried again yet. frame: that it looks at."""
        state = self._stages.setdefault(stage, _Stage())
        if self.pauses(stage):
            return otherwise
        try:
            done = act()
        except DeviceLostError:  # nothing in this process mends it: it ends, and the service manager starts another
            raise
        except Exception as error:
            self._caught(stage, state, error, frame)
            return otherwise
        if state.in_a_row >= FOR_GOOD:
            log.warning("the %s works again after %d faults", stage, state.in_a_row)
            state.backoff.reset()
        state.in_a_row = 0
        return done

    def pauses(self, stage: str) -> bool:
        """The stage failed again and again, and it is too early to try once more."""
        state = self._stages.get(stage)
        return state is not None and state.in_a_row >= FOR_GOOD and self._clock.monotonic_s() < state.retry_at_s

    def asked(self, act: Callable[[], tuple[bool, str]]) -> tuple[bool, str]:
        """What became of a command; it is never kept waiting."""
        before = self.caught
        self._stages.pop(COMMAND, None)
        done = self.run(COMMAND, act, (False, ""))
        return done if self.caught == before else (False, f"a fault in the program: {self._stages[COMMAND].words}; see the log")

    def newest(self, source: FrameSource, timeout_s: float, held: bool = False) -> Frame | None:
        """The newest frame; none while they are `held` or cannot be looked at, so that no stored picture is passed over."""
        if held or self.pauses(PICTURE) or self.pauses(CAMERA):
            self._clock.sleep(timeout_s)
            return None
        return self.run(CAMERA, lambda: source.newest(timeout_s), None)

    def failing(self, stage: str) -> str:
        """What a stage fails by, again and again, in one line; "" while it does not."""
        state = self._stages.get(stage)
        return state.words if state is not None and state.in_a_row >= FOR_GOOD else ""

    def seen(self, status: CameraStatus) -> CameraStatus:
        """The camera's status with the pictures that raised among those that were skipped."""
        return replace(status, skipped=(*status.skipped, *self._pictures.values())) if self._pictures else status

    def lamps(self, parts: Sequence[PartState]) -> tuple[PartState, ...]:
        """The lamps, red where a stage of that part fails again and again."""
        level, words = self.engine_note()
        if words:
            parts = [
                PartState(each.name, level, words) if each.name == "Engine" and each.level in ("ok", "busy") else each for each in parts
            ]
        bad = {lamp for stage, lamp in _LAMPS.items() if self.failing(stage)}
        return tuple(PartState(each.name, "fail", _("fault in the program")) if each.name in bad else each for each in parts)

    def _caught(self, stage: str, state: _Stage, error: Exception, frame: Frame | None) -> None:
        self.caught += 1
        state.in_a_row += 1
        state.words = one_line(f"{type(error).__name__}: {error}")[:300]
        where = _where(error)
        kind = f"{stage} {type(error).__name__} {where} {re.sub(r'[0-9]+', '#', state.words)}"
        first = kind not in self._logged
        if first and len(self._logged) < 200:
            self._logged.add(kind)
            log.error("a fault in the stage %r is caught, the count goes on: %s (%s)", stage, state.words, where, exc_info=error)
        if state.in_a_row >= FOR_GOOD:
            if state.in_a_row == FOR_GOOD:
                log.error("the stage %r failed %d times in a row, it is tried with pauses: %s", stage, FOR_GOOD, state.words)
            state.retry_at_s = self._clock.monotonic_s() + state.backoff.next_s()
        if frame is not None:
            self._aside(frame, f"{state.words} ({where})", first)

    def _aside(self, frame: Frame, why: str, first: bool) -> None:
        """Name the picture: each stored one once, of a live camera the first of each kind of fault."""
        name = one_line(frame.source)
        if self._stored:
            if name in self._pictures:
                return
            self._pictures[name] = SkippedPicture(name, "damaged", one_line(why))
        elif first:
            name = f"{name}, {frame.captured_at:%Y-%m-%d %H:%M:%S} UTC"  # another fault of the same camera is another one
        else:
            return
        width, height = frame.size_px
        digest = hashlib.sha256(frame.image.tobytes()).hexdigest()
        self._put_aside(name, f"{one_line(why)}; {width} x {height} px, sha256 {digest}", self._copy(frame.image))
        if not self._stored:  # of a stored one the pipeline tells, as of every picture that was skipped
            self._say(N_("A picture cannot be looked at and was put aside: {reason}"), {"reason": one_line(why)})

    def _copy(self, image: Image) -> bytes:
        if image.nbytes > _MOST_COPIED_BYTES or self._copies >= _MOST_COPIES:
            return b""
        self._copies += 1
        with suppress(Exception):  # a picture that raised once may raise here too; its name and digest are kept
            return bytes(cv2.imencode(".png", image)[1].tobytes())
        return b""


def _where(error: BaseException) -> str:
    """The innermost line of ours that the fault passed."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        parts = Path(frame.filename).parts
        for room in _ROOMS:
            if room in parts and "site-packages" not in parts[: parts.index(room)]:
                return f"{'/'.join(parts[len(parts) - 1 - parts[::-1].index(room) :])}:{frame.lineno}"
    return "a library"

"""The capture thread against a camera that fails in every way known, with time moved by hand so that no pause is waited for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from itertools import pairwise
from types import TracebackType

import numpy as np
import pytest
from typing_extensions import Self

from device.camera.base import Camera, CameraState, CameraStatus, Frame, SkippedPicture
from device.camera.capture import Capture
from device.clock import Backoff, SystemClock
from device.errors import CameraError, CameraLostError, EndOfSourceError

LIGHT = 100  # in the dark one picture is like the other
PATIENCE_S = 10.0


class HandClock:
    """Time that moves only by sleeping; remembers its naps, and lets a test look in at each."""

    def __init__(self) -> None:
        self.time_s = 1000.0
        self.slept_s: list[float] = []
        self.at_each_nap: Callable[[], object] = lambda: None

    def monotonic_s(self) -> float:
        return self.time_s

    def now(self) -> datetime:
        return datetime.fromtimestamp(1_800_000_000 + self.time_s, timezone.utc)

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.at_each_nap()
        self.time_s += seconds
        time.sleep(0)  # lets the other threads run


class ScriptedCamera:
    """A camera whose every opening and read is a step of the test's script: an image value, an exception, or something to call."""

    def __init__(self, clock: HandClock, steps: Iterator[object], live: bool, log: list[str]) -> None:
        self._clock, self._steps, self._live, self._log = clock, steps, live, log
        self._sequence = 0
        self.skipped: tuple[SkippedPicture, ...] = ()
        self.notice = ""

    @property
    def name(self) -> str:
        return "scripted"

    @property
    def live(self) -> bool:
        return self._live

    def __enter__(self) -> Self:
        self._log.append("open")
        step = next(self._steps)
        while isinstance(step, int):  # frames that were not read before the camera was closed
            step = next(self._steps)
        if isinstance(step, BaseException):
            raise step
        assert isinstance(step, str)
        self.notice = step
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._log.append("close")

    def read(self) -> Frame:
        step = next(self._steps)
        if callable(step):
            step = step(self)
        if isinstance(step, BaseException):
            raise step
        assert isinstance(step, int)
        self._clock.time_s += 0.1
        image = np.full((8, 12, 3), LIGHT + step, np.uint8)
        frame = Frame(image, self._sequence, self._clock.monotonic_s(), self._clock.now(), "scripted")
        self._sequence += 1
        return frame


class Bench:
    """A capture with a script; after the script's last step the camera blocks until the test is over."""

    def __init__(self, steps: list[object], live: bool = True, **keys: object) -> None:
        self.clock = HandClock()
        self.log: list[str] = []
        self.played = threading.Event()
        self._over = threading.Event()
        self._steps = self._play(steps)
        keys.setdefault("backoff", Backoff(0.1, 5.0, jitter=0.0))
        self.capture = Capture(
            lambda: ScriptedCamera(self.clock, self._steps, live, self.log),
            self.clock,
            **keys,  # type: ignore[arg-type]  # passed on as given
        )

    def _play(self, steps: list[object]) -> Iterator[object]:
        yield from steps
        self.played.set()
        self._over.wait(PATIENCE_S)
        while True:
            yield CameraLostError("the test is over")

    @contextmanager
    def running(self) -> Iterator[Capture]:
        try:
            with self.capture:
                yield self.capture
                self._over.set()
        finally:
            self._over.set()

    def play_out(self) -> None:
        assert self.played.wait(PATIENCE_S), f"the script was not played to its end: {self.log}, {self.capture.status}"


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)


def _value(frame: Frame | None) -> int | None:
    return None if frame is None else int(frame.image[0, 0, 0]) - LIGHT


OPENS = ""  # a step for __enter__: it opens, with nothing refused


def test_the_newest_live_frame_is_given_once_and_all_are_counted() -> None:
    bench = Bench([OPENS, 1, 2, 3, 4])
    with bench.running() as capture:
        bench.play_out()
        assert _value(capture.newest(1.0)) == 4
        assert capture.newest(0.01) is None
        status = capture.status
    assert (status.state, status.name, status.size_px, status.frames, status.reason) == (
        CameraState.STREAMING,
        "scripted",
        (12, 8),
        4,
        "",
    )
    assert status.fps == pytest.approx(10.0)


def test_a_stored_source_waits_until_each_picture_was_taken() -> None:
    bench = Bench([OPENS, 1, 2, 3, EndOfSourceError("scripted: its last picture was shown")], live=False)
    with bench.running() as capture:
        taken = []
        while (frame := capture.newest(PATIENCE_S)) is not None:
            taken.append((frame.sequence, _value(frame)))
            time.sleep(0.01)  # slower than the source
        assert taken == [(0, 1), (1, 2), (2, 3)]
        assert capture.status.state is CameraState.ENDED
        started = time.monotonic()
        assert capture.newest(PATIENCE_S) is None
        assert time.monotonic() - started < 1.0, "after the end nobody waits"
    assert bench.log == ["open", "close"]
    assert capture.status.reason == "scripted: its last picture was shown"
    assert capture.status.failures == 0


def test_equal_pictures_of_a_stored_source_are_all_given() -> None:
    bench = Bench([OPENS, 7, 7, 7, EndOfSourceError("end")], live=False)
    with bench.running() as capture:
        assert [_value(capture.newest(PATIENCE_S)) for _ in range(4)] == [7, 7, 7, None]


def test_a_failed_read_is_a_state_and_is_tried_again_on_the_open_camera() -> None:
    bench = Bench([OPENS, 1, CameraError("scripted: a frame was damaged"), 2])
    with bench.running() as capture:
        bench.play_out()
        assert _value(capture.newest(1.0)) == 2
        assert capture.status.state is CameraState.STREAMING
        assert capture.status.failures == 1
        assert bench.log == ["open"]


def test_reads_that_keep_failing_lead_to_opening_again() -> None:
    bench = Bench([OPENS, 1, *[CameraError("bad")] * 5, OPENS, 2])
    with bench.running() as capture:
        bench.play_out()
        assert bench.log == ["open", "close", "open"]
        assert capture.status.failures == 5


def test_an_unplugged_camera_is_closed_and_opened_until_it_is_back() -> None:
    away = CameraError("there is no camera X; plug it in")
    seen: list[CameraStatus] = []
    bench = Bench([OPENS, 1, CameraLostError("X was unplugged; plug it in again"), away, away, OPENS, 2])
    bench.clock.at_each_nap = lambda: seen.append(bench.capture.status)
    with bench.running() as capture:
        bench.play_out()
        assert _value(capture.newest(1.0)) == 2
        assert capture.status.state is CameraState.STREAMING
    assert bench.log[:5] == ["open", "close", "open", "open", "open"]
    reasons = list(dict.fromkeys(s.reason for s in seen[:20] if s.state is CameraState.LOST))
    assert reasons[:2] == ["X was unplugged; plug it in again", "there is no camera X; plug it in"]
    assert all(s.retry_in_s is not None and s.fps == 0.0 for s in seen[:5])


def test_a_device_missing_at_the_start_is_a_state_even_when_failing_fast() -> None:
    bench = Bench([CameraError("there is no camera X"), CameraError("there is no camera X"), OPENS, 5], fail_fast=True)
    with bench.running() as capture:
        bench.play_out()
        assert _value(capture.newest(1.0)) == 5
        assert capture.status.failures == 2


def test_a_device_missing_at_the_start_is_raised_where_it_is_not_to_be_waited_for() -> None:
    bench = Bench([CameraError("there is no camera X")], fail_fast=True, wait_for_device=False)
    with pytest.raises(CameraError, match="there is no camera X"), bench.running():
        pass
    assert bench.capture.status.state is CameraState.LOST


def test_a_camera_that_cannot_even_be_built_is_raised_when_failing_fast() -> None:
    def build() -> Camera:
        raise CameraError("there is no rendered case 'XYZ'")

    with pytest.raises(CameraError, match="XYZ"), Capture(build, HandClock(), fail_fast=True):
        pass


def test_pauses_grow_to_the_cap_and_start_over_after_a_frame() -> None:
    lost = CameraLostError("gone")
    bench = Bench([*[lost] * 8, OPENS, 1, lost, OPENS, 2], backoff=Backoff(0.5, 4.0, jitter=0.0))
    times: list[float] = []
    bench.log = _Stamped(times, bench.clock)
    with bench.running():
        bench.play_out()
    openings = [round(b - a, 3) for a, b in pairwise(times)]
    assert openings[:8] == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0, 4.0, 4.0]
    assert openings[8] == pytest.approx(0.1 + 0.5), "one frame, then the first pause again"
    assert max(bench.clock.slept_s) <= 0.1 + 1e-9, "slept in naps, so that stopping is never late"


class _Stamped(list[str]):
    def __init__(self, times: list[float], clock: HandClock) -> None:
        super().__init__()
        self._times, self._clock = times, clock

    def append(self, word: str) -> None:
        if word == "open":
            self._times.append(self._clock.time_s)
        super().append(word)


def test_an_exact_repeat_of_a_live_frame_is_not_handed_on() -> None:
    bench = Bench([OPENS, 1, 1, 2, 2, 2, 3])
    with bench.running() as capture:
        bench.play_out()
        assert _value(capture.newest(1.0)) == 3
        assert capture.status.frames == 3


def test_a_frozen_camera_is_stalled_opened_again_and_only_a_new_picture_clears_it() -> None:
    frozen = [5] * 13  # 0.1 s each: longer than stall_s
    states: list[CameraState] = []

    def look_in(_: ScriptedCamera) -> int:
        states.append(bench.capture.status.state)
        return 6

    bench = Bench([OPENS, *frozen, OPENS, *frozen, OPENS, look_in], stall_s=1.0)
    with bench.running() as capture:
        bench.play_out()
        assert bench.log == ["open", "close", "open", "close", "open"]
        assert states == [CameraState.STALLED]
        assert capture.status.state is CameraState.STREAMING
        assert capture.status.frames == 2
        assert capture.status.failures == 2


def test_a_lens_cap_on_a_camera_without_noise_is_no_stall() -> None:
    bench = Bench([OPENS, 5, *[-LIGHT] * 40, 6], stall_s=1.0)
    with bench.running() as capture:
        bench.play_out()
        assert capture.status.failures == 0 and capture.status.state is CameraState.STREAMING
        assert capture.status.frames == 42, "dark frames are handed on: whoever looks at them says what is wrong"


def test_a_stall_names_the_camera_and_what_to_do() -> None:
    bench = Bench([OPENS, *[5] * 13, CameraError("and now it is gone")], stall_s=1.0)
    reasons: list[str] = []
    bench.clock.at_each_nap = lambda: reasons.append(bench.capture.status.reason)
    with bench.running():
        bench.play_out()
    assert reasons[0].startswith("scripted sends one and the same picture for 1 s")
    assert "unplug it" in reasons[0]


def test_a_driver_that_raises_anything_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench([ValueError("no idea"), OPENS, MemoryError(), OPENS, 3])
    with caplog.at_level(logging.ERROR), bench.running() as capture:
        bench.play_out()
        assert _value(capture.newest(1.0)) == 3
        assert capture.status.failures == 2
    assert [r.getMessage() for r in caplog.records if r.exc_info] == ["the camera's driver failed unexpectedly"] * 2


def test_numbers_go_on_counting_when_a_reopened_camera_starts_from_nought() -> None:
    bench = Bench([OPENS, 1, 2, CameraLostError("gone"), OPENS, 3, EndOfSourceError("end")], live=False)
    with bench.running() as capture:
        frames = [capture.newest(PATIENCE_S) for _ in range(3)]
    assert [f.sequence for f in frames if f is not None] == [0, 1, 2]


def test_what_the_device_refused_is_told_while_it_streams() -> None:
    bench = Bench(["asked for 1920x1080 MJPG, the camera gives 640x480 YUYV", 1])
    with bench.running() as capture:
        bench.play_out()
        assert capture.status.state is CameraState.STREAMING
        assert "gives 640x480 YUYV" in capture.status.reason


def test_frames_may_not_be_written_to() -> None:
    bench = Bench([OPENS, 1])
    with bench.running() as capture:
        frame = capture.newest(PATIENCE_S)
        assert frame is not None
        with pytest.raises(ValueError, match="read-only"):
            frame.image[0, 0] = 0


@pytest.mark.parametrize("live", [True, False])
def test_stopping_takes_no_longer_than_two_seconds_when_the_driver_blocks(live: bool, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench([OPENS, 1], live=live)
    started = 0.0
    with bench.capture:
        assert bench.capture.newest(PATIENCE_S) is not None
        bench.play_out()  # the camera now blocks in read()
        started = time.monotonic()
    assert time.monotonic() - started < 2.5
    assert "does not return from its driver" in caplog.text
    bench._over.set()
    _until(lambda: bench.log == ["open", "close"])


def test_stopping_is_prompt_while_nobody_takes_a_stored_picture_and_while_pausing() -> None:
    waiting = Bench([OPENS, 1, 2], live=False)
    with waiting.capture:
        _until(lambda: waiting.capture.status.frames == 1)
        started = time.monotonic()
    assert time.monotonic() - started < 1.0
    assert waiting.log == ["open", "close"]

    clock = SystemClock()
    with Capture(_missing, clock, backoff=Backoff(60.0, 60.0)) as capture:
        _until(lambda: capture.status.retry_in_s is not None)
        started = time.monotonic()
    assert time.monotonic() - started < 1.0


def _missing() -> Camera:
    raise CameraError("there is no camera X")


def test_a_driver_that_answers_nothing_is_reported_while_it_blocks() -> None:
    bench = Bench([OPENS, 1], silence_s=4.0)
    with bench.running() as capture:
        bench.play_out()
        assert capture.status.state is CameraState.STREAMING
        bench.clock.time_s += 5.0
        status = capture.status
    assert status.state is CameraState.LOST
    assert status.reason == "scripted has not answered for 5 s; unplug it and plug it in again"
    assert status.fps == 0.0


def test_each_change_of_state_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    away = CameraError("there is no camera X; plug it in")
    bench = Bench([away, away, away, OPENS, 1, 2, 3])
    with caplog.at_level(logging.INFO, logger="device.camera.capture"), bench.running():
        bench.play_out()
        lines = [r.getMessage() for r in caplog.records]
    assert lines == ["lost: there is no camera X; plug it in", "scripted: frames come"]

"""The capture thread on real folders of pictures, and how it tells one picture from another."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.camera.base import CameraState, Frame
from device.camera.capture import Capture, picture_digest
from device.camera.factory import open_camera
from device.clock import Backoff, SystemClock
from device.errors import CameraError
from device.settings.config import ReplayCamera as ReplaySection

PATIENCE_S = 10.0


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)


def _value(frame: Frame | None) -> int | None:
    return None if frame is None else int(frame.image[0, 0, 0])


def test_a_stored_source_missing_at_the_start_is_raised_when_failing_fast(tmp_path: Path) -> None:
    section = ReplaySection(kind="replay", source=str(tmp_path / "none"))
    capture = Capture(lambda: open_camera(section, SystemClock()), SystemClock(), fail_fast=True)
    with pytest.raises(CameraError, match="there is no folder or file") as caught, capture:
        pass
    assert caught.value.exit_code == 2
    assert capture.status.state is CameraState.LOST
    assert capture.newest(PATIENCE_S) is None


def test_without_failing_fast_a_stored_source_is_waited_for_too(tmp_path: Path) -> None:
    section = ReplaySection(kind="replay", source=str(tmp_path / "later"), hold_frames=1)
    clock = SystemClock()
    with Capture(lambda: open_camera(section, clock), clock, backoff=Backoff(first_s=0.01, cap_s=0.05)) as capture:
        _until(lambda: capture.status.failures > 3)
        assert "there is no folder or file" in capture.status.reason
        staged = tmp_path / "staged"
        staged.mkdir()
        cv2.imwrite(str(staged / "a.png"), np.full((8, 8, 3), 9, np.uint8))
        (staged / "b.png").write_bytes(b"broken")
        staged.rename(tmp_path / "later")
        assert _value(capture.newest(PATIENCE_S)) == 9
        assert capture.newest(PATIENCE_S) is None
        status = capture.status
    assert status.state is CameraState.ENDED and [p.name for p in status.skipped] == ["b.png"]


def test_the_digest_tells_pictures_apart() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    noisy = image.copy()
    noisy[4, 4, 0] = 1
    assert picture_digest(image) == picture_digest(image.copy())
    assert picture_digest(image) != picture_digest(noisy)

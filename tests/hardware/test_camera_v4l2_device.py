"""A V4L2 camera that is really there: a USB microscope camera, or the kernel's virtual one (`modprobe vivid`, as root).

LEUKOSCOPE_CAMERA names the device; else the first that is connected is used. What only vivid can do is skipped elsewhere.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.camera import v4l2_device
from device.camera.base import CameraState
from device.camera.capture import Capture
from device.camera.inventory import VideoDevice, list_devices
from device.camera.v4l2 import SELECT_TIMEOUT_S, V4l2Camera
from device.clock import Backoff, SystemClock
from device.errors import CameraError, CameraLostError
from device.settings.config import V4l2Camera as V4l2Section

pytestmark = pytest.mark.hardware

PATIENCE_S = float(os.environ.get("LEUKOSCOPE_TEST_PATIENCE_S", "30"))  # an emulated machine needs more
VIVID_DISCONNECT = 0x00F0F041
VIVID_DROPPED_PERCENT = 0x00F0F040
VIVID_OSD_MODE = 0x00F0F001
SHOWABLE = ("MJPG", "YUYV", "UYVY")


@pytest.fixture(scope="module")
def device() -> VideoDevice:
    there = [d for d in list_devices() if not d.problem]
    named = os.environ.get("LEUKOSCOPE_CAMERA")
    if named:
        there = [d for d in there if d.node.resolve() == Path(named).resolve()]
    if not there:
        pytest.skip("no V4L2 camera is connected (and the kernel module vivid is not loaded)")
    return there[0]


@pytest.fixture(scope="module")
def mode(device: VideoDevice) -> v4l2_device.Mode:
    """The smallest mode of 320x240 or more, MJPG where there is one."""
    usable = [m for m in device.modes if m.fourcc in SHOWABLE and m.width_px >= 320 and m.height_px >= 240]
    if not usable:
        pytest.skip(f"{device} lists no mode in {', '.join(SHOWABLE)}")
    return min(usable, key=lambda m: (SHOWABLE.index(m.fourcc), m.width_px * m.height_px))


@pytest.fixture
def vivid(device: VideoDevice) -> VideoDevice:
    if device.name != "vivid":
        pytest.skip("needs the kernel's virtual camera (vivid), which can be disconnected and frozen by software")
    return device


def _camera(device: VideoDevice, mode: v4l2_device.Mode, **keys: Any) -> V4l2Camera:
    wanted = {"width_px": mode.width_px, "height_px": mode.height_px, "fourcc": mode.fourcc, "fps": mode.fps or 30.0}
    return V4l2Camera(V4l2Section(kind="v4l2", device=str(device.stable_id), **{**wanted, **keys}), SystemClock())


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_the_inventory_describes_it(device: VideoDevice) -> None:
    assert device.name
    assert device.stable_id.exists()
    assert device.stable_id.parent.name in ("by-id", "by-path")
    assert device.modes
    assert all(len(m.fourcc) >= 3 and m.width_px > 0 and m.height_px > 0 for m in device.modes)
    assert any(m.fps for m in device.modes)


def test_frames_come_in_the_mode_that_was_asked_for(device: VideoDevice, mode: v4l2_device.Mode) -> None:
    with _camera(device, mode) as camera:
        frames = [camera.read() for _ in range(10)]
    assert camera.notice == ""
    assert {f.size_px for f in frames} == {(mode.width_px, mode.height_px)}
    assert all(f.image.dtype == np.uint8 and f.image.shape[2] == 3 for f in frames)
    assert len({f.image.tobytes() for f in frames}) > 1
    assert all(b.captured_s > a.captured_s for a, b in pairwise(frames))


def test_a_mode_that_it_does_not_have_is_told_with_those_it_has(device: VideoDevice, mode: v4l2_device.Mode) -> None:
    with _camera(device, mode, width_px=1234, height_px=567, fourcc="H265") as camera:
        frame = camera.read()
    assert camera.notice.startswith("asked for 1234x567 H265")
    assert f"the camera gives {frame.size_px[0]}x{frame.size_px[1]}" in camera.notice
    assert any(str(mode) in camera.notice for mode in device.modes)
    assert len(camera.notice) < 300


def test_it_opens_and_closes_again_and_again_without_leaving_anything_open(device: VideoDevice, mode: v4l2_device.Mode) -> None:
    camera = _camera(device, mode)
    counts = []
    for _ in range(4):
        with camera:
            camera.read()
        counts.append(sum(1 for _ in Path("/proc/self/fd").iterdir()))
    assert counts[-1] == counts[0]
    with pytest.raises(CameraLostError):
        camera.read()


def test_one_that_another_program_uses_is_refused(device: VideoDevice, mode: v4l2_device.Mode) -> None:
    with _camera(device, mode) as first:
        first.read()
        with pytest.raises(CameraError, match=r"another program may be using it|gives no frames"), _camera(device, mode):
            pass
        first.read()


def test_gain_is_set_with_the_automatic_off_and_read_back(device: VideoDevice, mode: v4l2_device.Mode) -> None:
    with v4l2_device.opened(device.node) as descriptor:
        gain = v4l2_device.control(descriptor, v4l2_device.CID_GAIN)
    if gain is None:
        pytest.skip("this camera has no gain")
    value = gain.minimum + (gain.maximum - gain.minimum) // 3
    with _camera(device, mode, gain=value) as camera:
        camera.read()
        assert camera.notice == ""
    with _camera(device, mode, gain=gain.maximum + 1000) as camera:
        camera.read()
        assert f"gain: asked for {gain.maximum + 1000}, the camera keeps" in camera.notice
        assert f"(it allows {gain.minimum} to {gain.maximum})" in camera.notice


def test_exposure_is_read_back_or_its_lack_is_told(device: VideoDevice, mode: v4l2_device.Mode) -> None:
    with v4l2_device.opened(device.node) as descriptor:
        exposure = v4l2_device.control(descriptor, v4l2_device.CID_EXPOSURE_ABSOLUTE)
    with _camera(device, mode, exposure_us=5000) as camera:
        camera.read()
    assert camera.notice == ("" if exposure else "exposure_us cannot be set on this camera; take camera.exposure_us out")


def test_the_capture_thread_keeps_the_newest_frame(device: VideoDevice, mode: v4l2_device.Mode) -> None:
    with Capture(lambda: _camera(device, mode), SystemClock(), fail_fast=True) as capture:
        assert capture.newest(PATIENCE_S) is not None
        _until(lambda: capture.status.frames > 4)
        status = capture.status
        assert status.state is CameraState.STREAMING
        assert status.size_px == (mode.width_px, mode.height_px)
        assert status.fps > 0


def test_an_unplug_is_noticed_and_the_camera_comes_back(vivid: VideoDevice, mode: v4l2_device.Mode) -> None:
    """vivid answers "no such device" to everything until its last user has closed it; then it is there again."""
    backoff = Backoff(first_s=0.05, cap_s=0.5)
    with Capture(lambda: _camera(vivid, mode), SystemClock(), backoff=backoff) as capture:
        assert capture.newest(PATIENCE_S) is not None
        with v4l2_device.opened(vivid.node) as descriptor, suppress(OSError):  # it has gone before it can be read back
            v4l2_device.set_control(descriptor, VIVID_DISCONNECT, 1)
        _until(lambda: capture.status.failures > 0)
        _until(lambda: capture.status.state is CameraState.STREAMING)
        while capture.newest(0.0) is not None:
            pass
        assert capture.newest(PATIENCE_S) is not None


def test_a_frozen_picture_is_stalled(vivid: VideoDevice, mode: v4l2_device.Mode) -> None:
    with Capture(lambda: _camera(vivid, mode), SystemClock(), stall_s=0.5, backoff=Backoff(first_s=0.05, cap_s=0.2)) as capture:
        assert capture.newest(PATIENCE_S) is not None
        with v4l2_device.opened(vivid.node) as descriptor:
            v4l2_device.set_control(descriptor, VIVID_OSD_MODE, 2)  # the running counter is no longer drawn
            try:
                _until(lambda: capture.status.state is CameraState.STALLED)
                assert "one and the same picture" in capture.status.reason
            finally:
                v4l2_device.set_control(descriptor, VIVID_OSD_MODE, 0)
        _until(lambda: capture.status.state is CameraState.STREAMING)


def test_a_camera_that_falls_silent_is_noticed_within_seconds(vivid: VideoDevice, mode: v4l2_device.Mode) -> None:
    with _camera(vivid, mode) as camera:
        camera.read()
        with v4l2_device.opened(vivid.node) as descriptor:
            v4l2_device.set_control(descriptor, VIVID_DROPPED_PERCENT, 100)
            try:
                started = time.monotonic()
                with pytest.raises(CameraLostError, match="gives no frames any more"):
                    for _ in range(100):
                        camera.read()
                assert time.monotonic() - started < 2 * SELECT_TIMEOUT_S + 1
            finally:
                v4l2_device.set_control(descriptor, VIVID_DROPPED_PERCENT, 0)

"""A libcamera camera through picamera2: on a Raspberry Pi its own, elsewhere libcamera's virtual camera where that is built."""

from __future__ import annotations

import importlib.util
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from device.camera.base import CameraState
from device.camera.capture import Capture
from device.camera.picamera import Picamera2Camera
from device.clock import SystemClock
from device.errors import CameraError, CameraLostError
from device.settings.config import Picamera2Camera as Picamera2Section

pytestmark = [
    pytest.mark.hardware,
    pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning"),  # picamera2's own
]

PATIENCE_S = 60.0


@pytest.fixture
def section(monkeypatch: pytest.MonkeyPatch) -> Picamera2Section:
    if importlib.util.find_spec("picamera2") is None:
        pytest.skip("picamera2 is not installed")
    import picamera2

    there = picamera2.Picamera2.global_camera_info()
    if not there:
        pytest.skip("libcamera sees no camera")
    if "Virtual" in there[0]["Id"]:
        monkeypatch.setattr(picamera2, "Picamera2", _for_the_virtual_pipeline(picamera2))
    return Picamera2Section(kind="picamera2", camera=0)


def _for_the_virtual_pipeline(picamera2: Any) -> Any:
    """libcamera's virtual pipeline has no raw stream, and allocates its own buffers; picamera2 expects a Raspberry Pi's."""
    import libcamera
    from picamera2.allocators import LibcameraAllocator

    class Virtual(picamera2.Picamera2):  # type: ignore[misc]  # picamera2 ships no types
        def __init__(self, number: int) -> None:
            super().__init__(number)
            self.allocator = LibcameraAllocator(self.camera)

        def _get_raw_modes(self) -> list[dict[str, Any]]:
            formats = self.camera.generate_configuration([libcamera.StreamRole.VideoRecording]).at(0).formats
            return [{"format": str(f), "size": (s.width, s.height)} for f in formats.pixel_formats for s in formats.sizes(f)]

    return Virtual


def _open_pipes() -> int:
    return sum(path.is_symlink() and str(path.readlink()).startswith("pipe:") for path in Path("/proc/self/fd").iterdir())


def test_frames_come_and_the_camera_can_be_opened_again(section: Picamera2Section) -> None:
    camera = Picamera2Camera(section, SystemClock())
    for _ in range(2):
        with camera:
            frames = [camera.read() for _ in range(4)]
        assert {f.size_px for f in frames} == {(section.width_px, section.height_px)}
        assert all(b.captured_s > a.captured_s and b.sequence == a.sequence + 1 for a, b in pairwise(frames))
        assert frames[-1].image.std() > 1.0
    with pytest.raises(CameraLostError):
        camera.read()


def test_a_size_that_it_does_not_have_is_told(section: Picamera2Section) -> None:
    wanted = section.model_copy(update={"width_px": 640, "height_px": 362})
    with Picamera2Camera(wanted, SystemClock()) as camera:
        frame = camera.read()
    assert (frame.size_px == (640, 362)) != ("asked for 640x362" in camera.notice)


def test_a_number_that_is_not_there_is_refused_with_those_that_are(section: Picamera2Section) -> None:
    missing = section.model_copy(update={"camera": 7})
    with (
        pytest.raises(CameraError, match="there is no libcamera camera 7; libcamera sees: 0: "),
        Picamera2Camera(missing, SystemClock()),
    ):
        pass


def test_one_that_is_in_use_is_refused(section: Picamera2Section) -> None:
    with Picamera2Camera(section, SystemClock()) as first:
        first.read()
        before = _open_pipes()
        for _ in range(3):
            with pytest.raises(CameraError, match="cannot be opened"), Picamera2Camera(section, SystemClock()):
                pass
        assert _open_pipes() == before, "tried again for hours, it must leave nothing open"
        first.read()


def test_the_capture_thread_streams_it(section: Picamera2Section) -> None:
    with Capture(lambda: Picamera2Camera(section, SystemClock()), SystemClock(), fail_fast=True) as capture:
        assert capture.newest(PATIENCE_S) is not None
        assert capture.status.state is CameraState.STREAMING

"""A network stream as a camera: a real MJPEG server over HTTP in this process, read through FFmpeg, cut off and restarted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

from device.camera.base import CameraState
from device.camera.capture import Capture
from device.camera.factory import open_camera
from device.clock import Backoff, SystemClock
from device.errors import CameraError, CameraLostError
from device.settings.config import ReplayCamera as ReplaySection
from tests.support.mjpeg import MjpegServer

pytestmark = pytest.mark.integration

PATIENCE_S = 60.0


class _Server(MjpegServer):
    """frozen: one picture again and again. halved: of so many frames one is sent half."""

    frozen = False
    halved = 0

    def __init__(self, port: int) -> None:
        super().__init__(port, self._frames, 0.01)

    def _frames(self) -> Callable[[], bytes]:
        rng = np.random.default_rng(3)
        still = rng.integers(100, 120, (120, 160, 3), dtype=np.uint8)

        def frame() -> bytes:
            image = still if self.frozen else rng.integers(0, 40, (120, 160, 3), dtype=np.uint8) + np.uint8(60)
            jpeg = cv2.imencode(".jpg", image)[1].tobytes()
            if self.halved and self.shown % self.halved == self.halved - 1:
                return jpeg[: len(jpeg) // 2] + b"\xff\xd9"  # bytes are missing, the end marker is not
            return jpeg

        return frame


@contextmanager
def _serving(port: int = 0) -> Iterator[_Server]:
    server = _Server(port)
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.05), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.cut = True
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE_S)


def _section(port: int) -> ReplaySection:
    return ReplaySection(kind="replay", source=f"http://clinic:secret@127.0.0.1:{port}/live.mjpg")


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def test_frames_of_a_stream_are_read_and_its_end_is_a_lost_camera() -> None:
    with _serving() as server:
        port = server.server_address[1]
        camera = open_camera(_section(port), SystemClock())
        assert camera.live
        with camera:
            frames = [camera.read() for _ in range(5)]
            assert [f.sequence for f in frames] == list(range(5))
            assert all(f.size_px == (160, 120) for f in frames)
            assert all(70 < float(f.image.mean()) < 90 for f in frames)
            assert frames[0].source == f"http://127.0.0.1:{port}/live.mjpg"
            server.cut = True
            with pytest.raises(CameraLostError, match="closed or sent nothing") as caught:
                for _ in range(10_000):
                    camera.read()
    assert "secret" not in str(caught.value)


def test_a_stream_that_is_not_there_is_one_clear_line(capfd: pytest.CaptureFixture[str]) -> None:
    with _serving() as server:
        port = server.server_address[1]
    with (
        pytest.raises(CameraError, match=f"no stream at http://127.0.0.1:{port}/live.mjpg") as caught,
        open_camera(_section(port), SystemClock()),
    ):
        pass
    assert "secret" not in str(caught.value)
    assert capfd.readouterr().err == "", "FFmpeg and OpenCV say nothing besides"


def test_capture_survives_a_stream_that_stops_and_comes_back() -> None:
    backoff = Backoff(first_s=0.02, cap_s=0.1)
    with _serving() as first:
        port = first.server_address[1]
        with Capture(lambda: open_camera(_section(port), SystemClock()), SystemClock(), fail_fast=True, backoff=backoff) as capture:
            before = capture.newest(PATIENCE_S)
            assert before is not None
            first.cut = True
            first.shutdown()
            first.server_close()
            _until(lambda: capture.status.state is CameraState.LOST)
            assert "127.0.0.1" in capture.status.reason
            while capture.newest(0.05) is not None:
                pass
            with _serving(port):
                after = capture.newest(PATIENCE_S)
                assert after is not None
                assert after.sequence > before.sequence
                assert capture.status.state is CameraState.STREAMING
                assert capture.status.failures > 0


def test_a_slow_consumer_of_a_stream_gets_new_frames_and_no_backlog() -> None:
    with _serving() as server:
        port = server.server_address[1]
        with Capture(lambda: open_camera(_section(port), SystemClock()), SystemClock()) as capture:
            assert capture.newest(PATIENCE_S) is not None
            _until(lambda: capture.status.frames > 6)
            taken = capture.newest(PATIENCE_S)
            assert taken is not None and taken.sequence > 5


def test_a_frozen_stream_is_stalled_and_clears_when_the_picture_changes() -> None:
    with _serving() as server:
        port = server.server_address[1]
        camera = lambda: open_camera(_section(port), SystemClock())  # noqa: E731 - a factory, as Capture takes one
        with Capture(camera, SystemClock(), stall_s=0.3, backoff=Backoff(first_s=0.02, cap_s=0.1)) as capture:
            assert capture.newest(PATIENCE_S) is not None
            server.frozen = True
            _until(lambda: capture.status.state is CameraState.STALLED)
            assert "one and the same picture" in capture.status.reason
            server.frozen = False
            _until(lambda: capture.status.state is CameraState.STREAMING)


def test_half_pictures_are_not_shown_and_are_told() -> None:
    with _serving() as server:
        server.halved = 3
        camera = lambda: open_camera(_section(server.server_address[1]), SystemClock())  # noqa: E731 - a factory
        with Capture(camera, SystemClock()) as capture:
            seen = []
            while len(seen) < 12:
                if (frame := capture.newest(PATIENCE_S)) is not None:
                    seen.append(frame.image)
            status = capture.status
        assert all(image[-1].std() > 3 for image in seen), "the rest of a half picture is of one grey"
        assert "frames arrive damaged and are not used" in status.reason and status.state is CameraState.STREAMING
        server.halved = 1
        with Capture(camera, SystemClock(), backoff=Backoff(first_s=0.02, cap_s=0.1)) as capture:
            _until(lambda: "10 frames in a row arrived damaged" in capture.status.reason)
            assert capture.newest(0.0) is None

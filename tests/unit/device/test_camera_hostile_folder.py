"""A folder of what no camera gave: pipes, devices, impossible sizes, names that steer a terminal; and a disk that does not answer."""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.camera import replay
from device.camera.base import CameraState
from device.camera.capture import Capture
from device.camera.factory import open_camera
from device.clock import Backoff, SystemClock
from device.errors import CameraError
from device.settings.config import ReplayCamera as ReplaySection
from device.view import camera_lamp
from engines.files import printable
from engines.pictures import Picture, decode_frame, read_picture

PATIENCE_S = 20.0
GOOD = np.random.default_rng(1).integers(60, 220, (48, 64, 3), dtype=np.uint8)
JPEG = cv2.imencode(".jpg", cv2.resize(GOOD, (640, 480)))[1].tobytes()


def _until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def capture_of(folder: Path, **keys: float) -> Capture:
    section = ReplaySection(kind="replay", source=str(folder), hold_frames=1)
    backoff = Backoff(first_s=0.01, cap_s=0.05)
    return Capture(lambda: open_camera(section, SystemClock()), SystemClock(), fail_fast=True, backoff=backoff, **keys)  # type: ignore[arg-type]


def shown(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Names of the pictures shown, and of those that were not why."""
    names = []
    with capture_of(folder) as capture:
        while (frame := capture.newest(PATIENCE_S)) is not None:
            names.append(frame.source)
        assert capture.status.state is CameraState.ENDED
        return names, {skipped.name: skipped.reason for skipped in capture.status.skipped}


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """A PNG that says it is so large, whatever is in it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_what_is_no_file_is_named_and_never_opened(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), GOOD)
    os.mkfifo(tmp_path / "b.png")
    os.mkfifo(tmp_path / "b.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "c.png"))
        (tmp_path / "d.png").symlink_to("/dev/zero")
        (tmp_path / "e.png").symlink_to("e.png")
        (tmp_path / "f.png").symlink_to("nowhere")
        cv2.imwrite(str(tmp_path / "z.png"), GOOD)
        names, skipped = shown(tmp_path)
    assert names == ["a.png", "z.png"]
    assert skipped["b.png"] == skipped["b.jpg"] == "is no file but a named pipe; take it out"
    assert "a socket" in skipped["c.png"] and "a device" in skipped["d.png"]
    assert set(skipped) == {"b.jpg", "b.png", "c.png", "d.png", "e.png", "f.png"}


def test_a_folder_of_pipes_alone_is_a_lost_camera_and_no_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with (
        pytest.raises(CameraError, match="is no file but a named pipe"),
        capture_of(tmp_path),
    ):
        pass


def test_impossible_and_cut_pictures_are_named_before_anything_is_allocated(tmp_path: Path) -> None:
    wide, tall = np.full((1, 65_000, 3), 200, np.uint8), np.full((30_000, 1, 3), 200, np.uint8)
    cv2.imwrite(str(tmp_path / "thin.png"), wide)
    cv2.imwrite(str(tmp_path / "tall.png"), tall)
    cv2.imwrite(str(tmp_path / "higher.png"), np.full((65_000, 1, 3), 200, np.uint8))
    (tmp_path / "bomb.png").write_bytes(png(65_535, 65_535, b"\0" * 1000))
    (tmp_path / "square.png").write_bytes(png(20_000, 20_000, b"\0" * 1000))
    (tmp_path / "none.png").write_bytes(png(0, 10))
    (tmp_path / "bomb.jpg").write_bytes(JPEG.replace(struct.pack(">HH", 480, 640), struct.pack(">HH", 65_500, 65_500), 1))
    (tmp_path / "bomb.bmp").write_bytes(
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 1000, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
    )
    gif = b"GIF89a" + struct.pack("<HHBBB", 64, 48, 0, 0, 0) + b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0;"
    (tmp_path / "animated.png").write_bytes(gif)
    (tmp_path / "half.jpg").write_bytes(JPEG[: len(JPEG) // 2] + b"\xff\xd9")
    (tmp_path / "hole.jpg").write_bytes(JPEG[:5000] + JPEG[9000:])
    (tmp_path / "whole.jpg").write_bytes(JPEG)
    started = time.monotonic()
    names, skipped = shown(tmp_path)
    assert names == ["whole.jpg"]
    assert len(skipped) == 11, skipped
    assert all("over 20 times as long as wide" in skipped[name] for name in ("thin.png", "tall.png", "higher.png"))
    assert all("more than 200,000,000 pixels" in skipped[name] for name in ("bomb.png", "square.png", "bomb.jpg", "bomb.bmp"))
    assert "GIF pictures are not read" in skipped["animated.png"]
    assert "cannot be decoded whole" in skipped["half.jpg"] and "cannot be decoded whole" in skipped["hole.jpg"]
    assert time.monotonic() - started < 20


def test_a_name_never_steers_the_terminal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [b"esc_\x1b[31mred", b"new\nline", b"bell\x07", b"latin_\xe4", "arabic_\u202egpj".encode(), "csi_\u009b31m".encode()]
    for name in names:
        (tmp_path / os.fsdecode(name + b".png")).write_bytes(b"no picture")
        cv2.imwrite(str(tmp_path / "good.png"), GOOD)
        (tmp_path / "good.png").rename(tmp_path / os.fsdecode(b"ok_" + name + b".png"))
    with caplog.at_level(logging.DEBUG):
        told, skipped = shown(tmp_path)
    assert len(told) == len(skipped) == len(names)
    said = "".join([*told, *skipped, *(record.getMessage() for record in caplog.records)])
    assert not any(c < " " or "\x7f" <= c <= "\x9f" or c == "\u202e" for c in said)
    assert "esc_\\x1b[31mred.png" in skipped and "new\\nline.png" in skipped and "latin_\\xe4.png" in skipped
    assert printable("نمونہ\u200c 🩸.png") == "نمونہ\u200c 🩸.png", "a joiner belongs to the word"


@pytest.fixture
def dead_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Reading any picture but the first waits, as on a network folder whose server is gone, until the event is set."""
    alive = threading.Event()

    def read(path: Path) -> Picture:
        if path.name != "1.png":
            alive.wait(PATIENCE_S)
        return read_picture(path)

    monkeypatch.setattr(replay, "read_picture", read)
    yield alive
    alive.set()


def test_a_disk_that_does_not_answer_is_told_on_the_lamp_and_comes_back(
    tmp_path: Path, dead_folder: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "123":
        cv2.imwrite(str(tmp_path / f"{name}.png"), GOOD)
    with caplog.at_level(logging.INFO, "device"), capture_of(tmp_path, blocked_s=0.3) as capture:
        assert capture.newest(PATIENCE_S) is not None
        started = time.monotonic()
        _until(lambda: capture.status.state is CameraState.BLOCKED)
        assert 0.2 < time.monotonic() - started < 5
        lamp = camera_lamp(capture.status)
        assert (lamp.level, lamp.text) == ("fail", "picture does not come")
        assert "is its disk or network folder there?" in capture.status.reason
        for _ in range(10):
            assert capture.status.state is CameraState.BLOCKED
        dead_folder.set()
        assert capture.newest(PATIENCE_S) is not None
        assert capture.status.state is CameraState.STREAMING
    told = [record.getMessage() for record in caplog.records]
    assert sum("has given no picture" in line for line in told) == 1
    assert sum("answers again" in line for line in told) == 1


def test_a_slow_pace_is_no_dead_disk(tmp_path: Path) -> None:
    for name in "12":
        cv2.imwrite(str(tmp_path / f"{name}.png"), GOOD)
    section = ReplaySection(kind="replay", source=str(tmp_path), hold_frames=1, fps=1.0)
    with Capture(lambda: open_camera(section, SystemClock()), SystemClock(), blocked_s=0.2) as capture:
        states = set()
        while (frame := capture.newest(0.05)) is None or frame.sequence < 1:
            states.add(capture.status.state)
    assert states <= {CameraState.OPENING, CameraState.STREAMING}


def test_a_cameras_frame_is_whole_or_none() -> None:
    image = decode_frame(JPEG)
    assert image is not None and image.shape == (480, 640, 3)
    padded = JPEG[:-2] + b"\0\0\0\0" + JPEG[-2:]  # as cheap cameras send them
    assert decode_frame(padded) is not None
    assert decode_frame(JPEG[: len(JPEG) // 2] + b"\xff\xd9") is None
    assert decode_frame(JPEG[:6000] + JPEG[7000:]) is None
    assert decode_frame(b"") is None and decode_frame(b"no picture") is None


def test_a_disk_that_does_not_answer_at_the_start_is_waited_for_as_a_state(
    tmp_path: Path, dead_folder: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device.camera.capture._FIRST_OPENING_S", 0.2)
    cv2.imwrite(str(tmp_path / "2.png"), GOOD)
    with capture_of(tmp_path, blocked_s=0.1) as capture:
        _until(lambda: capture.status.state is CameraState.BLOCKED)
        dead_folder.set()
        assert capture.newest(PATIENCE_S) is not None

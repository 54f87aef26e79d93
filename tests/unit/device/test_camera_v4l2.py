"""V4L2 without a device: refusals that name the device and the next step, and the inventory. Frames: tests/hardware."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.camera import inventory, v4l2, v4l2_device
from device.camera.factory import open_camera
from device.camera.inventory import VideoDevice, list_devices, stable_id_of, what_is_there
from device.clock import SystemClock
from device.errors import CameraError, CameraLostError
from device.settings.config import Picamera2Camera as Picamera2Section
from device.settings.config import V4l2Camera as V4l2Section

STABLE = "usb-Bench_5MP_Microscope_SN0001-video"


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    """A /dev with one camera's two nodes; plain files, so that every ioctl is refused as by something that is no camera."""
    for node in ("video0", "video1", "video10"):
        (tmp_path / node).touch()
    by_id = tmp_path / "v4l" / "by-id"
    by_path = tmp_path / "v4l" / "by-path"
    by_id.mkdir(parents=True)
    by_path.mkdir()
    (by_id / f"{STABLE}-index0").symlink_to("../../video0")
    (by_id / f"{STABLE}-index1").symlink_to("../../video1")
    (by_path / "pci-0000:00:14.0-usb-0:2:1.0-video-index0").symlink_to("../../video0")
    (by_path / "pci-0000:00:14.0-usb-0:3:1.0-video-index0").symlink_to("../../video10")
    return tmp_path


def _open(device: Path | str) -> str:
    camera = open_camera(V4l2Section(kind="v4l2", device=str(device)), SystemClock())
    with pytest.raises(CameraError) as caught, camera:
        pass
    message = str(caught.value)
    assert str(device) in message
    assert "\n" not in message
    assert caught.value.exit_code == 2
    return message


def test_a_device_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    message = _open(tmp_path / "v4l/by-id/usb-Nothing-video-index0")
    assert "there is no camera" in message
    assert ("connected are:" in message) or ("no camera is connected" in message)
    assert "set camera.device" in message


def connected(*names: str) -> tuple[VideoDevice, ...]:
    return tuple(VideoDevice(Path(name), Path(f"/dev/video{number}"), f"Camera {number}") for number, name in enumerate(names))


def test_auto_takes_the_one_that_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "list_devices", lambda dev=None: connected("/dev/v4l/by-id/usb-One-video-index0"))
    assert "there is no camera /dev/v4l/by-id/usb-One-video-index0" in _refusal("auto")  # the one that it took is not really here


@pytest.mark.parametrize("names", [(), ("/dev/v4l/by-id/usb-One-video-index0", "/dev/v4l/by-id/usb-Two-video-index0")])
def test_auto_leaves_a_choice_to_a_person(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
    monkeypatch.setattr(inventory, "list_devices", lambda dev=None: connected(*names))
    said = _refusal("auto")
    assert said.startswith("camera.device is auto, and there is no single camera to take; ")
    assert all(name in said for name in names) and said.endswith("Plug in, or name, one")


def _refusal(device: str) -> str:
    with pytest.raises(CameraError) as caught, open_camera(V4l2Section(kind="v4l2", device=device), SystemClock()):
        pass
    return str(caught.value)


def test_a_metadata_node_is_refused_with_the_right_name(dev: Path) -> None:
    device = dev / f"v4l/by-id/{STABLE}-index1"
    message = _open(device)
    assert message.endswith(f"set camera.device to {dev}/v4l/by-id/{STABLE}-index0")


def test_a_node_that_is_no_camera_is_refused_before_opencv_sees_it(dev: Path) -> None:
    assert "does not answer as a camera" in _open(dev / f"v4l/by-id/{STABLE}-index0")
    assert "does not answer as a camera" in _open("/dev/null")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_node_without_permission_says_which_group(dev: Path) -> None:
    (dev / "video0").chmod(0)
    assert "group 'video'" in _open(dev / "video0")


def test_reading_a_closed_camera_is_a_lost_camera() -> None:
    with pytest.raises(CameraLostError):
        v4l2.V4l2Camera(V4l2Section(kind="v4l2", device="/dev/video99"), SystemClock()).read()


def test_the_inventory_gives_the_most_stable_name_and_the_problem(dev: Path) -> None:
    devices = list_devices(dev)
    assert [d.node.name for d in devices] == ["video0", "video1", "video10"]
    assert devices[0].stable_id.name == f"{STABLE}-index0"
    assert devices[2].stable_id.name == "pci-0000:00:14.0-usb-0:3:1.0-video-index0"
    assert all("does not answer as a camera" in d.problem for d in devices)
    assert stable_id_of(dev / "video1", dev) == dev / f"v4l/by-id/{STABLE}-index1"
    assert str(devices[0].stable_id) in what_is_there(dev)


def test_an_empty_inventory_says_so(tmp_path: Path) -> None:
    assert list_devices(tmp_path) == ()
    assert what_is_there(tmp_path) == "no camera is connected (there is no /dev/video*)"


def test_kernel_numbers_are_those_of_the_headers() -> None:
    """From include/uapi/linux/videodev2.h, as `strace v4l2-ctl` prints them on x86-64 and arm64."""
    assert v4l2_device._QUERYCAP == 0x80685600
    assert v4l2_device._ENUM_FMT == 0xC0405602
    assert v4l2_device._ENUM_FRAMESIZES == 0xC02C564A
    assert v4l2_device._ENUM_FRAMEINTERVALS == 0xC034564B
    assert v4l2_device._G_CTRL == 0xC008561B
    assert v4l2_device._S_CTRL == 0xC008561C
    assert v4l2_device._QUERYCTRL == 0xC0445624


def test_pixel_formats_are_read_as_their_letters() -> None:
    assert v4l2_device.fourcc_text(cv2.VideoWriter.fourcc(*"MJPG")) == "MJPG"
    assert v4l2_device.fourcc_text(int.from_bytes(b"Y16 ", "little")) == "Y16"
    assert v4l2_device.fourcc_text(0) == "????"


def test_modes_read_as_a_person_writes_them() -> None:
    assert str(v4l2_device.Mode("MJPG", 1920, 1080, 30.0)) == "1920x1080 MJPG 30 fps"
    assert str(v4l2_device.Mode("YUYV", 640, 480, None, is_largest=True)) == "up to 640x480 YUYV"


class _Device:
    """Stands for cv2.VideoCapture with MJPG buffers as the driver hands them over (1, N); the last one repeats."""

    def __init__(self, buffers: list[np.ndarray | None]) -> None:
        self.buffers = buffers

    def read(self) -> tuple[bool, np.ndarray | None]:
        buffer = self.buffers.pop(0) if len(self.buffers) > 1 else self.buffers[0]
        return buffer is not None, buffer


def _with_buffers(device: Path, buffers: list[np.ndarray | None]) -> v4l2.V4l2Camera:
    camera = v4l2.V4l2Camera(V4l2Section(kind="v4l2", device=str(device)), SystemClock())
    camera._capture = _Device(buffers)  # type: ignore[assignment]  # no kernel here has a camera; tests/hardware uses a real one
    camera._compressed = True
    return camera


def _jpeg(value: int) -> np.ndarray:
    return cv2.imencode(".jpg", np.full((48, 64, 3), value, np.uint8))[1].reshape(1, -1)


def test_jpegs_that_arrive_cut_short_are_not_shown_but_counted(dev: Path) -> None:
    cut = _jpeg(200)[:, :-40]
    camera = _with_buffers(dev / "video0", [_jpeg(50), cut, cut, _jpeg(100)])
    first, second = camera.read(), camera.read()
    assert (round(float(first.image.mean())), round(float(second.image.mean()))) == (50, 100)
    assert (first.sequence, second.sequence) == (0, 3), "frames that were lost on the way leave a gap"
    assert camera.damaged == 2
    assert datetime.now(timezone.utc) >= second.captured_at


def test_nothing_but_damaged_frames_is_an_error_with_advice(dev: Path) -> None:
    camera = _with_buffers(dev / "video0", [_jpeg(200)[:, :-40]])
    with pytest.raises(CameraError, match="cable or USB port") as caught:
        camera.read()
    assert not isinstance(caught.value, CameraLostError)


def test_a_frame_that_lacks_bytes_before_its_end_marker_is_not_shown(dev: Path) -> None:
    noisy = np.random.default_rng(2).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    whole = cv2.imencode(".jpg", noisy)[1].reshape(1, -1)
    half = np.append(whole[:, : whole.size // 2], np.array([[0xFF, 0xD9]], np.uint8), 1)
    padded = np.append(whole[:, :-2], np.array([[0, 0, 0, 0xFF, 0xD9]], np.uint8), 1)  # as cheap cameras send them
    camera = _with_buffers(dev / "video0", [whole, half, padded])
    assert [camera.read().sequence for _ in range(2)] == [0, 2]
    assert camera.damaged == 1


def test_a_camera_that_never_ends_its_jpegs_is_used_all_the_same(dev: Path, caplog: pytest.LogCaptureFixture) -> None:
    unfinished = _jpeg(90)[:, :-2]
    camera = _with_buffers(dev / "video0", [unfinished])
    camera._find_out_whether_jpegs_end()
    assert "does not end its JPEG frames" in caplog.text
    assert round(float(camera.read().image.mean())) == 90
    with pytest.raises(CameraError, match="cannot be decoded"):
        _with_buffers(dev / "video0", [np.zeros((1, 4000), np.uint8)])._find_out_whether_jpegs_end()


def test_an_unplugged_camera_is_told_from_a_silent_one(dev: Path) -> None:
    camera = _with_buffers(dev / "video0", [None])
    with pytest.raises(CameraLostError, match="gives no frames any more"):
        camera.read()
    (dev / "video0").unlink()
    with pytest.raises(CameraLostError, match="was unplugged"):
        camera.read()


def test_libcamera_without_picamera2_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "picamera2", None)
    camera = open_camera(Picamera2Section(kind="picamera2"), SystemClock())
    assert camera.live
    with pytest.raises(CameraError, match="apt install python3-picamera2") as caught, camera:
        pass
    assert "\n" not in str(caught.value)

"""A USB microscope camera through OpenCV's V4L2 backend: opened by its stable id, and everything asked of it read back.

What was measured of OpenCV and is answered here: a pixel format that is not there is replaced without a word; after an unplug
read() is False at once for ever while isOpened() stays True; a cut-short JPEG is decoded as if it were whole; gain under
automatic gain "succeeds" without effect.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from device.camera import v4l2_device
from device.camera.base import Frame, SkippedPicture
from device.camera.inventory import AUTO, only_camera, stable_id_of, what_is_there
from device.camera.quiet import quiet_opencv
from device.clock import Clock
from device.errors import CameraError, CameraLostError
from device.settings.config import V4l2Camera as V4l2Section
from engines.detections import Image
from engines.picture_header import jpeg_is_complete
from engines.pictures import decode_frame

log = logging.getLogger(__name__)

SELECT_TIMEOUT_S = 3
_DAMAGED_IN_A_ROW = 10
_JPEG_FOURCCS = ("MJPG", "JPEG")
_FOURCCS = (*_JPEG_FOURCCS, "YUYV", "UYVY", "NV12", "YU12", "BGR3", "RGB3", "GREY")  # that OpenCV turns into colours, best first
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(SELECT_TIMEOUT_S))  # OpenCV reads it once, at its first wait


class V4l2Camera:
    """A V4L2 camera. `notice` says in one line what the device refused of the configuration; empty where it took everything."""

    live = True
    skipped: tuple[SkippedPicture, ...] = ()

    def __init__(self, section: V4l2Section, clock: Clock) -> None:
        self.name = section.device
        self._section = section
        self._clock = clock
        self._device = Path(section.device)
        self._capture: cv2.VideoCapture | None = None
        self._compressed = False  # the buffers hold JPEG, which we decode ourselves
        self._whole_jpegs = True  # the device ends its JPEGs as it should
        self._sequence = 0
        self.damaged = 0  # frames that arrived incomplete and were not used
        self.notice = ""

    def read(self) -> Frame:
        """The next whole frame. Raises CameraLostError when the device went away or fell silent, CameraError on damaged frames."""
        for _ in range(_DAMAGED_IN_A_ROW):
            image = self._decode(self._grab())
            sequence, self._sequence = self._sequence, self._sequence + 1
            if image is not None:
                return Frame(image, sequence, self._clock.monotonic_s(), self._clock.now(), self.name)
            self.damaged += 1
            if self.damaged == 1 or self.damaged % 100 == 0:
                log.warning("%s: %d frames arrived damaged so far and were not used", self.name, self.damaged)
        raise CameraError(f"{self.name}: {_DAMAGED_IN_A_ROW} frames in a row arrived damaged; try another cable or USB port, no hub")

    def __enter__(self) -> Self:
        self._choose()
        self._refuse_what_cannot_work()
        try:
            self._open()
        except OSError as error:
            self._close()
            raise CameraLostError(f"{self.name} went away while it was being opened ({error.strerror or error})") from error
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()

    def _choose(self) -> None:
        """Where the configuration leaves the choice: the one camera that is connected."""
        if self._section.device != AUTO:
            return
        found = only_camera()
        if found is None:
            raise CameraError(
                f"camera.device is {AUTO}, and there is no single camera to take; {what_is_there()}. Plug in, or name, one"
            )
        self._device, self.name = found.stable_id, str(found.stable_id)

    def _refuse_what_cannot_work(self) -> None:
        index = v4l2_device.index_in_name(self._device)
        if index:
            right = self._device.with_name(self._device.name.removesuffix(str(index)) + "0")
            raise CameraError(f"{self.name} gives the camera's metadata, not pictures; set camera.device to {right}")
        if not self._device.exists():
            raise CameraError(f"there is no camera {self.name}; {what_is_there()}. Plug it in, or set camera.device to another")
        try:
            with v4l2_device.opened(self._device) as descriptor:
                _, captures = v4l2_device.capability(descriptor)
        except PermissionError as error:
            raise CameraError(f"this user may not open {self.name}; add the user to the group 'video' and log in again") from error
        except OSError as error:
            raise CameraError(f"{self.name} does not answer as a camera ({error.strerror or error}); {what_is_there()}") from error
        if not captures:
            raise CameraError(f"{self.name} gives no pictures; {what_is_there()}")
        stable = stable_id_of(self._device)
        if self._device.parent == Path("/dev") and stable is not None and self._section.device != AUTO:
            log.warning("%s may be another camera after the next boot; set camera.device to %s", self.name, stable)

    def _open(self) -> None:
        with quiet_opencv():
            capture = self._capture = cv2.VideoCapture(self.name, cv2.CAP_V4L2)
        if not capture.isOpened():
            raise CameraError(f"{self.name} cannot be opened; another program may be using it: see `fuser -v {self.name}`")
        wanted = self._section  # the pixel format first: sizes and rates belong to it. `_mode_notice` reads back what comes of it
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*wanted.fourcc))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, wanted.width_px)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, wanted.height_px)
        capture.set(cv2.CAP_PROP_FPS, wanted.fps)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # drivers may keep two; Capture drains the camera all the time
        fourcc = v4l2_device.fourcc_text(int(capture.get(cv2.CAP_PROP_FOURCC)))
        self._compressed = fourcc in _JPEG_FOURCCS and bool(capture.set(cv2.CAP_PROP_CONVERT_RGB, 0))
        self._find_out_whether_jpegs_end()
        self.notice = "; ".join(part for part in (self._mode_notice(capture, fourcc), *self._set_controls()) if part)
        if self.notice:
            log.warning("%s: %s", self.name, self.notice)

    def _mode_notice(self, capture: cv2.VideoCapture, fourcc: str) -> str:
        wanted = self._section
        width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        same_rate = fps <= 0 or abs(fps - wanted.fps) <= 0.05 * wanted.fps  # some drivers do not tell
        if (width, height, fourcc) == (wanted.width_px, wanted.height_px, wanted.fourcc.strip()) and same_rate:
            return ""
        return (
            f"asked for {wanted.width_px}x{wanted.height_px} {wanted.fourcc} {wanted.fps:g} fps, "
            f"the camera gives {width}x{height} {fourcc} {fps:g} fps; nearest of what it lists: {self._nearest_modes()}"
        )

    def _nearest_modes(self) -> str:
        """The three listed modes that come nearest to what was asked for, pixel format first; some devices list hundreds."""
        wanted = self._section
        with v4l2_device.opened(self._device) as descriptor:
            listed = v4l2_device.modes(descriptor)
        usable = [mode for mode in listed if mode.fourcc in _FOURCCS]
        usable.sort(
            key=lambda mode: (
                mode.fourcc != wanted.fourcc.strip(),
                abs(mode.width_px * mode.height_px - wanted.width_px * wanted.height_px),
                _FOURCCS.index(mode.fourcc),
            )
        )
        return ", ".join(str(mode) for mode in usable[:3]) or "none that can be used"

    def _find_out_whether_jpegs_end(self) -> None:
        """The first frames prove that the device streams; a device that never ends its JPEGs must not have all of them refused."""
        self._whole_jpegs = True
        for _ in range(_DAMAGED_IN_A_ROW):
            if self._decode(self._grab()) is not None:
                return
        self._whole_jpegs = False
        if self._decode(self._grab()) is None:
            raise CameraError(f"{self.name} is open but its frames cannot be decoded; try another fourcc, cable or USB port")
        log.warning("%s does not end its JPEG frames, so that frames cut short on the way cannot be told", self.name)

    def _set_controls(self) -> list[str]:
        """Exposure and gain, where configured, with the automatic switched off first. Returns what did not come out as asked."""
        wanted = self._section
        notices = []
        with v4l2_device.opened(self._device) as descriptor:
            if wanted.exposure_us is not None:
                v4l2_device.set_control(descriptor, v4l2_device.CID_EXPOSURE_AUTO, v4l2_device.EXPOSURE_MANUAL)
                steps = max(1, round(wanted.exposure_us / 100))
                notices.append(_set_and_check(descriptor, v4l2_device.CID_EXPOSURE_ABSOLUTE, "exposure_us", steps, 100))
            if wanted.gain is not None:
                v4l2_device.set_control(descriptor, v4l2_device.CID_AUTOGAIN, 0)
                notices.append(_set_and_check(descriptor, v4l2_device.CID_GAIN, "gain", round(wanted.gain), 1))
        return notices

    def _grab(self) -> NDArray[Any]:
        if self._capture is None:
            raise CameraLostError(f"{self.name} is not open")
        with quiet_opencv():
            ok, data = self._capture.read()
        if ok and data is not None:
            return np.asarray(data)
        if not self._device.exists():
            raise CameraLostError(f"{self.name} was unplugged; plug it in again")
        raise CameraLostError(f"{self.name} gives no frames any more; it is opened again (check cable and USB port)")

    def _decode(self, data: NDArray[Any]) -> Image | None:
        """BGR u8, or None for a frame that arrived damaged."""
        if not self._compressed:
            return np.asarray(data, np.uint8)
        jpeg = data.reshape(-1)
        if not jpeg_is_complete(jpeg.tobytes()):
            if self._whole_jpegs:
                return None
            jpeg = np.append(jpeg, np.frombuffer(b"\xff\xd9", np.uint8))  # newer OpenCV decodes none without an end
        elif self._whole_jpegs:
            return decode_frame(jpeg.tobytes())  # bytes may be missing before the end marker
        try:
            with quiet_opencv():
                image = cv2.imdecode(jpeg, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error:
            return None
        return None if image is None else np.asarray(image, np.uint8)

    def _close(self) -> None:
        if self._capture is not None:
            with quiet_opencv():  # of a device that has gone it would complain
                self._capture.release()
            self._capture = None


def _set_and_check(descriptor: int, cid: int, key: str, value: int, unit: int) -> str:
    """Sets a control and returns what is to be said when the device has another value; `unit` turns its steps into the key's unit."""
    allowed = v4l2_device.control(descriptor, cid)
    if allowed is None:
        return f"{key} cannot be set on this camera; take camera.{key} out"
    has = v4l2_device.set_control(descriptor, cid, value)
    if has == value:
        return ""
    kept = "does not tell its value" if has is None else f"keeps {has * unit}"
    return f"{key}: asked for {value * unit}, the camera {kept} (it allows {allowed.minimum * unit} to {allowed.maximum * unit})"

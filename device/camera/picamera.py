"""A CSI or USB camera through libcamera's picamera2, which is imported when the camera is opened and needed nowhere else."""

from __future__ import annotations

import logging
import os
import sys
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from device.camera.base import Frame, SkippedPicture
from device.clock import Clock
from device.errors import CameraError, CameraLostError
from device.settings.config import Picamera2Camera as Picamera2Section
from engines.detections import Image

log = logging.getLogger(__name__)

FRAME_TIMEOUT_S = 3.0
# picamera2 names formats as DRM does, which is the reverse of the order in memory: "RGB888" is B, G, R, as OpenCV wants it.
# A Raspberry Pi's image processor gives that; USB and other cameras give one of the rest.
_FORMATS: dict[str, int | None] = {
    "RGB888": None,
    "XRGB8888": cv2.COLOR_BGRA2BGR,
    "XBGR8888": cv2.COLOR_RGBA2BGR,
    "NV12": cv2.COLOR_YUV2BGR_NV12,
    "YUYV": cv2.COLOR_YUV2BGR_YUYV,
    "MJPEG": cv2.COLOR_RGB2BGR,  # picamera2 decodes it
}


class Picamera2Camera:
    """A libcamera camera by its number. `notice` says in one line what the camera refused of the configuration."""

    live = True
    skipped: tuple[SkippedPicture, ...] = ()

    def __init__(self, section: Picamera2Section, clock: Clock) -> None:
        self.name = f"libcamera camera {section.camera}"
        self._section = section
        self._clock = clock
        self._device: Any = None  # picamera2 ships no types
        self._format = ""
        self._size_px = (0, 0)
        self._sequence = 0
        self.notice = ""

    def read(self) -> Frame:
        """The next frame. Raises CameraLostError when none came within 3 s."""
        if self._device is None:
            raise CameraLostError(f"{self.name} is not open")
        job = self._device.capture_request(wait=False)
        try:
            request = job.get_result(timeout=FRAME_TIMEOUT_S)
        except (FutureTimeoutError, TimeoutError) as error:
            raise CameraLostError(f"{self.name} gave no frame for {FRAME_TIMEOUT_S:.0f} s; check its cable") from error
        try:
            pixels = request.make_array("main")
        finally:
            request.release()
        frame = Frame(self._bgr(pixels), self._sequence, self._clock.monotonic_s(), self._clock.now(), self.name)
        self._sequence += 1
        return frame

    def __enter__(self) -> Self:
        try:
            from picamera2 import Picamera2
        except (ImportError, ValueError) as error:
            # The system's picamera2 lies on libraries compiled for its own numpy, and says so as a ValueError or an ImportError.
            if "numpy" in str(error):
                raise CameraError(
                    f"camera.kind picamera2: the system's picamera2 is made for another numpy than {np.__version__} in {sys.prefix} "
                    f"({error}); there, run `pip install 'numpy<2' 'opencv-python-headless<4.12'`, or take Leukoscope's package for "
                    "Raspberry Pi OS, which brings them"
                ) from error
            raise CameraError(
                f"camera.kind picamera2 needs the package picamera2, which is not usable here ({error}); on Raspberry Pi OS "
                "`sudo apt install python3-picamera2` and a virtual environment made with --system-site-packages; else use kind v4l2"
            ) from error
        self._refuse_what_is_not_there(Picamera2)
        try:
            self._device = _constructed(Picamera2, self._section.camera)
            self._configure()
            self._device.start()
        except (RuntimeError, OSError, ValueError) as error:
            self._close()
            raise CameraError(f"{self.name} cannot be opened ({error}); is another program using it? Try `rpicam-hello`") from error
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()

    def _refuse_what_is_not_there(self, picamera2: Any) -> None:
        there = picamera2.global_camera_info()
        if self._section.camera >= len(there):
            listed = ", ".join(f"{i}: {info.get('Model', 'camera')}" for i, info in enumerate(there)) or "none"
            raise CameraError(f"there is no {self.name}; libcamera sees: {listed}. Check the ribbon cable, or set camera.camera")

    def _configure(self) -> None:
        """Asks for the first format that the camera offers and we can turn into BGR; reads back what came of it.

        Never one that it does not offer: libcamera's pipelines are not all safe against that.
        """
        from libcamera import StreamRole

        wanted = self._section
        size = (wanted.width_px, wanted.height_px)
        offers = self._device.camera.generate_configuration([StreamRole.VideoRecording]).at(0)
        offered = [str(pixel_format) for pixel_format in offers.formats.pixel_formats]
        usable = [name for name in _FORMATS if name in offered]
        if not usable:
            raise CameraError(f"{self.name} offers {', '.join(offered) or 'no formats'}; understood are {', '.join(_FORMATS)}")
        paced = "FrameDurationLimits" in self._device.camera_controls
        controls = {"FrameRate": wanted.fps} if paced else {}
        main = {"size": size, "format": usable[0]}
        self._device.configure(self._device.create_video_configuration(main=main, raw=None, buffer_count=4, controls=controls))
        got = self._device.camera_configuration()["main"]
        if got["format"] not in _FORMATS:
            raise CameraError(f"{self.name} was asked for {usable[0]} and gives {got['format']}, which is not understood")
        self._format, self._size_px = got["format"], tuple(got["size"])
        refused = []
        if self._size_px != size:
            refused.append(f"asked for {size[0]}x{size[1]}, the camera gives {self._size_px[0]}x{self._size_px[1]}")
        if not paced:
            refused.append(f"its frame rate cannot be set (asked for {wanted.fps:g} fps)")
        self.notice = "; ".join(refused)
        if self.notice:
            log.warning("%s: %s", self.name, self.notice)

    def _bgr(self, pixels: NDArray[Any]) -> Image:
        conversion = _FORMATS[self._format]
        bgr = pixels if conversion is None else cv2.cvtColor(np.ascontiguousarray(pixels), conversion)
        width, height = self._size_px
        return np.ascontiguousarray(bgr[:height, :width], np.uint8)  # rows may be padded

    def _close(self) -> None:
        device, self._device = self._device, None
        if device is None:
            return
        for end in (device.stop, device.close):
            try:
                end()
            except Exception as error:  # whatever libcamera's binding raises about a camera that has gone
                log.warning("%s could not be closed cleanly: %s", self.name, error)


def _constructed(picamera2: Any, number: int) -> Any:
    """picamera2's object for a camera; one that cannot be made leaves nothing open.

    Its constructor opens a pipe and forgets it when it then fails, and a camera that is in use is tried again for hours.
    """
    device = picamera2.__new__(picamera2)
    try:
        device.__init__(number)
    except BaseException:
        reader, writer = getattr(device, "notifymeread", None), getattr(device, "notifyme_w", None)
        if reader is not None and not reader.closed:
            reader.close()
            if writer is not None:
                os.close(writer)
        raise
    return device

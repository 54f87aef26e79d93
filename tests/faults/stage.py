"""A camera on the network: MJPEG over HTTP on loopback, an endless film, which can be unplugged, frozen, spoilt or show no glass."""

from __future__ import annotations

import itertools
import threading

import cv2
import numpy as np
from typing_extensions import Self

from tests.support.mjpeg import MjpegServer
from tests.support.picture_line import picture

_FPS = 20.0
_HELD = 6  # frames of one picture


class Stage:
    """`with Stage() as stage:` plugs it in. blank: no glass; still: the same picture again and again; spoilt: half of each picture."""

    def __init__(self) -> None:
        self.blank = self.still = self.spoilt = False
        self.server: MjpegServer | None = None
        self.port = 0
        self._numbers = itertools.count(1)
        self._left, self._jpeg, self._film = 0, b"", np.zeros(0, np.int16)
        self._chance = np.random.default_rng(0)
        self._guard = threading.Lock()

    def plug(self) -> None:
        """It is there, on the same port."""
        server = MjpegServer(self.port, lambda: self.frame, 1 / _FPS)
        self.server, self.port = server, server.server_address[1]
        threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True, name="stage").start()

    def unplug(self) -> None:
        """It is gone, in the middle of whatever it sent."""
        server, self.server = self.server, None
        if server is not None:
            server.cut = True
            server.shutdown()
            server.server_close()

    def __enter__(self) -> Self:
        self.plug()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    def frame(self) -> bytes:
        """The next one as JPEG; a new picture of the film every few frames."""
        with self._guard:
            if not self.still or not self._jpeg:  # a sensor's noise: without it the camera has frozen
                if self._left <= 0:
                    self._film, self._left = picture(next(self._numbers)).astype(np.int16), _HELD
                self._left -= 1
                shown = np.full_like(self._film, 225) if self.blank else self._film
                noise = self._chance.integers(-2, 3, shown.shape[:2], dtype=np.int16)[..., None]
                self._jpeg = _jpeg((shown + noise).astype(np.uint8))
            return self._jpeg[: len(self._jpeg) // 2] + b"\xff\xd9" if self.spoilt else self._jpeg


def _jpeg(image: np.ndarray) -> bytes:  # type: ignore[type-arg]
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()

"""OpenCV and FFmpeg kept quiet while an exception says what they would complain about."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

_quiet_lock = threading.Lock()
_quiet_depth = 0
_loud_level = 0


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """OpenCV's and FFmpeg's own lines on stderr are held back while what they would complain about is reported by an exception."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read once, when FFmpeg is first used
    global _quiet_depth, _loud_level  # noqa: PLW0603 - OpenCV's level is itself a global; the depth lets threads overlap
    with _quiet_lock:
        if _quiet_depth == 0:
            _loud_level = cv2.utils.logging.getLogLevel()
            cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                cv2.utils.logging.setLogLevel(_loud_level)

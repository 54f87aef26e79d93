"""Stored pictures as frames: any usual file as BGR u8, damaged ones refused, and their order in a folder. No camera lives here."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.detections import Image

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
_JPEG_STANDALONE = {0x01, *range(0xD0, 0xD9)}  # markers that carry no length (ITU T.81, B.1.1.3)
_quiet_lock = threading.Lock()
_quiet_depth = 0
_loud_level = 0


class PictureError(Exception):
    """A stored picture cannot be read; the message says why. Its caller skips it, names it and counts it."""


def natural_key(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that puts "field_2" before "field_10"; letters' case does not matter, ties are settled by the exact name."""
    parts = re.findall(r"(\d+)|(\D+)", path.name.casefold())
    return [(0, int(number), "") if number else (1, 0, text) for number, text in parts], path.name


def pictures_in(folder: Path) -> list[Path]:
    """The picture files directly in `folder`, in natural order; subfolders and hidden files are left out. Raises OSError."""
    found = (p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES and not p.name.startswith("."))
    return sorted((p for p in found if not p.is_dir()), key=natural_key)


def read_picture(path: Path) -> Image:
    """The picture in `path` as (height, width, 3) uint8 BGR, as stored (a rotation noted in EXIF is not applied).

    Raises PictureError when the file is gone, empty, cut short or not a picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PictureError(error.strerror or str(error)) from error
    return decode_picture(data)


def decode_picture(data: bytes) -> Image:
    """An encoded picture as (height, width, 3) uint8 BGR; raises PictureError."""
    if not data:
        raise PictureError("the file is empty")
    if data.startswith(b"\xff\xd8") and not jpeg_is_complete(data):
        raise PictureError("the JPEG is cut short")  # older OpenCV would decode it with a grey rest
    if data.startswith(b"\x89PNG") and b"IEND" not in data[-4096:]:
        raise PictureError("the PNG is cut short")
    with quiet_opencv():
        try:
            decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error as error:
            raise PictureError(f"it cannot be decoded: {error.err}") from error
    if decoded is None:
        raise PictureError("it cannot be decoded as a picture")
    return as_bgr_u8(decoded)


def as_bgr_u8(pixels: NDArray[Any]) -> Image:
    """Grey, colour or colour with alpha, 8 or 16 bits, as BGR u8.

    16 bits are scaled by their full range. Transparent parts become white, as clear glass is. Raises PictureError for anything else.
    """
    if pixels.dtype == np.uint16:
        pixels = cv2.convertScaleAbs(pixels, alpha=255.0 / 65535.0)
    if pixels.dtype != np.uint8:
        raise PictureError(f"pixels of type {pixels.dtype} are not supported (8 or 16 bits are)")
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels == 1:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR), np.uint8)
    if channels == 3:
        return np.ascontiguousarray(pixels, np.uint8)
    if channels == 4:
        return _over_white(pixels)
    raise PictureError(f"{channels} channels are not supported (grey, colour, colour with alpha are)")


def _over_white(bgra: NDArray[Any]) -> Image:
    colour = np.ascontiguousarray(bgra[..., :3], np.uint8)
    alpha = bgra[..., 3:]
    if alpha.min() == 255:
        return colour
    weight = alpha.astype(np.float32) / 255.0
    return np.asarray(np.rint(colour * weight + 255.0 * (1.0 - weight)), np.uint8)


def jpeg_is_complete(data: bytes) -> bool:
    """Whether a JPEG's scan is there to its end-of-image marker; a thumbnail's end marker in the header does not count.

    Inside a scan 0xFF is always followed by a stuffed zero or a restart marker (ITU T.81, B.1.1.5), so a search finds the true end.
    """
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return False
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in _JPEG_STANDALONE:
            position += 2
            continue
        if marker == 0xDA:
            return data.find(b"\xff\xd9", position) >= 0
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False


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

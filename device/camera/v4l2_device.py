"""A V4L2 device asked directly, by ioctl: what it is, which modes it lists, and its controls. Frames come through OpenCV, in `v4l2`.

Numbers and layouts: the kernel's include/uapi/linux/videodev2.h and v4l2-controls.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CAP_VIDEO_CAPTURE = 0x00000001
CAP_STREAMING = 0x04000000
CAP_DEVICE_CAPS = 0x80000000
_BUF_TYPE_VIDEO_CAPTURE = 1
_DISCRETE = 1
_CTRL_FLAG_DISABLED = 0x0001

CID_AUTOGAIN = 0x00980912
CID_GAIN = 0x00980913
CID_EXPOSURE_AUTO = 0x009A0901
CID_EXPOSURE_ABSOLUTE = 0x009A0902  # in units of 100 µs
EXPOSURE_MANUAL = 1

_MAX_LISTED = 64  # a driver that never says "no more" must not keep us


def _ioctl_number(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("V") << 8 | number


_READ, _BOTH = 2, 3
_QUERYCAP = _ioctl_number(_READ, 0, 104)
_ENUM_FMT = _ioctl_number(_BOTH, 2, 64)
_ENUM_FRAMESIZES = _ioctl_number(_BOTH, 74, 44)
_ENUM_FRAMEINTERVALS = _ioctl_number(_BOTH, 75, 52)
_G_CTRL = _ioctl_number(_BOTH, 27, 8)
_S_CTRL = _ioctl_number(_BOTH, 28, 8)
_QUERYCTRL = _ioctl_number(_BOTH, 36, 68)


@dataclass(frozen=True)
class Mode:
    """One mode that a device lists. fps: the fastest; None where the driver does not say. max: the largest of a continuous range."""

    fourcc: str
    width_px: int
    height_px: int
    fps: float | None
    is_largest: bool = False

    def __str__(self) -> str:
        size = f"{'up to ' if self.is_largest else ''}{self.width_px}x{self.height_px} {self.fourcc}"
        return f"{size} {self.fps:g} fps" if self.fps else size


@dataclass(frozen=True)
class Control:
    """A control's range, in the device's own units."""

    minimum: int
    maximum: int


@contextmanager
def opened(node: Path) -> Iterator[int]:
    """A file descriptor of `node`, which may be streaming in this or another process meanwhile. Raises OSError."""
    descriptor = os.open(node, os.O_RDWR | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def capability(descriptor: int) -> tuple[str, bool]:
    """The name on the box, and whether the node gives pictures (a camera's second node, …-index1, gives metadata only).

    Raises OSError when the node is no V4L2 device (ENOTTY) or the device has gone (ENODEV).
    """
    answer = bytearray(104)
    fcntl.ioctl(descriptor, _QUERYCAP, answer)
    _driver, card, _bus, _version, whole, node_only = struct.unpack_from("16s32s32sIII", answer)
    flags = node_only if whole & CAP_DEVICE_CAPS else whole
    name = card.split(b"\0", 1)[0].decode("utf-8", "replace").strip()
    return name, bool(flags & CAP_VIDEO_CAPTURE and flags & CAP_STREAMING)


def modes(descriptor: int) -> tuple[Mode, ...]:
    """Every pixel format and size that the device lists, in its own order, each with its fastest rate."""
    pixel_formats = [struct.unpack_from("I", answer, 44)[0] for answer in _listed(descriptor, _ENUM_FMT, 64, _BUF_TYPE_VIDEO_CAPTURE)]
    return tuple(
        Mode(fourcc_text(pixel_format), width, height, _fastest(descriptor, pixel_format, width, height), is_largest)
        for pixel_format in pixel_formats
        for width, height, is_largest in _sizes(descriptor, pixel_format)
    )


def control(descriptor: int, cid: int) -> Control | None:
    """The control's range, or None where the device has no such control."""
    answer = bytearray(68)
    struct.pack_into("I", answer, 0, cid)
    if not _asked(descriptor, _QUERYCTRL, answer):
        return None
    _cid, _kind, _name, minimum, maximum, _step, _default, flags = struct.unpack_from("II32siiiiI", answer)
    return None if flags & _CTRL_FLAG_DISABLED else Control(minimum, maximum)


def set_control(descriptor: int, cid: int, value: int) -> int | None:
    """Asks for `value` and returns what the device then says it has (a driver clamps, or ignores); None where it refuses both."""
    _asked(descriptor, _S_CTRL, bytearray(struct.pack("Ii", cid, value)))
    answer = bytearray(struct.pack("Ii", cid, 0))
    if not _asked(descriptor, _G_CTRL, answer):
        return None
    return int(struct.unpack("Ii", answer)[1])


def fourcc_text(code: int) -> str:
    """The four letters of a pixel format; what cannot be printed becomes a question mark."""
    letters = (chr((code & 0x7FFFFFFF) >> shift & 0xFF) for shift in (0, 8, 16, 24))
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in letters).strip()


def _sizes(descriptor: int, pixel_format: int) -> Iterator[tuple[int, int, bool]]:
    for answer in _listed(descriptor, _ENUM_FRAMESIZES, 44, pixel_format):
        if struct.unpack_from("I", answer, 8)[0] != _DISCRETE:  # a range: min, max, step of the width, then of the height
            _, width, _, _, height, _ = struct.unpack_from("6I", answer, 12)
            yield width, height, True
            return
        width, height = struct.unpack_from("II", answer, 12)
        yield width, height, False


def _fastest(descriptor: int, pixel_format: int, width: int, height: int) -> float | None:
    rates = []
    for answer in _listed(descriptor, _ENUM_FRAMEINTERVALS, 52, pixel_format, width, height):
        numerator, denominator = struct.unpack_from("II", answer, 20)  # of a discrete interval, or the shortest of a range
        if numerator:
            rates.append(denominator / numerator)
        if struct.unpack_from("I", answer, 16)[0] != _DISCRETE:
            break
    return max(rates, default=None)


def _listed(descriptor: int, number: int, size: int, *of: int) -> Iterator[bytearray]:
    """The answers of one enumeration, `size` bytes each, until the device has no more. of: what stands after the index."""
    for index in range(_MAX_LISTED):
        answer = bytearray(size)
        struct.pack_into(f"{1 + len(of)}I", answer, 0, index, *of)
        if not _asked(descriptor, number, answer):
            return
        yield answer


def _asked(descriptor: int, number: int, buffer: bytearray) -> bool:
    """Whether the device answered; what it does not have (EINVAL, ENOTTY, ...) is no error here, a device that has gone is."""
    try:
        fcntl.ioctl(descriptor, number, buffer)
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise
        return False
    return True


def index_in_name(device: Path) -> int | None:
    """The N of a stable name that ends in -indexN; None where the name has no such end."""
    match = re.search(r"-index(\d+)$", device.name)
    return int(match[1]) if match else None

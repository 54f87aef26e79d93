"""The map of one slide: small pictures of visited ground with their places, found again by place at a cost that does not grow.

A keyframe is kept as a JPEG of half the small picture's size, about a kilobyte, in a file (`Pictures`). Only the spectra of the few
used last are held.
"""

from __future__ import annotations

import os
import struct
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from device.errors import LeukoscopeError
from device.slide.acceptance import Acceptance
from device.slide.correlation import Correlator, Spectrum
from engines.detections import Float32

SPECTRA = 5
"""So many spectra of keyframes are held, two thirds of a megabyte each; a rest needs two."""
_QUALITY = 60  # likeness with the band itself .98 and more
_JPEG, _SCAN = b"\xff\xd8", b"\xff\xda"  # how a JPEG begins, and how its tables end
_GREYS = 100.0  # of a band between -1 and 1, around 128
_FOLDER = "/var/tmp"  # on the disk, where /tmp often is memory
_SIZE_BITS = 20  # of a picture's place and size in one number
_TRIES = 4  # to find a keyframe far from another
_HEADER = struct.Struct("<4sHHff")  # magic, frame width and height, contrast, 0
_MAGIC = b"LKF1"


class KeyframeError(LeukoscopeError):
    """Stored bytes that are no keyframe."""


@dataclass(frozen=True)
class Keyframe:
    """A keyframe as it is stored. number: unique within the slide, from 1; x_px, y_px: its place in px of the frame."""

    number: int
    chart: int
    x_px: float
    y_px: float
    picture: bytes


@dataclass(eq=False, slots=True)
class Key:
    """A keyframe as the map holds it; x, y in px of the small picture."""

    number: int
    chart: int
    x: float
    y: float
    contrast: float
    jpeg: bytes  # b"" in a map, which keeps it in its pictures
    at: int = 0  # where there


class Pictures:
    """Bytes of many pictures, one behind the other in a file without a name: the system holds in memory what it has room for. Where
    there can be no such file, or the disk is full, they are in the process's own memory."""

    def __init__(self, folder: str | None = None) -> None:
        """folder: a writable one on a disk; if None the service's own or the system's for large files."""
        self._held: list[bytes] = []
        self._file: int | None = None
        self._end = 0
        with suppress(OSError):
            self._file, name = tempfile.mkstemp(dir=folder or os.environ.get("STATE_DIRECTORY", _FOLDER).split(":")[0])
            weakref.finalize(self, os.close, self._file)
            Path(name).unlink()

    def add(self, picture: bytes) -> int:
        """Keep a picture; returns what it is found by."""
        if self._file is not None:
            at, size = self._end, len(picture)
            with suppress(OSError):
                if os.pwrite(self._file, picture, at) == size:
                    self._end += size
                    return at << _SIZE_BITS | size
        self._held.append(picture)
        return -len(self._held)

    def __getitem__(self, at: int) -> bytes:
        if at < 0:
            return self._held[-at - 1]
        assert self._file is not None
        return os.pread(self._file, at & (1 << _SIZE_BITS) - 1, at >> _SIZE_BITS)


def encode(band: Float32) -> bytes:
    """A compressed band as a JPEG of half its size."""
    half = cv2.resize(np.clip(128 + _GREYS * band, 0, 255), (band.shape[1] // 2, band.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", np.rint(half).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def decode(jpeg: bytes) -> Float32:
    """The band at half size, zero mean, in units of its own. KeyframeError if the bytes are no picture."""
    grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise KeyframeError("a stored keyframe is no picture: the place on the film starts anew")
    band = grey.astype(np.float32)
    return np.asarray(band - band.mean(), np.float32)


class KeyframeMap:
    """Keyframes of one camera mode, in a grid of fields that finds them by place."""

    def __init__(self, full: Correlator, size_px: tuple[int, int]) -> None:
        self.full = full
        self.half = Correlator((full.shape[0] // 2, full.shape[1] // 2))
        self.size_px = size_px
        self.acceptance = Acceptance()
        sample = encode(np.zeros(full.shape, np.float32))
        self._head = sample[: sample.index(_SCAN) + len(_SCAN)]
        self._pictures = Pictures()
        self._keys: dict[int, Key] = {}
        self._grid: dict[tuple[int, int, int], tuple[int, ...]] = {}
        self._charts: dict[int, dict[int, None]] = {}  # chart → the numbers of its keyframes, in order
        self._spectra: OrderedDict[int, Spectrum] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, number: int) -> Key:
        return self._keys[number]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys.values())

    def __contains__(self, number: int) -> bool:
        return number in self._keys

    @property
    def charts(self) -> tuple[int, ...]:
        return tuple(self._charts)

    def size_of(self, chart: int) -> int:
        """How many keyframes a chart has."""
        return len(self._charts.get(chart, ()))

    def numbers(self, without_chart: int | None = None) -> list[int]:
        """The numbers of all keyframes, or of those on other charts."""
        return [number for chart, numbers in self._charts.items() if chart != without_chart for number in numbers]

    def put(self, key: Key) -> None:
        """Add a keyframe, or put it in the place of that with the same number."""
        if key.number in self._keys:
            self._leave(self._keys[key.number])
        self._spectra.pop(key.number, None)
        key.at, key.jpeg = self._pictures.add(key.jpeg.removeprefix(self._head)), b""
        self._keys[key.number] = key
        self._list(key)
        self._charts.setdefault(key.chart, {})[key.number] = None

    def move_chart(self, old: int, new: int, x: float, y: float) -> list[Key]:
        """All keyframes of `old` become those of `new`, displaced; returns them."""
        moved = [self._keys[number] for number in self._charts.get(old, ())]
        for key in moved:
            self._leave(key)
            key.chart, key.x, key.y = new, key.x + x, key.y + y
            self._list(key)
            self._charts.setdefault(new, {})[key.number] = None
        return moved

    def near(self, chart: int, x: float, y: float) -> list[tuple[float, Key]]:
        """(distance, keyframe) of those less than about a field away, nearest first."""
        column, row = self._column_row(x, y)
        found = []
        for c in (column - 1, column, column + 1):
            for r in (row - 1, row, row + 1):
                for number in self._grid.get((chart, c, r), ()):
                    key = self._keys[number]
                    found.append((float(np.hypot(key.x - x, key.y - y)), key))
        return sorted(found, key=lambda item: item[0])

    def half_band(self, key: Key) -> Float32:
        """Its compressed band at half size."""
        return decode(self._jpeg(key))

    def spectrum(self, key: Key) -> Spectrum:
        """Its spectrum at full size, held for the few asked for last."""
        held = self._spectra.pop(key.number, None)
        if held is None:
            height, width = self.full.shape
            held = self.full.spectrum(
                np.asarray(cv2.resize(self.half_band(key), (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
            )
        self._spectra[key.number] = held
        if len(self._spectra) > SPECTRA:
            self._spectra.popitem(last=False)
        return held

    def learn(self, key: Key) -> None:
        """Compare a keyframe with one far away on its chart: what is alike there is so by chance (`acceptance`)."""
        numbers = list(self._charts[key.chart])
        height, width = self.full.shape
        for k in range(_TRIES):
            other = self._keys[numbers[(7919 * key.number + 104729 * k) % len(numbers)]]
            if abs(other.x - key.x) > 2 * width or abs(other.y - key.y) > 2 * height:
                before = self.acceptance.step
                self.acceptance.learn(self.full.most_evidence(self.spectrum(other), self.spectrum(key)))
                if self.acceptance.step != before:
                    self.full.raise_curve(self.acceptance.step)
                return

    def stored(self, key: Key) -> Keyframe:
        """As it is stored."""
        head = _HEADER.pack(_MAGIC, *self.size_px, key.contrast, 0.0)
        height, width = self.full.shape
        x, y = key.x * self.size_px[0] / width, key.y * self.size_px[1] / height
        return Keyframe(key.number, key.chart, x, y, head + self._jpeg(key))

    def restore(self, keyframe: Keyframe) -> None:
        """Take in a stored keyframe of this camera mode (`frame_size`)."""
        contrast = _HEADER.unpack_from(keyframe.picture)[3]
        jpeg = keyframe.picture[_HEADER.size :]
        if decode(jpeg).shape != self.half.shape:
            raise KeyframeError("a stored keyframe has another size than it says: the place on the film starts anew")
        height, width = self.full.shape
        x, y = keyframe.x_px * width / self.size_px[0], keyframe.y_px * height / self.size_px[1]
        self.put(Key(keyframe.number, keyframe.chart, x, y, contrast, jpeg))

    def _jpeg(self, key: Key) -> bytes:
        jpeg = self._pictures[key.at]
        return jpeg if jpeg.startswith(_JPEG) else self._head + jpeg

    def _list(self, key: Key) -> None:
        cell = self._cell(key)
        self._grid[cell] = (*self._grid.get(cell, ()), key.number)

    def _leave(self, key: Key) -> None:
        cell = self._cell(key)
        self._grid[cell] = tuple(number for number in self._grid[cell] if number != key.number)
        if not self._grid[cell]:
            del self._grid[cell]
        del self._charts[key.chart][key.number]
        if not self._charts[key.chart]:
            del self._charts[key.chart]

    def _cell(self, key: Key) -> tuple[int, int, int]:
        return (key.chart, *self._column_row(key.x, key.y))

    def _column_row(self, x: float, y: float) -> tuple[int, int]:
        height, width = self.full.shape
        return int(x // width), int(y // height)


def frame_size(picture: bytes) -> tuple[int, int]:
    """(width, height) of the frames that a stored keyframe is from. KeyframeError if the bytes are no keyframe."""
    if len(picture) <= _HEADER.size or not picture.startswith(_MAGIC):
        raise KeyframeError("a stored keyframe cannot be read: the place on the film starts anew")
    _, width, height, _, _ = _HEADER.unpack_from(picture)
    if not width or not height:
        raise KeyframeError("a stored keyframe has no frame size: the place on the film starts anew")
    return int(width), int(height)

"""Stored pictures and network streams as a camera: a folder of images, one image, a video file, or an rtsp/http address.

What a picture file is, and when it is damaged, is said in `engines.pictures`; a stream is live, files are not.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from types import TracebackType
from typing import Protocol

import cv2
import numpy as np
from typing_extensions import Self

from device.camera.base import Frame, SkippedPicture
from device.camera.pacing import Pacer
from device.camera.quiet import quiet_opencv
from device.clock import Clock
from device.errors import CameraError, CameraLostError, EndOfSourceError
from device.settings.config import ReplayCamera as ReplaySection
from engines.detections import Image
from engines.files import printable
from engines.picture_header import PictureError, PictureHeader
from engines.pictures import NOT_READ, PICTURE_SUFFIXES, FolderListing, list_folder, read_picture, statement

log = logging.getLogger(__name__)

STREAM_TIMEOUT_S = 5.0
_BACKEND = cv2.CAP_FFMPEG if cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG) else cv2.CAP_ANY  # others write to stderr as they try
_ADDRESS = re.compile(r"^(rtsps?|rtmps?|https?|udp|tcp)://", re.IGNORECASE)
_CREDENTIALS = re.compile(r"//[^/@]*@")
_SUFFIXES = ", ".join(sorted(s.removeprefix(".") for s in PICTURE_SUFFIXES))


class _Source(Protocol):
    """What the three kinds of replay have in common."""

    @property
    def skipped(self) -> tuple[SkippedPicture, ...]: ...

    @property
    def fps(self) -> float | None:
        """Frames per second of its own; None where it has none (stills) or keeps it by itself (a stream)."""
        ...

    def open(self) -> None: ...

    def next(self) -> tuple[Image, str]:
        """The next picture and what the person would call it."""
        ...

    def close(self) -> None: ...


class ReplayCamera:
    """A folder's pictures (each shown `hold_frames` times, so that the stage rests), a video file's frames, or a network stream.

    `loop` begins again after the last picture; `fps` paces files. Neither applies to a stream, which sets its own pace and has no end.
    Opening raises CameraError with one line when the source is missing, empty or holds nothing readable.
    """

    def __init__(self, section: ReplaySection, clock: Clock) -> None:
        self._section = section
        self._clock = clock
        self._source: _Source | None = None
        self._pacer: Pacer | None = None
        self._shown: tuple[Image, str] | None = None
        self._holds_left = 0
        self._sequence = 0

    @property
    def name(self) -> str:
        """The source as given, without the credentials an address may carry."""
        return _CREDENTIALS.sub("//", self._section.source)

    @property
    def live(self) -> bool:
        return _ADDRESS.match(self._section.source) is not None

    @property
    def skipped(self) -> tuple[SkippedPicture, ...]:
        return self._source.skipped if self._source is not None else ()

    @property
    def notice(self) -> str:
        return ""

    def read(self) -> Frame:
        """The next frame. Raises EndOfSourceError after the last, CameraLostError when a stream closed or fell silent."""
        if self._source is None:
            raise CameraLostError(f"{self.name} is not open")
        if self._holds_left == 0 or self._shown is None:
            self._shown = self._source.next()
            self._holds_left = self._section.hold_frames if isinstance(self._source, _PictureFiles) else 1
        if self._pacer is not None:
            self._pacer.wait()
        self._holds_left -= 1
        image, label = self._shown
        frame = Frame(image, self._sequence, self._clock.monotonic_s(), self._clock.now(), label)
        self._sequence += 1
        return frame

    def __enter__(self) -> Self:
        source = self._choose()
        try:
            source.open()
        except BaseException:
            source.close()
            raise
        self._source = source
        self._shown, self._holds_left = None, 0
        fps = None if self.live else self._section.fps or source.fps
        self._pacer = Pacer(self._clock, fps) if fps else None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._source is not None:
            self._source.close()

    def _choose(self) -> _Source:
        source, loop = self._section.source, self._section.loop
        if self.live:
            if loop or self._section.fps:
                log.warning("%s: camera.loop and camera.fps do not apply to a network stream", self.name)
            return _NetworkStream(source, self.name)
        path = Path(source).expanduser()
        try:
            if path.is_dir():
                return _PictureFiles(list_folder(path), self.name, loop)
            if path.is_file():
                if path.suffix.lower() in PICTURE_SUFFIXES | (NOT_READ.keys() - {".gif"}):  # OpenCV reads a GIF as a video
                    return _PictureFiles(FolderListing((path,)), self.name, loop)
                return _VideoFile(path, self.name, loop)
        except OSError as error:
            raise CameraError(f"{self.name} cannot be read: {error.strerror or error}; check its permissions") from error
        raise CameraError(
            f"there is no folder or file {self.name}; set camera.source to a folder of pictures ({_SUFFIXES}), "
            "a video file, or an rtsp:// or http:// address"
        )


class _PictureFiles:
    """Picture files in the order given; those of a kind that is not read, damaged and vanished ones are skipped and named."""

    fps = None

    def __init__(self, listing: FolderListing, name: str, loop: bool) -> None:
        self._paths = listing.pictures
        self._not_read = listing.words
        self._name = name
        self._loop = loop
        self._index = 0
        self._first: tuple[Image, str] | None = None
        self._headers: dict[Path, PictureHeader] | None = {}  # until they were spoken of
        self._bits = 8
        self._skipped: dict[str, SkippedPicture] = {}  # in the order met, each once however often the folder is shown
        for path, kind in listing.not_read:
            self._skip(SkippedPicture(printable(path.name), kind, f"{kind} pictures are not read: convert it to JPEG or PNG"))
        for path in listing.inside:
            name = printable(f"{path.parent.name}/{path.name}")
            self._skip(SkippedPicture(name, "in a folder inside", "pictures of folders inside are not read: name that folder"))

    @property
    def skipped(self) -> tuple[SkippedPicture, ...]:
        return tuple(self._skipped.values())

    def open(self) -> None:
        if not self._paths:
            raise CameraError(f"{self._name} holds no pictures ({_SUFFIXES}){self._not_read and '; ' + self._not_read}")
        if self._not_read:
            log.warning("%s: %s", self._name, self._not_read)
        try:
            self._first = self._decode_next()  # found now, so that a folder without any readable picture is refused at once
        except EndOfSourceError:
            raise self._none_readable() from None

    def next(self) -> tuple[Image, str]:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return self._decode_next()

    def close(self) -> None:
        self._first = None
        self._speak_of_headers()

    def _skip(self, picture: SkippedPicture) -> None:
        self._skipped.setdefault(picture.name, picture)

    def _speak_of_headers(self) -> None:
        """Say once, after the first time through, what was not a plain 8-bit colour picture."""
        if self._headers and (words := statement(self._name, self._headers.values(), self._bits)):
            log.info("%s", words)
        self._headers = None

    def _decode_next(self) -> tuple[Image, str]:
        failures = 0
        while failures < len(self._paths):
            if self._index == len(self._paths):
                self._speak_of_headers()
                if not self._loop:
                    raise EndOfSourceError(f"{self._name}: its last picture was shown")
                self._index = 0
            path = self._paths[self._index]
            self._index += 1
            try:
                picture = read_picture(path)
            except PictureError as error:
                failures += 1
                name = printable(path.name)
                if name not in self._skipped:
                    log.warning("%s is skipped: %s", printable(path), error.reason)
                    self._skip(SkippedPicture(name, error.kind, error.reason))
                continue
            if self._headers is not None:
                self._headers[path] = picture.header
                self._bits = max(self._bits, picture.bits)
            return picture.image, printable(path.name)
        raise self._none_readable()

    def _none_readable(self) -> CameraError:
        first = self._skipped[printable(self._paths[0].name)]
        return CameraError(f"{self._name}: none of its {len(self._paths)} pictures can be read (first: {first.name}: {first.reason})")


class _VideoFile:
    """A video file at its own frame rate; one that ends early is named among the skipped."""

    def __init__(self, path: Path, name: str, loop: bool) -> None:
        self._path = path
        self._name = name
        self._loop = loop
        self._capture: cv2.VideoCapture | None = None
        self._first: Image | None = None
        self._frames = 0
        self.fps: float | None = None
        self.skipped: tuple[SkippedPicture, ...] = ()

    def open(self) -> None:
        with quiet_opencv():
            capture = self._capture = cv2.VideoCapture(str(self._path), _BACKEND)
            ok, image = capture.read() if capture.isOpened() else (False, None)
        if not ok or image is None:
            raise CameraError(f"{self._name} is neither a picture ({_SUFFIXES}) nor a readable video; set camera.source to another")
        self._first, self._frames = np.asarray(image, np.uint8), 0
        stated = float(capture.get(cv2.CAP_PROP_FPS))
        self.fps = stated if 0.1 <= stated <= 240.0 else None

    def next(self) -> tuple[Image, str]:
        image = self._read()
        if image is None:
            self._note_early_end()
            if not self._loop:
                raise EndOfSourceError(f"{self._name}: its last frame was shown")
            self.close()
            self.open()  # seeking to the start is not reliable in every container
            image = self._read()
            if image is None:
                raise CameraLostError(f"{self._name} gave no frame when it began again")
        self._frames += 1
        return image, self._path.name

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None
        self._first = None

    def _read(self) -> Image | None:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._capture is None:
            return None
        ok, image = self._capture.read()
        return np.asarray(image, np.uint8) if ok else None

    def _note_early_end(self) -> None:
        """A container states its length; some round it, so a small shortfall is no damage."""
        stated = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)) if self._capture is not None else 0
        if stated - self._frames > max(2, stated // 50) and not self.skipped:
            frames = f"{self._path.name} (frames {self._frames + 1} to {stated})"
            self.skipped = (SkippedPicture(frames, "damaged", "the file is damaged or was cut short"),)
            log.warning("%s ends after %d of %d frames; the file is damaged or was cut short", self._path, self._frames, stated)


class _NetworkStream:
    """An rtsp or http address, read through FFmpeg with deadlines for opening and for each frame."""

    fps = None
    skipped: tuple[SkippedPicture, ...] = ()

    def __init__(self, address: str, name: str) -> None:
        self._address = address
        self._name = name
        self._capture: cv2.VideoCapture | None = None

    def open(self) -> None:
        deadline_ms = int(STREAM_TIMEOUT_S * 1000)
        deadlines = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, deadline_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, deadline_ms]
        with quiet_opencv():
            self._capture = cv2.VideoCapture(self._address, cv2.CAP_FFMPEG, deadlines)
        if not self._capture.isOpened():
            raise CameraError(f"no stream at {self._name}; check that the sender runs and that the address can be reached from here")

    def next(self) -> tuple[Image, str]:
        if self._capture is None:
            raise CameraLostError(f"{self._name} is not open")
        with quiet_opencv():
            ok, image = self._capture.read()
        if not ok:
            raise CameraLostError(f"the stream {self._name} closed or sent nothing for {STREAM_TIMEOUT_S:.0f} s; check the sender")
        return np.asarray(image, np.uint8), self._name

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

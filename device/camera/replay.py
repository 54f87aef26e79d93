"""Stored pictures and network streams as a camera: a folder of images, one image, a video file, or an rtsp/http address.

What a picture file is, and when it is damaged, is said in `engines.pictures`; a stream is live, files are not.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
from typing_extensions import Self

from device.camera.base import Frame, SkippedPicture
from device.camera.quiet import quiet_opencv
from device.clock import Clock, Pacer
from device.errors import CameraError, CameraLostError, EndOfSourceError
from device.settings.config import ReplayCamera as ReplaySection
from engines.detections import Image
from engines.files import printable
from engines.picture_header import PictureError, PictureHeader
from engines.pictures import (
    NOT_READ,
    PICTURE_SUFFIXES,
    FolderListing,
    Picture,
    decode_frame,
    list_folder,
    read_picture,
    size_fault,
    statement,
)

log = logging.getLogger(__name__)

STREAM_TIMEOUT_S = 5.0
_DAMAGED_IN_A_ROW = 10
_MOST_SAID = 50  # skipped pictures that the log names one by one
_BACKEND = cv2.CAP_FFMPEG if cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG) else cv2.CAP_ANY  # others write to stderr as they try
_ADDRESS = re.compile(r"^(rtsps?|rtmps?|https?|udp|tcp)://", re.IGNORECASE)
_CREDENTIALS = re.compile(r"//[^/@]*@")
_SUFFIXES = ", ".join(sorted(s.removeprefix(".") for s in PICTURE_SUFFIXES))
_Pictures = Generator[tuple[Image, str], None, None]
"""Each picture and what the person would call it."""


class ReplayCamera:
    """A folder's pictures (each shown `hold_frames` times, so that the stage rests), a video file's frames, or a network stream.

    `loop` begins again after the last picture; `fps` paces files. Neither applies to a stream, which sets its own pace and has no end.
    Opening raises CameraError with one line when the source is missing, empty or holds nothing readable.
    """

    def __init__(self, section: ReplaySection, clock: Clock) -> None:
        self.name = printable(_CREDENTIALS.sub("//", section.source))
        self.notice = ""
        self.reading_since_s: float | None = None
        self._damaged = 0  # frames of a stream that arrived so
        self._raw = False  # frames come as JPEGs, which are decoded here
        self.live = _ADDRESS.match(section.source) is not None
        self._section = section
        self._clock = clock
        self._capture = cv2.VideoCapture()  # of a video or a stream
        self._pictures: _Pictures | None = None
        self._first: tuple[Image, str] | None = None  # read while opening
        self._pacer: Pacer | None = None
        self._sequence = 0
        self._skipped: dict[str, SkippedPicture] = {}  # in the order met, each once however often the folder is shown

    @property
    def skipped(self) -> tuple[SkippedPicture, ...]:
        return tuple(self._skipped.values())

    def read(self) -> Frame:
        """The next frame. Raises EndOfSourceError after the last, CameraLostError when a stream closed or fell silent."""
        if self._pictures is None:
            raise CameraLostError(f"{self.name} is not open")
        with self._reading():
            shown, self._first = self._first or next(self._pictures, None), None
        if shown is None:
            raise EndOfSourceError(f"{self.name}: its last {'frame' if self._capture.isOpened() else 'picture'} was shown")
        if self._pacer is not None:
            self._pacer.wait()
        frame = Frame(shown[0], self._sequence, self._clock.monotonic_s(), self._clock.now(), shown[1])
        self._sequence += 1
        return frame

    def __enter__(self) -> Self:
        self._skipped.clear()
        try:
            with self._reading():
                self._pictures = self._opened()
                if not self.live:  # found now, so that a source without any readable picture is refused at once
                    self._first = next(self._pictures)
        except BaseException:
            self._close()
            raise
        own_fps = self._capture.get(cv2.CAP_PROP_FPS)  # a video's; 0 for pictures
        fps = None if self.live else self._section.fps or (own_fps if 0.1 <= own_fps <= 240.0 else None)
        self._pacer = Pacer(self._clock, fps) if fps else None
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._pictures is not None:
            self._pictures.close()
        self._pictures = self._first = None
        self._capture.release()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """While a disk or a network is waited for, and not the pace of the pictures."""
        self.reading_since_s = self._clock.monotonic_s()
        try:
            yield
        finally:
            self.reading_since_s = None

    def _opened(self) -> _Pictures:
        if self.live:
            return self._stream()
        path = Path(self._section.source).expanduser()
        try:
            if path.is_dir():
                return self._files(list_folder(path))
            if path.is_file():
                if path.suffix.lower() in PICTURE_SUFFIXES | (NOT_READ.keys() - {".gif"}):  # OpenCV reads a GIF as a video
                    return self._files(FolderListing((path,)))
                return self._video(path)
        except OSError as error:
            raise CameraError(f"{self.name} cannot be read: {error.strerror or error}; check its permissions") from error
        raise CameraError(
            f"there is no folder or file {self.name}; set camera.source to a folder of pictures ({_SUFFIXES}), "
            "a video file, or an rtsp:// or http:// address"
        )

    def _files(self, listing: FolderListing) -> _Pictures:
        """Picture files in the order given; those of a kind that is not read, damaged and vanished ones are skipped and named."""
        for path, kind in listing.not_read:
            self._skip(printable(path.name), kind, f"{kind} pictures are not read: convert it to JPEG or PNG")
        for path in listing.inside:
            name = printable(f"{path.parent.name}/{path.name}")
            self._skip(name, "in a folder inside", "pictures of folders inside are not read: name that folder")
        if not listing.pictures:
            raise CameraError(f"{self.name} holds no pictures ({_SUFFIXES}){listing.words and '; ' + listing.words}")
        if listing.words:
            log.warning("%s: %s", self.name, listing.words)
        headers: list[PictureHeader] = []
        bits = 8
        try:
            for picture, label in self._readable(listing.pictures):
                headers.append(picture.header)
                bits = max(bits, picture.bits)
                yield from repeat((picture.image, label), self._section.hold_frames)
        finally:  # said once, of the first time through
            if words := statement(self.name, headers, bits):
                log.info("%s", words)
        while self._section.loop:
            for picture, label in self._readable(listing.pictures):
                yield from repeat((picture.image, label), self._section.hold_frames)

    def _readable(self, paths: Sequence[Path]) -> Iterator[tuple[Picture, str]]:
        """One pass over picture files. Raises CameraLostError, by which the folder is listed anew, where none can be read."""
        none_read = True
        for path in paths:
            name = printable(path.name)
            try:
                picture = read_picture(path)
            except PictureError as error:
                if name not in self._skipped:
                    if (said := len(self._skipped)) < _MOST_SAID:
                        log.warning("%s is skipped: %s", printable(path), error.reason)
                    elif said == _MOST_SAID:
                        log.warning("%s: more pictures are skipped; the slide's record names them all", self.name)
                    self._skip(name, error.kind, error.reason)
                continue
            none_read = False
            yield picture, name
        if none_read:
            first = self._skipped[printable(paths[0].name)]
            raise CameraLostError(f"{self.name}: none of its {len(paths)} pictures can be read (first: {first.name}: {first.reason})")

    def _skip(self, name: str, kind: str, reason: str) -> None:
        self._skipped.setdefault(name, SkippedPicture(name, kind, reason))

    def _video(self, path: Path) -> _Pictures:
        """A video file's frames; one that ends early is named among the skipped."""
        while True:  # opened anew for each time through: seeking to the start is not reliable in every container
            with quiet_opencv():
                opened = self._capture.open(str(path), _BACKEND)
                self._as_jpegs()
                ok, image = self._next_frame() if opened else (False, None)
            if not ok:
                raise CameraLostError(
                    f"{self.name} is neither a picture ({_SUFFIXES}) nor a readable video; set camera.source to another"
                )
            seen, whole, bad = 0, 0, 0
            while ok:
                seen += 1
                if image is None:
                    bad += 1
                else:
                    whole = seen
                    yield image, printable(path.name)
                ok, image = self._next_frame()
            if not whole:
                raise CameraLostError(f"{self.name}: none of its {seen} frames can be read; the file is damaged")
            self._name_missing(path, whole, bad - (seen - whole))
            if not self._section.loop:
                return

    def _name_missing(self, path: Path, whole: int, damaged: int) -> None:
        """Name what a video lacks. whole: its last frame that could be read. damaged: how many before that could not."""
        # A container states its length; some round it, so a small shortfall is no damage.
        stated = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        missing = []
        if damaged:
            missing.append((f"{path.name} ({damaged} frames)", "these frames are damaged"))
        if stated - whole > max(2, stated // 50):
            missing.append((f"{path.name} (frames {whole + 1} to {stated})", "the file is damaged or was cut short"))
        for name, reason in missing:
            if printable(name) not in self._skipped:
                self._skip(printable(name), "damaged", reason)
                log.warning("%s: %s", printable(path.with_name(name)), reason)

    def _stream(self) -> _Pictures:
        """The frames of an rtsp or http address, read through FFmpeg with deadlines for opening and for each frame; without an end."""
        if self._section.loop or self._section.fps:
            log.warning("%s: camera.loop and camera.fps do not apply to a network stream", self.name)
        deadline_ms = int(STREAM_TIMEOUT_S * 1000)
        deadlines = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, deadline_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, deadline_ms]
        with quiet_opencv():
            if not self._capture.open(self._section.source, cv2.CAP_FFMPEG, deadlines):
                raise CameraError(f"no stream at {self.name}; check that the sender runs and that the address can be reached from here")
        self._as_jpegs()
        return self._stream_frames()

    def _stream_frames(self) -> _Pictures:
        in_a_row = 0
        while True:
            ok, image = self._next_frame()
            if not ok:
                raise CameraLostError(f"the stream {self.name} closed or sent nothing for {STREAM_TIMEOUT_S:.0f} s; check the sender")
            if image is not None:
                in_a_row = 0
                yield image, self.name
                continue
            in_a_row += 1
            self._damaged += 1
            if self._damaged == 1:
                self.notice = "frames arrive damaged and are not used; check the sender and the network"
            if in_a_row == _DAMAGED_IN_A_ROW:
                raise CameraLostError(f"the stream {self.name}: {in_a_row} frames in a row arrived damaged; check the sender")

    def _as_jpegs(self) -> None:
        """Take the frames of a Motion JPEG as they are: FFmpeg fills what is missing of one, and says nothing."""
        fourcc = int(self._capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
        self._raw = fourcc == b"MJPG" and bool(self._capture.set(cv2.CAP_PROP_FORMAT, -1))

    def _next_frame(self) -> tuple[bool, Image | None]:
        """Whether there is a frame, and the frame; None for one that is damaged, which only those of a Motion JPEG tell.

        Raises CameraLostError for frames of a size that no field has.
        """
        with quiet_opencv():
            ok, data = self._capture.read()
        if not ok or data is None:
            return False, None
        image = decode_frame(data.tobytes()) if self._raw else np.asarray(data, np.uint8)
        if image is not None and (fault := size_fault(*image.shape[:2])):
            raise CameraLostError(f"{self.name}: {fault}")
        return True, image

"""The screen as PNG files in a folder, one a second: for demonstrations, reports and machines without a screen."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryFile

import cv2
from typing_extensions import Self

from device.display.base import ScreenView
from device.display.inputs import Input
from device.display.overlay import draw
from device.errors import DisplayError
from engines.detections import Image

_log = logging.getLogger(__name__)
_NAME = re.compile(r"screen-(\d{6,})\.png")
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


def cannot_keep(directory: Path, error: OSError) -> DisplayError:
    """What is said where the folder takes no pictures."""
    return DisplayError(_words(directory, error))


class FileDisplay:
    """Keeps `screen-000001.png`, … and the newest as `latest.png`, each put in place whole.

    Of those that it wrote, in this run and before, the newest `keep` stay; pictures that were in the folder before the first are never
    removed. With less than `min_free_mb` free none is written: the record may lie on the same disk. The picture is drawn in `show` and
    written by a thread of its own; a folder that is slower than `period_s` gets fewer pictures.
    """

    def __init__(
        self,
        directory: Path,
        period_s: float = 1.0,
        size_px: tuple[int, int] = (1920, 1080),
        monotonic_s: Callable[[], float] = time.monotonic,
        keep: int = 500,
        min_free_mb: int = 0,
    ) -> None:
        self._directory = directory
        self._period_s = period_s
        self._size_px = size_px
        self._now = monotonic_s
        self._writer: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self._unwritten: ScreenView | None = None
        self._due_s = float("-inf")
        self._number = 0
        self._keep, self._min_free_mb = keep, min_free_mb
        self._no_room = False
        self._own = deque[int]()  # numbers of pictures that it wrote, oldest first

    def __enter__(self) -> Self:
        """Make the folder and go on behind the pictures that it holds. Raises DisplayError where it cannot be written to."""
        if self._no_room:  # a folder that has no room yet is not open again; at the start it is a state of the first picture
            self._check_room()
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            numbers = [int(m[1]) for m in (_NAME.fullmatch(p.name) for p in self._directory.iterdir()) if m]
            TemporaryFile(dir=self._directory).close()
            self._number = max(numbers, default=0)
            first = self._first_of_own()
        except OSError as error:
            raise cannot_keep(self._directory, error) from error
        self._own = deque(sorted(number for number in numbers if number >= first))
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="screen-file")
        self._writing, self._unwritten, self._due_s = None, None, float("-inf")
        return self

    def __exit__(self, *_: object) -> None:
        """Write the last view too, so that the folder ends with how things stood; a failure here is logged."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            self._collect(wait=True)
            if self._unwritten is not None:
                self._write(draw(self._unwritten, self._size_px))
        except DisplayError as failure:
            _log.error("%s", failure)
        finally:
            self._unwritten = None
            writer.shutdown()

    def show(self, view: ScreenView) -> None:
        """Draw and write `view` if a period has passed; raises DisplayError when an earlier picture could not be written."""
        if self._writer is None:
            raise DisplayError(f"{self._directory}: the display is not open")
        self._unwritten = view
        self._collect(wait=False)
        now = self._now()
        if self._writing is not None or now < self._due_s:
            return
        self._due_s = now + self._period_s
        self._unwritten = None
        self._writing = self._writer.submit(self._write, draw(view, self._size_px))

    def inputs(self) -> Sequence[Input]:
        """Always empty: a folder has no keys."""
        return ()

    def _collect(self, wait: bool) -> None:
        """Take the writer's result, if it has one; raises the DisplayError that it ended with."""
        if self._writing is not None and (wait or self._writing.done()):
            writing, self._writing = self._writing, None
            writing.result()

    def _write(self, canvas: Image) -> None:
        """Write one picture under the next number and as the latest; runs in the writer's thread."""
        self._number += 1
        path, latest = self._directory / f"screen-{self._number:06d}.png", self._directory / "latest.png"
        unfinished = self._directory / ".screen-unfinished"
        self._check_room()
        done, data = cv2.imencode(".png", canvas, _PNG)
        if not done:
            raise DisplayError(f"{path}: the picture cannot be encoded as PNG")
        try:
            unfinished.write_bytes(data.tobytes())
            unfinished.replace(path)
            try:
                os.link(path, unfinished)
            except OSError:  # memory sticks have no hard links
                shutil.copyfile(path, unfinished)
            unfinished.replace(latest)
            self._own.append(self._number)
            while len(self._own) > self._keep:
                (self._directory / f"screen-{self._own.popleft():06d}.png").unlink(missing_ok=True)
        except OSError as error:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise DisplayError(_words(path, error)) from error

    def _check_room(self) -> None:
        """DisplayError where the disk has less free than the record wants; without the figure, which changes each time."""
        with contextlib.suppress(OSError):  # writing says what is wrong
            self._no_room = shutil.disk_usage(self._directory).free < self._min_free_mb * 1_000_000
            if self._no_room:
                wanted = f"less than {self._min_free_mb} MB are free (record.min_free_mb)"
                raise DisplayError(f"{self._directory}: {wanted}, no pictures of the screen are kept; make room on this disk")

    def _first_of_own(self) -> int:
        """Number of the first picture that it ever wrote here; what bears a lower one is somebody else's. Raises OSError."""
        note = self._directory / ".screen-first"
        with contextlib.suppress(OSError, ValueError):
            return int(note.read_text())
        first = self._number + 1
        note.write_text(f"{first}\n")
        return first


def _words(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path}: the disk is full; free space or choose another folder with `--display file:DIR`"
    reason = (error.strerror or str(error)).lower()
    return f"{path}: the screen cannot be kept here ({reason}); choose another folder with `--display file:DIR`"

"""Pictures of whole fields beside the record, for the review: a missed cell can be added there, and every cell be seen where it lies.

A picture is on the disk before the row that names it. It is a help, not the count: where none can be written the count goes on.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from device.errors import StoreError
from engines.detections import Image
from engines.files import atomic_write, fsync

log = logging.getLogger(__name__)

FOLDER = "pictures"
"""Beside the record. In it a folder for each slide; never named after a specimen."""
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 85]


class FieldPictures:
    """Writes field pictures of the slides of one record.

    free: asks the disk for its free MB, below min_free_mb no picture is kept: the record needs the room. reason: why the last one was
    not kept, one line with the next step; "" while all is well.
    """

    def __init__(self, record: Path, free: Callable[[Path], float], min_free_mb: int) -> None:
        self.folder = record.parent / FOLDER
        self._free, self._min_free_mb = free, min_free_mb
        self._kept: dict[tuple[str, int], str] = {}
        self.reason = ""

    def keep(self, slide_id: str, field_index: int, image: Image) -> str:
        """Write the picture of a field, or of a sharper frame in its place; its name for `Field.picture`, "" where it cannot be."""
        name = f"{slide_id}/field-{field_index:06d}.jpg"
        try:
            if (free := self._free(self.folder)) < self._min_free_mb:
                raise StoreError(f"only {free:.0f} MB free beside {self.folder}")
            ready, encoded = cv2.imencode(".jpg", image, _JPEG)
            if not ready:
                raise StoreError("the picture cannot be encoded")
            _make(self.folder / slide_id)
            atomic_write(self.folder / name, encoded.tobytes())
        except (OSError, StoreError, cv2.error) as error:
            why = getattr(error, "strerror", None) or str(error)
            if not self.reason:
                log.error("no picture of field %d of %s is kept: %s", field_index, slide_id, why)
            self.reason = f"no pictures of fields are kept: {why}; make room on the disk, or set record.pictures: false"
            with suppress(OSError):
                (self.folder / name).unlink()  # that of the frame before: its cells lie elsewhere
            name = ""
        else:
            self.reason = ""
        self._kept[slide_id, field_index] = name
        return name

    def name_of(self, slide_id: str, field_index: int, otherwise: str) -> str:
        """The picture that this run kept of a field, `otherwise` where it kept none."""
        return self._kept.get((slide_id, field_index), otherwise)

    def forget(self) -> None:
        """Another slide was started: the rows of the one before know the names."""
        self._kept.clear()

    def prune(self, slide_ids: Iterable[str]) -> int:
        """Remove the pictures of these slides; how many folders that were. What cannot be removed is said in the log and stays."""
        gone = 0
        for slide_id in slide_ids:
            folder = self.folder / slide_id
            if not folder.is_dir() or folder.parent != self.folder:
                continue
            try:
                shutil.rmtree(folder)
                gone += 1
            except OSError as error:
                log.warning("%s: cannot be removed (%s)", folder, error.strerror)
        return gone


def read_field_picture(record: Path, picture: str) -> Image | None:
    """The picture that `Field.picture` names, (H, W, 3) uint8 BGR; None where none was kept, or it is gone or unreadable by now."""
    if not picture:
        return None
    try:
        data = np.frombuffer((record.parent / FOLDER / picture).read_bytes(), np.uint8)
    except OSError:
        return None
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    return None if image is None else np.asarray(image, np.uint8)


def _make(folder: Path) -> None:
    """The folder and that above it, so that a power cut leaves them there."""
    for each in (folder.parent, folder):
        if not each.is_dir():
            each.mkdir(0o750, exist_ok=True)
            fsync(each.parent)

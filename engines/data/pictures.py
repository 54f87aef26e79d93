"""Picture files as files: their size from the header, and whether they can be read whole. What is in them is not looked at."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION = 0x0112
_ON_ITS_SIDE = range(5, 9)


@dataclass(frozen=True)
class Decoded:
    """What reading a picture whole gave. size_hw: None where its header could not be read. fault: empty where it is sound."""

    size_hw: tuple[int, int] | None
    digest: bytes
    fault: str = ""


def image_size_hw(path: Path) -> tuple[int, int]:
    """Height and width of a picture on disk as cv2 will read it, in px, from its header; DataError if it is no picture."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return _size_hw(picture)
    except Exception as error:  # see decode
        raise DataError(f"{path}: cannot be decoded as an image; replace or remove it") from error


def decode(path: Path) -> Decoded:
    """Read a picture whole, as strictly as Pillow does: of a file that ends too early cv2 makes a picture with a grey rest."""
    from PIL import Image, UnidentifiedImageError

    try:
        data = path.read_bytes()
    except OSError as error:
        return Decoded(None, b"", f"cannot be read: {error.strerror}")
    digest = hashlib.blake2b(data, digest_size=16).digest()
    size: tuple[int, int] | None = None
    try:
        with Image.open(BytesIO(data)) as picture:
            size = _size_hw(picture)
            picture.load()
    except Exception as error:  # Pillow has no type of its own: OSError, SyntaxError, ValueError, struct.error, zlib.error
        if not data:
            return Decoded(None, digest, "the file is empty")
        kind = "is no picture of a known kind" if isinstance(error, UnidentifiedImageError) else f"breaks off or is damaged: {error}"
        return Decoded(size, digest, kind)
    return Decoded(size, digest)


def _size_hw(picture: Image) -> tuple[int, int]:
    """Size after the turn that EXIF asks for, which cv2 makes too. A PNG without the entry in its header would be read whole for it."""
    width, height = picture.size
    asked = picture.format != "PNG" or "exif" in picture.info
    return (width, height) if asked and picture.getexif().get(_ORIENTATION, 1) in _ON_ITS_SIDE else (height, width)

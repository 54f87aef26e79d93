"""Pictures of a data set as files: their size from the header, and whether they can be read whole."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from engines.data.look_alikes import Thumbnail, thumbnail
from engines.picture_header import PictureError, PictureHeader
from engines.pictures import decode_picture, inspect_picture, parse_sound, read_bytes


@dataclass(frozen=True, eq=False)
class Decoded:
    """What reading a picture whole gave. header: None where it could not be read. fault: empty where it is sound.

    kind: of the fault, as `PictureError` has it ("damaged", "pages", "HEIC", …). small: as `look_alikes` compares it, of a sound one.
    """

    header: PictureHeader | None
    digest: bytes
    fault: str = ""
    kind: str = ""
    small: Thumbnail | None = None

    @property
    def size_hw(self) -> tuple[int, int] | None:
        """Height and width in px after the turn that EXIF asks for; None where the header could not be read."""
        return self.header.size_hw if self.header else None


def image_size_hw(path: Path) -> tuple[int, int]:
    """Height and width in px of a picture on disk as it will be read, from its header; DataError if it is no picture that is read."""
    return inspect_picture(path).size_hw


def look(path: Path) -> Decoded:
    """What the header says, without decoding: the pixels may still be damaged."""
    try:
        return Decoded(inspect_picture(path), b"")
    except PictureError as error:
        return Decoded(error.header, b"", error.reason, error.kind)


def decode(path: Path) -> Decoded:
    """Read a picture whole: whether it is sound, what its header says, a digest of its bytes, a small copy of its pixels."""
    header, digest = None, b""
    try:
        data = read_bytes(path)
        digest = hashlib.blake2b(data, digest_size=16).digest()
        header = parse_sound(data, path)
        picture = decode_picture(data, path)
    except PictureError as error:
        return Decoded(header or error.header, digest, error.reason, error.kind)
    return Decoded(header, digest, small=thumbnail(picture.image))

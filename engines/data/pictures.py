"""Pictures of a data set as files: their size, whether they can be read whole, what is worth knowing of them. No label is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from engines.data.faults import Fault, Kind, Place
from engines.data.layout import Split
from engines.data.look_alikes import Thumbnail, thumbnail
from engines.data.looks import Look, look_at
from engines.picture_header import PictureError, PictureHeader
from engines.pictures import decode_picture, folder_bits, inspect_picture, list_folder, read_bytes, statement

EXIF_TURN = "labels are read in the turned picture; if the labelling program ignored it, strip it"
_KINDS = {"damaged": Kind.IMAGE_CORRUPT, "pages": Kind.IMAGE_PAGES}


@dataclass(frozen=True, eq=False)
class Decoded:
    """What reading a picture whole gave. header: None where it could not be read. fault: empty where it is sound.

    kind: of the fault, as `PictureError` has it ("damaged", "pages", "HEIC", …). small: as `look_alikes` compares it, of a sound one.
    look: of a sound one, where it was asked for.
    """

    header: PictureHeader | None
    digest: bytes
    fault: str = ""
    kind: str = ""
    small: Thumbnail | None = None
    look: Look | None = None

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
    """Read a picture whole: whether it is sound, what its header says, a digest of its bytes, a small copy of its pixels, its look."""
    digest = b""
    try:
        data = read_bytes(path)
        digest = hashlib.blake2b(data, digest_size=16).digest()
        picture = decode_picture(data, path)
    except PictureError as error:
        return Decoded(error.header, digest, error.reason, error.kind)
    return Decoded(picture.header, digest, small=thumbnail(picture.image), look=look_at(picture.image))


def picture_findings(split: Split, decoded: Mapping[Path, Decoded]) -> Iterable[Fault]:
    """A fault for each picture that is not read; notes for EXIF turns, for other than plain 8-bit colour, for what is left out."""
    folder, headers = split.images, []
    if folder is None:
        return
    for path in split.pictures():
        one = decoded[path]
        if one.fault:
            yield Fault(_KINDS.get(one.kind, Kind.IMAGE_NOT_READ), Place(path), one.fault)
        elif one.header:
            headers.append(one.header)
    turned = sum(header.turn != 1 for header in headers)
    if turned:
        yield Fault(Kind.IMAGE_TURNED, Place(folder), f"{turned} pictures bear an EXIF turn; {EXIF_TURN}")
    bits = folder_bits(folder) if any(header.stored_bits > 8 for header in headers) else 8
    if words := statement(folder.name, (replace(header, turn=1) for header in headers), bits):
        yield Fault(Kind.IMAGE_UNUSUAL, Place(folder), words)
    if words := list_folder(folder).words:
        yield Fault(Kind.FILES_NOT_READ, Place(folder), words)

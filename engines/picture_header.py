"""What the header of a picture file says, read before any pixel is: kind, size, bits, pages, alpha, turn; and whether its end is there.

`data` is the whole file, as bytes or mapped into memory (then only the parts looked at are read). Nothing is decoded here.
"""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import DataError
from engines.files import printable

Data = bytes | mmap.mmap

_ON_ITS_SIDE = range(5, 9)
_JPEG_STANDALONE = {0x01, *range(0xD0, 0xD9)}  # markers that carry no length (ITU T.81, B.1.1.3)
_JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_MULTI_FRAME = 2  # upper byte of an MPF entry's type (CIPA DC-007): panorama, disparity, several angles; others are previews
_MOST_PAGES = 10_000
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _DESCRIPTION, _ORIENTATION = 254, 256, 257, 258, 262, 270, 274
_SAMPLES, _MAX_SAMPLE, _EXTRA_SAMPLES, _S_MAX_SAMPLE, _MP_ENTRY = 277, 281, 338, 341, 0xB002
_TAGS = {254, 256, 257, 258, 262, 270, 274, 277, 281, 338, 341, _MP_ENTRY}
_TAG_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 7: "s", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_CMYK = 5

_OTHER_KINDS = {
    b"GIF8": "GIF", b"\0\0\0\x0cjP  ": "JPEG 2000", b"\xff\x4f\xff\x51": "JPEG 2000", b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL", b"8BPS": "Photoshop", b"%PDF": "PDF", b"P5": "Netpbm", b"P6": "Netpbm", b"ZISRAWFILE": "CZI",
}  # fmt: skip


@dataclass(frozen=True)
class PictureHeader:
    """kind: JPEG, PNG, BMP, TIFF or WebP. stored_hw: height and width in px as stored. stored_bits: of a sample in the file.

    stated_bits: how many of them the file says it uses, 0 where it does not. pages: fields in the file; previews and masks are none.
    page_indices: where they are among all pictures in the file. turn: EXIF orientation, 1 to 8. clear_grey: the grey value that is
    transparent in a PNG without an alpha channel, or -1. cut: what is missing or damaged.
    """

    kind: str
    stored_hw: tuple[int, int]
    stored_bits: int = 8
    stated_bits: int = 0
    pages: int = 1
    page_indices: tuple[int, ...] = (0,)
    turn: int = 1
    grey: bool = False
    alpha: bool = False
    clear_grey: int = -1
    premultiplied: bool = False
    cmyk: bool = False
    cut: str = ""

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in px after the turn."""
        height, width = self.stored_hw
        return (width, height) if self.turn in _ON_ITS_SIDE else (height, width)


class PictureError(DataError):
    """A picture file is not read.

    kind: "damaged", "pages", "too large", "pixels", or the format that is not read ("HEIC"). reason: why, and the way out, without
    the file's name, which the message has. header: what could be read of it.
    """

    def __init__(self, path: Path | None, kind: str, reason: str, header: PictureHeader | None = None) -> None:
        super().__init__(f"{printable(path)}: {reason}" if path else reason)
        self.kind, self.reason, self.header = kind, reason, header


def format_not_read(path: Path | None, kind: str) -> PictureError:
    return PictureError(path, kind, f"{kind} pictures are not read: convert it to JPEG or PNG")


def parse_header(data: Data, path: Path | None) -> PictureHeader:
    """The header of a picture file. Raises PictureError, naming `path`, for what is no picture, or one of a kind that is not read."""
    start = bytes(data[:32])
    reader = next((read for magic, read in _READERS if start.startswith(magic)), None)
    if reader is None or (start[:4] == b"RIFF" and start[8:12] != b"WEBP"):
        other = next((kind for magic, kind in _OTHER_KINDS.items() if start.startswith(magic)), "")
        if start[4:8] == b"ftyp":
            other = "AVIF" if b"avif" in start or b"avis" in start else "HEIC" if start[8:12] in _HEIC_BRANDS else ""
        if other:
            raise format_not_read(path, other)
        raise PictureError(path, "damaged", "cannot be decoded: it is no picture of a known kind; replace or remove it")
    try:
        return reader(data)
    except (struct.error, IndexError, ValueError, KeyError) as error:
        words = "cannot be decoded: its header is cut short or damaged; copy it again from its source"
        raise PictureError(path, "damaged", words) from error


_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")


def jpeg_is_complete(data: Data) -> bool:
    """Whether a JPEG's scan is there to its end-of-image marker; a thumbnail's end marker in the header does not count.

    Inside a scan 0xFF is always followed by a stuffed zero or a restart marker (ITU T.81, B.1.1.5), so a search finds the true end.
    """
    return any(marker == 0xDA and data.find(b"\xff\xd9", at) >= 0 for marker, at, _ in _jpeg_segments(data))


def _jpeg_segments(data: Data) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of what it carries, up to the first scan."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in _JPEG_STANDALONE:
            position += 2
        else:
            end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
            yield marker, position + 4, end
            if marker == 0xDA:
                return
            position = end


def _jpeg(data: Data) -> PictureHeader:
    height = width = components = 0
    bits, turn, pages = 8, 1, 1
    for marker, at, end in _jpeg_segments(data):
        if marker in _JPEG_SIZES:
            bits, height, width, components = struct.unpack(">BHHB", data[at : at + 6])
        elif marker == 0xE1 and data[at : at + 6] == b"Exif\0\0":
            turn = _exif_turn(data[at + 6 : end])
        elif marker == 0xE2 and data[at : at + 4] == b"MPF\0":
            pages = _multi_frames(data[at + 4 : end])
    cut = "" if jpeg_is_complete(data) else "the JPEG is cut short"
    if not height and not cut:
        raise ValueError("no size")
    return PictureHeader("JPEG", (height, width), bits, 0, pages, (0,), turn, components == 1, cmyk=components == 4, cut=cut)


def _exif_turn(exif: bytes) -> int:
    try:
        turn = int(next(_folders(exif), {}).get(_ORIENTATION, (1,))[0])
    except (struct.error, IndexError, ValueError):
        return 1  # a damaged EXIF block says nothing of the pixels
    return turn if turn in range(1, 9) else 1


def _multi_frames(index: bytes) -> int:
    """Fields in a phone's MPO: the main picture and those that belong to a series; previews and gain maps are none."""
    try:
        order = "<" if index[:2] == b"II" else ">"
        entries = bytes(next(_folders(index))[_MP_ENTRY])
        kinds: list[int] = [struct.unpack(order + "I", entries[at : at + 4])[0] >> 16 & 0xFF for at in range(0, len(entries) - 15, 16)]
    except (struct.error, StopIteration, KeyError, ValueError):
        return 1
    return max(1, sum(kind == _MULTI_FRAME for kind in kinds))


def _png(data: Data) -> PictureHeader:
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    stated, pages, turn, alpha, clear, position, cut = 0, 1, 1, colour in (4, 6), -1, 8, "the PNG is cut short"
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        name, at = bytes(data[position + 4 : position + 8]), position + 8
        position = at + length + 4
        if position > len(data):
            break
        if name == b"IEND":
            cut = ""
            break
        if isinstance(data, bytes) and zlib.crc32(memoryview(data)[at - 4 : at + length]) != int.from_bytes(
            data[position - 4 : position], "big"
        ):
            cut = f"the checksum of its part {name.decode('ascii', 'replace')} is wrong"
            break
        if name == b"sBIT":
            stated = max(data[at : at + length])
        elif name == b"acTL":
            pages = max(1, int.from_bytes(data[at : at + 4], "big"))
        elif name == b"eXIf":
            turn = _exif_turn(data[at : at + length])
        elif name == b"tRNS":
            alpha = True
            if colour == 0:
                clear = int.from_bytes(data[at : at + 2], "big") * (255 // (2**depth - 1) if depth < 8 else 1)
    stated = stated if depth == 16 and stated < 16 else 0  # all 16 bits say no more than the format does
    return PictureHeader("PNG", (height, width), max(depth, 8), stated, pages, (0,), turn, colour in (0, 4), alpha, clear, cut=cut)


def _webp(data: Data) -> PictureHeader:
    end = 8 + int.from_bytes(data[4:8], "little")
    cut = "the WebP is cut short" if end > len(data) else ""
    size, pages, turn, alpha, position = (0, 0), 0, 1, False, 12
    while position + 8 <= min(end, len(data)):
        name, length = bytes(data[position : position + 4]), int.from_bytes(data[position + 4 : position + 8], "little")
        at = position + 8
        if name == b"VP8X":
            alpha = bool(data[at] & 0x10)
            size = int.from_bytes(data[at + 7 : at + 10], "little") + 1, int.from_bytes(data[at + 4 : at + 7], "little") + 1
        elif name == b"VP8L" and size == (0, 0):
            packed = int.from_bytes(data[at + 1 : at + 5], "little")
            size, alpha = ((packed >> 14 & 0x3FFF) + 1, (packed & 0x3FFF) + 1), bool(packed >> 28 & 1)
        elif name == b"VP8 " and size == (0, 0):
            width, height = struct.unpack("<HH", data[at + 6 : at + 10])
            size = height & 0x3FFF, width & 0x3FFF
        elif name == b"ANMF":
            pages += 1
        elif name == b"EXIF":
            turn = _exif_turn(bytes(data[at : at + length]).removeprefix(b"Exif\0\0"))
        position = at + length + (length & 1)
    return PictureHeader("WebP", size, pages=max(1, pages), turn=turn, alpha=alpha, cut=cut)


def _bmp(data: Data) -> PictureHeader:
    width, height = struct.unpack("<ii", data[18:26])
    return PictureHeader("BMP", (abs(height), abs(width)))


def _tiff(data: Data) -> PictureHeader:
    found = list(_folders(data))
    fields = [n for n, tags in enumerate(found) if not int(tags.get(_SUBFILE, (0,))[0]) & 0b101] or [0]  # previews, masks left out
    tags, pages = found[fields[0]], len(fields)
    stack = re.search(rb"^ImageJ=.*?^images=(\d+)", bytes(tags.get(_DESCRIPTION, ())), re.DOTALL | re.MULTILINE)
    if stack and pages == 1:  # a stack of more than 4 GB has one directory only
        pages = max(1, int(stack[1]))
    bits = max(int(n) for n in tags.get(_BITS, (1,)))
    photometric, samples = int(tags.get(_PHOTOMETRIC, (1,))[0]), int(tags.get(_SAMPLES, (1,))[0])
    highest = max((int(n) for tag in (_MAX_SAMPLE, _S_MAX_SAMPLE) for n in tags.get(tag, ())), default=0)
    turn = int(tags.get(_ORIENTATION, (1,))[0])
    return PictureHeader(
        "TIFF",
        (int(tags[_HEIGHT][0]), int(tags[_WIDTH][0])),
        max(bits, 8),
        highest.bit_length() if bits > 8 and highest < 2**bits - 1 else 0,
        pages,
        tuple(fields),
        turn if turn in range(1, 9) else 1,
        grey=photometric in (0, 1),
        alpha=samples > (1 if photometric in (0, 1, 3) else 4 if photometric == _CMYK else 3),
        premultiplied=bits <= 8 or 1 in tags.get(_EXTRA_SAMPLES, ()),
        cmyk=photometric == _CMYK,
    )


def _folders(data: Data) -> Iterator[dict[int, tuple[Any, ...]]]:
    """The directories of a TIFF (also of BigTIFF, and of an EXIF block), each as the values of the tags that matter here."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack(order + "H", data[2:4])[0] == 43
    word, count_format, entry_bytes = ("Q", "Q", 20) if big else ("I", "H", 12)
    inline = struct.calcsize(word)
    (at,) = struct.unpack(order + word, data[8:16] if big else data[4:8])
    seen: set[int] = set()
    while at and at not in seen and len(seen) < _MOST_PAGES:
        seen.add(at)
        (entries,) = struct.unpack(order + count_format, data[at : at + struct.calcsize(count_format)])
        position = at + struct.calcsize(count_format)
        tags: dict[int, tuple[Any, ...]] = {}
        for start in range(position, position + entries * entry_bytes, entry_bytes):
            tag, kind, count = struct.unpack(order + "HH" + word, data[start : start + 4 + inline])
            if tag not in _TAGS or kind not in _TAG_TYPES or count > len(data):
                continue
            code = _TAG_TYPES[kind]
            size = struct.calcsize(f"={count}{code}")
            place = start + 4 + inline
            if size > inline:
                (place,) = struct.unpack(order + word, data[place : place + inline])
            raw = data[place : place + size]
            tags[tag] = tuple(raw) if code == "s" else struct.unpack(f"{order}{count}{code}", raw)
        yield tags
        position += entries * entry_bytes
        (at,) = struct.unpack(order + word, data[position : position + inline])


_READERS = (
    (b"\xff\xd8", _jpeg), (b"\x89PNG\r\n\x1a\n", _png), (b"RIFF", _webp), (b"BM", _bmp),
    (b"II*\0", _tiff), (b"MM\0*", _tiff), (b"II+\0", _tiff), (b"MM\0+", _tiff),
)  # fmt: skip

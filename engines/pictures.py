"""The one reader of picture files, for the laboratory and the appliance: pixels as BGR u8, and a statement of what the file was.

Samples of more than 8 bits are scaled by the bits that the pictures of their folder use, transparency is laid on white, the turn that
EXIF asks for is made. A file that is cut short or damaged, holds several pages or is too large is refused, never read in part.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.detections import Image
from engines.errors import DataError
from engines.files import printable
from engines.picture_header import PictureError, PictureHeader, format_not_read, parse_header

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp"})

NOT_READ = {
    ".heic": "HEIC", ".heif": "HEIC", ".hif": "HEIC", ".avif": "AVIF", ".jp2": "JPEG 2000", ".j2k": "JPEG 2000", ".jpx": "JPEG 2000",
    ".jxl": "JPEG XL", ".gif": "GIF", ".psd": "Photoshop", ".dng": "raw", ".cr2": "raw", ".cr3": "raw", ".nef": "raw", ".arw": "raw",
    ".raf": "raw", ".orf": "raw", ".rw2": "raw", ".czi": "CZI", ".lif": "LIF", ".nd2": "ND2", ".vsi": "VSI", ".svs": "SVS",
    ".ndpi": "NDPI", ".dcm": "DICOM", ".ppm": "Netpbm", ".pgm": "Netpbm", ".apng": "APNG",
}  # fmt: skip
"""Kinds of picture that are named and counted, but not read."""

MOST_PIXELS = 200_000_000
"""The largest camera of a phone takes so many; three bytes each are the memory that one picture may ask for."""

LARGEST_ASPECT = 20
"""A longer strip is no field of film."""

_CAMERA_BITS = (10, 12, 14, 16)
_DECODER = re.compile(
    r"(?:Corrupt JPEG|Premature end|Inconsistent prog|Invalid SOS|Warning: unknown JFIF|Unknown Adobe|OpenCV TIFF|\[ *[A-Z]+:\d+@)"
)
_NOT_WHOLE = re.compile(r"corrupt|premature|_Error|decoding error|not enough data|inconsistent progression|invalid SOS", re.IGNORECASE)
_stderr_lock = threading.Lock()
_folder_lock = threading.Lock()


@dataclass(frozen=True, eq=False)
class Picture:
    """image: (height, width, 3) uint8 BGR, turned as EXIF asks. header: what the file was. bits: used of a sample's."""

    image: Image
    header: PictureHeader
    bits: int = 8


def read_picture(path: Path, page: int | None = None) -> Picture:
    """The picture in `path`; of a file with several pages the one numbered `page`, from 1.

    Raises PictureError, a DataError, naming the file: gone, cut short, damaged, of a kind that is not read, with more than one page
    and none named, or too large.
    """
    return decode_picture(read_bytes(path), path, page)


def read_image(path: Path) -> Image:
    """The pixels of `read_picture` alone, (height, width, 3) uint8 BGR."""
    return read_picture(path).image


def read_bytes(path: Path) -> bytes:
    """The file's content; PictureError if it is gone, cannot be read or is no file: a named pipe would be waited for without an end."""
    try:
        _check_regular(path)
        return path.read_bytes()
    except OSError as error:
        raise PictureError(path, "damaged", f"cannot be read: {error.strerror}; bring it back or leave it out") from error


def _check_regular(path: Path) -> None:
    """PictureError, before it is opened, for what is no file. Raises OSError."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = next((words for test, words in _NO_FILE if test(mode)), "something else")
        raise PictureError(path, "damaged", f"is no file but {kind}; take it out")


_NO_FILE = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


def decode_frame(jpeg: bytes) -> Image | None:
    """A camera's JPEG as (height, width, 3) uint8 BGR, None where a part of it is missing or damaged.

    Bytes too many before its end, as many a cheap camera sends them, are no damage.
    """
    with _decoders_words() as words:
        try:
            pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error:
            return None
    if pixels is None or any(_NOT_WHOLE.search(line) and "extraneous bytes" not in line for line in words):
        return None
    return np.asarray(pixels, np.uint8)


def size_fault(height: int, width: int) -> str:
    """Why a picture of so many px is no field of film, empty where it may be one."""
    if height * width > MOST_PIXELS:
        return f"{width} x {height} px are more than {MOST_PIXELS:,} pixels; cut or shrink it"
    if min(height, width) < 1 or max(height, width) > LARGEST_ASPECT * min(height, width):
        return f"{width} x {height} px: no field is over {LARGEST_ASPECT} times as long as wide; cut it"
    return ""


def decode_picture(data: bytes, path: Path | None = None, page: int | None = None) -> Picture:
    """`read_picture` for content that was read already. The folder of `path` decides the scale of more than 8 bits."""
    header = parse_sound(data, path, page)
    pixels = _decode(data, header, path, page)
    if header.clear_grey >= 0 and pixels.ndim == 2:  # OpenCV leaves that out
        pixels = np.where(pixels == header.clear_grey, np.iinfo(pixels.dtype).max, pixels)
    bits = 8
    if pixels.dtype == np.uint16:
        stated, highest = _highest_value(path.parent) if path else (0, -1)
        bits = _smallest(max(stated, header.stated_bits), max(highest, int(pixels.max())))
        pixels = (pixels >> (bits - 8)).astype(np.uint8)  # the upper eight, as OpenCV takes them of sixteen
    image = _as_bgr(pixels, header, path)
    return Picture(image if header.kind == "TIFF" else _turned(image, header.turn), header, bits)  # OpenCV has turned a TIFF already


def inspect_picture(path: Path) -> PictureHeader:
    """The header alone, of a file of any length; PictureError as `read_picture`, but not for damaged pixels."""
    try:
        _check_regular(path)
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return parse_sound(b"", path)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return parse_sound(data, path)
    except OSError as error:
        raise PictureError(path, "damaged", f"cannot be read: {error.strerror}; bring it back or leave it out") from error


def statement(name: str, headers: Iterable[PictureHeader], bits: int = 8) -> str:
    """One line on pictures that are not plain 8-bit colour: "images/val: 6 pictures of 12 bits, 1 turned by EXIF", or empty.

    bits: what the folder's files of more than 8 bits use (see `folder_bits`).
    """
    found = Counter[str]()
    for header in headers:
        found[f"of {bits} bits"] += header.stored_bits > 8
        found["with an alpha channel, laid on white"] += header.alpha
        found["turned by EXIF"] += header.turn != 1
        found["grey"] += header.grey
        found["in CMYK"] += header.cmyk
    parts = [f"{count} {words}" for words, count in found.items() if count]
    if not parts:
        return ""
    first, _, rest = parts[0].partition(" ")
    noun = "picture" if first == "1" else "pictures"
    return f"{printable(name)}: {', '.join([f'{first} {noun} {rest}', *parts[1:]])}"


def folder_notes(folder: Path) -> list[str]:
    """What to say once of a folder of pictures: those that are not read, and those that are not plain 8-bit colour. Raises OSError."""
    listing, headers = list_folder(folder), []
    for path in listing.pictures:
        try:
            headers.append(inspect_picture(path))
        except PictureError:
            continue  # named where it is read
    bits = folder_bits(folder) if any(header.stored_bits > 8 for header in headers) else 8
    return [
        words for words in (listing.words and f"{printable(folder)}: {listing.words}", statement(str(folder), headers, bits)) if words
    ]


def folder_bits(folder: Path) -> int:
    """How many bits the pictures of more than 8 bits in `folder` use, one scale for all of them; 8 where there are none."""
    stated, highest = _highest_value(folder)
    return _smallest(stated, highest) if highest >= 0 else 8


def parse_sound(data: bytes | mmap.mmap, path: Path | None, page: int | None = None) -> PictureHeader:
    """The header of a file's content; PictureError as `read_picture`, but not for damaged pixels."""
    if not len(data):
        raise PictureError(path, "damaged", "the file is empty; copy it again from its source")
    kind = NOT_READ.get(path.suffix.lower()) if path else None
    if kind:
        raise format_not_read(path, kind)
    header = parse_header(data, path)
    if header.cut:
        raise _damaged(path, header.cut, header)
    if words := size_fault(*header.stored_hw):
        raise PictureError(path, "too large", words, header)
    if page is None and header.pages > 1:
        words = f"holds {header.pages} pages, and one field is one page: save the sharpest as a file of its own"
        raise PictureError(path, "pages", words, header)
    if page is not None and not 1 <= page <= header.pages:
        raise PictureError(path, "pages", f"has no page {page}, it holds {header.pages}")
    return header


def _damaged(path: Path | None, words: str, header: PictureHeader) -> PictureError:
    return PictureError(path, "damaged", f"cannot be decoded whole ({words}); copy it again from its source or take it out", header)


def _decode(data: bytes, header: PictureHeader, path: Path | None, page: int | None) -> NDArray[Any]:
    """Pixels as stored. What the decoder says of damage counts: of a JPEG that breaks off OpenCV makes a picture with a grey rest."""
    packed = np.frombuffer(data, np.uint8)
    index = (*header.page_indices, *range(len(header.page_indices), header.pages))[(page or 1) - 1]
    pixels: NDArray[Any] | None = None
    with nullcontext([""]) if header.kind == "PNG" else _decoders_words() as words:  # a PNG's checksums were compared already
        try:
            if index:
                found = cv2.imdecodemulti(packed, cv2.IMREAD_UNCHANGED, range=(index, index + 1))[1]
                pixels = np.asarray(found[0]) if found else None
            else:
                pixels = cv2.imdecode(packed, cv2.IMREAD_UNCHANGED)
        except cv2.error as error:
            words.append(str(error.err))
    damage = next((line for line in words if _NOT_WHOLE.search(line)), "")
    if pixels is None or damage:
        raise _damaged(path, re.sub(r".*TIFF_\w+ ", "", damage) or f"the {header.kind} breaks off or is damaged", header)
    return pixels


@contextmanager
def _decoders_words() -> Iterator[list[str]]:
    """Lines that OpenCV's decoders write to file descriptor 2, which is how alone they tell of damage; other lines are passed on."""
    words: list[str] = []
    with _stderr_lock:
        try:
            stderr = os.dup(2)
        except OSError:  # closed: they say nothing
            yield words
            return
        caught = _scratch_file()
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_WARNING)
        os.dup2(caught, 2)
        try:
            yield words
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            cv2.utils.logging.setLogLevel(level)
            if length := os.lseek(caught, 0, os.SEEK_CUR):
                lines = os.pread(caught, length, 0).decode(errors="replace").splitlines(keepends=True)
                os.ftruncate(caught, 0)
                os.lseek(caught, 0, os.SEEK_SET)
                words += [line.strip() for line in lines if _DECODER.match(line)]
                os.write(2, "".join(line for line in lines if line.strip() and not _DECODER.match(line)).encode())


@lru_cache(1)
def _scratch_file() -> int:
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _smallest(stated: int, highest: int) -> int:
    """The stated bits if they hold the highest value (a PNG may state fewer than it fills), else the least of a camera's that do."""
    return next(bits for bits in ((max(stated, 8),) if stated else ()) + _CAMERA_BITS if highest < 2**bits)


def _highest_value(folder: Path) -> tuple[int, int]:
    """Most bits stated and highest value in the folder's files of more than 8 bits; -1 without any. Read again when it has changed."""
    try:
        changed_ns = folder.stat().st_mtime_ns
    except OSError:
        return 0, -1
    with _folder_lock:
        return _read_highest_value(folder, changed_ns)


@lru_cache(256)
def _read_highest_value(folder: Path, changed_ns: int) -> tuple[int, int]:
    stated, highest = 0, -1
    for path in list_folder(folder).pictures:
        try:
            header = inspect_picture(path)
            if header.stored_bits > 8 and highest < 2 ** _CAMERA_BITS[-2]:
                stated = max(stated, header.stated_bits)
                highest = max(highest, int(_decode(path.read_bytes(), header, path, None).max()))
        except (DataError, OSError):
            continue  # named where it is read itself
    return stated, highest


def _as_bgr(pixels: NDArray[Any], header: PictureHeader, path: Path | None) -> Image:
    """Grey, colour or colour with alpha as BGR u8. Transparent parts become white, as clear glass is."""
    if pixels.dtype not in (np.uint8, np.uint16):
        words = f"pixels of type {pixels.dtype} are not supported (8 to 16 bits are); convert it"
        raise PictureError(path, "pixels", words, header)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels not in (1, 3, 4) or (header.cmyk and header.stored_bits > 8):
        words = "CMYK of 16 bits is" if header.cmyk else f"{channels} channels are"
        raise PictureError(path, "pixels", f"{words} not supported (grey, colour, colour with alpha are); convert it", header)
    if channels == 1:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR), np.uint8)
    if channels == 3 or header.kind == "BMP" or pixels[..., 3].min() == 255:  # a BMP's fourth byte is mostly no alpha
        return np.ascontiguousarray(pixels[..., :3], np.uint8)
    colour, weight = pixels[..., :3].astype(np.float32), pixels[..., 3:].astype(np.float32) / 255.0
    white = 255.0 * (1.0 - weight)
    return np.asarray(np.rint(np.minimum((colour if header.premultiplied else colour * weight) + white, 255.0)), np.uint8)


def _turned(image: Image, turn: int) -> Image:
    if turn > 4:
        image = np.asarray(cv2.transpose(image), np.uint8)
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(turn)  # as cv2 counts: 1 left and right, 0 top and bottom, -1 both
    return image if flip is None else np.asarray(cv2.flip(image, flip), np.uint8)


@dataclass(frozen=True)
class FolderListing:
    """What a folder of pictures holds. pictures: in natural order. not_read: file and kind. inside: pictures one folder down, in
    `folders`."""

    pictures: tuple[Path, ...]
    not_read: tuple[tuple[Path, str], ...] = ()
    inside: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()

    @property
    def words(self) -> str:
        """What is not read, and the way out; empty where everything is."""
        parts = [
            f"{count} {kind} picture{' is' if count == 1 else 's are'} not read: convert to JPEG or PNG"
            for kind, count in Counter(kind for _, kind in self.not_read).items()
        ]
        folders = ", ".join(printable(folder.name) for folder in self.folders[:5])
        if self.inside:
            parts.append(f"the folders inside hold {len(self.inside)} pictures that are not read, name one of them: {folders}")
        elif folders and not self.pictures:
            parts.append(f"it has folders inside, name one of them: {folders}")
        return "; ".join(parts)


def not_read(folder: Path) -> str:
    """What a folder without pictures holds instead, to end a message with: "; 3 HEIC pictures are not read: …", or nothing."""
    words = list_folder(folder).words
    return f"; {words}" if words else ""


def list_folder(folder: Path) -> FolderListing:
    """The pictures directly in `folder`, and those that are not read. Hidden files are left out. Raises OSError."""
    visible = sorted((p for p in folder.iterdir() if not is_hidden(p)), key=natural_key)
    folders = tuple(p for p in visible if p.is_dir())
    inside = [p for folder in folders for p in sorted(folder.iterdir(), key=natural_key)]
    return FolderListing(
        tuple(p for p in visible if p.suffix.lower() in PICTURE_SUFFIXES and not p.is_dir()),
        tuple((p, NOT_READ[p.suffix.lower()]) for p in visible if p.suffix.lower() in NOT_READ and not p.is_dir()),
        tuple(p for p in inside if p.suffix.lower() in PICTURE_SUFFIXES | NOT_READ.keys() and not is_hidden(p) and not p.is_dir()),
        folders,
    )


def is_hidden(path: Path) -> bool:
    """Files and folders that a Mac or an editor leaves among the pictures: names with a dot in front, and __MACOSX."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def natural_key(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that puts "field_2" before "field_10"; letters' case does not matter, ties are settled by the exact name."""
    parts = re.findall(r"(\d+)|(\D+)", path.name.casefold())
    return [(0, int(number), "") if number else (1, 0, text) for number, text in parts], path.name

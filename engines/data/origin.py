"""Where a picture comes from: its name before labelling programs and exporters added to it."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePath
from urllib.parse import unquote

_ROBOFLOW = re.compile(r"(?P<name>.+)[_.](?:jpe?g|png|bmp|tiff?|webp)\.rf\.[0-9A-Za-z]{6,}", re.IGNORECASE)
_LABEL_STUDIO = re.compile(r"(?=\d*[a-f])[0-9a-f]{8}(?:-{1,2}|__)(?P<name>.+)|\d{8}-(?P<film>\d+_\d+_.+)", re.IGNORECASE)
"""Eight digits alone may be a date."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_COPY = re.compile(r"(?:copy[ _]of[ _])?(?P<name>.+?)(?:[ _]+-?[ _]*copy(?:[ _]*\(?\d+\)?)?)?", re.IGNORECASE)
_NUMBERED = re.compile(r"(?P<name>.+_\d+_(?:\d+_)*(?:1000|400|100)_[A-Za-z]+) ?\(\d+\)")
"""A published name with the number that a file manager adds. Other names are left: "slide (2)" is often a field of its own."""
_AUGMENTED = re.compile(
    r"(?P<name>.+?)(?:[_-]+(?:aug(?:mented)?|h?v?flip(?:ped)?(?:[_-]?(?:lr|ud|[hv]))?|mirror(?:ed)?|rot(?:ate|ated|ation)?)"
    r"[_-]?\d*)+",
    re.IGNORECASE,
)


def composed(name: str) -> str:
    """A name as one sequence of characters, whatever the disk makes of accents (NFC)."""
    return unicodedata.normalize("NFC", name)


def source_name(name: str) -> str:
    """A picture's file name without what others added to it, its suffix kept.

    Undone are Roboflow's `NAME_jpg.rf.HASH`, Label Studio's `HASH-NAME`, percent escapes, `NAME - Copy`, `NAME_copy`, the number of a
    repeated download behind a published name, and the usual endings of augmented copies (`_aug1`, `_flip`, `_rot90`).
    """
    path = PurePath(composed(unquote(name)))
    stem, before = path.stem.strip(), ""
    while stem != before:
        before = stem
        for pattern in (_ROBOFLOW, _LABEL_STUDIO, _COPY, _NUMBERED, _AUGMENTED):
            found = None if pattern is _LABEL_STUDIO and _UUID.fullmatch(stem) else pattern.fullmatch(stem)
            stem = next(filter(None, found.groups())) if found else stem
    return stem + path.suffix

"""What is wrong with the picture files of a split, and what is worth knowing of them. Labels are not looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from engines.data.faults import Fault, Kind, Place
from engines.data.layout import Split
from engines.data.pictures import Decoded
from engines.pictures import folder_bits, list_folder, statement

EXIF_TURN = "labels are read in the turned picture; if the labelling program ignored it, strip it"
_KINDS = {"damaged": Kind.IMAGE_CORRUPT, "pages": Kind.IMAGE_PAGES}


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

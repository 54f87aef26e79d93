"""The letterbox kernel compiled beforehand, so that a board needs neither nvcc nor gcc. Made by `python -m engines.build_cubins`.

`cubins.json` says of which source (sha256 of kernel.cu) and by what compiler. One made for another source is not there.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import TypedDict

from engines.errors import BuildError

FOLDER = Path(__file__).parent
INDEX = "cubins.json"


class Entry(TypedDict):
    """One cubin. compiler: by what it was made. abi: EI_ABIVERSION of its ELF header. fused: fused multiply-adds in its PTX."""

    file: str
    sha256: str
    compiler: str
    abi: int
    fused: int


class Index(TypedDict):
    """source: sha256 of the kernel.cu that all of them were made of. cubins: by architecture, "sm_87"."""

    source: str
    cubins: dict[str, Entry]


def index(folder: Path = FOLDER) -> Index:
    """What lies in the folder. Raises BuildError where the list is missing or unreadable."""
    try:
        found: Index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BuildError(f"{folder / INDEX}: cannot be read ({error}). Install leukoscope again.") from error
    return found


def prebuilt(arch: str, source: str, folder: Path = FOLDER) -> bytes | None:
    """The cubin for `arch` made of the kernel whose sha256 is `source`, or None. Raises BuildError where the file is damaged."""
    found = index(folder)
    entry = found["cubins"].get(arch)
    if entry is None or found["source"] != source:
        return None
    path = folder / entry["file"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BuildError(f"{path}: cannot be read ({error}). Install leukoscope again.") from error
    if sha256(content).hexdigest() != entry["sha256"]:
        raise BuildError(f"{path}: is altered or incomplete (its sha256 is not that of {INDEX}). Install leukoscope again.")
    return content

"""What can be wrong with labels and pictures, and where: kinds, places, and what a reader does on meeting them.

Nothing is looked for here; the readers and `engines.data.check` do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from engines.errors import DataError


class Level(Enum):
    """REFUSED: readers stop there. FAULT: readers go on, the data want mending. NOTE: worth knowing, nothing to mend."""

    REFUSED = "refused"
    FAULT = "fault"
    NOTE = "note"


class Kind(Enum):
    """Every kind of fault: its name in machines' files, its level, its title for people."""

    MALFORMED_JSON = "malformed-json", Level.REFUSED, "JSON that cannot be read"
    NOT_COCO = "not-coco", Level.REFUSED, "not a COCO detection file"
    MALFORMED_ROW = "malformed-row", Level.REFUSED, "TXT line that cannot be read"
    UNKNOWN_CLASS = "unknown-class", Level.REFUSED, "unknown class"
    UNKNOWN_VALUE = "unknown-value", Level.REFUSED, "unknown value of an attribute"
    BOX_IMPOSSIBLE = "box-impossible", Level.REFUSED, "box that is none"
    ORPHAN = "annotation-without-image", Level.REFUSED, "annotation of no image"
    IMAGE_ID_TWICE = "image-id-twice", Level.REFUSED, "image id given twice"
    IMAGE_MISSING = "image-missing", Level.FAULT, "labels without their picture"
    IMAGE_CORRUPT = "image-corrupt", Level.FAULT, "picture that cannot be decoded whole"
    IMAGE_PAGES = "image-pages", Level.FAULT, "file of several pages"
    IMAGE_NOT_READ = "image-not-read", Level.FAULT, "picture of a kind or size that is not read"
    IMAGE_SIZE = "image-size", Level.FAULT, "size in the labels is not the picture's"
    IMAGE_UNLABELLED = "image-unlabelled", Level.FAULT, "picture without label"
    IMAGE_LISTED_TWICE = "image-listed-twice", Level.FAULT, "picture listed twice"
    IMAGE_TWICE = "image-twice", Level.FAULT, "the same picture twice"
    STEM_TWICE = "stem-twice", Level.FAULT, "two pictures share one label file"
    BOX_OUTSIDE = "box-outside", Level.FAULT, "box outside the picture"
    BOX_EMPTY = "box-empty", Level.FAULT, "box without area"
    BOX_TWO_CLASSES = "box-two-classes", Level.FAULT, "one box, two classes"
    BOX_TWICE = "box-twice", Level.FAULT, "one box twice, its labels differ"
    ROW_TWICE = "row-twice", Level.FAULT, "identical label twice"
    CLASS_DISAGREES = "class-disagrees", Level.FAULT, "category name and id disagree"
    ODD_VALUE = "odd-value", Level.FAULT, "value that the format does not have, read as not applicable"
    ANNOTATION_ID_TWICE = "annotation-id-twice", Level.FAULT, "annotation id given twice"
    ARTEFACT_ATTRIBUTES = "artefact-attributes", Level.FAULT, "artefact with attributes"
    SOURCES_DISAGREE = "json-txt-disagree", Level.FAULT, "JSON and TXT disagree"
    PATIENT_BOTH_SIDES = "patient-both-sides", Level.FAULT, "patient on both sides"
    LABELS_PACKED = "labels-packed", Level.FAULT, "labels still packed"
    SPLIT_UNLABELLED = "split-unlabelled", Level.NOTE, "split without any label"
    BOX_OVERHANGS = "box-overhangs", Level.NOTE, "box overhangs the edge by rounding"
    NAME_SPELLED = "name-spelled", Level.NOTE, "file name spelled differently in the labels"
    PATIENT_UNKNOWN = "patient-unknown", Level.NOTE, "file names name no patient"
    PATIENT_DIAGNOSES = "patient-diagnoses", Level.NOTE, "one patient, several diagnoses"
    IMAGE_TURNED = "image-turned", Level.NOTE, "pictures turned by EXIF"
    IMAGE_UNUSUAL = "image-unusual", Level.NOTE, "pictures that are not plain 8-bit colour"
    FILES_NOT_READ = "files-not-read", Level.NOTE, "picture files that are not read"
    NO_LAYOUT = "no-layout", Level.NOTE, "pictures without the layout"

    def __init__(self, slug: str, level: Level, title: str) -> None:
        self.slug, self.level, self.title = slug, level, title


@dataclass(frozen=True, order=True)
class Place:
    """A file, and in it a line and column, both from 1; 0 where the whole file is meant or the line is."""

    file: Path
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return ":".join([str(self.file), *(str(n) for n in (self.line, self.column) if n)])


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, at one place, in words that say what to do where that is not plain."""

    kind: Kind
    place: Place
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"

    def to_dict(self) -> dict[str, Any]:
        """Plain form for machines."""
        return {
            "kind": self.kind.slug,
            "level": self.kind.level.value,
            "file": str(self.place.file),
            "line": self.place.line or None,
            "column": self.place.column or None,
            "message": self.message,
        }


Report = Callable[[Fault], None]
"""Where readers say what they meet: `refuse` for those who need sound data, a list's `append` for those who look for faults."""


def refuse(fault: Fault) -> None:
    """Raise DataError where the fault leaves a label without a meaning; let everything else pass."""
    if fault.kind.level is Level.REFUSED:
        raise DataError(str(fault))

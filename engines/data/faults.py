"""What can be wrong with labels and pictures, and where: kinds, places, and what a reader does on meeting them.

Nothing is looked for here; the readers and `engines.data.check` do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from engines.data.packed import shown
from engines.errors import DataError
from engines.files import printable


class Level(Enum):
    """What a command does on meeting a fault; `attridet data check` ends with exit code 1 for all but notes.

    REFUSED: it stops, since its figures would be wrong. LEFT_OUT: it goes on without the label or picture, and says how many. FAULT: it
    goes on as if nothing were, the data want mending. NOTE: worth knowing, nothing to mend.
    """

    REFUSED = "refused"
    LEFT_OUT = "left-out"
    FAULT = "fault"
    NOTE = "note"


class Kind(Enum):
    """Every kind of fault: its name in machines' files, its level, its title for people; its plural where such are left out."""

    MALFORMED_JSON = "malformed-json", Level.REFUSED, "JSON that cannot be read"
    NOT_COCO = "not-coco", Level.REFUSED, "not a COCO detection file"
    MALFORMED_ROW = "malformed-row", Level.REFUSED, "TXT line that cannot be read"
    UNKNOWN_CLASS = "unknown-class", Level.REFUSED, "unknown class"
    CLASS_LIST = "class-list", Level.REFUSED, "class lists that disagree or cannot be read"
    CLASS_NUMBERS = "class-numbers", Level.REFUSED, "class numbers of another order"
    UNKNOWN_VALUE = "unknown-value", Level.REFUSED, "unknown value of an attribute"
    BOX_IMPOSSIBLE = "box-impossible", Level.REFUSED, "box that is none"
    BOX_CONVENTION = "box-convention", Level.REFUSED, "boxes in another convention"
    BOX_AWAY = "box-away", Level.REFUSED, "box mostly outside the picture"
    ORPHAN = "annotation-without-image", Level.REFUSED, "annotation of no image"
    IMAGE_ID_TWICE = "image-id-twice", Level.REFUSED, "image id given twice"
    NAME_TWICE = "name-twice", Level.REFUSED, "labels that fit several pictures"
    IMAGE_CORRUPT = "image-corrupt", Level.REFUSED, "picture that cannot be decoded whole"
    IMAGE_PAGES = "image-pages", Level.REFUSED, "file of several pages"
    IMAGE_NOT_READ = "image-not-read", Level.REFUSED, "picture of a kind or size that is not read"
    IMAGE_SIZE = "image-size", Level.REFUSED, "size in the labels is not the picture's"
    STEM_TWICE = "stem-twice", Level.REFUSED, "two pictures share one label file"
    IMAGE_MISSING = "image-missing", Level.LEFT_OUT, "labelled picture that is missing", "labelled pictures that are missing"
    IMAGE_UNLABELLED = "image-unlabelled", Level.LEFT_OUT, "picture without label", "pictures without labels"
    BOX_EMPTY = "box-empty", Level.LEFT_OUT, "box without area", "boxes without area"
    BOX_TINY = "box-tiny", Level.LEFT_OUT, "box too small for a cell", "boxes too small for a cell"
    ROW_TWICE = "row-twice", Level.LEFT_OUT, "label that stands there twice", "labels that stand there twice"
    BOX_TWICE = "box-twice", Level.LEFT_OUT, "box drawn twice", "boxes drawn twice"
    BOX_TWO_CLASSES = "box-two-classes", Level.LEFT_OUT, "box of two classes", "boxes of two classes"
    IMAGE_LISTED_TWICE = "image-listed-twice", Level.FAULT, "picture listed twice"
    IMAGE_TWICE = "image-twice", Level.FAULT, "the same picture twice"
    BOX_OUTSIDE = "box-outside", Level.FAULT, "box outside the picture"
    LABEL_OUTSIDE_REGION = "label-outside-region", Level.FAULT, "label outside what was labelled"
    CLASS_DISAGREES = "class-disagrees", Level.FAULT, "category name and id disagree"
    ODD_VALUE = "odd-value", Level.FAULT, "value that the format does not have, read as not applicable"
    ANNOTATION_ID_TWICE = "annotation-id-twice", Level.FAULT, "annotation id given twice"
    ARTEFACT_ATTRIBUTES = "artefact-attributes", Level.FAULT, "artefact with attributes"
    SOURCES_DISAGREE = "json-txt-disagree", Level.FAULT, "JSON and TXT disagree"
    SISTERS_DISAGREE = "sister-subset-classes", Level.FAULT, "class that a sister subset calls another"
    PATIENT_BOTH_SIDES = "patient-both-sides", Level.FAULT, "patient on both sides"
    COPY_BOTH_SIDES = "copy-both-sides", Level.FAULT, "copies of one field on both sides"
    IMAGE_BLANK = "image-blank", Level.FAULT, "picture that shows nothing"
    IMAGE_GREY = "image-grey", Level.FAULT, "grey picture among coloured ones"
    IMAGE_SWAPPED = "image-red-blue", Level.FAULT, "red and blue exchanged"
    BOX_FIELD = "box-whole-field", Level.FAULT, "box of a whole field"
    BOX_SMALL = "box-small", Level.FAULT, "box of a few px"
    BOX_LONG = "box-long", Level.FAULT, "box too long for a cell"
    CELL_NOT_APPLICABLE = "cell-not-applicable", Level.FAULT, "cell to which no attribute applies"
    PIXEL_ASPECT_DOUBT = "pixel-aspect-doubt", Level.FAULT, "pixel aspect in doubt"
    NO_LABELS = "no-labels", Level.FAULT, "no label was read"
    LABELS_PACKED = "labels-packed", Level.FAULT, "labels still packed"
    LABELS_IN_ARCHIVE = "labels-in-archive", Level.NOTE, "labels read from their archive"
    EMPTY_FOLDER = "empty-folder", Level.NOTE, "published subset without pictures"
    INCOMPLETE = "incomplete", Level.NOTE, "subset that is not whole"
    SPLIT_UNLABELLED = "split-unlabelled", Level.NOTE, "split without any label"
    BOXES_MISPLACED = "boxes-off-nuclei", Level.NOTE, "boxes that do not lie on nuclei"
    FIELD_BOTH_SIDES = "field-both-sides", Level.NOTE, "perhaps one field on both sides: blurred, or taken twice"
    IMAGE_BLURRED = "image-blurred", Level.NOTE, "picture far less sharp than the others"
    BOX_OVERHANGS = "box-overhangs", Level.NOTE, "box overhangs the edge by rounding"
    PIXEL_ASPECT = "pixel-aspect", Level.NOTE, "squeezed pictures, stated nowhere: commands undo what is measured"
    CLASS_ORDER = "class-order", Level.NOTE, "TXT labels without a list of class names"
    OUTLINES = "outlines", Level.NOTE, "outlines read as the boxes around them"
    PATCHES = "patches", Level.NOTE, "labels of a patch of each picture"
    FILES_JOINED = "files-joined", Level.NOTE, "label files joined, ids start again"
    IMAGE_REPEATED = "image-repeated", Level.NOTE, "pictures listed once a box"
    NAME_SPELLED = "name-spelled", Level.NOTE, "file name spelled differently in the labels"
    PATIENT_UNKNOWN = "patient-unknown", Level.NOTE, "file names name no patient"
    PATIENT_DIAGNOSES = "patient-diagnoses", Level.NOTE, "one patient, several diagnoses"
    IMAGE_TURNED = "image-turned", Level.NOTE, "pictures turned by EXIF"
    IMAGE_UNUSUAL = "image-unusual", Level.NOTE, "pictures that are not plain 8-bit colour"
    FILES_NOT_READ = "files-not-read", Level.NOTE, "picture files that are not read"
    NO_LAYOUT = "no-layout", Level.NOTE, "pictures without the layout"

    def __init__(self, slug: str, level: Level, title: str, plural: str = "") -> None:
        self.slug, self.level, self.title, self.plural = slug, level, title, plural


@dataclass(frozen=True, order=True)
class Place:
    """A file, and in it a line and column, both from 1; 0 where the whole file is meant or the line is."""

    file: Path
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return ":".join([printable(shown(self.file)), *(str(n) for n in (self.line, self.column) if n)])


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, at one place, in words that say what to do where that is not plain."""

    kind: Kind
    place: Place
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {printable(self.message)}"

    def to_dict(self) -> dict[str, Any]:
        """Plain form for machines."""
        return {
            "kind": self.kind.slug,
            "level": self.kind.level.value,
            "file": printable(shown(self.place.file)),
            "line": self.place.line or None,
            "column": self.place.column or None,
            "message": printable(self.message),
        }


Report = Callable[[Fault], None]
"""Where readers say what they meet, such as a list's `append`; what follows from it, `refuse` and the readers' callers decide."""


FIRST = 3
"""Places that a refusal names."""


def refuse(faults: Sequence[Fault], root: Path) -> None:
    """Raise DataError with the first places of what makes figures wrong; let everything else pass. root: what to check."""
    refused = [fault for fault in faults if fault.kind.level is Level.REFUSED]
    if refused:
        more = f"; {len(refused) - FIRST} more" if len(refused) > FIRST else ""
        way_out = f" (attridet data check {root} names each)" if len(refused) > 1 else ""
        raise DataError("; ".join(map(str, refused[:FIRST])) + more + way_out)

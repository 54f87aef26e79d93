"""What a bundle says about itself: `manifest.json` as frozen models, and the one place where its words are checked.

Reading and hashing of files is in `engines.bundle`; nothing here touches the disk.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator
from typing_extensions import Self

from engines.decode import Thresholds
from engines.errors import BundleError
from engines.files import steering_text
from engines.provenance import SINCE_5, Record, Training
from engines.taxonomy import Taxonomy

SCHEMA_VERSION = 7
"""The newest that is read; raised when a manifest changes so that an older reader would misread it.

2: `quantization`, `gate` and `golden_tolerance`. 3: `second_look`, `working_point`, `precision_tolerances`; a manifest with nothing
of its own in them is written without them and as 2, so that older programs read it. 4: `gate.subject`; without it as before. 5: roles,
splits and patients of `training.data`; without them as before. 6: `family`, and no attribute graph; attridet is written as before.
7: `untold`; without it as before.
"""
ATTRIDET = "attridet"
"""The family (`engines.families`) of a manifest that names none. Only it tells attributes from its detector's maps."""
LARGEST_INPUT = 4096
"""px of a side of the network's input: beyond it one frame would take gigabytes."""
_LINE = r"^[^\x00-\x1f\x7f-\x9f]+$"
_SINCE_3 = ("second_look", "working_point", "precision_tolerances")


class Input(Record):
    """The network's input: `hw` height and width in px (multiples of 32), `scale_up`: small frames are enlarged to fill it."""

    hw: tuple[int, int] = Field(strict=False)
    scale_up: bool = True

    @field_validator("hw")
    @classmethod
    def _multiple_of_32(cls, hw: tuple[int, int]) -> tuple[int, int]:
        if min(hw) < 32 or hw[0] % 32 or hw[1] % 32:
            raise ValueError(f"height and width must be multiples of 32, not {hw[0]}x{hw[1]}")
        if max(hw) > LARGEST_INPUT:
            raise ValueError(f"height and width are {LARGEST_INPUT} at most, not {hw[0]}x{hw[1]}")
        return hw


class ThresholdsRecord(Record):
    """`engines.decode.Thresholds` as stored; see there."""

    confidence: float = Field(gt=0, lt=1)
    iou: float = Field(gt=0, lt=1)
    max_detections: int = Field(gt=0, le=10_000)
    agnostic: bool = True


class AttributeGraph(Record):
    """One static attribute graph: its file and how many regions one run of it takes."""

    file: str
    regions: int = Field(gt=0)


class SecondLook(Record):
    """The graph that reads cells a second time: `tiles` of `side_px` px a run, a cell `cell_px` wide, `features` numbers a cell.

    layer, open_cells: files of the naming layer that ships with it, and of the open cells that a site layer is mixed with.
    export_difference: largest difference of a feature from torch's when the graph was written, on `export_tiles` cells.
    """

    graph: str = "cells.onnx"
    tiles: int = Field(gt=0)
    side_px: int = Field(gt=0, multiple_of=32)
    cell_px: float = Field(gt=0)
    features: int = Field(gt=0)
    export_difference: float
    export_tiles: int = Field(gt=0)
    layer: str | None = None
    open_cells: str | None = None


NEVER_FOR = (
    "diagnosis, or any decision about a patient that no qualified person has confirmed",
    "films, stains, species or microscopes other than those it was measured on",
    "counting without a person's review of the cells",
)
"""The uses that a bundle refuses unless its card says more."""


class Card(Record):
    """What a person must say about the weights; it goes into the manifest word by word.

    pixel_aspect: of the pictures that they were made for, how wide a round cell is over how high in px; 1 in a camera's frames.
    """

    name: str = Field(pattern="^[a-z0-9][a-z0-9._-]*$", max_length=100)
    version: str = Field(pattern=_LINE, max_length=100)
    licence: str = Field(pattern=_LINE, max_length=1000)
    training: Training
    intended_use: str = "A second pair of eyes beside a technician: proposes white blood cells and their attributes for review."
    must_not_be_used_for: tuple[str, ...] = Field(default=NEVER_FOR, strict=False, min_length=1)
    pixel_aspect: float = Field(default=1.0, ge=0.2, le=5)
    metrics: dict[str, Any] = Field(default_factory=dict)


class ExportCheck(Record):
    """How far the graphs were from torch when they were written, as the largest differences on `images` pictures.

    boxes_px: box coordinates in input px. scores: objectness and class probabilities. attributes: probabilities; None without any.
    """

    images: int
    boxes_px: float
    scores: float
    attributes: float | None


class CalibrationFrame(Record):
    """One picture that the scales of an INT8 bundle were measured on: its file's name and sha256, hex."""

    name: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Quantization(Record):
    """How an INT8 bundle was made. source: digest of the float bundle. float_blocks: blocks that were left in float.

    sensitivity: by block, what is lost with it alone in INT8, as a share of what may be lost (the largest of mAP50-95, attribute F1, J;
    in bundles of before 1.3 points of mAP50-95 or F1); empty where it was not measured.
    """

    method: str
    source: str
    frames: tuple[CalibrationFrame, ...] = Field(strict=False, min_length=1)
    float_blocks: tuple[str, ...] = Field(default=(), strict=False)
    sensitivity: dict[str, float] = Field(default_factory=dict)
    half: bool = False


class GateLimits(Record):
    """What an engine may lose against its float reference: points of mAP50-95, mean attribute F1 and Youden's J, px of the frame."""

    map_points: float = Field(default=1.0, ge=0)
    f1_points: float = Field(default=1.0, ge=0)
    youden_points: float = Field(default=2.0, ge=0)
    shift_px: float = Field(default=1.0, ge=0)


class GateFloors(Record):
    """What the float reference itself must reach, shares: labelled cells found, blasts told as a blast, Youden's J of blasts."""

    found: float = Field(default=0.5, ge=0, le=1)
    sensitivity: float = Field(default=0.5, ge=0, le=1)
    youden: float = Field(default=0.3, ge=0, le=1)


class ReferenceScores(Record):
    """What the float reference reached on the gate's pictures; None where no blast, or nothing else, is labelled there."""

    found: float
    sensitivity: float | None
    youden: float | None


class GateRecord(Record):
    """What `engines.gate` measured: a bundle in INT8 against `reference` (digest) on labelled pictures. Lost: reference minus this.

    shift_px: median over paired boxes of the largest distance of a corner, in frame px; None where no box paired. fault: why it was not
    passed, empty if it was. caution: which floors the reference itself does not reach, empty where it reaches all. The verdict is one
    on `runtime` in `precision` and no other, and on the bundle with the `subject` that was judged (`Manifest.subject`; empty in older
    records). Records from before there were floors have no floors, scores, J and precision.
    """

    passed: bool
    fault: str = ""
    caution: str = ""
    reference: str
    runtime: str
    precision: str = ""
    data: str
    split: str
    images: int = Field(gt=0)
    cells: int = Field(ge=0)
    limits: GateLimits = GateLimits()
    map_loss_points: float
    f1_loss_points: float
    youden_loss_points: float | None = None
    shift_px: float | None
    floors: GateFloors | None = None
    reference_scores: ReferenceScores | None = None
    subject: str = ""

    def covers(self, runtime: str, precision: str) -> bool:
        """Whether the verdict is one on this runtime (the first word counts, its version not) in this precision."""
        judged, asked = (words.casefold().replace("tensorrt for rtx", "tensorrt_rtx").split()[:1] for words in (self.runtime, runtime))
        return judged == asked and self.precision in ("", precision)


class ChosenPoint(Record):
    """How the working point was chosen: on which labelled pictures, by which costs (`engines.evaluation.working_point_choice`).

    naming: thresholds of the naming layer, None without one. blasts_told, others_told_blast, invented: what is told there, of `blasts`
    and `others` labelled.
    """

    data: str
    split: str
    images: int = Field(gt=0)
    blasts: int = Field(ge=0)
    others: int = Field(ge=0)
    blast_cost: float = Field(gt=0)
    cell_cost: float = Field(gt=0)
    confidence: float = Field(gt=0, lt=1)
    naming: dict[str, float] | None = None
    blasts_told: int = Field(ge=0)
    others_told_blast: int = Field(ge=0)
    invented: int = Field(ge=0)


class GoldenTolerance(Record):
    """How far an answer to the golden picture may be from the one stored: px of a corner; score and attribute probabilities."""

    corner_px: float = Field(default=1.0, gt=0)
    probability: float = Field(default=0.01, gt=0)


PRECISION_TOLERANCES = {
    "bfloat16": GoldenTolerance(corner_px=2.0, probability=0.05),
    "float16": GoldenTolerance(corner_px=1.0, probability=0.02),
}
"""For what is computed in fewer bits than float32: several times what was measured on rendered and real fields."""


class FileRecord(Record):
    """One file of the bundle: its size in bytes and its sha256, hex."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


_DECIDES = {"precision", "input", "thresholds", "taxonomy", "detector_graph", "attribute_graphs", "second_look", "files"}


class Manifest(Card):
    """`manifest.json`: the card and everything technical. Its own sha256 is the identity of model, thresholds and taxonomy together.

    untold: keys of attributes that its network never tells although it tells others: unknown, never zero.
    """

    schema_version: int = 2
    family: str = Field(default=ATTRIDET, pattern="^[a-z][a-z0-9_]*$", max_length=40)
    precision: str = "fp32"
    created: str
    input: Input
    thresholds: ThresholdsRecord
    taxonomy: dict[str, Any]
    detector_graph: str = "detector.onnx"
    attribute_graphs: tuple[AttributeGraph, ...] = Field(strict=False)
    untold: tuple[str, ...] = Field(default=(), strict=False)
    second_look: SecondLook | None = None
    export_check: ExportCheck | None = None
    quantization: Quantization | None = None
    gate: GateRecord | None = None
    working_point: ChosenPoint | None = None
    golden_tolerance: GoldenTolerance = GoldenTolerance()
    precision_tolerances: dict[str, GoldenTolerance] = Field(default_factory=lambda: dict(PRECISION_TOLERANCES))
    files: dict[str, FileRecord]

    @field_validator("taxonomy")
    @classmethod
    def _taxonomy_can_be_read(cls, value: dict[str, Any]) -> dict[str, Any]:
        Taxonomy.from_dict(value)
        return value

    @model_validator(mode="after")
    def _graphs_are_listed(self) -> Self:
        if self.family == ATTRIDET and not self.attribute_graphs:
            raise ValueError(f"a bundle of the family {ATTRIDET} has an attribute graph")
        for file in (self.detector_graph, *(g.file for g in self.attribute_graphs), *self.second_look_files):
            if file not in self.files:
                raise ValueError(f"{file} is not among the files")
        if strange := set(self.untold) - {one.key for one in self.classes_and_attributes.attributes}:
            raise ValueError(f"untold: {', '.join(sorted(strange))} is no attribute of the taxonomy")
        return self

    @property
    def second_look_files(self) -> tuple[str, ...]:
        """The files that the second look has: its graph, naming layer and open cells; none without it."""
        look = self.second_look
        return () if look is None else tuple(name for name in (look.graph, look.layer, look.open_cells) if name is not None)

    @property
    def classes_and_attributes(self) -> Taxonomy:
        """The taxonomy as the rest of the house uses it."""
        return Taxonomy.from_dict(self.taxonomy)

    @property
    def gate_fault(self) -> str | None:
        """Why the daemon must not run this bundle, or None. Float graphs were proved against torch at export, others need a gate."""
        if self.precision == "fp32":
            return None
        if self.gate is None:
            return f"is {self.precision} and was never compared with the float engine it was made from"
        if self.gate.subject not in ("", self.subject):
            return "was changed after it passed its gate"
        return None if self.gate.passed else f"did not pass its gate: {self.gate.fault or 'no reason given'}"

    @property
    def subject(self) -> str:
        """sha256 of all that decides what is told of a picture: files, input, thresholds, taxonomy, precision. Not the words."""
        fields = self.model_dump(mode="json", include=_DECIDES)
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    @property
    def gate_caution(self) -> str:
        """What is to be said of the reference that a passed gate was held against, where it is weak or unknown; else empty."""
        return self.gate.caution if self.gate is not None and self.gate.passed else ""

    @property
    def decode_thresholds(self) -> Thresholds:
        """The thresholds as `engines.decode` takes them."""
        return Thresholds(**self.thresholds.model_dump())

    def to_json(self) -> str:
        """The text of `manifest.json`, ending in a newline; the same manifest always gives the same text."""
        fields = self.model_dump(mode="json")
        usual = (None, None, PRECISION_TOLERANCES)
        if all(getattr(self, key) == value for key, value in zip(_SINCE_3, usual, strict=True)):
            for key in _SINCE_3:
                del fields[key]
        else:
            fields["schema_version"] = 3
        if self.gate is not None:
            if self.gate.subject:
                fields["schema_version"] = 4
            else:
                del fields["gate"]["subject"]
        if any(getattr(one, key) for one in self.training.data for key in SINCE_5):
            fields["schema_version"] = 5
        else:
            fields["training"]["data"] = [{k: v for k, v in one.items() if k not in SINCE_5} for one in fields["training"]["data"]]
        if self.family != ATTRIDET:
            fields["schema_version"] = 6
        else:
            del fields["family"]
        if self.untold:
            fields["schema_version"] = 7
        else:
            del fields["untold"]
        first = {key: fields.pop(key) for key in ("schema_version", "name", "version", "precision", "created", "licence")}
        return json.dumps({**first, **fields}, indent=2, ensure_ascii=False) + "\n"


def parse_manifest(text: str, where: str) -> Manifest:
    """The manifest from its text; `where` is the file's name for messages.

    Raises BundleError naming the line (malformed JSON), the key (wrong value) or the version (newer schema).
    """
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        raise BundleError(f"{where}, line {error.lineno}: not JSON ({error.msg}). Copy or export the bundle again.") from error
    except (RecursionError, ValueError) as error:  # a number of thousands of digits is a ValueError
        raise BundleError(f"{where}: too deep or too long to be a manifest. Copy or export the bundle again.") from error
    if not isinstance(raw, Mapping):
        raise BundleError(f"{where}, line 1: expected an object. Copy or export the bundle again.")
    if (word := steering_text(raw)) is not None:
        raise BundleError(f"{where}: {word!r} holds a control character. Do not use this bundle.")
    version = raw.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise BundleError(f"{where}: written for schema {version}, this program reads up to {SCHEMA_VERSION}. Update leukoscope.")
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "manifest"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise BundleError(
            f"{where}, {_line_of(text, first['loc'])}: {key}: {first['msg']}{more}. Correct it or export the bundle again."
        ) from error


def _line_of(text: str, location: tuple[int | str, ...]) -> str:
    """The line of the innermost key of `location` that the text holds, found by walking down the keys in order."""
    position = 0
    for part in location:
        found = text.find(f'"{part}"', position)
        if isinstance(part, str) and found >= 0:
            position = found
    return f"line {text.count(chr(10), 0, position) + 1}"

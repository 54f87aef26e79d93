"""The summary of a slide as it is sent, a frozen model that is also the published JSON Schema. No topics, no connection.

Meaning lives in the payload, never in MQTT 5 properties, so that 3.1.1 brokers carry all of it. Senders add no field that is not in
the model; receivers ignore fields they do not know, so a later version may add some without a new schema number. Such a field is
declared with `later`: whoever builds a message must give it, and in a message from an older device it is None.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, model_validator
from typing_extensions import Self

from calibration.profile import CalibrationProfile
from device.mqtt.crops import CellCrop
from device.mqtt.message import Line, Part, Payload, PayloadError, Received, json_object, later, one_line, read_object
from device.settings.config import DEVICE_ID, CameraBase
from engines.naming import NamingInfo
from engines.pages import NOTICE
from engines.runtime.base import EngineInfo

__all__ = ["PayloadError", "SlideSummary", "SlideSummary2", "read_summary"]

BLAST_NOTE: Final = "Preliminary: a person must confirm every blast."

DeviceName = Annotated[str, Field(pattern=DEVICE_ID)]
Count = Annotated[int, Field(ge=0)]
Percent = Annotated[float, Field(ge=0.0, le=100.0, allow_inf_nan=False)]
Threshold = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class DifferentialShare(Part):
    """One type of white blood cell, or the cells of which only the group is sure; every type of the taxonomy is listed, also with
    count 0, and every group where a naming layer names the cells."""

    name: Line
    count: Count
    percent: Percent = Field(description="Of all white blood cells counted, unidentified included; rounded to 2 decimals.")
    blast: bool
    group: Line | None = later(
        "1.2", 'Key of the group ("blasts", "others") whose cells, of uncertain type, the row counts; "": a type.'
    )


class Unidentified(Part):
    """White blood cells counted whose type was too uncertain to be named."""

    count: Count
    percent: Percent


class Blasts(Part):
    """Cells told as blasts or blast equivalents: of the types that count as such, and of that group with an uncertain type."""

    count: Count
    percent: Percent
    preliminary: Literal[True] = True
    note: Literal["Preliminary: a person must confirm every blast."] = BLAST_NOTE
    uncertain_kind: Count | None = later("1.2", "Those of them of which only the group is sure.")
    equivalents: Count | None = later("1.3", "Those of them that are of a type which is a blast equivalent.")
    confirmed: bool | None = later("1.3", "True: a person opened each of them and signed; `preliminary` stays what it was in form 1.0.")
    low_percent: Percent | None = later("1.2", "Lower limit of the exact 95 % interval of their share; 0 where there are none.")
    high_percent: Percent | None = later(
        "1.2", "Upper limit. Of a zero 3 in N (exact for few), N the cells told as a type or group: so many may be blasts unseen."
    )
    sensitivity: Line | None = later("1.2", "One sentence on how far this count may be believed. Show it beside a zero.")


class ValueShare(Part):
    """One word of an attribute and how many cells of the type it was the most probable word for."""

    value: Line
    count: Count
    percent: Percent = Field(description="Of the cells of this type whose attribute is known.")


class AttributeShares(Part):
    """One morphological attribute within one type."""

    key: Line
    name: Line
    known: Count = Field(description="Cells of this type whose attribute is known; the base of the per cents.")
    majority: Line | None = Field(description="The word with most cells; null on a tie or where no cell's attribute is known.")
    shares: tuple[ValueShare, ...]


class TypeMorphology(Part):
    """The attributes of one type with at least one identified cell."""

    name: Line
    cells: Annotated[int, Field(ge=1)]
    attributes: tuple[AttributeShares, ...]


class NamingProvenance(Part):
    """The naming layer that named the cells of counted fields at a second look."""

    name: Line = Field(description='"": the network named them itself, at the first look.')
    version: Line
    digest: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$", description="SHA-256 of the layer's file.")]
    site: bool = Field(description="True: fitted to the cells of one microscope.")

    @classmethod
    def of(cls, naming: NamingInfo | None) -> Self:
        if naming is None:
            return cls(name="", version="", digest="", site=False)
        return cls(name=one_line(naming.name), version=one_line(naming.version), digest=naming.digest, site=naming.site)

    @property
    def label(self) -> str:
        return f"{self.name} {self.version} {self.digest[:8]} ({'of this site' if self.site else 'of open data'})"


class ModelProvenance(Part):
    """The network that found the cells, and what named them."""

    name: Line
    version: Line
    digest: Digest = Field(description="SHA-256 of the bundle's manifest: model, thresholds and taxonomy together.")
    runtime: Line
    precision: Line
    score_threshold: Threshold = Field(description="Below it a candidate is no cell.")
    identify_threshold: Threshold = Field(description="Below it a cell is counted as unidentified, where no naming layer names it.")
    naming: NamingProvenance | None = later("1.2", "The naming layer.")

    @classmethod
    def of(cls, engine: EngineInfo, identify_threshold: float) -> Self:
        return cls(
            **{key: one_line(getattr(engine, key)) for key in ("name", "version", "runtime", "precision")},
            digest=engine.digest,
            score_threshold=engine.score_threshold,
            identify_threshold=identify_threshold,
            naming=NamingProvenance.of(engine.naming),
        )


class CalibrationProvenance(Part):
    """The microscope's profile under which the pictures were taken."""

    profile: Line
    version: Line
    objective: Annotated[int, Field(gt=0)]
    um_per_px: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(description="Null: the profile lacks this objective.")
    measured: bool = Field(description="False: nominal values; sizes are only indicative.")

    @classmethod
    def of(cls, profile: CalibrationProfile, objective: int, width_px: int) -> Self:
        """Scale for frames `width_px` wide."""
        return cls(
            profile=one_line(profile.name),
            version=one_line(profile.version),
            objective=objective,
            um_per_px=profile.um_per_px(objective, width_px),
            measured=profile.is_measured(objective),
        )

    @property
    def label(self) -> str:
        """Short form for the screen and the status: "zzcat-5mp 1 100x (nominal)"."""
        return f"{self.profile} {self.version} {self.objective}x" + ("" if self.measured else " (nominal)")


class SourceProvenance(Part):
    """Where the pictures came from."""

    kind: Line = Field(description='The kind of camera: "v4l2", "picamera2", "replay" or "simulator".')
    name: Line
    simulated: bool = Field(description="True: rendered film, no patient's blood.")

    @classmethod
    def of(cls, camera: CameraBase, name: str) -> Self:
        """`name` without what must not leave the device: a stream's user and password, and the folders above stored pictures."""
        text = one_line(name)
        if "://" in text:
            scheme, _, rest = text.partition("://")
            host, slash, path = rest.partition("/")
            text = f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
        elif camera.stored:
            text = text.rstrip("/").rpartition("/")[2]
        return cls(kind=camera.kind, name=text, simulated=camera.simulated)


class SoftwareVersion(Part):
    """What wrote the summary; model and calibration, with their versions, stand in fields of their own."""

    leukoscope: Line


class SkippedKind(Part):
    """Stored pictures that were not read for one reason; their names stay on the device."""

    kind: Line = Field(description='"damaged", "pages", "too large", "pixels", "in a folder inside", or a format such as "HEIC".')
    count: Annotated[int, Field(ge=1)]


class PictureState(Part):
    """What the pictures behind the counts were like; a field may be among several of these."""

    judged: Count = Field(description="Counted fields whose light and colour were judged; fewer than fields_counted after an update.")
    dark: Count = Field(description="Counted fields that were too dark.")
    bright: Count = Field(description="Counted fields in which a fifth of the picture or more was too bright.")
    blurred: Count = Field(description="Counted fields out of focus.")
    grey: Count = Field(description="Counted fields without colour.")
    blank_views: Count = Field(description="Views at rest that showed nothing of the film (dark, or bare glass) and were not counted.")
    skipped: tuple[SkippedKind, ...] = Field(description="What skipped_pictures counts, by kind.")


class ApartCount(Part):
    """What only a person says, and is no white cell of the differential: nucleated red cells, smudge cells, artefacts, not classed."""

    key: Line = Field(description='"nrbc", "smudge", "artefact", "not_classed", or a key of the taxonomy\'s own.')
    name: Line
    count: Count
    per_100: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] | None = Field(
        description="For 100 white cells of the differential, rounded to 2 decimals; null where none was counted."
    )


class CountBefore(Part):
    """One row of the differential as the device counted it, before the review; names as in the differential."""

    name: Line
    count: Count


class ReviewOutcome(Part):
    """What a person made of the slide. In an unreviewed summary (revision 0) nothing of it is filled."""

    corrected: bool = Field(description="True: a signed report was changed; this one takes its place, and the first is kept.")
    reviewer: Line = Field(description='Who signed, as configured: "", "sha256:…" or initials.')
    signed_at: AwareDatetime | None
    reason: Line = Field(description="Why so few cells were signed, or what was said with the signature.")
    counts_before: tuple[CountBefore, ...] = Field(description="The differential before the review.")
    unidentified_before: Count
    artefacts_before: Count
    changed_cells: Count = Field(description="Cells of which the person says something else than the device.")
    added_cells: Count
    journal_digest: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = Field(
        description="SHA-256 of the last entry of the review's journal on the device, which bears those of all before it."
    )


class SlideSummary(Payload):
    """One slide: as the device counted it, with revision 0, then as a person signed it, with 1, 2 and so on."""

    schema_id: Literal["leukoscope.summary/1"] = Field("leukoscope.summary/1", alias="schema")
    message_id: UUID = Field(description="The same in every copy of this message: drop doubles by it.")
    device_id: DeviceName
    slide_id: Line
    state: Literal["review", "aborted"]
    abort_reason: Line = Field(description='Why the slide was broken off; "" unless state is "aborted".')
    review_state: Literal["unreviewed", "reviewed"]
    notice: Literal["For review, not a diagnosis."] = NOTICE
    started_at: AwareDatetime
    finished_at: AwareDatetime
    time_trusted: bool = Field(description="False: the device's clock was not synchronised; its dates need a person's look.")
    boot_id: Line = Field(description="The device's boot; orders slides whose dates cannot be trusted.")
    fields_counted: Count
    fields_undone: Count = Field(description="Fields the technician took back; not part of any count here.")
    target_cells: Annotated[int, Field(ge=1)]
    white_cells: Count = Field(description="Identified and unidentified white blood cells; artefacts are not among them.")
    differential: tuple[DifferentialShare, ...]
    unidentified: Unidentified
    artefacts: Count
    blasts: Blasts
    morphology: tuple[TypeMorphology, ...]
    description: tuple[Line, ...] = Field(description="Sentences on the film, made from the counts and attributes above.")
    model: ModelProvenance
    calibration: CalibrationProvenance
    source: SourceProvenance
    skipped_pictures: Count = Field(description="Stored pictures that could not be read.")
    fields_at_limit: Count | None = later(
        "1.1", "Counted fields in which the network found more boxes than it may give: there are at least as many cells as counted."
    )
    pictures: PictureState | None = later("1.1", "The state of the pictures; counts from poor ones are not to be relied on.")
    versions: SoftwareVersion | None = later("1.1", "The software that wrote this summary.")
    film: Literal["known", "foreign", "undecided"] | None = later(
        "1.2",
        '"foreign": unlike all films that the naming layer knows, so only groups are told, and all cells need review. "undecided": too '
        "few cells to tell, or no layer that can.",
    )
    fields_first_look: Count | None = later(
        "1.2",
        "Counted fields in which the second look failed: their cells bear the network's own names, which are not to be relied on.",
    )

    revision: Count | None = later("1.3", "0 as counted, 1 with the first signature, then one more with each. The highest one counts.")
    review: ReviewOutcome | None = later("1.3", "What a person made of it.")
    apart: tuple[ApartCount, ...] | None = later("1.3", "What is no part of the differential, for 100 of its white cells.")
    charts: Count | None = later("1.3", "Pieces of film that were never joined; with more than one, cells may be counted twice.")
    lost_rests: Count | None = later("1.3", "Fields that were counted while the place on the film was not known.")
    possible_doubles: Count | None = later("1.3", "So many cells at most may have been counted twice.")
    specimen: Line | None = later("1.3", 'The tube\'s number where the device is configured to send it, else "".')

    stream: Line | None = later(
        "1.4", 'Whose numbers `sequence` are: they begin anew with another record of the device. "": given before it left the record.'
    )
    sequence: Count | None = later(
        "1.4", "1 for the first summary of the stream, then one more with each: a gap is a summary that is missing."
    )
    duration_s: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] | None = later(
        "1.4", "From start to end by a clock that nobody sets; of slides that were taken up after a stop, the time that it ran."
    )
    non_finite: Count | None = later(
        "1.4", "Boxes and attributes in counted fields that the network told as no numbers: left out, so cells may be missing."
    )
    crops: tuple[CellCrop, ...] | None = later(
        "1.4", "Pictures of blasts and equivalents, the least certain first; as many as the device is configured to send, usually none."
    )
    crops_left_out: Count | None = later(
        "1.4", "Pictures that were to be sent and are not here: the message would have grown too large."
    )

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        counted = sum(row.count for row in self.differential) + self.unidentified.count
        if counted != self.white_cells:
            raise ValueError(f"white_cells is {self.white_cells}, but differential and unidentified add up to {counted}")
        blasts = sum(row.count for row in self.differential if row.blast)
        if blasts != self.blasts.count:
            raise ValueError(f"blasts.count is {self.blasts.count}, but the differential's blasts add up to {blasts}")
        if (self.state == "aborted") != bool(self.abort_reason):
            raise ValueError("abort_reason belongs to an aborted slide, and to that alone")
        if self.revision == 0 and self.review_state == "reviewed":
            raise ValueError("a reviewed slide bears a revision from 1 on")
        return self


class Blasts2(Blasts):
    """Blasts in version 2: what version 1 had to leave as it was is said straight."""

    preliminary: bool = Field(description="True until a person opened each of them and signed.")  # type: ignore[assignment]  # wider
    note: Literal["Preliminary: a person must confirm every blast.", ""]  # type: ignore[assignment]  # wider

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if self.preliminary == bool(self.confirmed) or self.preliminary != bool(self.note):
            raise ValueError("preliminary, with its note, until confirmed")
        return self


class SlideSummary2(SlideSummary):
    """A summary in version 2: a signed slide is told by its state, and every field of version 1 is there."""

    schema_number: ClassVar[int] = 2
    schema_id: Literal["leukoscope.summary/2"] = Field("leukoscope.summary/2", alias="schema")  # type: ignore[assignment]
    state: Literal["review", "signed", "aborted"]  # type: ignore[assignment]  # wider
    blasts: Blasts2

    @model_validator(mode="after")
    def _signed_is_reviewed(self) -> Self:
        if (self.state == "signed") != (self.review_state == "reviewed"):
            raise ValueError("a slide is signed if it was reviewed, and only then")
        return self

    @classmethod
    def of(cls, summary: SlideSummary) -> Self:
        """A complete summary in this version."""
        whole, blasts = summary.model_dump(by_alias=True), summary.blasts.model_dump()
        whole["schema"] = cls.model_fields["schema_id"].default
        whole["state"] = "signed" if summary.review_state == "reviewed" else summary.state
        preliminary = not summary.blasts.confirmed
        return cls.model_validate(whole | {"blasts": blasts | {"preliminary": preliminary, "note": BLAST_NOTE if preliminary else ""}})

    def as_version_1(self) -> SlideSummary:
        """The same as every receiver here knows it."""
        whole, blasts = self.model_dump(by_alias=True), self.blasts.model_dump()
        whole["schema"] = SlideSummary.model_fields["schema_id"].default
        whole["state"] = "aborted" if self.state == "aborted" else "review"
        return SlideSummary.model_validate(whole | {"blasts": blasts | {"preliminary": True, "note": BLAST_NOTE}})


def read_summary(data: bytes) -> Received[SlideSummary]:
    """Parse a summary's bytes of either version, so that whoever receives sees one kind. Raises PayloadError naming what is wrong."""
    document = json_object(data)
    if document.get("schema") != SlideSummary2.model_fields["schema_id"].default:
        return read_object(SlideSummary, document)
    received = read_object(SlideSummary2, document)
    return Received(received.payload.as_version_1(), received.ignored)

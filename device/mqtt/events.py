"""What is told of a slide besides its summary: what a person did to it (review), and what must be heard at once (event)."""

from __future__ import annotations

from typing import Annotated, Final, Literal
from uuid import UUID, uuid5

from pydantic import AwareDatetime, Field

from device.mqtt.message import Line, Payload, Received, read
from device.mqtt.payloads import Count, DeviceName, Digest, ModelProvenance
from engines.pages import NOTICE

FIRST_BLAST: Final = "first_blast"
_EVENTS: Final = UUID("5f3bd5b5-6a0e-4c0e-8d4c-9d8a1c1f7a10")
"""Name space of the ids of events."""


class ReviewEvent(Payload):
    """A person signed a slide, signed it after another, or opened a signed one again. The counts come with the summary."""

    schema_id: Literal["leukoscope.review/1"] = Field("leukoscope.review/1", alias="schema")
    message_id: UUID = Field(description="The same in every copy of this message: drop doubles by it.")
    device_id: DeviceName
    slide_id: Line
    revision: Annotated[int, Field(ge=1)] = Field(description="Of the signature that was given, seconded or opened again.")
    act: Literal["signed", "seconded", "reopened"] = Field(
        description='"signed": the summary of this revision follows. "seconded": another person signed what stands. "reopened": a '
        "correction is under way, and the report of this revision stands until the next is signed."
    )
    at: AwareDatetime
    time_trusted: bool = Field(description="False: the device's clock was not synchronised.")
    reviewer: Line = Field(
        description='Who signed (act "signed", "seconded") or opened it again, as configured: "", "sha256:…" or initials.'
    )
    second: Line = Field(description='Who seconded, told the same way; "" for every other act.')
    changed_cells: Count = Field(description="Cells of which the person says something else than the device.")
    added_cells: Count
    journal_digest: Digest = Field(description="SHA-256 of the journal's entry of this act, which bears those of all before it.")
    notice: Literal["For review, not a diagnosis."] = NOTICE
    simulated: bool = Field(description="True: rendered film, no patient's blood.")
    stream: Line = Field(description='Whose numbers `sequence` are; "": given before it left the record.')
    sequence: Count = Field(description="1 for the first of these messages of the stream, then one more with each.")


class SlideEvent(Payload):
    """What a supervisor should hear while a slide is still counted. The device's own word, unreviewed; once a slide and kind."""

    schema_id: Literal["leukoscope.event/1"] = Field("leukoscope.event/1", alias="schema")
    message_id: UUID = Field(description="The same in every copy of this message: drop doubles by it.")
    device_id: DeviceName
    slide_id: Line
    what: Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,39}$")] = Field(
        description='"first_blast": the first cell told as a blast or equivalent. Later devices may send others: show `text`.'
    )
    text: Line = Field(description="The same in one sentence, with its doubt.")
    at: AwareDatetime = Field(description="When the picture was taken.")
    time_trusted: bool = Field(description="False: the device's clock was not synchronised.")
    boot_id: Line
    review_state: Literal["unreviewed"] = "unreviewed"
    notice: Literal["For review, not a diagnosis."] = NOTICE
    cell: Line = Field(description="What the cell is told as: the name of a type, or of the group where only that is sure.")
    equivalent: bool = Field(description="True: of a type that is a blast equivalent.")
    kind_certain: bool = Field(description="False: only the group is sure.")
    certainty: Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)] = Field(
        description="How probable the device holds that `cell` is right; rounded to 2 decimals, and no measured error rate."
    )
    sensitivity: Line = Field(description="One sentence on how far this device's blasts may be believed.")
    field: Annotated[int, Field(ge=1)] = Field(description="The field in which it was counted.")
    white_cells: Count = Field(description="White cells counted by then.")
    model: ModelProvenance
    simulated: bool = Field(description="True: rendered film, no patient's blood.")
    stream: Line = Field(description='Whose numbers `sequence` are; "": given before it left the record.')
    sequence: Count = Field(description="1 for the first event of the stream, then one more with each.")


def event_id(device_id: str, slide_id: str, what: str) -> UUID:
    """The id of the one event of this kind that a slide may have: the same however often it is made."""
    return uuid5(_EVENTS, f"{device_id}/{slide_id}/{what}")


def read_review(data: bytes) -> Received[ReviewEvent]:
    """Parse a review's bytes. Raises PayloadError naming what is wrong."""
    return read(ReviewEvent, data)


def read_event(data: bytes) -> Received[SlideEvent]:
    """Parse an event's bytes. Raises PayloadError naming what is wrong."""
    return read(SlideEvent, data)

"""A receiver's receipt as it is sent: "these messages are durably mine". No topics, no connection."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from device.mqtt.message import Payload, Received, read
from device.mqtt.payloads import DeviceName
from device.settings.broker import ReceiverName

MAX_IDS: Final = 500
"""Of one receipt: about 20 kB."""


class Receipt(Payload):
    """What a receiver sends once messages of a device are durably its own; the device may then let go of them."""

    schema_id: Literal["leukoscope.receipt/1"] = Field("leukoscope.receipt/1", alias="schema")
    device_id: DeviceName = Field(description="The device whose messages they are; the same as in the topic.")
    receiver: ReceiverName = Field(description="Who has them: its name in `broker.receivers` of the device.")
    message_ids: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=MAX_IDS)] = Field(
        description="`message_id` of summaries, reviews and events; an id that the device does not know is passed over."
    )
    received_at: AwareDatetime = Field(description="By the receiver's clock.")


def receipts(device_id: str, receiver: str, message_ids: Iterable[UUID], received_at: datetime) -> list[Receipt]:
    """The receipts for these messages of one device, as few as they fit into. Raises pydantic's ValidationError, a ValueError."""
    ids = list(message_ids)
    return [
        Receipt(device_id=device_id, receiver=receiver, message_ids=tuple(ids[at : at + MAX_IDS]), received_at=received_at)
        for at in range(0, len(ids), MAX_IDS)
    ]


def read_receipt(data: bytes) -> Received[Receipt]:
    """Parse a receipt's bytes. Raises PayloadError naming what is wrong."""
    return read(Receipt, data)

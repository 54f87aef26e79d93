"""The device's status as it is sent, retained and also as the last will. No topics, no connection."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from device.mqtt.message import Line, Part, Payload, Received, later, read
from device.mqtt.payloads import Count, DeviceName, NamingProvenance


class PartStatus(Part):
    """One part of the device."""

    level: Literal["ok", "busy", "warn", "fail"]
    text: Line


class SlideProgress(Part):
    """The slide that is open now."""

    slide_id: Line
    state: Line
    fields: Count
    white_cells: Count
    target_cells: Annotated[int, Field(ge=1)]
    blast_seen: bool | None = later("1.3", "True from the first cell told as a blast or equivalent on: tell a supervisor now.")


class Versions(Part):
    """What runs on the device."""

    leukoscope: Line
    engine: Line
    calibration: Line
    naming: NamingProvenance | None = later("1.2", "The naming layer.")


class BrokerReport(Part):
    """The way to the broker, as the device saw it when it wrote this."""

    state: Literal["disabled", "connecting", "connected", "refused", "lost"]
    reason: Line = Field(description="Why it is not connected, or what is refused, with the next step; empty while all is well.")
    protocol: Literal["5", "3.1.1", ""] = Field(description="The version of MQTT that is spoken; empty while not connected.")
    delivered_slide: Line = Field(description="The slide that was delivered last; empty before the first.")
    delivered_at: AwareDatetime | None = Field(description="When it was; null before the first.")


class DeviceStatus(Payload):
    """Whether a device is there and how it does. Retained, so a late subscriber gets the last one at once."""

    schema_id: Literal["leukoscope.status/1"] = Field("leukoscope.status/1", alias="schema")
    device_id: DeviceName
    state: Literal["online", "offline"]
    offline_reason: Literal["stopped", "lost"] | None = Field(
        None, description='"stopped": switched off in order. "lost": the last will, sent by the broker. Null while online.'
    )
    since: AwareDatetime | None = Field(description="When this state began; null in the last will, for the broker does not say when.")
    sent_at: AwareDatetime = Field(description="When the device wrote this; for a last will, when it connected.")
    time_trusted: bool
    boot_id: Line
    versions: Versions
    camera: PartStatus
    engine: PartStatus
    record: PartStatus
    slide: SlideProgress | None = None
    outbox_pending: Count = Field(description="Summaries that wait for the broker's acknowledgement.")
    unconfirmed: Count | None = later("1.4", "Of those, how many the broker has and no receiver has confirmed.")
    quarantined: Count | None = later("1.4", "What was put aside because it could not be sent, read or written.")
    unsaved: Count | None = later("1.4", "Writes that are not on disk yet: above 0 what was counted is NOT SAVED.")
    broker: BrokerReport | None = later("1.4", "The way to the broker, as the device sees it.")
    uptime_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    simulated: bool = Field(description="True: the camera is a simulator.")

    def last_will(self, now: datetime) -> DeviceStatus:
        """What the broker shall say of this device when its connection breaks."""
        return self.model_copy(update={"state": "offline", "offline_reason": "lost", "since": None, "sent_at": now, "slide": None})

    def stopped(self, now: datetime) -> DeviceStatus:
        """What the device says when it leaves in order."""
        return self.model_copy(update={"state": "offline", "offline_reason": "stopped", "since": now, "sent_at": now, "slide": None})

    def says_the_same_as(self, other: DeviceStatus | None) -> bool:
        """Whether nothing but dates and running numbers differ, so that the newer one need not be sent at once."""
        names = ("since", "sent_at", "uptime_s", "outbox_pending", "unconfirmed", "broker")
        running = {name: getattr(self, name) for name in names}
        if other is not None and bool(self.unsaved) == bool(other.unsaved):
            running["unsaved"] = self.unsaved
        return other is not None and other.model_copy(update=running) == self


def read_status(data: bytes) -> Received[DeviceStatus]:
    """Parse a status' bytes. Raises PayloadError naming what is wrong."""
    return read(DeviceStatus, data)

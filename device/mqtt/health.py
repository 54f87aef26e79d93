"""How the box does, as it is sent: for charts and alarms, the newest only. No topics, no connection."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from device.mqtt.device_status import PartStatus
from device.mqtt.message import Line, Payload, Received, read
from device.mqtt.payloads import Count, DeviceName

Measure = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class HealthReport(Payload):
    """Sent every `broker.health_period_s`, not retained; what this machine does not tell is null."""

    schema_id: Literal["leukoscope.health/1"] = Field("leukoscope.health/1", alias="schema")
    device_id: DeviceName
    sent_at: AwareDatetime
    time_trusted: bool = Field(description="False: the device's clock is not synchronised.")
    clock_offset_ms: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        description="What the kernel still has to correct the clock by; null: nothing disciplines it, or it is not told."
    )
    boot_id: Line
    uptime_s: Measure = Field(description="Of the appliance, by a clock that nobody sets.")
    fps: Measure = Field(description="Pictures a second that go the whole way, over the last 60.")
    engine_ms: Measure | None = Field(description="Milliseconds of an inference, median of the last 60; null before the first.")
    engine: PartStatus
    engine_failures: Count = Field(description="Pictures that the engine failed on since the appliance began.")
    temperature_c: Annotated[float, Field(ge=-60.0, le=250.0)] | None = Field(description="Of the hottest thermal zone.")
    throttled: tuple[Line, ...] | None = Field(
        description='Why the board slows itself down now: "under-voltage", "frequency capped", "throttled", "temperature limit", '
        '"over-current"; empty: it does not; null: the board does not tell.'
    )
    load: Measure | None = Field(description="Mean number of threads that ran or wanted to, over the last minute.")
    memory_mb: Measure | None = Field(description="Held by the appliance.")
    memory_free_mb: Measure | None = Field(description="That programs may still have.")
    disk_free_mb: Measure | None = Field(description="Beside the record.")
    spool: Count = Field(description="Messages that wait in the outbox.")
    unconfirmed: Count = Field(description="Of those sent, how many no receiver has confirmed.")
    quarantined: Count = Field(description="What was put aside because it could not be sent, read or written.")
    simulated: bool = Field(description="True: the camera is a simulator.")


def read_health(data: bytes) -> Received[HealthReport]:
    """Parse a report's bytes. Raises PayloadError naming what is wrong."""
    return read(HealthReport, data)

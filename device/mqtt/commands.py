"""Requests to a device and its answers, as they are sent. What a device does about them is `device.service.remote`'s.

No request can change a count, a setting or the program: a summary is sent again, status and health are told, a line stands on the
screen, an update is offered to the person before it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints, model_validator
from typing_extensions import Self

from device.mqtt.device_status import DeviceStatus
from device.mqtt.health import HealthReport
from device.mqtt.message import Line, Payload, Received, read
from device.mqtt.payloads import Count, DeviceName

ShortLine = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]{0,64}$")]
CommandName = Literal["resend", "status", "health", "identify", "update"]
SecureAddress = Annotated[str, StringConstraints(pattern=r"^(https://[^@\s\x00-\x1f\x7f-\x9f]{1,500})?$")]


class CommandRequest(Payload):
    """To `cmd/<name>`. All of it may be left out but what a command needs: an empty payload is a whole request for most."""

    schema_id: Literal["leukoscope.command/1"] = Field("leukoscope.command/1", alias="schema")
    request_id: ShortLine = Field("", description="Comes back in the answer; for who has no correlation data (MQTT 3.1.1).")
    by: ShortLine = Field("", description="Who asks; `identify` shows it on the box's screen. No patient's name.")
    slide_id: Line = Field("", description='Of `resend`: the slide whose messages are sent again; "": all from `since` on.')
    since: AwareDatetime | None = Field(None, description="Of `resend`: messages that were made from then on.")

    url: SecureAddress = Field(
        "",
        description="Of `update`: https address of a signed bundle, without name and password. Offered on the screen, not installed.",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.slide_id and self.since is not None:
            raise ValueError("either slide_id or since")
        return self


class CommandAnswer(Payload):
    """To the request's response topic with its correlation data, or to `cmd/answer`."""

    schema_id: Literal["leukoscope.answer/1"] = Field("leukoscope.answer/1", alias="schema")
    device_id: DeviceName
    command: Line = Field(
        description='The name that was asked for: "resend", "status", "health", "identify", "update", or one that is not known.'
    )
    request_id: ShortLine
    ok: bool = Field(description="False: nothing was done, and `text` says why.")
    text: Line
    at: AwareDatetime
    messages: Count | None = Field(description="Of `resend`: how many messages are sent again.")
    status: DeviceStatus | None = Field(description="Of `status`.")
    health: HealthReport | None = Field(description="Of `health`.")

    @classmethod
    def to(cls, device_id: str, command: str, request_id: str, ok: bool, text: str, at: datetime) -> CommandAnswer:
        """An answer in words alone."""
        return cls(
            device_id=device_id,
            command=command,
            request_id=request_id,
            ok=ok,
            text=text,
            at=at,
            messages=None,
            status=None,
            health=None,
        )


def read_request(data: bytes) -> Received[CommandRequest]:
    """Parse a request's bytes; none at all are an empty request. Raises PayloadError naming what is wrong."""
    return read(CommandRequest, data if data.strip() else b"{}")


def read_answer(data: bytes) -> Received[CommandAnswer]:
    """Parse an answer's bytes. Raises PayloadError naming what is wrong."""
    return read(CommandAnswer, data)

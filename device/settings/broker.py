"""The configuration's section `broker`: where summaries go, and how."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator, model_validator

from device.settings.section import FilePath, Name, Port, Section

RECEIVER: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
ReceiverName = Annotated[str, Field(pattern=RECEIVER)]
_RECEIVERS: Final = "a list of at most 16 names, each of 1 to 64 letters, digits, '_', '.' or '-', a letter or digit first"


class BrokerSection(Section):
    """Where summaries go."""

    enabled: bool = True
    host: Name = "localhost"
    port: Port = 1883
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    username: Name | None = None
    password_file: FilePath | None = None  # its first line; never the password itself in this file
    tls: bool = False
    ca_file: FilePath | None = None  # None: the system's authorities
    keepalive_s: int = Field(30, ge=5, le=3600)
    topic_root: str = "leukoscope"
    send_reviewer: Literal["omitted", "hashed", "initials"] = "omitted"  # of a signed slide
    send_specimen: bool = False  # the tube's number with the summaries
    receivers: tuple[ReceiverName, ...] = Field(
        (), max_length=16, strict=False
    )  # who must have confirmed a summary before it leaves the outbox
    receipts: Literal["any", "all"] = "any"  # of them

    @field_validator("host")
    @classmethod
    def _host_alone(cls, value: str) -> str:
        if not (_HOST_NAME.fullmatch(value) or _is_ipv6(value)):
            raise ValueError("a host name only; the port stands in broker.port, TLS in broker.tls")
        return value

    @field_validator("topic_root")
    @classmethod
    def _no_wildcards(cls, value: str) -> str:
        if not value or any(c in value for c in "+#\0") or value.startswith(("/", "$")) or value.endswith("/"):
            raise ValueError("must be a topic without '+', '#', and without '/' at either end")
        return value

    @model_validator(mode="after")
    def _no_half_set_security(self) -> BrokerSection:
        if self.ca_file is not None and not self.tls:
            raise ValueError(
                "'ca_file' is given but 'tls' is false, so nothing would be encrypted; set 'tls: true' or remove 'ca_file'"
            )
        if self.password_file is not None and self.username is None:
            raise ValueError("'password_file' needs 'username'")
        return self


_HOST_NAME = re.compile(r"[^\W_]([\w-]*[^\W_])?(\.[^\W_]([\w-]*[^\W_])?)*\.?")
"""Labels between dots, of letters and digits of any language; an IPv4 address is one too."""


def _is_ipv6(text: str) -> bool:
    try:
        return bool(IPv6Address(text))
    except ValueError:
        return False

"""The configuration's section `broker`: where summaries go, and how."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator, model_validator

from device.settings.section import FilePath, Name, Port, Section

RECEIVER: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
"""A receiver's name, in `receivers` as in its receipts."""
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
    password_credential: Name | None = None  # the same as a credential of systemd's, by its name
    tls: bool = False
    ca_file: FilePath | None = None  # None: the system's authorities
    cert_file: FilePath | None = None  # a certificate of our own, with its chain, for a broker that demands one
    key_file: FilePath | None = None  # its key; None: in cert_file too
    key_password_file: FilePath | None = None  # its first line opens key_file
    keepalive_s: int = Field(30, ge=5, le=3600)
    topic_root: str = "leukoscope"
    send_reviewer: Literal["omitted", "hashed", "initials"] = "omitted"  # of a signed slide
    send_specimen: bool = False  # the tube's number with the summaries
    receivers: tuple[ReceiverName, ...] = Field((), max_length=16, strict=False, description=_RECEIVERS)  # who must confirm a summary
    receipts: Literal["any", "all"] = "any"  # of them
    send_crops: int = Field(0, ge=0, le=40)  # pictures of blasts and equivalents in a summary
    summary_version: Literal[1, 2] = 1  # 2 once every receiver knows it
    health_period_s: int = Field(60, ge=5, le=86400)
    reconnect_max_s: int = Field(60, ge=1, le=3600)  # the longest pause between two attempts; devices spread over all of it

    @property
    def address(self) -> str:
        """ "host:port", as words tell it and as the record remembers the broker."""
        return f"{self.host}:{self.port}"

    @field_validator("host")
    @classmethod
    def _host_alone(cls, value: str) -> str:
        if not (_HOST_NAME.fullmatch(value) or _is_ipv6(value)):
            raise ValueError("a host name only; the port stands in broker.port, TLS in broker.tls")
        try:
            too_long = not _is_ipv6(value) and len(value.encode("idna")) > _LONGEST_HOST
        except UnicodeError:  # a label of more than 63 letters
            too_long = True
        if too_long:
            raise ValueError(f"no host has a name so long: at most 63 letters between two dots, {_LONGEST_HOST} in all")
        return value

    @field_validator("topic_root")
    @classmethod
    def _is_a_topic(cls, value: str) -> str:
        if not value or any(c in value for c in "+#\0") or value.startswith(("/", "$")) or value.endswith("/"):
            raise ValueError("must be a topic without '+', '#', and without '/' at either end")
        if len(value.encode()) > MAX_ROOT_BYTES or value.count("/") >= MAX_ROOT_LEVELS:
            raise ValueError(f"too long: at most {MAX_ROOT_BYTES} bytes and {MAX_ROOT_LEVELS} levels; shorten it")
        return _mqtt_text(value)

    @field_validator("username")
    @classmethod
    def _is_a_user(cls, value: str | None) -> str | None:
        if value is not None and len(value.encode()) > _LONGEST_FIELD:
            raise ValueError(f"too long: MQTT takes at most {_LONGEST_FIELD:,} bytes; shorten it")
        return None if value is None else _mqtt_text(value)

    @field_validator("password_credential")
    @classmethod
    def _is_a_credential(cls, value: str | None) -> str | None:
        if value is not None and ("/" in value or value in (".", "..") or len(value.encode()) > _LONGEST_NAME):
            raise ValueError("the name of a credential as LoadCredential= gives it, such as broker-password; no path")
        return value

    @model_validator(mode="after")
    def _no_half_set_security(self) -> BrokerSection:
        for key in ("ca_file", "cert_file"):
            if getattr(self, key) is not None and not self.tls:
                raise ValueError(
                    f"'{key}' is given but 'tls' is false, so nothing would be encrypted; set 'tls: true' or remove '{key}'"
                )
        for key, needed in _NEEDS.items():
            if getattr(self, key) is not None and getattr(self, needed) is None:
                raise ValueError(f"'{key}' needs '{needed}'")
        if self.password_file is not None and self.password_credential is not None:
            raise ValueError("'password_file' and 'password_credential' are both given; keep one")
        return self


_NEEDS = {"password_file": "username", "password_credential": "username", "key_file": "cert_file", "key_password_file": "cert_file"}
_LONGEST_FIELD = 65_535
"""Bytes of one text of MQTT, a whole topic among them."""
MAX_ROOT_BYTES = 256
"""Of topic_root, in UTF-8. MQTT carries topics of up to 65,535 bytes; brokers and bridges stop much earlier."""
MAX_ROOT_LEVELS = 16
"""mosquitto takes a topic of more than 200 levels for an attack and hangs up."""
_LONGEST_NAME, _LONGEST_HOST = 255, 253


def _mqtt_text(value: str) -> str:
    """`value`, if brokers take it: they hang up, without a word, at control characters and at what Unicode says is no character."""
    for c in value:
        code = ord(c)
        if code < 0x20 or 0x7F <= code <= 0x9F or 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE:
            what = "a line break" if c in "\r\n" else f"the control character U+{code:04X}"
            raise ValueError(f"holds {what}, at which brokers hang up; write it anew")
    return value


_HOST_NAME = re.compile(r"[^\W_]([\w-]*[^\W_])?(\.[^\W_]([\w-]*[^\W_])?)*\.?")
"""Labels between dots, of letters and digits of any language; an IPv4 address is one too."""


def _is_ipv6(text: str) -> bool:
    try:
        return bool(IPv6Address(text))
    except ValueError:
        return False

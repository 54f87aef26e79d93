"""The words of `leukoscope` for those who receive: `watch`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from device.options import Count


def watch(
    *,
    host: str = "localhost",
    port: Annotated[int, Parameter(validator=Number(gte=1, lte=65535))] = 1883,
    device: str = "+",
    count: Count | None = None,
    username: str | None = None,
    password_file: Path | None = None,
    tls: bool = False,
    ca_file: Path | None = None,
    cert_file: Path | None = None,
    key_file: Path | None = None,
    topic_root: str = "leukoscope",
    client_id: str | None = None,
) -> None:
    """The supervisor's terminal: print each slide's summary as it arrives, first blasts and signatures too.

    Args:
        host: The broker.
        port: Its port.
        device: One device's id; default: all.
        count: End after so many summaries.
        username: For a broker that asks for one.
        password_file: A file whose first line is the password.
        tls: Encrypt the connection.
        ca_file: Certificate of the authority that signed the broker's.
        cert_file: Our own certificate, for a broker that demands one.
        key_file: Its key; default: in the same file.
        topic_root: First part of the topics.
        client_id: With a name of its own the broker keeps what is published while nobody watches.
    """
    from device.mqtt.credentials import careless_options
    from device.settings.config_file import broker_from_options
    from device.supervisor.watch import watch as watch_broker

    section = broker_from_options(
        host=host,
        port=port,
        username=username,
        password_file=password_file,
        tls=tls,
        ca_file=ca_file,
        cert_file=cert_file,
        key_file=key_file,
        topic_root=topic_root,
    )
    for words in careless_options(section):
        sys.stderr.write(f"leukoscope: {words}\n")
    watch_broker(section, device=device, count=count, client_id=client_id)

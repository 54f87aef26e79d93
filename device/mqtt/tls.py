"""TLS to the broker: its context from the configuration, and why a connection could not be made, as advice."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from device.errors import BrokerError
from device.mqtt.faults import BrokerLostError, BrokerRefusedError
from device.settings.broker import BrokerSection


class TlsContext(ssl.SSLContext):
    """Remembers the last socket it wrapped, so that a handshake that fails leaves none open (paho lets go of it)."""

    last: ssl.SSLSocket | None = None

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        self.last = super().wrap_socket(*args, **kwargs)
        return self.last


def tls_context(section: BrokerSection) -> TlsContext:
    """Checks the broker's certificate and host name. BrokerRefusedError where a file that the section names cannot be used."""
    context = TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if section.ca_file is not None:
            context.load_verify_locations(section.ca_file)
        else:
            context.load_default_certs()
    except OSError as error:  # ssl.SSLError is one
        raise BrokerRefusedError(f"cannot use broker.ca_file {section.ca_file}: {error}") from error
    return context


def unreachable(error: Exception, section: BrokerSection, waited_s: float) -> BrokerError:
    """The error of an attempt to connect as advice; the first kind that fits."""
    where = f"{section.host}:{section.port}"
    tls_port = "is it a TLS port (often 8883)?"
    advice: list[tuple[type[Exception], type[BrokerError], str]] = [
        (ssl.SSLCertVerificationError, BrokerRefusedError, f"the certificate of {where} is not trusted: {{}}; set broker.ca_file"),
        (ssl.SSLError, BrokerRefusedError, f"no TLS with {where}: {{}}; {tls_port}"),
        (ConnectionRefusedError, BrokerLostError, f"no broker listens on {where}; start it, or mend broker.host and broker.port"),
        (socket.gaierror, BrokerLostError, f"the host name '{section.host}' cannot be resolved; check broker.host and the network"),
        (TimeoutError, BrokerLostError, f"no answer from {where} in {waited_s:.0f} s; check host, port and firewall"),
        (Exception, BrokerLostError, f"{where} cannot be reached: {{}}" + (f"; {tls_port}" if section.tls else "")),
    ]
    kind, text = next((raised, text) for caught, raised, text in advice if isinstance(error, caught))
    said = getattr(error, "verify_message", None) or getattr(error, "reason", None) or error
    return kind(text.replace("{}", str(said)))

"""TLS to the broker: its context from the configuration, and why a connection could not be made, as advice by cause."""

from __future__ import annotations

import contextlib
import socket
import ssl
from datetime import datetime, timezone
from typing import Any, Final

from device.clock import SystemClock, time_trusted
from device.errors import BrokerError
from device.mqtt.certificates import Certificate, check_key, day, read_certificates, shown_by
from device.mqtt.credentials import key_password
from device.mqtt.faults import BrokerLostError, BrokerRefusedError, NoAnswerError
from device.settings.broker import BrokerSection

WARN_DAYS: Final = 30
"""A certificate that ends within so many days is told."""
_LOOK_S: Final = 3.0
"""How long a look at the broker's certificate may take, after an attempt that failed."""
_EXPIRED, _NOT_YET, _SELF_SIGNED, _HOST, _ADDRESS, _PURPOSE = 10, 9, 18, 62, 64, 26
"""What OpenSSL says of a certificate (X509_V_ERR_…)."""
_UNKNOWN = (2, 19, 20, 21)
_TLS_PORT = "is it a TLS port (often 8883)?"

_ALERTS: Final = {
    "CERTIFICATE_REQUIRED": "it demands a certificate of ours and got none; set broker.cert_file and broker.key_file",
    "HANDSHAKE_FAILURE": "it breaks the handshake off; {ours}",
    "UNKNOWN_CA": "it does not know the authority that signed broker.cert_file {cert}; have it signed by the broker's, with its chain",
    "CERTIFICATE_EXPIRED": "it says that broker.cert_file {cert} has expired (here: {until}); have a new one made, or set its clock",
    "CERTIFICATE_REVOKED": "it says that broker.cert_file {cert} was revoked; have a new one made",
    "BAD_CERTIFICATE": "it refuses broker.cert_file {cert}; have one made by the authority that the broker trusts",
    "CERTIFICATE_UNKNOWN": "it refuses broker.cert_file {cert}; have one made by the authority that the broker trusts",
    "UNSUPPORTED_CERTIFICATE": "it refuses the kind of broker.cert_file {cert}; have one made with extendedKeyUsage clientAuth",
    "DECRYPT_ERROR": "it cannot check our signature; does broker.key_file belong to broker.cert_file {cert}?",
    "PROTOCOL_VERSION": "it speaks only a version of TLS that is no longer safe; bring the broker up to date",
    "ACCESS_DENIED": "it refuses broker.cert_file {cert}; ask whoever keeps the broker",
}
"""What a peer says when it breaks a handshake off, by the name of its alert, as advice."""
_NOT_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING", "HTTP_REQUEST", "UNKNOWN_PROTOCOL")


class TlsSocket(ssl.SSLSocket):
    """Remembers what the peer said when it broke off: in TLS 1.3 a refusal of our certificate comes after the handshake, in a read."""

    alert: ssl.SSLError | None = None

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            self.alert = error
            raise

    def send(self, data: Any, flags: int = 0) -> int:
        try:
            return super().send(data, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError:  # the peer has hung up before we wrote; why, lies in what it sent before that
            with contextlib.suppress(OSError):
                self.recv(1)
            raise


class TlsContext(ssl.SSLContext):
    """Remembers the last socket it wrapped, so that a handshake that fails leaves none open (paho lets go of it)."""

    last: ssl.SSLSocket | None = None

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        self.last = super().wrap_socket(*args, **kwargs)
        return self.last

    @property
    def ends(self) -> datetime | None:
        """When the certificate of a broker that was checked and believed ends; None before that."""
        shown = self.last.getpeercert() if self.last is not None else None
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), timezone.utc) if shown else None

    @property
    def alert(self) -> ssl.SSLError | None:
        """What the peer said when it broke off after the handshake; None where it said nothing."""
        return self.last.alert if isinstance(self.last, TlsSocket) else None


def tls_context(section: BrokerSection) -> TlsContext:
    """Checks the broker's certificate and host name. BrokerRefusedError where a file that the section names cannot be used."""
    context = TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = TlsSocket
    try:
        if section.ca_file is None:
            context.load_default_certs()
        else:
            _check_authorities(read_certificates(section.ca_file, "broker.ca_file"), section)
            context.load_verify_locations(section.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise BrokerRefusedError(f"cannot use broker.ca_file {section.ca_file}: {error}") from error
    if section.cert_file is not None:
        read_certificates(section.cert_file, "broker.cert_file")
        secret, key_file = key_password(section), section.key_file or section.cert_file
        check_key(key_file, section.cert_file, secret)
        try:
            context.load_cert_chain(section.cert_file, key_file, secret or "")
        except OSError as error:
            raise BrokerRefusedError(f"cannot use broker.cert_file {section.cert_file}: {_said(error)}") from error
    return context


def unreachable(error: Exception, section: BrokerSection, waited_s: float) -> BrokerError:
    """The error of an attempt to connect as advice; the first kind that fits."""
    where = section.address
    if isinstance(error, ssl.SSLCertVerificationError):
        return BrokerRefusedError(f"the certificate of {where} is not trusted: {_distrusted(error, section)}")
    if isinstance(error, ssl.SSLError):
        return BrokerRefusedError(f"no TLS with {where}: {_broken_off(error, section)}")
    advice: list[tuple[type[Exception], str]] = [
        (ConnectionRefusedError, f"no broker listens on {where}; start it, or mend broker.host and broker.port"),
        (socket.gaierror, f"the host name '{section.host}' cannot be resolved; check broker.host and the network"),
        (TimeoutError, f"no answer from {where} in {waited_s:.0f} s; check host, port and firewall"),
        (Exception, f"{where} cannot be reached: {_said(error)}" + (f"; {_TLS_PORT}" if section.tls else "")),
    ]
    return BrokerLostError(next(text for caught, text in advice if isinstance(error, caught)))


def unanswered(error: NoAnswerError, section: BrokerSection) -> BrokerError:
    """`error`, or the reason for it where one look tells it: a port that wants TLS, a broker that wants a certificate."""
    where = section.address
    if not section.tls and shown_by(section.host, section.port, _LOOK_S) is not None:
        return BrokerRefusedError(
            f"{where} speaks TLS; set broker.tls: true, and broker.ca_file where an authority of your own signed it"
        )
    if section.tls and section.cert_file is None and "hung up" in str(error):
        return NoAnswerError(f"{error} If it demands a certificate of ours, set broker.cert_file and broker.key_file")
    return error


def soon_expired(ends: datetime, now: datetime, days: int) -> str:
    """ "expires in 12 days (2026-12-12)" where that is within `days`; else empty."""
    left = (ends - now).days
    return f"expires in {left} days ({day(ends)})" if 0 <= left <= days else f"expired on {day(ends)}" if left < 0 else ""


def client_expiry(section: BrokerSection, now: datetime) -> str:
    """What is to be told of our own certificate's end; empty while it is far off, or there is none. Raises BrokerRefusedError."""
    if section.cert_file is None:
        return ""
    words = soon_expired(read_certificates(section.cert_file, "broker.cert_file")[0].ends, now, WARN_DAYS)
    return f"broker.cert_file {section.cert_file} {words}; have a new one made" if words else ""


def _check_authorities(given: list[Certificate], section: BrokerSection) -> None:
    if not any(each.is_authority or each.self_signed for each in given):
        what = f"it is the certificate of {', '.join(given[0].names) or given[0].subject}, not of an authority"
        raise BrokerRefusedError(
            f"cannot use broker.ca_file {section.ca_file}: {what}; name that of '{given[0].issuer}', which signed it"
        )


def _distrusted(error: ssl.SSLCertVerificationError, section: BrokerSection) -> str:
    now = SystemClock().now()
    shown, code = shown_by(section.host, section.port, _LOOK_S), error.verify_code
    clock = f"this box's clock says {now:%Y-%m-%d %H:%M} UTC"
    known = f"broker.ca_file {section.ca_file}" if section.ca_file else "the system's authorities"
    if code == _NOT_YET:
        begins = f"it is valid from {day(shown.begins)} on" if shown and shown.begins > now else "an authority's is not valid yet"
        advice = "have one made that is valid now" if time_trusted(now) else "the clock is not synchronised"
        return f"{begins}, and {clock}; set the clock or wait for time sync ({advice})"
    if code == _EXPIRED:
        ended = f"it expired on {day(shown.ends)}" if shown and shown.ends < now else f"an authority's has expired (see {known})"
        advice = (
            "renew it at the broker"
            if time_trusted(now)
            else "set the clock, which is not synchronised; renew it if that does not help"
        )
        return f"{ended}, and {clock}; {advice}"
    if code in (_HOST, _ADDRESS):
        names = ", ".join(shown.names[:8]) if shown else "another host"
        given = f"it is for {names}, not for '{section.host}'; write that name into broker.host, or have it made for this one"
        none = f"it names no host (its CN is not looked at any more); have it made with subjectAltName for '{section.host}'"
        return given if names else none
    if code == _SELF_SIGNED:
        mark = f"compare its SHA-256 at the broker ({shown.sha256}), then " if shown else ""
        return f"it is signed by itself, by no authority in {known}; {mark}copy it here and set broker.ca_file to it"
    if code in _UNKNOWN:
        issuer = f"it is signed by '{shown.issuer}', which is" if shown else "its authority is"
        return f"{issuer} not in {known} ({error.verify_message}); set broker.ca_file to that authority's certificate"
    return _unfit(error.verify_message or _said(error), code)


def _unfit(said: str, code: int) -> str:
    """Of a certificate that is no server's, or too weak."""
    if code == _PURPOSE:
        return f"{said}: it was made for another use than a server's; have it made with extendedKeyUsage serverAuth, or without"
    if "too weak" in said:
        return f"{said}; have a new one made, with RSA of 2048 bits or more, or ECDSA, and with SHA-256"
    return f"{said}; set broker.ca_file"


def _broken_off(error: ssl.SSLError, section: BrokerSection) -> str:
    reason = (error.reason or "").upper()
    if any(reason.startswith(name) for name in _NOT_TLS):
        return f"{_said(error)}; {_TLS_PORT}"
    name = reason.partition("_ALERT_")[2]
    if name not in _ALERTS:
        return f"{_said(error)}; {_TLS_PORT}"
    own = section.cert_file is not None
    ours = (
        "does it take broker.cert_file {cert}?"
        if own
        else "if it demands a certificate of ours, set broker.cert_file and broker.key_file"
    )
    until = "unknown"
    if section.cert_file is not None:
        until = f"valid until {day(read_certificates(section.cert_file, 'broker.cert_file')[0].ends)}"
    words = _ALERTS["CERTIFICATE_REQUIRED"] if not own and "{cert}" in _ALERTS[name] else _ALERTS[name]
    return words.replace("{ours}", ours).replace("{cert}", str(section.cert_file)).replace("{until}", until) + f" ({_said(error)})"


def _said(error: Exception) -> str:
    """The library's own words."""
    return str(getattr(error, "verify_message", None) or getattr(error, "reason", None) or getattr(error, "strerror", None) or error)

"""Certificates and keys in files, and what a broker shows of its own: read with `cryptography`, and each fault told by its cause."""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from device.mqtt.faults import BrokerRefusedError

_BEGIN, _END, _KEY = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----", b"PRIVATE KEY-----"
_LARGEST_BYTES = 1 << 22  # the authorities of a whole system are 200 kB


@dataclass(frozen=True)
class Certificate:
    """What a person needs to know of one. names: hosts and addresses that it is for. begins, ends: when it is valid, in UTC."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    begins: datetime
    ends: datetime
    is_authority: bool
    self_signed: bool
    sha256: str


def read_certificates(path: Path, key: str) -> list[Certificate]:
    """The certificates of a PEM file. Raises BrokerRefusedError naming configuration key, file, and what the file is instead."""
    data = read_file(path, key)
    why = ""
    if _BEGIN not in data:
        why = _instead(data, path)
    elif data.count(_BEGIN) != data.count(_END):
        why = "it is cut short; copy it again"
    else:
        try:
            return [_certificate(each) for each in x509.load_pem_x509_certificates(data)]
        except ValueError:
            why = "it is damaged; copy it again"
    raise BrokerRefusedError(f"cannot use {key} {path}: {why}")


def check_key(path: Path, cert_file: Path, password: str | None) -> None:
    """Whether `path` holds the key of the first certificate in `cert_file`. Raises BrokerRefusedError with the cause."""
    where = f"cannot use broker.key_file {path}:"
    data = read_file(path, "broker.key_file")
    if _KEY not in data:
        raise BrokerRefusedError(f"{where} it holds no private key (-----BEGIN … {_KEY.decode()}); name the file that does")
    try:
        key = serialization.load_pem_private_key(data, None if password is None else password.encode())
    except TypeError:  # encrypted, and no password; or the other way round
        if password is not None:
            raise BrokerRefusedError(f"{where} it is not encrypted; remove broker.key_password_file") from None
        raise BrokerRefusedError(
            f"{where} it is encrypted; write its password into a file and name it, broker.key_password_file"
        ) from None
    except ValueError:
        why = "it is damaged, or cut short" if password is None else "the password in broker.key_password_file does not open it"
        raise BrokerRefusedError(f"{where} {why}") from None
    encoding = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    mine = x509.load_pem_x509_certificates(read_file(cert_file, "broker.cert_file"))[0].public_key().public_bytes(*encoding)
    if key.public_key().public_bytes(*encoding) != mine:
        raise BrokerRefusedError(f"{where} it belongs to another certificate than broker.cert_file {cert_file}")


def read_file(path: Path, key: str) -> bytes:
    """A file that a configuration key names. Raises BrokerRefusedError."""
    try:
        if path.is_fifo():  # opening it would wait for a writer, for ever
            raise OSError(errno.EINVAL, "it is a named pipe; name a file")
        with path.open("rb") as file:
            data = file.read(_LARGEST_BYTES)
    except FileNotFoundError:
        raise BrokerRefusedError(f"cannot use {key} {path}: no such file; copy it there, or mend the path") from None
    except PermissionError as error:
        advice = "this user may not read it; chown root:leukoscope and chmod 640"
        raise BrokerRefusedError(f"cannot use {key} {path}: {advice}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise BrokerRefusedError(f"cannot use {key} {path}: {getattr(error, 'strerror', None) or error}") from error
    if not data.strip():
        raise BrokerRefusedError(f"cannot use {key} {path}: it is empty; copy it again")
    return data


def shown_by(host: str, port: int, timeout_s: float) -> Certificate | None:
    """The certificate that the broker shows, believed by nobody: only to say what is wrong with it. None where it shows none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), timeout_s) as plain, context.wrap_socket(plain, server_hostname=host) as sock:
            shown = sock.getpeercert(binary_form=True)
            return _certificate(x509.load_der_x509_certificate(shown)) if shown else None
    except (OSError, ValueError):
        return None


def _certificate(cert: x509.Certificate) -> Certificate:
    names: tuple[str, ...] = ()
    authority = False
    try:
        extensions = cert.extensions
        for extension in extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName):
                names = tuple(str(name.value) for name in extension.value if isinstance(name, x509.DNSName | x509.IPAddress))
            if isinstance(extension.value, x509.BasicConstraints):
                authority = extension.value.ca
    except ValueError:  # an extension that nobody can read: dates and names of the rest still help
        pass
    begins, ends = cert.not_valid_before_utc, cert.not_valid_after_utc
    subject, issuer = _readable(cert.subject), _readable(cert.issuer)
    print_ = cert.fingerprint(hashes.SHA256()).hex(":").upper()
    return Certificate(subject, issuer, names, begins, ends, authority, cert.subject == cert.issuer, print_)


def _readable(name: x509.Name) -> str:
    """The common name, or all of it; printable, since a stranger wrote it."""
    common = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    text = str(common[0].value) if common else name.rfc4514_string()
    return "".join(c if c.isprintable() else "?" for c in text)[:100] or "(no name)"


def _instead(data: bytes, path: Path) -> str:
    if _KEY in data:
        return "it holds a private key, no certificate; name the certificate, and keep the key secret"
    try:
        x509.load_der_x509_certificate(data)
    except ValueError:
        return f"it holds no certificate ({_BEGIN.decode()}); name the PEM file"
    return f"it is DER, not PEM; convert it: openssl x509 -inform der -in {path} -out {path}.pem"


def day(at: datetime) -> str:
    """A date as advice tells it."""
    return f"{at.astimezone(timezone.utc):%Y-%m-%d}"

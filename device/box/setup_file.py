"""`leukoscope-setup.yaml`: what a field team writes once for a box, judged whole before anything of it is used.

It has the sections of device.yaml, as far as they differ from what is there, and two things that no configuration holds: `timezone`,
and the broker's password in clear, `broker.password`. Files (`ca_file`, `cert_file`, `key_file`) lie beside it, named without a folder.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device.box.sticks import SETUP as NAME
from device.errors import LeukoscopeError
from device.settings.config_file import check_data
from engines.yaml_lines import Document, Fault, read_document

FILES = ("ca_file", "cert_file", "key_file")
ZONES = Path("/usr/share/zoneinfo")
_IN_QUOTES = "expected text; put it in quotes where YAML takes it for a number, a date, yes or no"
_PASSWORD_FROM = ("password_file", "password_credential")
_SECRETS = (*_PASSWORD_FROM, "username", "ca_file", "cert_file", "key_file", "key_password_file")
_ACCESS = (*_SECRETS, "port", "tls", "protocol")
_LARGEST = 64 << 10
_LARGEST_FILE = 256 << 10
_SEE = "see /usr/share/leukoscope/leukoscope-setup.example.yaml"


class SetupError(LeukoscopeError):
    """The file cannot be used, and nothing of it was. A line for each fault, `file:line: key: what to write instead`."""


@dataclass(frozen=True)
class Setup:
    """A file in which everything is right.

    changes: sections as they stand in it, without what follows. files: by key of `broker`, name and content. password, timezone: ""
    where none is given. sha256: of the file, hex.
    """

    path: Path
    sha256: str
    changes: dict[str, Any]
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    password: str = ""
    timezone: str = ""


def read_setup(path: Path, present: dict[str, Any], zones: Path = ZONES) -> Setup:
    """Read and judge a file as if it were merged into `present`, the sections of the configuration that is there. Raises SetupError."""
    raw = _raw(path, _LARGEST)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SetupError(f"{path.name}:{line}: not UTF-8 text; save the file as UTF-8") from None
    document = read_document(text)
    # YAML's words quote what is written, and a password shall not be on the screen.
    faults = [_without_secret(fault) for fault in document.faults]
    given = document.data
    if given is None and not faults:
        faults.append(Fault(1, "", f"the file is empty; {_SEE}"))
    elif given is not None and not isinstance(given, dict):
        faults.append(Fault(1, "", f"sections such as 'broker:' are expected; {_SEE}"))
    if faults or not isinstance(given, dict):
        raise _refused(path, faults)
    changes = {str(key): dict(value) if isinstance(value, dict) else value for key, value in given.items()}
    timezone = _timezone(changes.pop("timezone", ""), zones, document, faults)
    broker = changes.get("broker")
    password = _password(broker, document, faults) if isinstance(broker, dict) else ""
    files = _files(broker, path.parent, document, faults) if isinstance(broker, dict) else {}
    judged = merged(present, changes)
    _, found = check_data(judged, document)
    faults += found
    if not faults:
        faults += _key_fits(files, document)
    if faults:
        raise _refused(path, faults)
    return Setup(path, hashlib.sha256(raw).hexdigest(), changes, files, password, timezone)


def merged(present: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`present` with `changes` over it, key by key; a camera of another kind takes the former one's place whole."""
    result = dict(present)
    for name, section in changes.items():
        former = present.get(name)
        result[name] = section
        if not isinstance(section, dict) or not isinstance(former, dict):
            continue
        if name == "camera" and section.get("kind", former.get("kind")) != former.get("kind"):
            continue
        dropped = _no_longer_meant(section, former) if name == "broker" else ()
        result[name] = {key: value for key, value in former.items() if key not in dropped} | section
    return result


def _no_longer_meant(section: dict[str, Any], former: dict[str, Any]) -> tuple[str, ...]:
    """Keys of the former broker that say nothing of this one: a stick must not carry the clinic's password to somebody else's broker,
    nor send it in clear to its own."""
    if section.get("host", former.get("host")) != former.get("host"):
        return _ACCESS
    if former.get("tls") and section.get("tls") is False:
        return _SECRETS
    return _PASSWORD_FROM if any(key in section for key in _PASSWORD_FROM) else ()


def _timezone(value: object, zones: Path, document: Document, faults: list[Fault]) -> str:
    if value in ("", None):
        return ""
    good = isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", value) and (zones / value).is_file()
    if not good:
        faults.append(Fault(document.line(("timezone",)), "timezone", f"no such zone: {value}; write one such as Africa/Nairobi"))
        return ""
    return str(value)


def _without_secret(fault: Fault) -> Fault:
    return Fault(fault.line, fault.key, _IN_QUOTES) if "password" in fault.key else fault


def _password(broker: dict[str, Any], document: Document, faults: list[Fault]) -> str:
    """Taken out of the section, in whose place a credential's name is put."""
    if "password" not in broker:
        return ""
    password, line = broker.pop("password"), document.line(("broker", "password"))
    if not isinstance(password, str) or not password:
        faults.append(Fault(line, "broker.password", _IN_QUOTES))
        return ""
    if any(ord(char) < 0x20 for char in password) or len(password.encode()) > 1024:
        faults.append(Fault(line, "broker.password", "holds a line break or is longer than 1024 bytes; write one line"))
    for other in _PASSWORD_FROM:
        if other in broker:
            faults.append(Fault(document.line(("broker", other)), f"broker.{other}", "given beside 'password'; keep one of them"))
            broker.pop(other)
    broker["password_credential"] = "broker-password"
    return password


def _files(broker: dict[str, Any], folder: Path, document: Document, faults: list[Fault]) -> dict[str, tuple[str, bytes]]:
    """Certificates and key that lie beside the file."""
    found: dict[str, tuple[str, bytes]] = {}
    for key in FILES:
        name = broker.get(key)
        if name is None or (isinstance(name, str) and name.startswith("/")):
            continue  # none, or one that is on the box already
        line, dotted = document.line(("broker", key)), f"broker.{key}"
        if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
            faults.append(Fault(line, dotted, f"the name of a file that lies beside {NAME}, without a folder; got {name}"))
            continue
        try:
            content = _raw(folder / name, _LARGEST_FILE)
        except SetupError as error:
            faults.append(Fault(line, dotted, str(error)))
            continue
        wanted = b"PRIVATE KEY-----" if key == "key_file" else b"-----BEGIN CERTIFICATE-----"
        if wanted not in content:
            faults.append(Fault(line, dotted, f"{name} holds no {'private key' if key == 'key_file' else 'certificate'} in PEM"))
            continue
        found[key] = (name, content)
    return found


def _key_fits(files: dict[str, tuple[str, bytes]], document: Document) -> list[Fault]:
    """Whether the certificates can be used, by the library that will use them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if "ca_file" in files:
        try:
            context.load_verify_locations(cadata=files["ca_file"][1].decode("ascii"))
        except (ssl.SSLError, UnicodeDecodeError):
            words = f"{files['ca_file'][0]} cannot be read as certificates; copy it again"
            return [Fault(document.line(("broker", "ca_file")), "broker.ca_file", words)]
    if "cert_file" in files:
        key = files.get("key_file", files["cert_file"])[0]
        try:
            with tempfile.TemporaryDirectory() as private:
                for each in ("cert_file", "key_file"):
                    Path(private, each).write_bytes(files.get(each, files["cert_file"])[1])
                context.load_cert_chain(Path(private, "cert_file"), Path(private, "key_file"), password=lambda: b"")
        except (ssl.SSLError, OSError) as error:
            where = "key_file" if "key_file" in files else "cert_file"
            told = "does not belong to the certificate" if "MISMATCH" in str(error) else "cannot be used; an encrypted key is not taken"
            return [Fault(document.line(("broker", where)), f"broker.{where}", f"{key} {told}")]
    return []


def _raw(path: Path, largest: int) -> bytes:
    try:
        # A link on a stick may lead anywhere on the box.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
            content = file.read(largest + 1)
    except OSError as error:
        words = "is a link, which is not followed" if error.errno == errno.ELOOP else error.strerror
        raise SetupError(f"{path.name}: {words}") from error
    if len(content) > largest:
        raise SetupError(f"{path.name}:1: larger than {largest >> 10} KiB, so not what it should be; take the right file")
    return content


def _refused(path: Path, faults: list[Fault]) -> SetupError:
    return SetupError("\n".join(f"{path.name}:{fault.line}: {fault}" for fault in sorted(set(faults))))

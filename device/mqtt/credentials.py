"""What the device shows of itself to a broker: its password, from a file or systemd's credentials; and what is careless about it."""

from __future__ import annotations

import errno
import os
import stat
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from device.mqtt.faults import BrokerRefusedError
from device.settings.broker import BrokerSection

_LONGEST_BYTES: Final = 65_535  # what a field of MQTT holds
_NOT_SET: Final = "not-set"
"""What leukoscope.service gives (SetCredential=) where no sealed one is there."""
_CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"


class OutsideUnitError(BrokerRefusedError):
    """A credential of systemd's is asked for by a process that systemd gave none: the daemon's unit, or a check by hand."""


def password(section: BrokerSection) -> str | None:
    """The password for `section.username`; None where none is configured. Raises BrokerRefusedError; never shows the secret."""
    if section.password_credential is not None:
        found = _first_line(credential(section.password_credential), "the broker's password, credential")
        if found == _NOT_SET:
            raise BrokerRefusedError(
                f"broker.password_credential: no password was sealed on this box for '{section.password_credential}'; give one in "
                "leukoscope-setup.yaml (broker.password)"
            )
        return found
    return None if section.password_file is None else _first_line(section.password_file, "the broker's password file")


def key_password(section: BrokerSection) -> str | None:
    """The password of `section.key_file`; None where none is configured. Raises BrokerRefusedError."""
    return None if section.key_password_file is None else _first_line(section.key_password_file, "broker.key_password_file")


def credential(name: str) -> Path:
    """Where systemd has laid a credential (LoadCredential=, LoadCredentialEncrypted=). Raises BrokerRefusedError outside of a unit."""
    folder = os.environ.get(_CREDENTIALS)
    if not folder:
        raise OutsideUnitError(
            f"broker.password_credential: systemd gave this process no credential '{name}'; add LoadCredential={name}:FILE to the unit "
            "(leukoscope.service.d/30-credentials.conf), or name broker.password_file"
        )
    return Path(folder, name)


def careless(section: BrokerSection) -> list[str]:
    """What a person should mend though it works: a way that others can read along, and files that others can read. One line each."""
    if not section.enabled:
        return []
    said = []
    if not section.tls and not is_loopback(section.host):
        what = "results" if section.username is None else "results, username and password"
        said.append(
            f"{what} travel to {section.host} in clear, for everybody on the way to read; set broker.tls and the broker's TLS port"
        )
    for key in ("password_file", "key_file", "key_password_file"):
        path: Path | None = getattr(section, key)
        if path is not None and (mode := _open_to_others(path)):
            shut = "chmod 640 and chown root:leukoscope" if path.is_absolute() and path.parts[1] == "etc" else "chmod 600"
            said.append(f"broker.{key} {path} is open to others on this machine (mode {mode:04o}); {shut} {path}")
    return said


def careless_options(section: BrokerSection) -> list[str]:
    """The same where the broker comes from a command line, by the names of its options."""
    return [words.replace("broker.", "--").replace("_file ", "-file ") for words in careless(section)]


def is_loopback(host: str) -> bool:
    """Whether what is sent to `host` stays on this machine."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _open_to_others(path: Path) -> int:
    """The file's mode where anybody may read it, or its group write; else 0. systemd sees to the mode of its credentials."""
    folder = os.environ.get(_CREDENTIALS)
    try:
        if folder and path.resolve().is_relative_to(Path(folder).resolve()):
            return 0
        found = path.stat().st_mode
    except (OSError, ValueError):  # not there: told by whoever needs it
        return 0
    mode = stat.S_IMODE(found) & 0o777
    return mode if stat.S_ISREG(found) and mode & 0o037 else 0  # 0640 is what the unit's user needs; its group may read, never write


def _first_line(path: Path, what: str) -> str:
    try:
        if path.is_fifo() and path.parts[1:2] not in (
            ("dev",),
            ("proc",),
        ):  # a shell's <(…) has its writer; else it would wait for ever
            raise OSError(errno.EINVAL, "it is a named pipe; name a file")
        with path.open(encoding="utf-8-sig") as file:  # an editor may have put a mark before it
            line = file.readline(_LONGEST_BYTES + 2)
    except UnicodeDecodeError:
        raise BrokerRefusedError(f"cannot read {what} {path}: it is not UTF-8 text; write it anew") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise BrokerRefusedError(f"cannot read {what} {path}: {getattr(error, 'strerror', None) or error}") from error
    line = line.rstrip("\r\n")
    if not line:
        raise BrokerRefusedError(f"cannot use {what} {path}: its first line is empty; write the password there")
    if len(line.encode()) > _LONGEST_BYTES or "\0" in line:
        raise BrokerRefusedError(f"cannot use {what} {path}: longer than {_LONGEST_BYTES:,} bytes, or with a NUL; write it anew")
    return line

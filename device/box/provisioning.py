"""Applies `leukoscope-setup.yaml` once: settings, certificates, sealed secrets, time zone; then wipes the file and leaves a receipt.

Everything is judged before anything is written, and all of it is made ready in one folder, whose rename decides. Cut off at any
moment, the box has its former settings or gets the new ones at the next start, also when the stick is gone by then. A file that was
applied once is known by its SHA-256 and never applied twice, also from a stick that cannot be written.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from device.box.sealing import closed_folder, keep, seal
from device.box.setup_file import FILES, ZONES, Setup, merged, read_setup
from device.box.sticks import SETUP as NAME
from device.box.sticks import Stick, StickError, mounted, sticks
from device.box.yaml_edit import edited
from device.errors import LeukoscopeError
from engines.files import atomic_write, fsync
from engines.yaml_lines import read_document

_CONFIG, _ZONE = "device.yaml", "localtime"
RECEIPT = "leukoscope-setup.receipt.txt"
SCHEMA = "leukoscope.provisioning/1"
_HEAD = "# Written by provisioning. Every key is explained in /usr/share/leukoscope/device.example.yaml.\n"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """Where things lie on this box."""

    config: Path = Path("/etc/leukoscope/device.yaml")
    receipts: Path = Path("/var/lib/leukoscope/provisioning")
    localtime: Path = Path("/etc/localtime")
    zones: Path = ZONES
    boot_partition: Path = Path("/efi")

    @property
    def credentials(self) -> Path:
        """Folder of secrets, sealed or not."""
        return self.config.parent / "credentials"

    @property
    def preparing(self) -> Path:
        """Where the parts of a file are made; of no meaning until it is renamed to `ready`."""
        return self.config.parent / ".setup-preparing"

    @property
    def ready(self) -> Path:
        """The parts of a file that is decided: they only have to be moved."""
        return self.config.parent / ".setup-ready"


@dataclass(frozen=True)
class Outcome:
    """What became of one file. words: one sentence for the screen, or a line for each fault. applied: settings changed now."""

    words: str
    applied: bool = False
    failed: bool = False


def provision(places: Places, also: Path | None = None) -> Outcome:
    """Look on the boot partition, in `also` and on every stick, and apply the one file that is there. Nothing that it finds raises."""
    found: list[Outcome] = []
    try:
        finish(places)
    except OSError as error:
        return Outcome(f"{error.filename or places.ready}: {error.strerror}; settings wait there to be moved, make room", failed=True)
    for folder in (places.boot_partition, also):
        if folder is not None and (folder / NAME).is_file() and not (folder / NAME).is_symlink():
            found.append(_handled(folder / NAME, places, folder if folder == places.boot_partition else None))
    for stick in _sticks():
        try:
            with mounted(stick) as folder:
                seen = (folder / NAME).is_file() and not (folder / NAME).is_symlink()
                first = _handled(folder / NAME, places, None, wipe=False) if seen else None
            if first is None:
                continue
            found.append(first if first.failed else Outcome(f"{first.words} {_wiped_on(stick)}".strip(), first.applied))
        except (StickError, OSError) as error:
            log.warning("provisioning: %s", error)
    worst = [each for each in found if each.failed]
    if len([each for each in found if each.applied]) + len(worst) > 1:
        words = f"more than one {NAME} was found; the first was applied, look at the others: {'; '.join(each.words for each in found)}"
        return Outcome(words, any(each.applied for each in found), failed=bool(worst))
    return (worst or found or [Outcome(_standing(places))])[0]


def apply(setup: Setup, places: Places) -> None:
    """Put everything of a judged file in its place. Raises LeukoscopeError or OSError, with nothing changed.

    All of it is made ready in one folder first, whose rename decides: cut off before it, nothing was changed; cut off after it,
    `finish` does the rest at the next start.
    """
    changes = {name: dict(section) if isinstance(section, dict) else section for name, section in setup.changes.items()}
    broker = changes.get("broker", {})
    shutil.rmtree(places.preparing, ignore_errors=True)
    closed_folder(places.preparing)
    for key, (name, content) in setup.files.items():
        if key == "key_file" and seal("broker-key", content, places.preparing):
            broker[key] = "/run/credentials/leukoscope.service/broker-key"
            continue
        file = f"{setup.sha256[:8]}-{name}"
        keep(places.preparing / file, content, 0o640, group=True)
        broker[key] = str(places.credentials / file)
    if setup.password and not seal("broker-password", f"{setup.password}\n".encode(), places.preparing):
        keep(places.preparing / "broker.password", f"{setup.password}\n".encode(), 0o640, group=True)
        broker.pop("password_credential")
        broker["password_file"] = str(places.credentials / "broker.password")
    if setup.timezone:
        (places.preparing / _ZONE).symlink_to(places.zones / setup.timezone)
    former = places.config.read_text(encoding="utf-8-sig") if places.config.exists() else ""
    wanted = merged(_present(places.config), changes)
    text = edited(former, wanted) or _HEAD + yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True)
    keep(places.preparing / _CONFIG, text.encode(), 0o644)
    shutil.rmtree(places.ready, ignore_errors=True)
    places.preparing.rename(places.ready)
    fsync(places.ready.parent)
    finish(places)


def finish(places: Places) -> None:
    """Move what was made ready to its places, the configuration last; does nothing where nothing is. Raises OSError."""
    if not places.ready.is_dir():
        return
    closed_folder(places.credentials)
    for path in sorted(places.ready.iterdir()):
        if path.name == _ZONE:
            _link(_real(places.localtime), path.readlink())
            path.unlink()
        elif path.name != _CONFIG:
            path.replace(places.credentials / path.name)
    fsync(places.credentials)
    if (places.ready / _CONFIG).exists():
        if places.config.exists():
            shutil.copy2(places.config, places.config.with_name(f"{places.config.name}.before"))
        (places.ready / _CONFIG).replace(places.config)
        fsync(places.config.parent)
    places.ready.rmdir()


def applied_before(sha256: str, places: Places) -> bool:
    """Whether a file of that content was applied here."""
    return (places.receipts / f"{sha256[:32]}.json").is_file()


def last_receipt(places: Places) -> dict[str, Any] | None:
    """What was applied last, by its receipt; None where nothing ever was."""
    receipts = sorted(places.receipts.glob("*.json"), key=lambda path: path.stat().st_mtime)
    for path in reversed(receipts):
        with suppress(OSError, ValueError):
            said = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(said, dict):
                return said
    return None


def wipe(path: Path, receipt: str) -> None:
    """Overwrite the file and the files that it names, remove them, and leave a receipt. Raises OSError.

    On flash memory, or a file system that writes elsewhere, the former bytes may stay where no file leads to them: a password on a
    stick that was lost must be changed.
    """
    for each in (path, *_named_beside(path)):
        with open(each, "r+b", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW)) as file:
            length = os.fstat(file.fileno()).st_size
            file.write(bytes(length))
            file.flush()
            os.fsync(file.fileno())
        each.unlink()
    atomic_write(path.with_name(RECEIPT), receipt)
    fsync(path.parent)


def _handled(path: Path, places: Places, remount: Path | None, wipe: bool = True) -> Outcome:
    """Judge, apply, keep a receipt, wipe. remount: the partition that is read-only until it is wiped."""
    try:
        setup = read_setup(path, _present(places.config), places.zones)
        again = applied_before(setup.sha256, places)
        if not again:
            apply(setup, places)
            _keep_receipt(setup, places)
        words = f"{NAME} was applied before." if again else f"{NAME} was applied: {_what(setup)}.{_not_sealed(setup, places)}"
    except (LeukoscopeError, OSError) as error:
        return Outcome(str(error), failed=True)
    if wipe:
        with _writable(remount):
            words += f" {_try_to_wipe(path, words)}"
    return Outcome(words.strip(), applied=not again)


def _try_to_wipe(path: Path, receipt: str) -> str:
    try:
        wipe(path, f"{receipt}\n{datetime.now(timezone.utc).isoformat(timespec='seconds')}\n")
    except OSError as error:
        return f"The file could not be wiped ({error.strerror}): wipe it yourself, its password can be read."
    return ""


def _sticks() -> list[Stick]:
    try:
        return sticks()
    except StickError as error:
        log.warning("provisioning: %s", error)
        return []


def _wiped_on(stick: Stick) -> str:
    try:
        with mounted(stick, write=True) as folder:
            return _try_to_wipe(folder / NAME, f"{NAME} was applied.") if (folder / NAME).is_file() else ""
    except (StickError, OSError) as error:
        return f"The stick could not be wiped ({error}): wipe it yourself, its password can be read."


@contextmanager
def _writable(partition: Path | None) -> Iterator[None]:
    """The boot partition, writable for as long as a file on it is wiped."""
    if partition is None or not os.path.ismount(partition):
        yield
        return
    subprocess.run(["mount", "-o", "remount,rw", os.fspath(partition)], capture_output=True, check=False, timeout=60)
    try:
        yield
    finally:
        os.sync()
        subprocess.run(["mount", "-o", "remount,ro", os.fspath(partition)], capture_output=True, check=False, timeout=60)


def _named_beside(path: Path) -> Iterator[Path]:
    """Certificates and key that the file names, as far as they are there."""
    with suppress(OSError, UnicodeDecodeError):
        data = read_document(path.read_text(encoding="utf-8-sig")).data
        broker = data.get("broker") if isinstance(data, dict) else None
        for key in FILES:
            name = broker.get(key) if isinstance(broker, dict) else None
            beside = path.parent / name if isinstance(name, str) and Path(name).name == name else None
            if beside is not None and beside.is_file() and not beside.is_symlink():
                yield beside


def _keep_receipt(setup: Setup, places: Places) -> None:
    places.receipts.mkdir(mode=0o755, parents=True, exist_ok=True)
    receipt = {
        "schema": SCHEMA,
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "sha256": setup.sha256,
        "keys": _keys(setup),
        "timezone": setup.timezone,
        "sealed": (places.credentials / "broker-password.cred").is_file() if setup.password else None,
    }
    atomic_write(places.receipts / f"{setup.sha256[:32]}.json", json.dumps(receipt, indent=2) + "\n")


def _keys(setup: Setup) -> list[str]:
    """Names of what was set, never values."""
    names = [
        f"{name}.{key}" if isinstance(section, dict) else name
        for name, section in setup.changes.items()
        for key in (section if isinstance(section, dict) else [""])
    ]
    return sorted({*names, *(["timezone"] if setup.timezone else [])})


def _not_sealed(setup: Setup, places: Places) -> str:
    """Said where this system's systemd cannot encrypt."""
    if not setup.password or (places.credentials / "broker-password.cred").is_file():
        return ""
    return " This system cannot seal the password: it lies in a file that root and the daemon may read."


def _what(setup: Setup) -> str:
    sections = sorted({key.partition(".")[0] for key in _keys(setup)})
    return ", ".join(sections) or "nothing"


def _standing(places: Places) -> str:
    receipt = last_receipt(places)
    return f"Set up on {str(receipt.get('at', ''))[:10]}." if receipt else f"Not set up by a file; {NAME} on a stick does it."


def _present(config: Path) -> dict[str, Any]:
    """The sections of the configuration that is there; none where it is absent or cannot be read, for it is about to be replaced."""
    with suppress(OSError, UnicodeDecodeError):
        data = read_document(config.read_text(encoding="utf-8-sig")).data
        if isinstance(data, dict):
            return data
    return {}


def _real(link: Path) -> Path:
    """Where the zone's link is kept: on an image /etc/localtime leads to one on the data partition, which is replaced."""
    to = link.readlink() if link.is_symlink() else link
    return to if to.is_absolute() and to.is_relative_to("/data") else link


def _link(link: Path, target: Path) -> None:
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)
    fsync(link.parent)

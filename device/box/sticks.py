"""The sticks in this box: which removable file systems there are, how one is mounted, and what on them is meant for the box.

    for stick in sticks():
        with mounted(stick) as folder: ...

Only root mounts, and only in a unit of its own; the daemon reads what `tell_found` wrote. A stick is anybody's: only the file systems
of `KNOWN` are tried, nothing on it is run, no device node or set-user bit on it counts, and links on it are not followed.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from device.box.progress import FOLDER
from device.errors import LeukoscopeError
from device.language import N_, Sentence
from engines.files import atomic_write

SETUP = "leukoscope-setup.yaml"
"""The name of a provisioning file, in the uppermost folder of a stick."""
BUNDLES = ".raucb"
KNOWN = ("vfat", "exfat", "ext2", "ext3", "ext4", "ntfs", "iso9660")
"""File systems that a stick may have."""

_COLUMNS = "NAME,TYPE,RM,HOTPLUG,TRAN,FSTYPE,LABEL,UUID,SIZE,RO,MOUNTPOINTS"
_OF_THE_BOX = ("/", "/efi", "/boot", "/boot/efi", "/data", "/usr", "/var")
_LIMIT_S = 30  # for lsblk, mount and umount; a stick that answers later is broken
_MOST_BUNDLES = 50


_PROTECTED = N_("stick {name}: it is write-protected; push its switch or take another one")


class StickError(LeukoscopeError):
    """A stick cannot be read or written; the message says what to do."""


@dataclass(frozen=True)
class Stick:
    """A removable file system. device: /dev/…; uuid and label: "" where it has none; read_only: its switch is on."""

    device: str
    file_system: str
    label: str = ""
    uuid: str = ""
    size_bytes: int = 0
    read_only: bool = False

    @property
    def name(self) -> str:
        """How people tell it from another one."""
        return f"'{self.label}' ({self.device})" if self.label else self.device


@dataclass(frozen=True)
class Found:
    """What on a stick is meant for this box. bundles: file names; setup: is SETUP there; fault: why it was not looked at."""

    stick: Stick
    bundles: tuple[str, ...] = ()
    setup: bool = False
    fault: str = ""


def sticks(listed: Callable[[], Mapping[str, Any]] | None = None) -> list[Stick]:
    """The removable file systems, in the kernel's order; never one of the disk that the box itself runs from. Raises StickError.

    listed: gives the JSON of lsblk, for tests.
    """
    found: list[Stick] = []
    for disk in (listed or _lsblk)().get("blockdevices", ()):
        tree = list(_tree(disk))
        if any(point in _OF_THE_BOX for each in tree for point in each.get("mountpoints") or ()):
            continue  # a box may run from a stick
        if not any(disk.get(key) for key in ("rm", "hotplug")) and disk.get("tran") != "usb":
            continue
        found += [_stick(each) for each in tree if each.get("fstype") in KNOWN and each.get("type") in ("disk", "part")]
    return found


def stick_of(name: str, there: Sequence[Stick]) -> Stick | None:
    """The stick of that UUID, or else of that device; None where it was pulled."""
    by_uuid = [stick for stick in there if stick.uuid and stick.uuid == name]
    return next(iter(by_uuid or [stick for stick in there if stick.device == name]), None)


@contextmanager
def mounted(stick: Stick, write: bool = False) -> Iterator[Path]:
    """The folder in which the stick lies while the block runs; read-only but for `write`. Written files are on the stick afterwards.

    Raises StickError: not mountable, write-protected, or pulled before everything was on it.
    """
    if write and stick.read_only:
        raise StickError(Sentence(_PROTECTED, name=stick.name))
    options = ["rw" if write else "ro", "nosuid", "nodev", "noexec"]
    if stick.file_system in ("ext3", "ext4") and not write:
        options.append("noload")  # else a mount "read-only" writes what its journal holds
    kind = "ntfs3" if stick.file_system == "ntfs" else stick.file_system
    folder = Path(tempfile.mkdtemp(prefix="stick-", dir=os.environ.get("RUNTIME_DIRECTORY") or None))
    try:
        _call("mount", "-t", kind, "-o", ",".join(options), "--", stick.device, str(folder), stick=stick)
        try:
            if write and os.statvfs(folder).f_flag & os.ST_RDONLY:
                raise StickError(Sentence(_PROTECTED, name=stick.name))
            yield folder
            if write:
                _call("sync", "--file-system", str(folder), stick=stick)
        finally:
            _unmount(folder, stick)
    finally:
        if not os.path.ismount(folder):
            folder.rmdir()


def look(stick: Stick) -> Found:
    """What on the stick is meant for this box; a stick that cannot be read is told as such."""
    try:
        with mounted(stick) as folder:
            return found_in(stick, folder)
    except (StickError, OSError) as error:
        return Found(stick, fault=str(error))


def found_in(stick: Stick, folder: Path) -> Found:
    """The same of a stick that lies in `folder`. Raises OSError."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
    bundles = [name for name in names if name.lower().endswith(BUNDLES) and name.isprintable() and not name.startswith(".")]
    return Found(stick, tuple(bundles[:_MOST_BUNDLES]), SETUP in names)


def tell_found(folder: Path = FOLDER) -> tuple[Found, ...]:
    """Look at all sticks and write what is on them to stick.json in `folder`, for the service page. Raises StickError, OSError.

    A stick that comes while another is looked at is not missed: it looks until nothing has changed meanwhile.
    """
    seen: dict[Stick, Found] = {}
    there = sticks()
    while new := [stick for stick in there if stick not in seen]:
        seen |= {stick: look(stick) for stick in new}
        there = sticks()
    found = tuple(seen[stick] for stick in there)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    atomic_write(folder / "stick.json", json.dumps({"sticks": [asdict(each) for each in found], "at": now}) + "\n")
    return found


def read_found(folder: Path = FOLDER) -> tuple[Found, ...]:
    """What was written last; nothing where the file is absent, broken or of another kind."""
    try:
        said = json.loads((folder / "stick.json").read_bytes())["sticks"]
        return tuple(
            Found(Stick(**each["stick"]), tuple(map(str, each["bundles"])), bool(each["setup"]), str(each["fault"])) for each in said
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()


def _lsblk() -> Mapping[str, Any]:
    command = ("lsblk", "--json", "--bytes", "--paths", "--output", _COLUMNS)
    try:
        listed = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=_LIMIT_S).stdout or b"{}")
    except FileNotFoundError:
        raise StickError("lsblk is not on this machine, so sticks cannot be found; install the package util-linux") from None
    except (subprocess.SubprocessError, ValueError) as error:
        raise StickError(f"lsblk does not say which sticks there are ({error}); pull the stick and plug it in again") from error
    return listed if isinstance(listed, dict) else {}


def _tree(device: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The device and all that lies on it."""
    yield device
    for child in device.get("children", ()):
        yield from _tree(child)


def _stick(device: Mapping[str, Any]) -> Stick:
    label = "".join(char for char in str(device.get("label") or "") if char.isprintable())
    uuid, size = str(device.get("uuid") or ""), int(device.get("size") or 0)
    return Stick(str(device["name"]), str(device["fstype"]), label, uuid, size, bool(device.get("ro")))


def _unmount(folder: Path, stick: Stick) -> None:
    try:
        _call("umount", "--", str(folder), stick=stick)
    except StickError:
        subprocess.run(("umount", "--lazy", "--", str(folder)), capture_output=True, check=False, timeout=_LIMIT_S)
        raise


def _call(*command: str, stick: Stick) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_LIMIT_S, check=False)
    except FileNotFoundError:
        raise StickError(f"stick {stick.name}: {command[0]} is not on this machine; install the package mount") from None
    except subprocess.TimeoutExpired:
        raise StickError(f"stick {stick.name}: {command[0]} took more than {_LIMIT_S} s; take another stick") from None
    if done.returncode:
        said = " ".join(done.stderr.split())[:200] or f"exit code {done.returncode}"
        raise StickError(f"stick {stick.name}: {command[0]} failed ({said}); plug it in again, or take another one")

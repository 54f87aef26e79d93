"""Removable media: which are plugged in, and one of them mounted for as long as it is looked at. For root; the daemon never mounts."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.errors import LeukoscopeError

FILE_SYSTEMS = ("vfat", "exfat", "ext2", "ext3", "ext4", "ntfs", "ntfs3", "iso9660")
MOUNTS = Path("/run/leukoscope-stick")
_TRANSPORTS = {"usb", "mmc"}


class StickError(LeukoscopeError):
    """A stick cannot be mounted; the message names the device and the next step."""


@dataclass(frozen=True)
class Stick:
    """A file system on a removable medium. device: /dev/sdb1. label: as it was given, may be "". mounted: where somebody mounted it."""

    device: Path
    file_system: str
    label: str = ""
    size: int = 0
    read_only: bool = False
    mounted: Path | None = None

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.label or self.device.name


def sticks() -> list[Stick]:
    """What is plugged in, by name of the device; none where `lsblk` is absent."""
    command = ["lsblk", "--json", "--bytes", "--output", "PATH,TYPE,FSTYPE,LABEL,SIZE,RM,RO,TRAN,MOUNTPOINTS,PARTLABEL"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        told = json.loads(run.stdout)["blockdevices"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError):
        return []
    return sorted(found_in(told), key=lambda stick: str(stick.device))


def found_in(devices: list[dict[str, Any]]) -> Iterator[Stick]:
    """The sticks among what `lsblk --json` told. A disk that this machine runs from is none, also where it hangs on USB."""
    for disk in devices:
        transport = disk.get("tran") or ""
        if not (disk.get("rm") or transport in _TRANSPORTS):
            continue
        parts = [disk, *(disk.get("children") or ())]
        if any(_is_the_systems(part) for part in parts):
            continue
        for part in parts:
            if part.get("fstype") in FILE_SYSTEMS:
                mounts = [each for each in part.get("mountpoints") or () if each]
                yield Stick(
                    Path(part["path"]),
                    part["fstype"],
                    part.get("label") or "",
                    int(part.get("size") or 0),
                    bool(part.get("ro") or disk.get("ro")),
                    Path(mounts[0]) if mounts else None,
                )


def _is_the_systems(part: dict[str, Any]) -> bool:
    """Mounted where the system lives, or one of the parts of our image."""
    places = {"/", "/boot", "/boot/efi", "/efi", "/data", "/var", "/usr", "/home", "[SWAP]"}
    ours = {"ESP", "root-a", "root-b", "data", "grubenv", "APP", "APP_b"}
    return bool(places & set(part.get("mountpoints") or ())) or part.get("partlabel") in ours


@contextmanager
def mounted(stick: Stick, write: bool = False, folder: Path = MOUNTS) -> Iterator[Path]:
    """Where its files are, for as long as the block runs; read-only unless `write`. One that somebody mounted is used there.

    Programs and device nodes on it are dead. Leaving the block writes out what was written. Raises StickError.
    """
    if stick.mounted is not None:
        yield stick.mounted
        return
    if write and stick.read_only:
        raise StickError(f"{stick.name}: is write-protected; move its switch, or take another")
    place = folder / stick.device.name
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StickError(f"{place}: cannot be made ({error.strerror}); be root") from error
    options = f"{'rw' if write else 'ro'},nosuid,nodev,noexec"
    kind = "ntfs3" if stick.file_system == "ntfs" else stick.file_system
    _run(stick, "mount", "-t", kind, "-o", options, os.fspath(stick.device), os.fspath(place))
    try:
        yield place
    finally:
        if write:
            os.sync()
        with suppress(StickError):
            _run(stick, "umount", os.fspath(place))
        with suppress(OSError):
            place.rmdir()


def _run(stick: Stick, *command: str) -> None:
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StickError(f"{stick.name}: {command[0]} does not answer ({error}); plug it in again, or take another") from error
    if run.returncode != 0:
        words = (run.stderr.strip().splitlines() or ["nothing"])[0]
        raise StickError(f"{stick.name}: {command[0]} says: {words}; plug it in again, or take another")

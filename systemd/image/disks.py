"""The disks of this machine, as `lsblk` tells them, and why one of them must not be overwritten."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from systemd.image.commands import ImageError

LARGEST = 256 * 10**9
"""Bytes: what is larger is more likely somebody's disk than a box's."""

_COLUMNS = "NAME,PATH,TYPE,SIZE,MODEL,SERIAL,TRAN,RO,RM,MOUNTPOINTS,PKNAME"
_WHOLE = ("disk", "loop")


class FlashError(ImageError):
    """The image cannot be written there; the message names the disk or file and the next step."""


@dataclass(frozen=True)
class Disk:
    """A whole disk, or a regular file in its place. size: bytes. used: what of it is mounted or taken, in words. removable: by the
    kernel's word, or because it hangs on USB."""

    path: Path
    size: int
    model: str = ""
    serial: str = ""
    transport: str = ""
    removable: bool = False
    read_only: bool = False
    used: tuple[str, ...] = ()
    is_file: bool = False

    @property
    def words(self) -> str:
        """What a person recognises it by."""
        if self.is_file:
            return f"{self.path}: a file of {in_gb(self.size)}, not a disk"
        parts = [
            self.model or "no model",
            f"serial {self.serial or 'unknown'}",
            in_gb(self.size),
            self.transport or "no transport told",
        ]
        return f"{self.path}: {', '.join(parts)}{', removable' if self.removable else ''}"


def in_gb(size: int) -> str:
    """Bytes as a disk's maker counts them."""
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.0f} MB"


def find_disk(path: Path) -> Disk:
    """The disk of that name. Raises FlashError: nothing there, a partition, no disk."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise FlashError(f"{path}: {error.strerror}; `lsblk -d -o NAME,SIZE,MODEL,SERIAL,TRAN` lists the disks here") from error
    if stat.S_ISREG(mode):
        return Disk(path, path.stat().st_size, is_file=True)
    if not stat.S_ISBLK(mode):
        raise FlashError(f"{path}: is no disk; name a whole one, such as /dev/sdb")
    return disk_of(_lsblk(path.resolve()), path)


def disk_of(told: dict[str, Any], path: Path) -> Disk:
    """What `lsblk --json` told of one device. Raises FlashError for a partition and whatever else is not a whole disk."""
    if told["type"] not in _WHOLE:
        parent = f"; its disk is /dev/{told['pkname']}" if told.get("pkname") else ""
        raise FlashError(f"{path}: is a {told['type']}, and the image is for a whole disk{parent}")
    transport = told.get("tran") or ""
    return Disk(
        path=path,
        size=int(told["size"]),
        model=(told.get("model") or "").strip(),
        serial=(told.get("serial") or "").strip(),
        transport=transport,
        removable=bool(told.get("rm")) or transport in {"usb", "mmc"},
        read_only=bool(told.get("ro")),
        used=tuple(_uses(told)),
    )


def refusal(disk: Disk, wanted: int) -> str | None:
    """Why `wanted` bytes must not be written to it, in one line with the next step; None if they may."""
    if disk.used:
        return f"{disk.path}: in use ({'; '.join(disk.used)}); unmount it, or name another disk"
    if disk.read_only:
        return f"{disk.path}: is write-protected; move the card's or stick's switch, or take another"
    if disk.size > LARGEST:
        return f"{disk.path}: has {in_gb(disk.size)}, more than the {in_gb(LARGEST)} that a box's disk has at most; name another disk"
    if disk.size < wanted:
        return f"{disk.path}: has {in_gb(disk.size)}, and the image needs {in_gb(wanted)}; take a larger one"
    return None


def _uses(told: dict[str, Any]) -> Iterator[str]:
    """Where a device or a part of it is mounted, swapped to, or part of something larger."""
    for mounted in told.get("mountpoints") or ():
        if mounted:
            yield f"{told['path']} is {'swap' if mounted == '[SWAP]' else f'mounted at {mounted}'}"
    for child in told.get("children") or ():
        if child["type"] != "part":
            yield f"{told['path']} holds {child['type']} {child['name']}"
        yield from _uses(child)


def _lsblk(path: Path) -> dict[str, Any]:
    run = subprocess.run(
        ["lsblk", "--json", "--bytes", "--output", _COLUMNS, os.fspath(path)], capture_output=True, text=True, check=False, timeout=30
    )
    if run.returncode != 0:
        raise FlashError(f"{path}: lsblk says: {run.stderr.strip() or 'nothing'}; name a whole disk, such as /dev/sdb")
    found: dict[str, Any] = json.loads(run.stdout)["blockdevices"][0]
    return found

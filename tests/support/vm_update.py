"""Newer versions of an image for a box in QEMU: made from its root, signed by the keys that the image knows, put on a stick."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from systemd.image.bundle import make_bundle, read_root
from systemd.image.commands import run
from systemd.image.root import Root, squash

RELEASE = "usr/lib/os-release"


@dataclass(frozen=True)
class Signed:
    """An image, the root in it, and the folder of the keys whose updates it takes."""

    image: Path
    root: Path
    keys: Path

    @property
    def version(self) -> str:
        return read_root(self.root).version


def newer(signed: Signed, step: int, room: Path, change: Callable[[Path], None] | None = None) -> tuple[str, Path]:
    """A later version and its bundle: the same root but for its name, and what `change` does to its tree."""
    tree, version = room / "tree", f"{signed.version}+{step}"
    run("unsquashfs", "-quiet", "-no-progress", "-dest", tree, signed.root)
    release = tree / RELEASE
    release.write_text(release.read_text(encoding="utf-8").replace(f"IMAGE_VERSION={signed.version}", f"IMAGE_VERSION={version}"))
    if change is not None:
        change(tree)
    squash(Root(tree, version), room / "root.squashfs", 1767225600, "fast")
    shutil.rmtree(tree)
    bundle = make_bundle(room / "root.squashfs", signed.keys, room)
    (room / "root.squashfs").unlink()
    return version, bundle


def stick(bundle: Path, file: Path, drive: str = "u0") -> tuple[list[str], str]:
    """A write-protected stick with the bundle on it, as options of QEMU's: its drive, and the device that is plugged in."""
    folder = file.with_suffix(".d")
    folder.mkdir()
    (folder / bundle.name).hardlink_to(bundle)
    mib = (bundle.stat().st_size >> 20) + 64
    run("mke2fs", "-q", "-t", "ext4", "-L", "UPDATE", "-d", folder, file, f"{mib}M")
    shutil.rmtree(folder)
    options = f"if=none,id={drive},format=raw,readonly=on,file={file.absolute()}"
    return ["-drive", options], f"usb-storage,id=stick,drive={drive},removable=on"

"""The disk of a box, put together as a file: no loop device, no mount, no root.

| number | name | what | size |
|---|---|---|---|
| 1 | grubenv | which slot is booted, its tries: 1,024 bytes, written in place | 1 MiB |
| 2 | ESP | the boot loader and its script; never written on a box | 64 MiB |
| 3, 4 | root-a, root-b | one version each: squashfs with kernel and initial RAM disk inside | a slot each |
| 5 | data | record, settings, journal; grows to the disk's end at the first boot | the rest |
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from systemd.image.commands import MIB, ImageError, fresh, run

SECTOR = 512
SLOT = 1536 * MIB
ESP = 64 * MIB
DATA = 512 * MIB
DATA_TYPE = "6C65756B-6F73-4D61-8164-617461000001"
"""A type of our own: systemd-repart knows the partition by it, and takes no other for one that may grow."""

GRUB = {"amd64": ("x86_64-efi", "BOOTX64.EFI"), "arm64": ("arm64-efi", "BOOTAA64.EFI")}
_MODULES = "part_gpt fat squash4 regexp loadenv linux normal configfile echo test eval sleep reboot search minicmd all_video efi_gop"
_ENV_SIZE = 1024
ENV_OFFSET = 19968
"""Where in its partition the block lies. GRUB saves only into a file, so there is a file system around it, which Linux never mounts:
a loop device over these 1,024 bytes is what grub-editenv is given (leukoscope-grubenv.service), and no cut can damage a FAT."""
_NAMESPACE = uuid.UUID("6c65756b-6f73-636f-7065-000000000000")


@dataclass(frozen=True)
class Part:
    """A partition: start and size in bytes."""

    number: int
    name: str
    start: int
    size: int


def layout(slot: int = SLOT, data: int = DATA) -> dict[str, Part]:
    """The partitions by name, for slots and a data partition of so many bytes."""
    sizes = {"grubenv": MIB, "ESP": ESP, "root-a": slot, "root-b": slot, "data": data}
    parts, at = {}, MIB
    for number, (name, size) in enumerate(sizes.items(), start=1):
        parts[name] = Part(number, name, at, size)
        at += -(-size // MIB) * MIB
    return parts


def identity(*words: str) -> str:
    """A UUID that is the same in every build of the same thing."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(words)))


def environment_block(values: Mapping[str, str]) -> bytes:
    """What GRUB and grub-editenv read: NAME=VALUE lines, filled up with '#' to 1,024 bytes. Raises ImageError if they do not fit."""
    text = "# GRUB Environment Block\n" + "".join(f"{name}={value}\n" for name, value in values.items())
    if len(text) > _ENV_SIZE:
        raise ImageError(f"the boot loader's block holds {_ENV_SIZE} bytes, and {', '.join(values)} need {len(text)}")
    return text.encode("ascii").ljust(_ENV_SIZE, b"#")


def make_block(values: Mapping[str, str], out: Path, work: Path, epoch: int) -> None:
    """The partition with the block, at ENV_OFFSET. Raises ImageError."""
    file = fresh(work / "block") / "grubenv"
    file.write_bytes(environment_block(values))
    os.utime(file, (epoch, epoch))
    _allocate(out, MIB)
    # Clusters of the block's size: the file is one, and the first.
    run("mkfs.vfat", "-F", "12", "-s", "2", "-n", "GRUBENV", "--invariant", "-i", identity("grubenv")[:8], out, epoch=epoch)
    run("mcopy", "-m", "-i", out, file, "::grubenv", epoch=epoch)
    if (found := out.read_bytes().find(file.read_bytes())) != ENV_OFFSET:
        raise ImageError(f"{out}: the boot loader's block lies at {found}, and must at {ENV_OFFSET}; mkfs.vfat has changed", 1)


def make_loader(arch: str, modules: Path, out: Path) -> None:
    """GRUB as one EFI program; `modules` is the folder of its modules for that architecture."""
    names = _MODULES.split() + (["efi_uga"] if arch == "amd64" else [])
    run("grub-mkimage", "-d", modules, "-O", GRUB[arch][0], "-o", out, "-p", "/grub", *names)


def make_esp(arch: str, modules: Path, out: Path, work: Path, epoch: int) -> None:
    """The EFI system partition: the loader and its script, every time and serial number fixed."""
    folder = fresh(work / "esp")
    loader, script = folder / GRUB[arch][1], folder / "grub.cfg"
    make_loader(arch, modules, loader)
    script.write_bytes(Path(__file__).with_name("grub.cfg").read_bytes())
    for file in (loader, script):
        os.utime(file, (epoch, epoch))
    _allocate(out, ESP)
    run("mkfs.vfat", "-F", "32", "-n", "ESP", "--invariant", "-i", identity("esp", arch)[:8], out, epoch=epoch)
    # mtools 4.0.33 and later take the time of folders from SOURCE_DATE_EPOCH, and -m the files' own.
    run("mmd", "-i", out, "::EFI", "::EFI/BOOT", "::grub", epoch=epoch)
    run("mcopy", "-m", "-i", out, loader, "::EFI/BOOT/", epoch=epoch)
    run("mcopy", "-m", "-i", out, script, "::grub/", epoch=epoch)


def make_data(tree: Path, out: Path, size: int, epoch: int) -> None:
    """The data partition with what lies in `tree`, owned as there, every time `epoch`."""
    for path in (tree, *tree.rglob("*")):
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    seed = identity("data")
    _allocate(out, size)
    # The table of blocks is laid out for a partition that grows: 64 GiB without moving anything.
    options = f"hash_seed={seed},lazy_itable_init=0,lazy_journal_init=0,resize={(64 << 30) // 4096}"
    run(
        *("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-i", "16384", "-m", "1", "-L", "data", "-U", identity("data", "uuid")),
        *("-E", options, "-d", tree, out),
        epoch=epoch,
    )
    # mke2fs takes the time of an inode's last change from the tree, where nobody can set it.
    names = ["/", *(f"/{path.relative_to(tree).as_posix()}" for path in sorted(tree.rglob("*")))]
    changes = [f'set_inode_field "{name}" {field}' for name in names for field in (f"ctime @{epoch}", "ctime_extra 0")]
    run("debugfs", "-w", "-f", "-", out, text="\n".join(changes) + "\n", epoch=epoch)


def make_disk(out: Path, images: Mapping[str, Path], parts: Mapping[str, Part]) -> None:
    """The whole disk, sparse. images: partition's name → file with its bytes. Raises ImageError where one is too large."""
    for name, image in images.items():
        if (size := image.stat().st_size) > parts[name].size:
            raise ImageError(
                f"{image}: has {size // MIB} MiB, and {name} holds {parts[name].size // MIB}; make slots larger (--slot-mib)"
            )
    end = max(part.start + part.size for part in parts.values())
    trial = out.with_suffix(".part")
    _allocate(trial, end + MIB)  # behind the last one: the second copy of the table
    types = {"grubenv": "L", "ESP": "U", "data": DATA_TYPE}
    lines = ["label: gpt", f"label-id: {identity('disk')}", f"first-lba: {MIB // SECTOR}"]
    for part in parts.values():
        kind, place = types.get(part.name, "L"), f"start={part.start // SECTOR}, size={part.size // SECTOR}"
        lines.append(f"{place}, type={kind}, name={part.name}, uuid={identity('part', part.name)}")
    run("sfdisk", "--quiet", trial, text="\n".join(lines) + "\n")
    for name, image in images.items():
        at = parts[name].start // SECTOR
        run(
            "dd", f"if={image}", f"of={trial}", "bs=1M", "oflag=seek_bytes", f"seek={at * SECTOR}", "conv=notrunc,sparse", "status=none"
        )
    trial.rename(out)


def _allocate(path: Path, size: int) -> None:
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(size)

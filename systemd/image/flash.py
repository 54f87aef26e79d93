"""Writes an image to a disk: refuses what must not be overwritten, shows progress, reads all of it back.

python -m systemd.image.flash IMAGE /dev/sdX
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cyclopts

from engines.commands.terminal import Terminal, say_line
from systemd.image.disks import Disk, FlashError, find_disk, in_gb, refusal

_BLOCK = 4 << 20
_BLKFLSBUF, _BLKRRPART = 0x1261, 0x125F
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Flashed:
    """disk: as it was found. size: bytes written. sha256: of the image and of what was read back."""

    disk: Disk
    size: int
    sha256: str


def check(image: Path, target: Path) -> tuple[Disk, int]:
    """The disk and the image's size in bytes, where one may be written to the other. Raises FlashError."""
    try:
        size = image.stat().st_size
        with image.open("rb") as file:
            head = file.read(520)
    except OSError as error:
        raise FlashError(f"{image}: {error.strerror}; `make image` makes one") from error
    if head[512:520] != b"EFI PART":
        raise FlashError(f"{image}: is no disk image (it has no partition table); `make image` makes one")
    disk = find_disk(target)
    if disk.is_file and target.samefile(image):
        raise FlashError(f"{target}: is the image itself; name a disk")
    if words := refusal(disk, size):
        raise FlashError(words)
    return disk, size


def flash(image: Path, target: Path, tell: Tell = lambda what, done, total: None) -> Flashed:
    """Write the image and compare what the disk gives back. Raises FlashError.

    The first block, which has the partition table, goes last: a disk whose writing was cut off boots nothing.
    """
    disk, size = check(image, target)
    flags = os.O_RDWR | (0 if disk.is_file else os.O_EXCL)
    try:
        fd = os.open(target, flags)
    except OSError as error:
        raise FlashError(f"{target}: {error.strerror}; be root, and unmount what of it is mounted") from error
    try:
        wanted = _write(image, fd, size, tell)
        _compare_sidecar(image, wanted)
        _forget(fd, disk)
        found = _digest(fd, size, tell)
        if found != wanted:
            raise FlashError(f"{target}: gives back other bytes than were written; the disk is bad or not genuine, take another", 1)
        if not disk.is_file:
            _reread(fd)
    except OSError as error:
        raise FlashError(f"{target}: {error.strerror}; plug it in again and start anew, or take another", 1) from error
    finally:
        os.close(fd)
    return Flashed(disk, size, wanted)


def _write(image: Path, fd: int, size: int, tell: Tell) -> str:
    """Write all blocks, the first one last and zeros in its place until then; the image's SHA-256."""
    digest = hashlib.sha256()
    with image.open("rb") as file:
        first = file.read(_BLOCK)
        digest.update(first)
        _put(fd, bytes(len(first)), 0)
        os.fsync(fd)  # the table that was there before must be gone before anything else is
        done = len(first)
        while block := file.read(_BLOCK):
            digest.update(block)
            _put(fd, block, done)
            done += len(block)
            tell("writing (MiB)", done >> 20, size >> 20)
        if done != size:
            raise FlashError(f"{image}: is {in_gb(done)} now, and was {in_gb(size)}; it changed while it was read", 1)
        os.fsync(fd)
        _put(fd, first, 0)
        os.fsync(fd)
    return digest.hexdigest()


def _put(fd: int, block: bytes, at: int) -> None:
    view = memoryview(block)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written


def _digest(fd: int, size: int, tell: Tell) -> str:
    digest = hashlib.sha256()
    for done, block in _blocks(fd, size):
        digest.update(block)
        tell("reading back (MiB)", done >> 20, size >> 20)
    return digest.hexdigest()


def _blocks(fd: int, size: int) -> Iterator[tuple[int, bytes]]:
    done = 0
    while done < size:
        block = os.pread(fd, min(_BLOCK, size - done), done)
        if not block:
            return
        done += len(block)
        yield done, block


def _forget(fd: int, disk: Disk) -> None:
    """Drop what the kernel keeps of it: reading back shall ask the disk."""
    if not disk.is_file:
        fcntl.ioctl(fd, _BLKFLSBUF, 0)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def _reread(fd: int) -> None:
    """Let the kernel see the new partitions; one that cannot (a loop device without them) loses nothing."""
    try:
        fcntl.ioctl(fd, _BLKRRPART, 0)
    except OSError:
        return


def _compare_sidecar(image: Path, found: str) -> None:
    """IMAGE.sha256, where there is one, as `sha256sum` writes it."""
    sidecar = image.with_name(f"{image.name}.sha256")
    if not sidecar.exists():
        return
    words = sidecar.read_text(encoding="utf-8", errors="replace").split()
    if not words or words[0] != found:
        raise FlashError(
            f"{image}: is not what {sidecar.name} says; copy or make it again. What was written to the disk is not good", 1
        )


def main(image: Path, disk: Path, /, *, yes: Path | None = None, dry_run: bool = False) -> int:
    """Write an image to a disk and read it back.

    Args:
        image: The disk image that `make image` made.
        disk: A whole disk, such as /dev/sdb; a regular file serves for a trial.
        yes: The same disk once more, instead of the question.
        dry_run: Look and say what would be done, and write nothing.
    """
    try:
        with Terminal() as terminal:
            found, size = check(image, disk)
            terminal.message(f"{found.words}\n{image}: {in_gb(size)}. Everything on the disk will be gone.")
            if dry_run:
                return 0
            if not _agreed(disk, yes):
                raise FlashError(f"{disk}: nothing was written; type the disk's name, or give --yes {disk}")
            done = flash(image, disk, terminal.progress)
            terminal.message(f"{disk}: {in_gb(done.size)} written and read back, sha256 {done.sha256}. It may be taken out.")
    except FlashError as error:
        say_line(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        say_line(f"{disk}: cut off; it boots nothing now, start anew")
        return 130
    return 0


def _agreed(disk: Path, said: Path | None) -> bool:
    """Whether a person named the disk a second time."""
    if said is not None:
        return said == disk
    if not sys.stdin.isatty():
        return False
    return input(f"Type {disk} to go on: ").strip() == str(disk)


if __name__ == "__main__":
    cyclopts.run(main)

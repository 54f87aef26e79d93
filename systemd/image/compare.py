"""Whether two builds are the same: python -m systemd.image.compare A B, two folders that `systemd.image.build` filled.

Part by part: byte for byte, and where they differ the first path inside that does, by content, kind, owner, mode or time.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cyclopts

from engines.commands.terminal import say_line
from systemd.image.commands import ImageError, run

EXCEPTIONS: dict[str, str] = {}
"""Part → why it may differ. A bundle's salt and the time of its signature are the only two known, and no bundle is compared here."""


def _unpack_root(image: Path, folder: Path) -> None:
    run("unsquashfs", "-quiet", "-no-progress", "-force", "-dest", folder, image)


def _unpack_esp(image: Path, folder: Path) -> None:
    run("mcopy", "-s", "-m", "-n", "-i", image, "::", folder)


def _unpack_data(image: Path, folder: Path) -> None:
    run("debugfs", "-R", f"rdump / {folder}", image)


def _keep(image: Path, folder: Path) -> None:
    """A part without files in it."""


PARTS: dict[str, Callable[[Path, Path], None]] = {
    "root.squashfs": _unpack_root,
    "esp.img": _unpack_esp,
    "data.img": _unpack_data,
    "grubenv.img": _keep,
}


def differences(first: Path, second: Path) -> Iterator[str]:
    """One line for each part that differs. Raises ImageError where a part is absent."""
    for name, unpack in PARTS.items():
        pair = first / name, second / name
        for path in pair:
            if not path.is_file():
                raise ImageError(f"{path}: absent; `make image` makes it")
        if _first_byte(*pair) is None:
            continue
        yield f"{name}: {_inside(pair, unpack)}"


def first_difference(first: Path, second: Path) -> str | None:
    """The first path below two folders, in order of names, that is not the same in both, and what differs; None if all is."""
    names = sorted({path.relative_to(each).as_posix() for each in (first, second) for path in each.rglob("*")})
    for name in ["", *names]:
        if words := _differ(first / name, second / name):
            return f"/{name}: {words}"
    return None


def _inside(pair: tuple[Path, Path], unpack: Callable[[Path, Path], None]) -> str:
    with tempfile.TemporaryDirectory(dir=pair[1].parent, prefix="compare-") as room:
        folders = Path(room, "a"), Path(room, "b")
        for image, folder in zip(pair, folders, strict=True):
            folder.mkdir()
            unpack(image, folder)
        for folder in folders:  # the folder is ours, what is in it is theirs
            os.utime(folder, (0, 0))
        found = first_difference(*folders)
    at = _first_byte(*pair)
    return f"{found} (byte {at})" if found else f"the same files, and byte {at} differs: how they lie, not what they are"


def _differ(a: Path, b: Path) -> str:
    if not (os.path.lexists(a) and os.path.lexists(b)):
        return f"only in {'the first' if os.path.lexists(a) else 'the second'}"
    one, two = a.lstat(), b.lstat()
    for words, left, right in (
        ("kind and mode", stat.filemode(one.st_mode), stat.filemode(two.st_mode)),
        ("owner", f"{one.st_uid}:{one.st_gid}", f"{two.st_uid}:{two.st_gid}"),
        ("time", int(one.st_mtime), int(two.st_mtime)),
    ):
        if left != right:
            return f"{words} {left} and {right}"
    if stat.S_ISLNK(one.st_mode):
        return "" if a.readlink() == b.readlink() else f"leads to {a.readlink()} and {b.readlink()}"
    if stat.S_ISREG(one.st_mode) and (at := _first_byte(a, b)) is not None:
        return f"content, from byte {at}"
    return ""


def _first_byte(a: Path, b: Path) -> int | None:
    """Where two files differ first, the shorter one's end included; None if they do not."""
    at = 0
    with a.open("rb") as one, b.open("rb") as two:
        while True:
            left, right = one.read(1 << 20), two.read(1 << 20)
            if left != right:
                return at + next((i for i, (x, y) in enumerate(zip(left, right, strict=False)) if x != y), min(len(left), len(right)))
            if not left:
                return None
            at += len(left)


def main(first: Path, second: Path, /) -> int:
    """Compare two builds; ends with 1 where they differ.

    Args:
        first: A folder that `make image` filled.
        second: Another one.
    """
    try:
        found = [line for line in differences(first, second) if line.partition(":")[0] not in EXCEPTIONS]
    except ImageError as error:
        say_line(str(error))
        return error.exit_code
    for line in found:
        print(line)  # noqa: T201
    if not found:
        say_line(f"{first} and {second}: {', '.join(PARTS)} are the same, byte for byte")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(cyclopts.run(main))

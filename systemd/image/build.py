"""Makes the image of a box: python -m systemd.image.build --arch amd64 --deb FILE --out build/image"""

from __future__ import annotations

import hashlib
import platform
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cyclopts

from engines.commands.terminal import say_line
from systemd.image import disk
from systemd.image.bootstrap import bootstrap
from systemd.image.commands import ARCHITECTURES, MIB, ImageError, run
from systemd.image.root import COMPRESSION, data_tree, kernel_of, make_root, squash

T = TypeVar("T")


@dataclass(frozen=True)
class Wanted:
    """What is to be built; see main()."""

    arch: str
    deb: Path
    out: Path
    cache: Path
    keyring: Path | None = None
    sources: Path | None = None
    config: Path | None = None
    compression: str = "lzo"
    slot: int = disk.SLOT
    data: int = disk.DATA


def build(wanted: Wanted, epoch: int) -> Path:
    """The image's path. Beside it lie the parts it was put together from, its SHA-256 and its list of packages. Raises ImageError."""
    _check(wanted)
    work = wanted.out / "work"
    wanted.out.mkdir(parents=True, exist_ok=True)
    base = _step("Debian's packages", lambda: bootstrap(wanted.arch, wanted.cache, wanted.sources))
    root = _step("the root", lambda: make_root(wanted.arch, base, wanted.deb, wanted.keyring, work, epoch))
    kernel_of(root.tree)
    parts = disk.layout(wanted.slot, wanted.data)
    squashed, esp, data, block = (wanted.out / name for name in ("root.squashfs", "esp.img", "data.img", "grubenv.img"))
    _step(f"squashfs ({wanted.compression})", lambda: squash(root, squashed, epoch, wanted.compression))
    modules = work / "modules"
    run("tar", "-xf", base, "-C", _folder(modules), f"./usr/lib/grub/{disk.GRUB[wanted.arch][0]}")
    _step("boot loader", lambda: disk.make_esp(wanted.arch, modules / "usr/lib/grub" / disk.GRUB[wanted.arch][0], esp, work, epoch))
    _step("data", lambda: disk.make_data(data_tree(work / "data", wanted.config), data, parts["data"].size, epoch))
    # The second slot holds nothing yet, so it is no choice until an update filled it.
    tries = {"ORDER": "A B", "A_OK": "1", "A_TRY": "0", "B_OK": "0", "B_TRY": "0"}
    disk.make_block(tries, block, work, epoch)
    image = wanted.out / f"leukoscope-{root.version}-{wanted.arch}.img"
    images = {"grubenv": block, "ESP": esp, "root-a": squashed, "data": data}
    _step("disk", lambda: disk.make_disk(image, images, parts))
    digest = _step("its SHA-256", lambda: _sha256(image))
    image.with_name(f"{image.name}.sha256").write_text(f"{digest}  {image.name}\n", encoding="utf-8")
    shutil.copyfile(root.tree / "usr/share/leukoscope/packages.txt", image.with_suffix(".packages.txt"))
    shutil.rmtree(work)
    root_mib, image_mib = squashed.stat().st_size // MIB, image.stat().st_size // MIB
    say_line(f"{image}: {root_mib} MiB of root in slots of {wanted.slot // MIB}, {image_mib} MiB in all, sha256 {digest}")
    return image


def _check(wanted: Wanted) -> None:
    if wanted.arch not in ARCHITECTURES:
        raise ImageError(f"--arch {wanted.arch}: is none of {', '.join(ARCHITECTURES)}")
    if wanted.compression not in COMPRESSION:
        raise ImageError(f"--compression {wanted.compression}: is none of {', '.join(COMPRESSION)}, which the boot loader reads")
    if not wanted.deb.is_file():
        raise ImageError(f"{wanted.deb}: no such package; `make deb` makes it")
    for path in (wanted.keyring, wanted.config):
        if path is not None and not path.is_file():
            raise ImageError(f"{path}: no such file")
    if min(wanted.slot, wanted.data) < 64 * MIB or (wanted.slot | wanted.data) % MIB:
        raise ImageError("a slot and the data partition have whole MiB, 64 at least")
    foreign = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine()) != wanted.arch
    emulator = Path(f"/proc/sys/fs/binfmt_misc/qemu-{'aarch64' if wanted.arch == 'arm64' else 'x86_64'}")
    if foreign and (not emulator.exists() or shutil.which("arch-test") is None):  # which mmdebstrap asks
        raise ImageError(f"programs for {wanted.arch} do not run here; apt install qemu-user-static binfmt-support arch-test")


def commit_time(folder: Path) -> int:
    """Seconds since 1970 of the commit that is built, the time of everything that is made. Raises ImageError outside git."""
    return int(run("git", "-C", folder, "log", "-1", "--format=%ct"))


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(4 * MIB):
            digest.update(block)
    return digest.hexdigest()


def _step(words: str, do: Callable[[], T]) -> T:
    began = time.monotonic()
    done = do()
    say_line(f"{words}: {time.monotonic() - began:.0f} s")
    return done


def main(
    *,
    deb: Path,
    arch: str = "amd64",
    out: Path = Path("build/image"),
    keyring: Path | None = None,
    config: Path | None = None,
    sources: Path | None = None,
    cache: Path = Path("build/cache"),
    compression: str = "lzo",
    slot_mib: int = disk.SLOT // MIB,
    data_mib: int = disk.DATA // MIB,
) -> int:
    """Make the image of a box, as root.

    Args:
        deb: Leukoscope's package for Debian 12 and that architecture; `make deb` makes it.
        arch: amd64 or arm64; a foreign one by qemu-user-static.
        out: Folder for image and parts.
        keyring: Certificates of those who may sign updates; without any the box takes no update.
        config: A device.yaml that shall lie on the data partition already, such as for a trial.
        sources: Debian's archives, in either form of apt's; unset: this machine's. A dated one gives the same image another day.
        cache: Folder where the Debian below is kept between builds.
        compression: Of the root: fast (lzo in a tenth of the time, for trials), lzo, gzip or xz.
        slot_mib: Size of each of the two slots.
        data_mib: Size of the data partition before it grows to the disk's end.
    """
    wanted = Wanted(arch, deb, out, cache, keyring, sources, config, compression, slot_mib * MIB, data_mib * MIB)
    try:
        if keyring is None:
            say_line("no --keyring: this image will take no update")
        build(wanted, commit_time(Path(__file__).parent))
    except ImageError as error:
        say_line(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(cyclopts.run(main))

"""Makes an update from an image that was built: python -m systemd.image.bundle --arch amd64 --keys build/keys

The bundle takes version and `compatible` from the root itself, so it cannot say another one than what it installs.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cyclopts

from engines.commands.terminal import say_line
from systemd.image.commands import MIB, ImageError, run
from systemd.image.disk import SLOT
from systemd.image.keys import KEYRING

_MANIFEST = """[update]
compatible={compatible}
version={version}

[bundle]
format=verity

[image.rootfs]
filename=root.squashfs
"""


@dataclass(frozen=True)
class Root:
    """What a root says of itself."""

    compatible: str
    version: str


def make_bundle(root: Path, keys: Path, out: Path, signer: str = "signer", slot: int = SLOT) -> Path:
    """The bundle's path in the folder `out`. slot: bytes that a slot holds. Raises ImageError, and then no bundle is there."""
    if not root.is_file():
        raise ImageError(f"{root}: no such file; `make image` makes it")
    if (size := root.stat().st_size) > slot:
        raise ImageError(
            f"{root}: has {size // MIB} MiB, and a slot holds {slot // MIB}; leave something out, or compress it (--compression xz)"
        )
    key, cert, ring = keys / f"{signer}.key", keys / f"{signer}.pem", keys / KEYRING
    for path in (key, cert, ring):
        if not path.is_file():
            raise ImageError(f"{path}: absent; `make keys` makes it")
    _check_signer(cert, ring)
    said = read_root(root)
    out.mkdir(parents=True, exist_ok=True)
    bundle = out / f"{said.compatible}-{said.version}.raucb"
    with tempfile.TemporaryDirectory(dir=out, prefix=".bundle-") as work:
        content, fresh = Path(work, "content"), Path(work, "new.raucb")
        content.mkdir()
        (content / "manifest.raucm").write_text(_MANIFEST.format(compatible=said.compatible, version=said.version), encoding="ascii")
        _same_file(root, content / "root.squashfs")
        # The root is compressed already: once more takes a minute and gains nothing.
        run("rauc", "bundle", f"--cert={cert}", f"--key={key}", f"--keyring={ring}", "--mksquashfs-args=-noD -noF", content, fresh)
        fresh.replace(bundle)
    return bundle


def read_root(root: Path) -> Root:
    """Version and `compatible` of a root's squashfs. Raises ImageError where it is none of ours."""
    release = _values(run("unsquashfs", "-cat", root, "usr/lib/os-release"))
    version, system = release.get("IMAGE_VERSION", "").strip('"'), _values(run("unsquashfs", "-cat", root, "etc/rauc/system.conf"))
    compatible = system.get("compatible", "")
    if not compatible.startswith("leukoscope-") or not version:
        raise ImageError(
            f"{root}: is no root of a Leukoscope box (compatible {compatible!r}, version {version!r}); `make image` makes one"
        )
    if "BEGIN CERTIFICATE" not in run("unsquashfs", "-cat", root, "etc/rauc/keyring.pem"):
        raise ImageError(f"{root}: has no keyring, so a box with it would never take an update again; make keys, then make image again")
    return Root(compatible, version)


def _check_signer(cert: Path, ring: Path) -> None:
    try:
        run("openssl", "x509", "-in", cert, "-noout", "-checkend", "0")
    except ImageError as error:
        end = run("openssl", "x509", "-in", cert, "-noout", "-enddate").strip().removeprefix("notAfter=")
        again = "make next year's with `make keys ARGS='--signer NAME'`, and name it here"
        raise ImageError(f"{cert}: ran out on {end}; {again}") from error
    try:
        run("openssl", "verify", "-purpose", "smimesign", "-CAfile", ring, cert)
    except ImageError as error:
        raise ImageError(f"{cert}: is not signed by a root of {ring}; boxes would refuse the bundle ({error})") from error


def _values(text: str) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs}


def _same_file(source: Path, to: Path) -> None:
    """A link where the disk allows one: a root has hundreds of MiB."""
    try:
        os.link(source, to)
    except OSError:
        shutil.copyfile(source, to)


def main(
    *,
    arch: str = "amd64",
    root: Path | None = None,
    keys: Path = Path("build/keys"),
    signer: str = "signer",
    out: Path | None = None,
    slot_mib: int = SLOT // MIB,
) -> int:
    """Make and sign an update (*.raucb) from the root of an image that was built.

    Args:
        arch: Whose image, build/image-ARCH.
        root: Another root's squashfs.
        keys: Folder of the keys; `make keys` makes it.
        signer: Name of the signer's files in it.
        out: Folder for the bundle; beside the root if unset.
        slot_mib: What a slot of the boxes holds.
    """
    root = root or Path(f"build/image-{arch}/root.squashfs")
    try:
        bundle = make_bundle(root, keys, out or root.parent, signer, slot_mib * MIB)
    except ImageError as error:
        say_line(str(error))
        return error.exit_code
    say_line(f"{bundle}: {bundle.stat().st_size // MIB} MiB; put it into the uppermost folder of a stick")
    return 0


if __name__ == "__main__":
    sys.exit(cyclopts.run(main))

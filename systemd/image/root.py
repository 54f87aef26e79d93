"""The root file system of a version: Debian below, Leukoscope's package installed in it, and what makes it an appliance (overlay/)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from systemd.image.commands import ImageError, fresh, inside, need_root, put_text, run
from systemd.image.disk import ENV_OFFSET

OVERLAY = Path(__file__).with_name("overlay")

ENABLED = (
    "systemd-networkd.service",
    "seatd.service",
    "leukoscope-grubenv.service",
    "leukoscope-grow.service",
    "leukoscope-identity.service",
)
OURS = (
    "leukoscope.service",
    "leukoscope-kiosk.path",
    "leukoscope-provision.service",
    "leukoscope-plans.service",
    "leukoscope-update.path",
    "leukoscope-good.service",
    "leukoscope-restart.path",
    "leukoscope-support-bundle.path",
)
"""Of the package; those that it has are started by themselves on a box."""
DISABLED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service"),
    *("getty@tty1.service", "systemd-networkd-wait-online.service", "remote-fs.target"),
)

# Of no use on a box, or different each time it is made.
_LEFT_OUT = (
    *(
        "usr/lib/grub",
        "usr/lib/leukoscope/wheels",
        "var/cache/apt",
        "var/cache/debconf",
        "var/lib/apt",
        "var/log",
        "var/tmp",
        "tmp",
        "run",
        "data",
        "efi",
    ),
    *("var/cache/ldconfig", "etc/.pwd.lock", "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "var/lib/systemd", "root"),
)
COMPRESSION = {"fast": ("lzo", "-Xalgorithm", "lzo1x_1"), "lzo": ("lzo",), "gzip": ("gzip",), "xz": ("xz", "-b", "256K")}
"""What GRUB 2.06 and the kernel both read; zstd it does not."""


@dataclass(frozen=True)
class Root:
    """tree: the unpacked root. version: of Leukoscope in it."""

    tree: Path
    version: str


def make_root(arch: str, base: Path, deb: Path, keyring: Path | None, work: Path, epoch: int) -> Root:
    """Unpack, install and set up. keyring: certificates of those who may sign updates. Raises ImageError."""
    need_root("the root file system's files belong to several users")
    tree = fresh(work / "root")
    run("tar", "--numeric-owner", "-xpf", base, "-C", tree)
    _overlay(tree, arch)
    inside(tree, "systemd-sysusers", epoch=epoch)
    version = _install(tree, arch, deb, epoch)
    _names(tree, version)
    _keyring(tree, keyring)
    _units(tree)
    # The cache of fonts, copied into the empty /var at each start (tmpfiles.d): a window does not wait for it to be made.
    inside(tree, "fc-cache", "--really-force", "--system-only", epoch=epoch)
    shutil.copytree(tree / "var/cache/fontconfig", tree / "usr/share/factory/leukoscope/fontconfig")
    _tidy(tree)
    return Root(tree, version)


def squash(root: Root, out: Path, epoch: int, compression: str = "lzo") -> None:
    """The root as one file that is the same in every build. Raises ImageError."""
    out.unlink(missing_ok=True)
    options = ("-noappend", "-quiet", "-no-progress", "-no-exports", "-no-xattrs", "-comp", *COMPRESSION[compression])
    run("mksquashfs", root.tree, out, *options, epoch=epoch)


def data_tree(folder: Path, config: Path | None = None) -> Path:
    """What the data partition holds before the first boot. config: a device.yaml, where one shall lie there already."""
    tree = fresh(folder)
    for name, mode, owner in (
        ("etc/leukoscope", 0o755, 0),
        ("lib/leukoscope", 0o750, 880),
        ("lib/systemd", 0o755, 0),
        ("log/journal", 0o2755, 0),
    ):
        (tree / name).mkdir(parents=True)
        os.chown(tree / name, owner, owner)
        (tree / name).chmod(mode)
    (tree / "etc/localtime").symlink_to("/usr/share/zoneinfo/Etc/UTC")
    if config is not None:
        shutil.copyfile(config, tree / "etc/leukoscope/device.yaml")
    return tree


def _overlay(tree: Path, arch: str) -> None:
    for path in sorted(OVERLAY.rglob("*")):
        if path.is_file():
            text = path.read_text(encoding="utf-8").replace("@ARCH@", arch).replace("@ENV_OFFSET@", str(ENV_OFFSET))
            put_text(tree / path.relative_to(OVERLAY), text)


def _install(tree: Path, arch: str, deb: Path, epoch: int) -> str:
    told = run("dpkg-deb", "-f", deb, "Architecture", "Version", "Package").splitlines()
    fields = dict(line.split(": ", 1) for line in told)
    if fields.get("Architecture") not in {arch, "all"}:
        raise ImageError(f"{deb}: is for {fields.get('Architecture')}, and the image for {arch}; take that package (make deb)")
    refuse = tree / "usr/sbin/policy-rc.d"
    put_text(refuse, "#!/bin/sh\nexit 101\n", 0o755)  # nothing is started in a tree
    inner = tree / "tmp" / deb.name
    shutil.copyfile(deb, inner)
    try:
        inside(tree, "dpkg", "--install", f"/tmp/{deb.name}", epoch=epoch)
    finally:
        inner.unlink()
        refuse.unlink()
    return fields["Version"]


def _names(tree: Path, version: str) -> None:
    release = tree / "usr/lib/os-release"
    kept = [line for line in release.read_text(encoding="utf-8").splitlines() if not line.startswith("IMAGE_")]
    put_text(release, [*kept, "IMAGE_ID=leukoscope", f"IMAGE_VERSION={version}"])
    put_text(tree / "etc/hostname", ["leukoscope"])
    put_text(tree / "etc/hosts", ["127.0.0.1 localhost leukoscope", "::1 localhost leukoscope"])
    put_text(tree / "etc/machine-id", "", 0o444)
    put_text(tree / "etc/default/locale", ["LANG=C.UTF-8"])
    # The zone is a setting of the box, so it lies with the settings; until one is there it is UTC.
    for link, to in (("etc/resolv.conf", "/run/systemd/resolve/resolv.conf"), ("etc/localtime", "/data/etc/localtime")):
        (tree / link).unlink(missing_ok=True)
        (tree / link).symlink_to(to)
    (tree / "etc/timezone").unlink(missing_ok=True)
    for folder in ("data", "efi", "etc/leukoscope"):
        (tree / folder).mkdir(exist_ok=True)
    listed = inside(tree, "dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture}\n")
    put_text(tree / "usr/share/leukoscope/packages.txt", "".join(sorted(listed.splitlines(keepends=True))))


def _keyring(tree: Path, keyring: Path | None) -> None:
    try:
        text = keyring.read_text(encoding="ascii") if keyring else ""
    except (OSError, UnicodeError) as error:
        raise ImageError(f"{keyring}: cannot be read as certificates ({error}); `make keys` makes a keyring") from error
    if keyring and "BEGIN CERTIFICATE" not in text:
        raise ImageError(f"{keyring}: holds no certificate; `make keys` makes a keyring")
    if "PRIVATE KEY" in text:
        raise ImageError(f"{keyring}: holds a private key, which must never be in an image; name the file with the certificates")
    put_text(tree / "etc/rauc/keyring.pem", text)


def _units(tree: Path) -> None:
    there = tree / "usr/lib/systemd/system"
    ours = [name for name in OURS if (there / name).exists()]
    inside(tree, "systemctl", "enable", *ENABLED, *ours)
    inside(tree, "systemctl", "disable", *DISABLED)
    inside(tree, "systemctl", "mask", "getty@tty1.service")
    inside(tree, "passwd", "--lock", "root")


def _tidy(tree: Path) -> None:
    """Leave out what a box does not need, keeping the folders that it mounts on."""
    for name in _LEFT_OUT:
        path = tree / name
        if path.is_dir() and not path.is_symlink():
            empty(path)
        else:
            path.unlink(missing_ok=True)


def empty(folder: Path) -> None:
    """Remove what is in it, not the folder."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def kernel_of(tree: Path) -> Sequence[str]:
    """Names of kernel and initial RAM disk as the boot loader asks for them, each a link into /boot. Raises ImageError."""
    names = ("vmlinuz", "initrd.img")
    for name in names:
        link = tree / name
        if not link.is_symlink() or not (tree / str(link.readlink()).lstrip("/")).is_file():
            raise ImageError(f"{tree}: has no {name}; packages.txt names the kernel's package", 1)
    return names

"""The Debian below Leukoscope, as one tar: packages, kernel and its initial RAM disk.

It is made once for one list of packages, kept under the digest of what went into it, and made anew when that changes. What the archive
of packages offers is not part of the digest: name a dated one (a snapshot) in --sources where images of two days shall be equal.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from systemd.image.commands import ImageError, need_root, run

SUITE = "bookworm"
EPOCH = 1767225600
"""2026-01-01: no file of the Debian below is newer; whatever is, gets this time."""

PACKAGES = Path(__file__).with_name("packages.txt")
SOURCES = Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")

_LEFT_OUT = ("/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/doc/*")
_KEPT = "/usr/share/doc/*/copyright"

# The initial RAM disk must find a squashfs on whatever disk a box has. Of a root without an init Debian's script takes a shell as the
# init, at whose prompt a box would stand still, open to everybody: it restarts instead, and in the end the other slot is booted.
_HOOK = """set -eu
cat >"$1/etc/initramfs-tools/scripts/init-bottom/leukoscope" <<'END'
#!/bin/sh
[ "${1:-}" != prereqs ] || exit 0
run-init -n "$rootmnt" "$init" && exit 0
echo "Leukoscope: this slot has no $init"
sleep 10
reboot -f
END
chmod 755 "$1/etc/initramfs-tools/scripts/init-bottom/leukoscope"
printf 'squashfs\\nloop\\nvirtio_pci\\nvirtio_blk\\n' >>"$1/etc/initramfs-tools/modules"
sed -i 's/^COMPRESS=.*/COMPRESS=zstd/' "$1/etc/initramfs-tools/initramfs.conf"
chroot "$1" update-initramfs -u -k all
"""


def packages(arch: str, listed: str) -> list[str]:
    """The names in a list for that architecture. Raises ImageError for a line in no known form."""
    names = []
    for number, line in enumerate(listed.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) > 2 or (len(words) == 2 and not (words[1].startswith("[") and words[1].endswith("]"))):
            raise ImageError(f"{PACKAGES.name}, line {number}: {line!r} is neither NAME nor NAME [ARCH]")
        if len(words) == 1 or words[1] == f"[{arch}]":
            names.append(words[0])
    return names


def sources_of(named: Path | None) -> Path:
    """The list of archives that packages are taken from: the one named, or this machine's own. Raises ImageError."""
    for path in (named,) if named else SOURCES:
        if path.is_file():
            if SUITE not in path.read_text(encoding="utf-8"):
                raise ImageError(f"{path}: names no archive of {SUITE}; give one by --sources")
            return path
    raise ImageError(f"{named or SOURCES[0]}: no list of Debian's archives; give one by --sources")


def bootstrap(arch: str, cache: Path, sources: Path | None = None) -> Path:
    """The tar of that architecture, from the cache or made now (two minutes; a foreign one takes many more). Raises ImageError."""
    listed, archives = PACKAGES.read_text(encoding="utf-8"), sources_of(sources)
    names = packages(arch, listed)
    content = [arch, SUITE, str(EPOCH), *names, *_LEFT_OUT, _KEPT, _HOOK, archives.read_text(encoding="utf-8")]
    digest = hashlib.sha256("\0".join(content).encode()).hexdigest()[:16]
    made = cache / f"base-{arch}-{digest}.tar"
    if made.is_file():
        return made
    need_root("mmdebstrap unpacks Debian's packages with their owners")
    cache.mkdir(parents=True, exist_ok=True)
    hook = cache / f"hook-{digest}.sh"
    hook.write_text(_HOOK, encoding="utf-8")
    hook.chmod(0o755)
    trial = made.with_suffix(f".{os.getpid()}.tar")
    options = [f"--dpkgopt=path-exclude={each}" for each in _LEFT_OUT] + [f"--dpkgopt=path-include={_KEPT}"]
    try:
        run(
            *("mmdebstrap", "--mode=root", "--variant=minbase", f"--architectures={arch}", "--quiet"),
            *('--aptopt=APT::Install-Recommends "false"', *options, f"--include={','.join(names)}"),
            *(f"--customize-hook={hook}", SUITE, trial, archives),
            epoch=EPOCH,
        )
        trial.rename(made)
    finally:
        hook.unlink()
        trial.unlink(missing_ok=True)
    for older in cache.glob(f"base-{arch}-*.tar"):
        if older != made:
            older.unlink()
    return made

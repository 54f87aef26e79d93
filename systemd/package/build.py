"""Makes leukoscope_VERSION_DISTRIBUTION_ARCH.deb: the wheels of everything, units, launchers, documentation.

python -m systemd.package.build --distribution bookworm --arch amd64
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cyclopts

from engines.commands.terminal import Terminal, say_line
from systemd.package.distributions import DISTRIBUTIONS, MACHINES, WINDOW, Distribution
from systemd.package.wheels import ROOT, PackageError, constraints_of, download, extras, own_wheel, resolved, stored, version_of

SCRIPTS = Path(__file__).with_name("scripts")
CONSTRAINTS = Path(__file__).with_name("constraints")
CACHE = ROOT / "build" / "wheels"

FILES = (
    ("systemd/*.service", "usr/lib/systemd/system"),
    ("systemd/*.path", "usr/lib/systemd/system"),
    ("systemd/*.timer", "usr/lib/systemd/system"),
    ("systemd/*.mount", "usr/lib/systemd/system"),
    ("systemd/*.rules", "usr/lib/udev/rules.d"),
    ("systemd/*.service.d/*.conf", "usr/lib/systemd/system/*"),
    ("systemd/mosquitto/*", "usr/share/leukoscope/mosquitto"),
    ("systemd/leukoscope-*.yaml", "usr/share/leukoscope"),
    ("device/settings/device.example.yaml", "usr/share/leukoscope"),
    ("README.md", "usr/share/doc/leukoscope"),
    ("CHANGELOG.md", "usr/share/doc/leukoscope"),
    ("LICENSE", "usr/share/doc/leukoscope"),
    ("docs/*.md", "usr/share/doc/leukoscope"),
    ("docs/images/*", "usr/share/doc/leukoscope/images"),
    ("docs/schema/*", "usr/share/doc/leukoscope/schema"),
)
"""Patterns in the source tree, and where their files lie on a box; `*` at the end of a place is the file's own folder."""

RENAMED = {
    "systemd/leukoscope.sysusers": "usr/lib/sysusers.d/leukoscope.conf",
    "systemd/leukoscope.tmpfiles": "usr/lib/tmpfiles.d/leukoscope.conf",
}


def build(
    distribution: str, architecture: str, screen: bool, out: Path, tell: Callable[[str], None] = lambda text: None, fast: bool = False
) -> Path:
    """Make the package and return its path. fast: without compression, for a trial or an image. Raises PackageError."""
    target = DISTRIBUTIONS[distribution]
    epoch = source_date()
    with tempfile.TemporaryDirectory(prefix="leukoscope-deb-") as scratch:
        tell("building this project's own wheel")
        own = own_wheel(Path(scratch), epoch)
        tell(f"fetching wheels for {target.serves}, {architecture}")
        held = [ROOT / "constraints.txt", *((CONSTRAINTS / name) for name in [target.constraint.get(architecture)] if name)]
        wheels = [own, *_downloaded(own, target, architecture, screen, held)]
        tree = Path(scratch) / "tree"
        lay_out(tree, wheels, extras(target, architecture, screen), epoch)
        version = version_of(own)
        _control(tree, target, architecture, screen, version, wheels)
        _one_date(tree, epoch)
        out.mkdir(parents=True, exist_ok=True)
        deb = out / f"{name_of(screen)}_{version}_{distribution}_{architecture}.deb"
        tell(f"packing {deb.name}")
        unfinished = deb.with_name(f".{deb.name}.new")
        packing = ["-Znone"] if fast else ["-Zxz", "-z9"]
        # A window of 64 MiB sees what two bundles of the zoo share. xz by two threads takes some minutes; its blocks, and so the
        # bytes, do not depend on how many threads there are.
        command = ["dpkg-deb", "--root-owner-group", "--uniform-compression", *packing, "--build", str(tree), str(unfinished)]
        run = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"SOURCE_DATE_EPOCH": str(epoch)})
        if run.returncode != 0:
            raise PackageError(f"{deb}: dpkg-deb says: {run.stderr.strip()}")
        unfinished.replace(deb)
        return deb


def name_of(screen: bool) -> str:
    """The package's name."""
    return "leukoscope" if screen else "leukoscope-headless"


def source_date() -> int:
    """SOURCE_DATE_EPOCH, else the time of the commit, else now: seconds."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    run = subprocess.run(["git", "-C", str(ROOT), "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False)
    return int(run.stdout) if run.returncode == 0 and run.stdout.strip() else int(time.time())


def lay_out(tree: Path, wheels: list[Path], brings: str, epoch: int) -> None:
    """Put all files where they lie on a box, below `tree`. brings: see `extras`."""
    for source, place in _files():
        _copy(source, tree / place)
    for name, place in RENAMED.items():
        _copy(ROOT / name, tree / place)
    (tree / "usr/lib/leukoscope/wheels").mkdir(parents=True)
    for wheel in wheels:
        stored(wheel, tree / "usr/lib/leukoscope/wheels" / wheel.name, epoch)
    _copy(SCRIPTS / "install", tree / "usr/lib/leukoscope/install", 0o755)
    for program in ("leukoscope", "attridet"):
        _copy(SCRIPTS / "launcher", tree / "usr/bin" / program, 0o755)
    own = wheels[0]
    (tree / "usr/lib/leukoscope/version").write_text(f"{version_of(own)}\n")
    exact = f"leukoscope{brings}=={own.name.split('-')[1]}"
    (tree / "usr/lib/leukoscope/requirement").write_text(f"{exact}\n")


def _files() -> Iterator[tuple[Path, str]]:
    for pattern, place in FILES:
        for source in sorted(ROOT.glob(pattern)):
            if source.is_file():
                yield source, f"{place.replace('*', source.parent.name)}/{source.name}"


def _copy(source: Path, target: Path, mode: int = 0o644) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _downloaded(own: Path, target: Distribution, architecture: str, screen: bool, constraints: list[Path]) -> list[Path]:
    """Others' wheels; fetched once for the same list of packages and versions."""
    pinned = resolved(own, target, architecture, screen, constraints_of(constraints))
    wanted = hashlib.sha256("\n".join(pinned).encode()).hexdigest()[:12]
    folder = CACHE / f"{target.name}-{architecture}-{'screen' if screen else 'headless'}-{wanted}"
    if (folder / "complete").exists():
        return sorted(folder.glob("*.whl"))
    shutil.rmtree(folder, ignore_errors=True)
    wheels = download(pinned, folder, target, architecture)
    (folder / "complete").touch()
    return wheels


def _control(tree: Path, target: Distribution, architecture: str, screen: bool, version: str, wheels: list[Path]) -> None:
    major, minor = target.python
    depends = [f"python3 (>= {major}.{minor})", f"python3 (<< {major}.{minor + 1})", "python3-venv", "libglib2.0-0 | libglib2.0-0t64"]
    depends += WINDOW if screen else ()
    name, other = name_of(screen), name_of(not screen)
    # Beside the files themselves the environment that is made of them, of about the same size.
    size_kib = sum(each.stat().st_size for each in tree.rglob("*") if each.is_file()) // 512
    lines = [
        f"Package: {name}",
        f"Version: {version}",
        f"Architecture: {architecture}",
        "Section: science",
        "Priority: optional",
        "Maintainer: Leukoscope developers <leukoscope@example.org>",
        f"Installed-Size: {size_kib}",
        f"Depends: {', '.join(depends)}",
        f"Conflicts: {other}",
        f"Replaces: {other}",
        f"Provides: {other}" if screen else "Suggests: leukoscope",
        "Recommends: mosquitto" if screen else "Enhances: mosquitto",
        "Description: A second pair of eyes for leukaemia beside a low-cost microscope",
        " It names white blood cells for a technician, keeps the slide's record and publishes a",
        " summary. It informs a person and never diagnoses.",
        f" For {target.serves}{'' if screen else '; without a screen and OpenVINO'}.",
    ]
    control = tree / "DEBIAN"
    control.mkdir()
    (control / "control").write_text("\n".join(lines) + "\n")
    for script in ("postinst", "prerm", "postrm"):
        _copy(SCRIPTS / script, control / script, 0o755)
    sums = (
        f"{hashlib.md5(each.read_bytes(), usedforsecurity=False).hexdigest()}  {each.relative_to(tree)}\n" for each in _content(tree)
    )
    (control / "md5sums").write_text("".join(sums))


def _content(tree: Path) -> Iterator[Path]:
    return (each for each in sorted(tree.rglob("*")) if each.is_file() and "DEBIAN" not in each.relative_to(tree).parts)


def _one_date(tree: Path, epoch: int) -> None:
    for each in (*tree.rglob("*"), tree):
        os.utime(each, (epoch, epoch))
        if each.is_dir():
            each.chmod(0o755)


def main(
    *, distribution: str = "bookworm", arch: str = "amd64", headless: bool = False, fast: bool = False, out: Path = ROOT / "dist"
) -> int:
    """Make the Debian package, with every library in it.

    Args:
        distribution: bookworm, jammy or noble; "all" makes them all.
        arch: amd64 or arm64; "all" makes both.
        headless: Without the libraries of a window, and without OpenVINO.
        fast: Without compression: three times as large, and made in half a minute; for a trial, or to make an image of.
        out: Folder it is put into.
    """
    names = list(DISTRIBUTIONS) if distribution == "all" else [distribution]
    architectures = list(MACHINES) if arch == "all" else [arch]
    for given, known, option in ((names, DISTRIBUTIONS, "distribution"), (architectures, MACHINES, "arch")):
        for each in given:
            if each not in known:
                say_line(f"--{option} {each}: not known; take one of {', '.join(known)}, all")
                return 2
    with Terminal() as terminal:
        for name in names:
            for architecture in architectures:
                try:
                    deb = build(name, architecture, not headless, out, say_line, fast)
                except PackageError as error:
                    say_line(str(error))
                    return 1
                terminal.message(f"{deb}: {deb.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(cyclopts.run(main))

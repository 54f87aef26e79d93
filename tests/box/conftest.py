"""What the tests of package and image share: the package of this source tree, a clean Debian to put it into, and an image of it."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from systemd.image import build as images
from systemd.package.build import build

log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.box)
            item.add_marker(pytest.mark.timeout(1500))


@pytest.fixture(scope="session", autouse=True)
def _needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("packages are installed into a chroot: needs root")


@pytest.fixture(scope="session")
def deb() -> Path:
    """The package for Debian 12 on amd64: the file that LEUKOSCOPE_DEB names, else made from this tree."""
    if named := os.environ.get("LEUKOSCOPE_DEB"):
        return Path(named)
    return build("bookworm", "amd64", True, ROOT / "build" / "deb", fast=True)


@pytest.fixture(scope="session")
def debian(deb: Path) -> Path:
    """Tar of a Debian 12 with systemd and what the package depends on, and nothing else."""
    told = subprocess.run(["dpkg-deb", "-f", deb, "Depends"], capture_output=True, text=True, check=True).stdout
    names = sorted({each.split("|")[0].split("(")[0].strip() for each in told.split(",")} | {"systemd", "udev", "procps"})
    digest = hashlib.sha256(" ".join(names).encode()).hexdigest()[:12]
    tar = ROOT / "build" / "cache" / f"chroot-bookworm-{digest}.tar"
    if not tar.exists():
        tar.parent.mkdir(parents=True, exist_ok=True)
        trial = tar.with_suffix(".new.tar")
        command = ["mmdebstrap", "--mode=root", "--variant=minbase", "--quiet", '--aptopt=APT::Install-Recommends "false"']
        subprocess.run([*command, f"--include={','.join(names)}", "bookworm", trial], check=True)
        trial.rename(tar)
    return tar


class Chroot:
    """A Debian below a folder. Nothing that runs in it reaches a network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def command(self, *words: str | Path) -> list[str]:
        """What runs `words` inside, in namespaces of its own: what is mounted and started goes with it."""
        mounts = "mount --rbind /dev dev && mount -t proc proc proc && mount -t tmpfs tmpfs run && "
        return [
            *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec"),
            f'cd "{self.folder}"; {mounts} exec chroot . "$@"',
            "sh",
            *map(str, words),
        ]

    def run(self, *words: str | Path, check: bool = True, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "HOME": "/root",
        }
        run = subprocess.run(self.command(*words), capture_output=True, text=True, check=False, timeout=timeout, env=environment)
        assert not check or run.returncode == 0, f"{words}: {run.returncode}\n{run.stdout}\n{run.stderr}"
        return run

    def current(self) -> Path:
        """The environment in use, as a path below `folder`."""
        return (self.folder / "opt/leukoscope/current").readlink().relative_to("/")

    def put(self, file: Path, name: str | None = None) -> str:
        """A file of outside, in /tmp; its path inside."""
        shutil.copyfile(file, self.folder / "tmp" / (name or file.name))
        return f"/tmp/{name or file.name}"


def unpacked(tar: Path, folder: Path) -> Chroot:
    """A Debian from its tar, below `folder`."""
    folder.mkdir()
    subprocess.run(["tar", "--numeric-owner", "-xpf", tar, "-C", folder, "--exclude=./dev/*"], check=True)
    return Chroot(folder)


@contextmanager
def layered(tree: Path, room: Path) -> Iterator[Chroot]:
    """The Debian below `tree` with a layer of its own in `room`, where all that is changed lies; it goes at the end."""
    upper, work, merged = (room / name for name in ("upper", "work", "debian"))
    for each in (upper, work, merged):
        each.mkdir()
    options = f"lowerdir={tree},upperdir={upper},workdir={work}"
    if subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged], check=False, capture_output=True).returncode != 0:
        pytest.skip("no overlay can be mounted here")
    yield Chroot(merged)
    subprocess.run(["umount", merged], check=True)
    shutil.rmtree(room, ignore_errors=True)


@pytest.fixture(scope="session")
def clean_tree(debian: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Debian without the package."""
    box = unpacked(debian, tmp_path_factory.mktemp("clean") / "debian")
    yield box.folder
    shutil.rmtree(box.folder)


@pytest.fixture
def clean(clean_tree: Path, tmp_path: Path) -> Iterator[Chroot]:
    """The same for one test."""
    with layered(clean_tree, tmp_path) as box:
        yield box


@pytest.fixture(scope="session")
def installed_tree(debian: Path, deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clean Debian with the package in it, put there by apt without a network."""
    box, started = unpacked(debian, tmp_path_factory.mktemp("installed") / "debian"), time.monotonic()
    box.run("apt-get", "install", "-y", box.put(deb, "leukoscope.deb"))
    log.info("installed in %.0f s", time.monotonic() - started)
    yield box.folder
    shutil.rmtree(box.folder)


@pytest.fixture
def installed(installed_tree: Path, tmp_path: Path) -> Iterator[Chroot]:
    """The same for one test: what it changes lies in a layer of its own."""
    with layered(installed_tree, tmp_path) as box:
        yield box


@pytest.fixture(scope="session")
def built(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a build by its name; the Debian below comes from the cache."""
    if os.geteuid() != 0:
        pytest.skip("an image is made as root")
    room, made = tmp_path_factory.mktemp("images"), set[str]()

    def build_once(name: str) -> Path:
        folder = room / name
        if name not in made:
            images.build(images.Wanted("amd64", deb, folder, ROOT / "build/cache", compression="fast"), images.commit_time(ROOT))
            made.add(name)
        return folder

    return build_once


@pytest.fixture(scope="session")
def image(built: Callable[[str], Path]) -> Path:
    """The image that is shipped: the file that LEUKOSCOPE_IMAGE names, else made from this tree."""
    if named := os.environ.get("LEUKOSCOPE_IMAGE"):
        return Path(named)
    return next(built("first").glob("leukoscope-*.img"))

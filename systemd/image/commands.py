"""Programs of Debian's, called by the scripts that make an image: one place for their faults and for the clock they are told."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

MIB = 1 << 20
ARCHITECTURES = ("amd64", "arm64")


class ImageError(Exception):
    """No image can be made; one line that names the file or program and the next step. exit_code: 2 where a person must change
    something, 1 where a program failed."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run(*command: str | Path, epoch: int | None = None, text: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """What the program printed.

    epoch: seconds since 1970 that it shall write as time of everything it makes. text: its standard input.
    Raises ImageError: it is not installed, or failed; with the last line that it said.
    """
    words = [os.fspath(each) for each in command]
    env = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC", **(environment or {})}
    if epoch is not None:
        env |= {"SOURCE_DATE_EPOCH": str(epoch), "E2FSPROGS_FAKE_TIME": str(epoch)}
    # A shell's path on Debian lacks the folders of administration where one is no administrator; mke2fs and sfdisk lie there.
    env["PATH"] = f"{env.get('PATH', '')}:/usr/sbin:/sbin"
    try:
        done = subprocess.run(words, env=env, input=text or "", capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ImageError(f"{words[0]}: not installed; `make box-packages` installs what an image needs") from error
    if done.returncode != 0:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise ImageError(f"{' '.join(words[:4])}…: ended with {done.returncode}: {' | '.join(said[-4:]) or 'nothing'}", 1)
    return done.stdout


def inside(root: Path, *command: str, epoch: int | None = None) -> str:
    """A program of the tree `root`, run in it (as root; of another architecture by qemu-user-static)."""
    need_root("a program of the image is run inside it")
    settings = {"DEBIAN_FRONTEND": "noninteractive", "HOME": "/root", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": "/tmp"}
    return run("/usr/sbin/chroot", root, *command, epoch=epoch, environment=settings)


def need_root(why: str) -> None:
    """Raises ImageError where this process is not root's."""
    if os.geteuid() != 0:
        raise ImageError(f"not root: {why}; run it by sudo")


def fresh(folder: Path) -> Path:
    """The folder, empty."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def put_text(path: Path, lines: Sequence[str] | str, mode: int = 0o644) -> None:
    """A file of these lines, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(lines if isinstance(lines, str) else "\n".join(lines) + "\n", encoding="utf-8")
    path.chmod(mode)

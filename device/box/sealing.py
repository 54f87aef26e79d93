"""Secrets encrypted for this machine by systemd, readable by the daemon's unit alone; where systemd is too old, files that root and the
daemon may read.
"""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from device.errors import LeukoscopeError
from engines.files import atomic_write

GROUP = "leukoscope"


class SealingError(LeukoscopeError):
    """A secret can be kept neither sealed nor in a file; the message names it and the next step."""


def seal(name: str, secret: bytes, folder: Path) -> bool:
    """Keep a secret below `folder` as NAME.cred; False where this system seals nothing, and nothing was written.

    name: of the credential, as leukoscope.service loads it. The secret goes through a pipe, and lies in clear on no disk.
    """
    if shutil.which("systemd-creds") is None:
        return False
    command = ["systemd-creds", "encrypt", f"--name={name}", "-", "-"]
    try:
        run = subprocess.run(command, input=secret, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SealingError(f"{name}: systemd-creds does not answer ({error}); try again") from error
    if run.returncode != 0:
        words = (run.stderr.decode(errors="replace").strip().splitlines() or ["nothing"])[-1]
        raise SealingError(f"{name}: systemd-creds says: {words}; nothing was changed")
    keep(folder / f"{name}.cred", run.stdout, 0o600)
    return True


def closed_folder(folder: Path) -> None:
    """Make a folder that root writes and the daemon reads, and nobody else looks into."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(LookupError):
        shutil.chown(folder, group=GROUP)
        folder.chmod(0o750)


def keep(path: Path, content: bytes, mode: int, group: bool = False) -> None:
    """Write a file that is whole or the former one, in a `closed_folder`. group: the daemon may read it."""
    atomic_write(path, content)
    if group:
        with suppress(LookupError):
            shutil.chown(path, group=GROUP)
    path.chmod(mode)

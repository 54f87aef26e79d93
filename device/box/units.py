"""Asking systemd, where it runs this machine."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

_LIMIT_S = 30


def reload_daemon() -> None:
    """Let a daemon that runs take its new settings, in order; one that does not run is left so. Does not wait for it."""
    if not Path("/run/systemd/system").is_dir():
        return
    with suppress(OSError, subprocess.TimeoutExpired):
        command = ["systemctl", "--no-block", "try-reload-or-restart", "leukoscope.service"]
        subprocess.run(command, capture_output=True, check=False, timeout=_LIMIT_S)


def reboot() -> None:
    """Restart the whole box in order: every program ends first, so the record is closed. Does not wait for it.

    Raises OSError, subprocess.SubprocessError.
    """
    subprocess.run(["systemctl", "--no-block", "reboot"], capture_output=True, check=True, timeout=_LIMIT_S)

"""Restarting a box that a person at the service page asked to restart: only where no slide is open. For root.

The request is taken away first, so that a box that refuses, or comes back, is not asked again.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from device.box import requests
from device.box.boot import alive
from device.box.progress import FAILED, FOLDER, RUNNING, tell
from device.box.units import reboot
from device.errors import LeukoscopeError
from device.language import N_, Sentence
from device.service.control import ControlError, ask_status

REQUEST = requests.FOLDER / "restart.json"
RESTARTS = N_("The box restarts.")
SLIDE_OPEN = N_("A slide is open: finish or abort it, then restart.")


def restart(control: Path, request: Path = REQUEST, folder: Path = FOLDER, by: Callable[[], None] = reboot) -> tuple[bool, str]:
    """Whether the box restarts, and one sentence about it, told in `folder` too. control: the daemon's socket."""
    try:
        request.unlink()
    except FileNotFoundError:
        return False, f"{request}: nobody asked for a restart"
    except OSError as error:
        words = N_("{file} cannot be taken away ({why}), so the box is not restarted.")
        return _refused(Sentence(words, file=request, why=error.strerror), folder)
    try:
        if slide_in_hand(control, folder):
            return _refused(SLIDE_OPEN, folder)
    except LeukoscopeError as error:
        words = N_("The box is not restarted, nobody knows whether a slide is open: {why}")
        return _refused(Sentence(words, why=error), folder)
    tell("restart", RUNNING, RESTARTS, folder=folder)
    try:
        by()
    except (OSError, subprocess.SubprocessError) as error:
        return _refused(Sentence(N_("The box cannot be restarted ({why}); switch it off and on."), why=error), folder)
    return True, RESTARTS


def slide_in_hand(control: Path, folder: Path = FOLDER) -> bool:
    """Whether the daemon has a slide open. Raises ControlError: it runs and does not answer.

    A daemon that does not run counts nothing; the slide that it left open is taken up again at the next start.
    """
    try:
        return ask_status(control).get("slide") is not None
    except ControlError:
        if alive(folder):
            raise
        return False


def _refused(words: str, folder: Path) -> tuple[bool, str]:
    tell("restart", FAILED, words, folder=folder)
    return False, words

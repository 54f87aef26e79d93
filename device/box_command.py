"""`leukoscope box …`: what surrounds the daemon on a flashed box. Reads the command line and calls the room `box`."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from device.options import DEFAULT_CONFIG, ConfigOption, Count

if TYPE_CHECKING:
    from device.box.first_boot import Page

box = App(name="box", help="A flashed box: how far its boot is, its screen, provisioning, updates.")

BOOT_FOLDER = Path("/run/leukoscope-boot")
REQUESTS = Path("/run/leukoscope/requests")
"""What the screen asks of root, a file each."""


@box.command
def progress(*, folder: Path = BOOT_FOLDER) -> int:
    """Print how far the boot is, one line a step; exit code 1 where one failed.

    Args:
        folder: Where the steps are told.
    """
    from device.box.progress import FAILED, read

    steps = read(folder)
    for step in steps:
        share = "" if step.percent is None else f" {step.percent} %"
        sys.stdout.write(f"{step.step:15} {step.state}{share}: {step.words}\n")
    if not steps:
        sys.stdout.write(f"{folder}: nothing was told of a boot.\n")
    return 1 if any(step.state == FAILED for step in steps) else 0


@box.command
def screen(
    *,
    folder: Path = BOOT_FOLDER,
    config: ConfigOption = DEFAULT_CONFIG,
    picture: Path | None = None,
    width: Count = 1920,
    height: Count = 1080,
) -> int:
    """The screen of a boot, until it is ended: what happens, what failed, which box this is. The kiosk's own window, below all others.

    Args:
        folder: Where the steps are told.
        picture: Draw it once into this PNG instead, without a screen.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
    """
    if find_spec("PySide6") is None:
        sys.stderr.write(
            "PySide6 is not installed, so there is no screen: pip install leukoscope[screen], or the package with a screen\n"
        )
        return 2
    from device.box import kiosk_window
    from device.box.first_boot import current_page

    def page() -> Page:
        return current_page(folder, config)

    if picture is None:
        return kiosk_window.show(page)
    kiosk_window.draw(page(), (width, height), picture)
    return 0


@box.command
def provision(folder: Path | None = None, /, *, config: ConfigOption = DEFAULT_CONFIG) -> int:
    """Apply leukoscope-setup.yaml, if one lies on the boot partition or a stick: once, whole, and wiped afterwards. For root.

    Args:
        folder: Look there too.
    """
    from device.box import progress
    from device.box.provisioning import Places, provision

    progress.tell("provision", progress.RUNNING, "Looking for settings.")
    done = provision(Places(config=config), folder)
    progress.tell("provision", progress.FAILED if done.failed else progress.DONE, done.words)
    (sys.stderr if done.failed else sys.stdout).write(f"{done.words}\n")
    if done.applied:
        from device.box.units import reload_daemon

        reload_daemon()
    return 2 if done.failed else 0


@box.command
def sticks(*, tell: bool = False, folder: Path = BOOT_FOLDER) -> int:
    """Print the sticks in this box and what on them is meant for it; exit code 1 where one cannot be read. Needs root.

    Args:
        tell: Write it to stick.json in the folder as well, for the daemon.
        folder: Where the steps of the boot are told.
    """
    from device.box.sticks import SETUP, StickError, look, tell_found
    from device.box.sticks import sticks as all_sticks

    try:
        found = tell_found(folder) if tell else tuple(look(stick) for stick in all_sticks())
    except (StickError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for each in found:
        there = ", ".join((*each.bundles, *([SETUP] if each.setup else ()))) or "nothing for this box"
        sys.stdout.write(f"{each.stick.name}: {each.fault or there}\n")
    if not found:
        sys.stdout.write("No stick is plugged in.\n")
    return 1 if any(each.fault for each in found) else 0


@box.command
def restart(*, config: ConfigOption = DEFAULT_CONFIG, folder: Path = BOOT_FOLDER) -> int:
    """Restart the box because somebody at its service page asked for it, unless a slide is open. For root; exit code 1: not restarted.

    Args:
        folder: Where it is told how it goes.
    """
    from device.box.restart import REQUEST
    from device.box.restart import restart as restarted
    from device.settings.config_file import load_config

    done, words = restarted(load_config(config).control_path, REQUEST, folder)
    (sys.stdout if done else sys.stderr).write(f"{words}\n")
    return 0 if done else 1


@box.command(name="support-bundle")
def support_bundle_request(*, request: Path = REQUESTS / "support-bundle.json", config: ConfigOption = DEFAULT_CONFIG) -> int:
    """Answer the screen's request: write a support bundle to the stick, and tell the screen. For root.

    Args:
        request: The file by which it was asked; it is removed first.
    """
    from device.box import progress
    from device.box.support import make_on_stick
    from device.errors import LeukoscopeError
    from device.settings.config_file import load_config

    request.unlink(missing_ok=True)
    try:
        progress.tell("support-bundle", progress.RUNNING, "Collecting what helps to find a fault.")
        done = make_on_stick(load_config(config), lambda words: None)
    except LeukoscopeError as error:
        progress.tell("support-bundle", progress.FAILED, str(error))
        sys.stderr.write(f"{error}\n")
        return 1
    words = f"{done.path.name} lies on the stick {done.path.parent.name}; nothing of a patient is in it."
    progress.tell("support-bundle", progress.DONE, words)
    sys.stdout.write(f"{words}\n")
    return 0

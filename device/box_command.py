"""`leukoscope box …`: what surrounds the daemon on a flashed box. Reads the command line and calls the room `box`."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from device.box import requests
from device.language import N_, Sentence, words_of
from device.options import DEFAULT_CONFIG, ConfigOption, Count

if TYPE_CHECKING:
    from device.box.first_boot import Page

box = App(name="box", help="A flashed box: how far its boot is, its screen, provisioning, updates.")

BOOT_FOLDER = Path("/run/leukoscope-boot")


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

    progress.tell("provision", progress.RUNNING, N_("Looking for settings."))
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


@box.command
def update(
    *, request: Path = requests.FOLDER / "update.json", folder: Path = BOOT_FOLDER, config: ConfigOption = DEFAULT_CONFIG
) -> int:
    """Install the update that a person asked for on the screen into the slot that does not run. For root.

    Args:
        request: What was asked for; it is removed.
        folder: Where the steps are told.
    """
    from device.box import progress
    from device.box.restart import slide_in_hand
    from device.box.update import UpdateError, take_request
    from device.box.update import update as install
    from device.errors import LeukoscopeError
    from device.settings.config_file import load_config

    def tell(words: str, percent: int | None) -> None:
        progress.tell("update", progress.RUNNING, words, percent, folder=folder)

    try:
        asked = take_request(request)
        settings = load_config(config)
        if slide_in_hand(settings.control_path, folder):
            raise UpdateError(N_("A slide is open; close it first, then ask for the update again."))
        version = install(asked, settings.update_offer_path, tell)
    except (LeukoscopeError, OSError) as error:
        failed = Sentence(N_("The update failed ({why}); restart the box and ask again."), why=error)
        words = words_of(error) if isinstance(error, LeukoscopeError) else failed
        progress.tell("update", progress.FAILED, words, folder=folder)
        sys.stderr.write(f"{words}\n")
        return 2
    words = Sentence(N_("Version {version} is installed; restart the box to use it."), version=version)
    progress.tell("update", progress.DONE, words, folder=folder)
    sys.stdout.write(f"{words}\n")
    return 0


@box.command(name="support-bundle")
def support_bundle_request(*, request: Path = requests.FOLDER / "support-bundle.json", config: ConfigOption = DEFAULT_CONFIG) -> int:
    """Answer the screen's request: write a support bundle to the stick, and tell the screen. For root.

    Args:
        request: The file by which it was asked; it is removed first.
    """
    from device.box import progress
    from device.box.support import make_on_stick
    from device.errors import LeukoscopeError
    from device.settings.config_file import load_config

    said = None
    with suppress(FileNotFoundError):  # by hand, without a request
        said = requests.take(request)
    wanted = str(said.get("stick") or "") if isinstance(said, dict) else ""
    try:
        progress.tell("support-bundle", progress.RUNNING, N_("Collecting what helps to find a fault."))
        done = make_on_stick(load_config(config), lambda words: None, wanted)
    except LeukoscopeError as error:
        progress.tell("support-bundle", progress.FAILED, words_of(error))
        sys.stderr.write(f"{error}\n")
        return 1
    words = N_("{file} lies on the stick {stick}; nothing of a patient is in it.")
    words = Sentence(words, file=done.path.name, stick=done.path.parent.name)
    progress.tell("support-bundle", progress.DONE, words)
    sys.stdout.write(f"{words}\n")
    return 0


@box.command
def mark_good(*, folder: Path = BOOT_FOLDER, config: ConfigOption = DEFAULT_CONFIG, deadline_s: Count = 900, hold_s: Count = 30) -> int:
    """Judge the version that was booted, and mark its slot good. For root; exit code 1 where it is not good.

    Args:
        folder: Where the steps are told.
        deadline_s: A version that is not good then, and never was, is left where the other slot is good.
        hold_s: So long pictures must go through a new version.
    """
    from device.box import good, progress
    from device.box.slots import SlotError, call_rauc, read_slots, running_version, version_newer
    from device.box.units import reboot
    from device.service.control import ask_status
    from device.settings.config_file import load_config

    def say(words: str) -> None:
        sys.stdout.write(f"{words}\n")
        sys.stdout.flush()

    fault: list[str] = []  # of the outbox's trial, which is made until it succeeds once

    def outbox() -> str:
        if not fault or fault[-1]:
            fault.append(good.outbox_fault(good.REMEMBERED.parent))
        return fault[-1]

    def looking() -> good.Look:
        return good.look(lambda: ask_status(load_config(config).control_path), outbox, folder)

    version = running_version()
    try:
        slots = read_slots()
        if (left := slots.other) is not None and left.good is False and left.version and version_newer(left.version, version):
            words = N_("Version {left} did not come up and was left; this box goes on with {version}.")
            words = Sentence(words, left=left.version, version=version)
            progress.tell("update", progress.FAILED, words, folder=folder)
            say(words)
        verdict = good.judge(version, slots, looking, known=good.was_good(version), deadline_s=deadline_s, hold_s=hold_s, say=say)
        say(f"verdict: {verdict.words}")
        if verdict.good:
            call_rauc("status", "mark-good")
            good.remember(version)
    except SlotError as error:
        sys.stderr.write(f"verdict: none, since the slots cannot be asked: {error}\n")
        return 1
    if verdict.restart:
        with suppress(OSError, subprocess.SubprocessError):
            reboot()
    return 0 if verdict.good else 1

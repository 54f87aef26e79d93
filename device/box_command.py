"""`leukoscope box …`: what surrounds the daemon on a flashed box. Reads the command line and calls the room `box`."""

from __future__ import annotations

import sys
from pathlib import Path

from cyclopts import App

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

"""The words of `leukoscope qc`; the work is `device.service.quality`'s."""

from __future__ import annotations

import sys

from cyclopts import App

from device.options import DEFAULT_CONFIG, ConfigOption

qc = App(name="qc", help="The known slide of the day: how it came out (without a word more), and which slide is its reference.")


@qc.default
def show(*, config: ConfigOption = DEFAULT_CONFIG) -> int:
    """How the known slide came out, newest first; exit code 1 where none was passed today."""
    from device.service.quality import show as show_checks
    from device.settings.config_file import load_config

    words, passed = show_checks(load_config(config))
    sys.stdout.write(f"{words}\n")
    return 0 if passed else 1


@qc.command
def reference(slide_id: str, /, *, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Make a slide the reference: one of the known specimen, whose count a person has looked through.

    Args:
        slide_id: As `leukoscope slides` shows it.
    """
    from device.service.quality import make_reference
    from device.settings.config_file import load_config

    sys.stdout.write(f"{make_reference(load_config(config), slide_id)}\n")

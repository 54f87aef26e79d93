"""The words of `leukoscope calibrate`; the work is `device.service.calibrate`'s."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from device.options import DEFAULT_CONFIG, ConfigOption

calibrate = App(name="calibrate", help="Measure the optics of this microscope: white balance, flat-field, scale.")
Step = Annotated[float, Parameter(validator=Number(gt=0, lte=1000))]


@calibrate.command(name="guide")
def calibrate_guide(*, step_um: Step = 10.0, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Be led through both measurements with the camera.

    Args:
        step_um: Micrometres from line to line of the stage micrometer.
    """
    from device.service.calibrate import guide as lead
    from device.settings.config_file import load_config

    lead(load_config(config), step_um)


@calibrate.command(name="blank")
def calibrate_blank(pictures: Sequence[Path] = (), /, *, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """White balance and flat-field from a blank field.

    Args:
        pictures: Pictures of a blank field, or a folder of them; default: the camera.
    """
    from device.service.calibrate import blank
    from device.settings.config_file import load_config

    sys.stdout.write(f"{blank(load_config(config), tuple(pictures))}\n")


@calibrate.command(name="scale")
def calibrate_scale(
    pictures: Sequence[Path] = (), /, *, step_um: Step = 10.0, film: Path | None = None, config: ConfigOption = DEFAULT_CONFIG
) -> None:
    """Micrometres a pixel from a stage micrometer.

    Args:
        pictures: Pictures of its lines, best one upright and one level; default: the camera.
        step_um: Micrometres from line to line.
        film: A picture of a film with the same objective, as a check by its red cells.
    """
    from device.service.calibrate import scale
    from device.settings.config_file import load_config

    sys.stdout.write(f"{scale(load_config(config), tuple(pictures), step_um, film)}\n")


@calibrate.command(name="use")
def calibrate_use(version: str, /, *, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Put a version in use that was measured before.

    Args:
        version: Its number, or base.
    """
    from device.service.calibrate import use as use_version
    from device.settings.config_file import load_config

    sys.stdout.write(f"{use_version(load_config(config), version)}\n")


@calibrate.command(name="back")
def calibrate_back(*, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Take the version in use back, to the one before it."""
    from device.service.calibrate import back as take_version_back
    from device.settings.config_file import load_config

    sys.stdout.write(f"{take_version_back(load_config(config))}\n")


@calibrate.command(name="show")
def calibrate_show(*, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """What is in use, and every change so far."""
    from device.service.calibrate import show as show_versions
    from device.settings.config_file import load_config

    sys.stdout.write(f"{show_versions(load_config(config))}\n")

"""`leukoscope run`: a configuration with the command line's wishes on top, run until it is stopped."""

from __future__ import annotations

from device.app import Outcome, run
from device.config import Config
from device.display.factory import parse_display


def run_configured(config: Config, display: str | None, start: bool, wait_for_devices: bool) -> Outcome:
    """Run `config`; `display` ("screen", "none", "file:DIR") and `start` take precedence over the file."""
    changes: dict[str, object] = {}
    if display is not None:
        changes["display"] = parse_display(display, config.display)
    if start:
        changes["slide"] = config.slide.model_copy(update={"auto_start": True})
    return run(config.model_copy(update=changes), wait_for_devices=wait_for_devices)

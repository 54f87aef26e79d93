"""`leukoscope run`: a configuration with the command line's wishes on top, run until it is stopped."""

from __future__ import annotations

from pathlib import Path

from device.app import Outcome, run
from device.display.factory import parse_display
from device.settings.config import Config


def run_configured(
    config: Config,
    display: str | None,
    start: bool,
    wait_for_devices: bool,
    record: Path | None = None,
    record_every_s: float | None = None,
) -> Outcome:
    """Run `config`; `display` ("screen", "none", "file:DIR"), `start`, `record` (a folder) and its pace go before the file."""
    changes: dict[str, object] = {}
    if display is not None:
        changes["display"] = parse_display(display, config.display)
    if start:
        changes["slide"] = config.slide.model_copy(update={"auto_start": True})
    frames: dict[str, object] = {"directory": record, "every_s": record_every_s}
    changes["frames"] = config.frames.model_copy(update={key: value for key, value in frames.items() if value is not None})
    return run(config.model_copy(update=changes), wait_for_devices=wait_for_devices)

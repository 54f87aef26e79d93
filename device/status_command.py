"""`leukoscope status`: what the running daemon says of itself, for scripts or for a person."""

from __future__ import annotations

import json
import sys

from device.options import DEFAULT_CONFIG, ConfigOption


def status(*, words: bool = False, config: ConfigOption = DEFAULT_CONFIG) -> int:
    """What the running daemon does, as JSON. Exit code 1 with --words where something needs a person.

    Args:
        words: In words for a person, what needs one first.
    """
    from device.mqtt.device_status import read_status
    from device.service.control import ask_status
    from device.service.status_words import status_words
    from device.settings.config_file import load_config

    told = ask_status(load_config(config).control_path)
    if not words:
        sys.stdout.write(f"{json.dumps(told, indent=2)}\n")
        return 0
    alarms, calm = status_words(read_status(json.dumps(told).encode()).payload)
    sys.stdout.write("".join(f"{line}\n" for line in [*(f"! {line}" for line in alarms), *calm]))
    return 1 if alarms else 0

"""`leukoscope check-config`: whether a configuration can be used, as `run` would find."""

from __future__ import annotations

import sys
from pathlib import Path

from device.options import DEFAULT_CONFIG


def check_config(config: Path = DEFAULT_CONFIG, /) -> None:
    """Say whether a configuration can be used, every fault with its line, and print what it amounts to.

    It opens what the configuration names, as run does: engine, profile, pictures, certificates; nothing is changed. Notes name what
    may pass by itself, and what works but is careless.

    Args:
        config: The configuration file (YAML).
    """
    from device.errors import ConfigError
    from device.service.checking import check
    from device.settings.config_file import describe, key_lines, load_config

    loaded = load_config(config)
    told = check(loaded)
    line = key_lines(config)
    worded = [(each.fault, f"{config}:{line(each.key)}: {'.'.join(each.key)}: {each.words}") for each in told]
    if faults := [words for fault, words in worded if fault]:
        raise ConfigError("\n".join(faults))
    notes = "".join(f"note: {words}\n" for _fault, words in worded)
    sys.stdout.write(f"{describe(loaded)}{notes}{config}: good\n")

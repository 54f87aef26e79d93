"""Which box this is: version, slot, device id and language, read from what its image, boot loader and configuration say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

from device.language import LANGUAGES

CONFIG = Path("/etc/leukoscope/device.yaml")
OS_RELEASE = Path("/etc/os-release")
IMAGE_ID = "leukoscope"
"""What /etc/os-release of a flashed box says."""


@dataclass(frozen=True)
class About:
    """Which box this is. Empty where it cannot be known. flashed: it runs from an image of ours, not from a package."""

    version: str = ""
    slot: str = ""
    device_id: str = ""
    language: str = "en"
    time_trusted: bool = False
    flashed: bool = False


def about(
    version: str,
    config: Path = CONFIG,
    os_release: Path = OS_RELEASE,
    command_line: Path = Path("/proc/cmdline"),
    time_trusted: bool = False,
) -> About:
    """Which box this is, from its image, its boot loader and its configuration; what cannot be read is left empty.

    The configuration is not validated here: that takes a second which the first picture of a boot must not wait for.
    """
    release = release_of(os_release)
    image = release.get("IMAGE_VERSION", "")
    slot = re.search(r"(?:^|\s)rauc\.slot=(\S+)", _text(command_line))
    shown = version if not image or image == version else f"{image} ({version})"
    device_id, language = _configured(_text(config))
    flashed = bool(image) and release.get("IMAGE_ID") == IMAGE_ID
    return About(shown, slot[1] if slot else "", device_id, language, time_trusted, flashed)


def release_of(path: Path = OS_RELEASE) -> dict[str, str]:
    """What an os-release file says, by name, without quotation marks; nothing where it cannot be read."""
    pairs = (line.partition("=") for line in _text(path).splitlines() if "=" in line)
    return {name: value.strip().strip("\"'") for name, _, value in pairs}


@lru_cache(maxsize=1)
def _configured(text: str) -> tuple[str, str]:
    """Device id and language of a configuration; the id empty and English where it says none or cannot be read."""
    try:
        said = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return "", "en"
    sections = said if isinstance(said, dict) else {}
    device, display = (part if isinstance(part := sections.get(name), dict) else {} for name in ("device", "display"))
    device_id, language = device.get("id"), display.get("language")
    return (device_id if isinstance(device_id, str) else ""), (
        language if isinstance(language, str) and language in LANGUAGES else "en"
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:200_000]
    except OSError:
        return ""

"""What on a stick is for this box: a setup file, updates. Told to the screen by a file; nothing of it is used here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from device.box.setup_file import NAME
from device.box.sticks import Stick, StickError, mounted, sticks
from engines.files import atomic_write

FILE = "stick.json"
_MOST = 20


@dataclass(frozen=True)
class Content:
    """setup: a setup file lies there. bundles: names of update bundles. fault: why it could not be read, or ""."""

    stick: Stick
    setup: bool = False
    bundles: tuple[str, ...] = ()
    fault: str = ""

    @property
    def words(self) -> str:
        """In one line."""
        if self.fault:
            return self.fault
        parts = [NAME] if self.setup else []
        return ", ".join([*parts, *self.bundles]) or "nothing for this box"


def look() -> list[Content]:
    """Mount each stick for a moment, read-only, and say what lies in its first folder."""
    found = []
    for stick in sticks():
        try:
            with mounted(stick) as folder:
                bundles = tuple(
                    sorted(each.name for each in folder.glob("*.raucb") if each.is_file() and not each.name.startswith("."))
                )
                found.append(Content(stick, (folder / NAME).is_file(), bundles[:_MOST]))
        except (StickError, OSError) as error:
            found.append(Content(stick, fault=str(error)))
    return found


def remember(found: list[Content], folder: Path) -> None:
    """Keep it where the screen looks; where that folder is not there, nobody does."""
    if not folder.is_dir():
        return
    told = [
        {
            "device": str(each.stick.device),
            "name": each.stick.name,
            "writable": not each.stick.read_only,
            "setup": each.setup,
            "bundles": list(each.bundles),
            "fault": each.fault,
        }
        for each in found
    ]
    atomic_write(folder / FILE, json.dumps({"sticks": told}) + "\n")

"""The two slots of a box, as RAUC tells of them, and which of two versions is the newer one."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.box.identity import OS_RELEASE, release_of
from device.errors import LeukoscopeError

_LIMIT_S = 120  # rauc asks the boot loader's block and both slots


class SlotError(LeukoscopeError):
    """RAUC does not answer; the message says what to do."""


@dataclass(frozen=True)
class Slot:
    """name: RAUC's ("rootfs.0"); boot_name: the boot loader's ("A"); version: "" where none was told; good: None where not known."""

    name: str
    boot_name: str
    device: str
    booted: bool
    version: str = ""
    good: bool | None = None


@dataclass(frozen=True)
class Slots:
    """compatible: which boxes' bundles this one takes; primary: name of the slot that is booted next."""

    compatible: str
    primary: str
    slots: tuple[Slot, ...]

    @property
    def booted(self) -> Slot | None:
        """The slot that runs; None where the box was booted from something else."""
        return next((slot for slot in self.slots if slot.booted), None)

    @property
    def other(self) -> Slot | None:
        """The slot that an update would go into."""
        return next((slot for slot in self.slots if not slot.booted), None) if self.booted else None


def read_slots(release: Path = OS_RELEASE) -> Slots:
    """How the slots stand. Raises SlotError."""
    told = call_rauc("status", "--detailed", "--output-format=json")
    try:
        return slots_of(json.loads(told), running_version(release))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SlotError(f"rauc status: its answer is not understood ({error}); is it RAUC 1.8 or newer?") from error


def slots_of(told: Any, running: str) -> Slots:
    """The same of RAUC's JSON. The running version is the one that its own root names: RAUC does not know what a flash wrote."""
    found = []
    for entry in told["slots"]:
        for name, slot in entry.items():
            if slot.get("class") != "rootfs":
                continue
            booted = slot.get("state") == "booted"  # `booted` of the whole is a name, or a device, as the command line has it
            version = ((slot.get("slot_status") or {}).get("bundle") or {}).get("version") or ""
            good = {"good": True, "bad": False}.get(slot.get("boot_status") or "")
            device, boot_name = str(slot.get("device") or ""), str(slot.get("bootname") or "")
            found.append(Slot(name, boot_name, device, booted, running if booted else str(version), good))
    return Slots(str(told["compatible"]), str(told.get("boot_primary") or ""), tuple(sorted(found, key=lambda slot: slot.name)))


def running_version(release: Path = OS_RELEASE) -> str:
    """IMAGE_VERSION of the root that runs; "" on a machine that is no flashed box."""
    return release_of(release).get("IMAGE_VERSION", "")


def call_rauc(*words: str) -> str:
    """What it printed. Raises SlotError with the last line that it said."""
    try:
        done = subprocess.run(("rauc", *words), capture_output=True, text=True, errors="replace", timeout=_LIMIT_S, check=False)
    except FileNotFoundError:
        raise SlotError("rauc is not on this machine: only a flashed box is updated so; elsewhere install the newer package") from None
    except subprocess.TimeoutExpired:
        raise SlotError(f"rauc {words[0]}: no answer in {_LIMIT_S} s; restart the box and try again") from None
    if done.returncode:
        raise SlotError(f"rauc {words[0]}: {last_line(done.stderr)}")
    return done.stdout


def last_line(said: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "failed without a word")


def version_newer(one: str, than: str) -> bool:
    """Whether `one` is newer, by Debian's order: 1.10 > 1.9, and 1.6.0~dev5 < 1.6.0 < 1.6.0+1. Build metadata counts, too."""
    return _key(one) > _key(than)


def _key(version: str) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Parts of no digits, each followed by a number. '~' is before the end, the end before letters, letters before all else."""
    epoch, _, rest = version.strip().rpartition(":")
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    parts: list[tuple[tuple[int, ...], int]] = [((0,), int(epoch) if epoch.isdecimal() else 0)]
    for text in (upstream, revision):
        parts += [((*map(_weight, words), 0), int(number or 0)) for words, number in re.findall(r"(\D*)(\d*)", text, re.ASCII)]
        parts.append(((0,), 0))
    return tuple(parts)


def _weight(char: str) -> int:
    if char == "~":
        return -1
    return ord(char) if char.isascii() and char.isalpha() else ord(char) + 256

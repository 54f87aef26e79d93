"""An update of the box, installed into the slot that does not run: asked by a person, from a stick or an address that was offered.

A request is one small JSON file, `{"bundle": "NAME.raucb", "stick": UUID or DEVICE}` or `{"url": "…"}`, written by the daemon and
removed here before anything else. All that can be known is checked before RAUC writes its first byte, so a refusal leaves the slot as
it is; RAUC itself marks the slot bad before that byte, so a cut cannot make the box boot half a version. Older versions are refused
here: Debian's RAUC 1.8 knows no min-bundle-version, and hooks come with the bundle, so an older one brings none.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.box.requests import FOLDER, take
from device.box.slots import Slot, SlotError, Slots, call_rauc, last_line, read_slots, version_newer
from device.box.sticks import BUNDLES, StickError, mounted, stick_of, sticks
from device.errors import LeukoscopeError
from device.language import N_, Sentence

log = logging.getLogger(__name__)

REQUEST = FOLDER / "update.json"
DOWNLOADS = Path("/data/update")
Tell = Callable[[str, int | None], object]

_BLOCK = 1 << 20
_SPARE = 256 << 20  # bytes of /data that a download leaves to record and journal
_AROUND = 64 << 20  # a bundle may have so many bytes more than its root: hash tree, signature, manifest
_ADDRESS_S = 30


class UpdateError(LeukoscopeError):
    """The update is refused or failed; one sentence for the screen. The slot is untouched unless it says otherwise."""


@dataclass(frozen=True)
class Asked:
    """What a person asked for: a bundle on a stick, or an address."""

    bundle: str = ""
    stick: str = ""
    url: str = ""


@dataclass(frozen=True)
class Bundle:
    """What a bundle with a good signature says of itself. size: bytes of its root."""

    compatible: str
    version: str
    size: int


def take_request(path: Path = REQUEST) -> Asked:
    """Read the request and remove it, whatever it says. Raises UpdateError."""
    try:
        said = take(path)
    except FileNotFoundError:
        raise UpdateError(N_("Nobody asked for an update.")) from None
    if isinstance(said, dict) and all(isinstance(value, str) for value in said.values()):
        if set(said) == {"url"} and said["url"]:
            return Asked(url=said["url"])
        bundle = said.get("bundle", "")
        if set(said) == {"bundle", "stick"} and bundle.lower().endswith(BUNDLES) and "/" not in bundle and bundle.isprintable():
            return Asked(bundle, said["stick"])
    raise UpdateError(N_("The request for an update cannot be read; ask again on the screen."))


def update(asked: Asked, offer: Path, tell: Tell, downloads: Path = DOWNLOADS) -> str:
    """Install what was asked for; the version that is in the other slot then. Raises UpdateError, StickError, SlotError."""
    slots = read_slots()
    other = target(slots)
    room = size_of(other.device)
    tell(N_("Looking at the update."), None)
    with _bundle(asked, offer, room, tell, downloads) as path:
        found = read_bundle(path)
        if why := refusal(found, slots, room):
            raise UpdateError(why)
        _install(path, asked, found, tell)
    there = read_slots()
    if there.other is None or there.other.version != found.version:
        # A stick can give one file when it is looked at, and another when it is installed.
        with suppress(SlotError):
            call_rauc("status", "mark-bad", "other")
        words = N_("What was installed is not the version {version} that was checked; it will not be booted: take another stick.")
        raise UpdateError(Sentence(words, version=found.version))
    return found.version


def target(slots: Slots) -> Slot:
    """The slot that would be written. Raises UpdateError where the box does not run from one of two."""
    if slots.booted is None or slots.other is None or not slots.booted.version:
        raise UpdateError(N_("This box does not run from one of its two slots, so it cannot be updated here: flash it anew."))
    return slots.other


def refusal(bundle: Bundle, slots: Slots, room: int) -> str:
    """Why the bundle is not installed, in a sentence for the screen; "" where it may be. room: bytes of the slot."""
    running, other = slots.booted, target(slots)
    have = running.version if running else ""
    new = bundle.version
    reasons = (
        (
            bundle.compatible != slots.compatible,
            N_("The update is for another kind of box ({kind}), and this one is {this}; take the one for it."),
        ),
        (new == have, N_("Version {have} is what this box runs already.")),
        (
            not version_newer(new, have),
            N_("The update has version {new}, older than {have} that runs here; it is not installed."),
        ),
        (
            bool(other.version) and version_newer(other.version, new),
            N_("The update has version {new}, older than {other} in the other slot; older ones are not installed."),
        ),
        (other.version == new and bool(other.good), N_("Version {new} is installed already; restart the box to use it.")),
        (
            bundle.size > room,
            N_("The update has {size} MiB, and a slot of this box holds {room}; the box must be flashed anew."),
        ),
    )
    values = {"kind": bundle.compatible, "this": slots.compatible, "new": new, "have": have, "other": other.version}
    sizes = {"size": bundle.size >> 20, "room": room >> 20}
    return next((Sentence(words, **values, **sizes) for holds, words in reasons if holds), "")


def read_bundle(path: Path) -> Bundle:
    """What it says, its signature checked against the box's keyring. Raises UpdateError."""
    try:
        said = json.loads(call_rauc("info", "--output-format=json", str(path)))
        images = [(name, image) for entry in said["images"] for name, image in entry.items()]
        if [name for name, _ in images] != ["rootfs"] or images[0][1].get("hooks") or said.get("hooks"):
            words = N_("{file}: holds something else than one root, so it is none of Leukoscope's; make it by `make bundle`.")
            raise UpdateError(Sentence(words, file=path.name))
        return Bundle(str(said["compatible"]), str(said["version"]), int(images[0][1]["size"]))
    except SlotError as error:
        log.warning("%s: %s", path.name, error)
        if "signature" in (why := str(error).lower()) or "cms" in why or "certificate" in why:
            words = N_("{file}: is not signed by those who may update this box, or was changed; it is not installed.")
            raise UpdateError(Sentence(words, file=path.name)) from error
        words = N_("{file}: cannot be read as an update; copy it to the stick again, or take another stick.")
        raise UpdateError(Sentence(words, file=path.name)) from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        words = N_("{file}: says nothing of itself that this version understands; make it by `make bundle`.")
        raise UpdateError(Sentence(words, file=path.name)) from error


def size_of(device: str) -> int:
    """Bytes of a slot. Raises UpdateError."""
    try:
        with Path(device).open("rb") as file:
            return file.seek(0, os.SEEK_END)
    except OSError as error:
        words = N_("The slot {device} cannot be read ({why}); restart the box and try again.")
        raise UpdateError(Sentence(words, device=device, why=error.strerror)) from error


@contextmanager
def _bundle(asked: Asked, offer: Path, room: int, tell: Tell, downloads: Path) -> Iterator[Path]:
    """The bundle's path while the block runs."""
    if asked.url:
        with _downloaded(offered(asked.url, offer), room + _AROUND, tell, downloads) as path:
            yield path
        return
    stick = stick_of(asked.stick, sticks())
    if stick is None:
        raise UpdateError(N_("The stick with the update was pulled; plug it in again and ask once more."))
    with mounted(stick) as folder:
        path = folder / asked.bundle
        if path.is_symlink() or not path.is_file():
            words = N_("{file} is not on the stick any more; plug the right one in and ask once more.")
            raise UpdateError(Sentence(words, file=asked.bundle))
        yield path


def offered(url: str, offer: Path) -> str:
    """The address, if it is the one that was offered. Raises UpdateError."""
    try:
        said: Any = json.loads(offer.read_bytes())["url"]
    except (OSError, ValueError, KeyError, TypeError):
        said = None
    if said != url or not url.startswith("https://"):
        raise UpdateError(N_("This address was not offered to the box, or is not https; have it offered again over the broker."))
    return url


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> urllib.request.Request | None:
        if not newurl.startswith("https://"):
            raise urllib.error.URLError("it leads away from https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _downloaded(url: str, most: int, tell: Tell, downloads: Path) -> Iterator[Path]:
    """The file behind the address, on the data partition: looked at and installed are the same bytes."""
    downloads.mkdir(mode=0o700, exist_ok=True)
    for left in downloads.iterdir():  # by a cut
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=downloads) as folder:
        path = Path(folder, "offered.raucb")
        try:
            with urllib.request.build_opener(_HttpsOnly()).open(url, timeout=_ADDRESS_S) as source, path.open("wb") as file:
                length = int(source.headers.get("Content-Length") or 0)
                if max(length, 1) > min(most, shutil.disk_usage(folder).free - _SPARE):
                    words = N_("The update has {size} MiB, for which this box has no room; use a stick, or a larger disk.")
                    raise UpdateError(Sentence(words, size=length >> 20))
                done = 0
                while block := source.read(_BLOCK):
                    done += len(block)
                    if done > most or shutil.disk_usage(folder).free < _SPARE:
                        raise UpdateError(N_("The update is larger than this box has room for; use a stick, or a larger disk."))
                    file.write(block)
                    tell(N_("The update is being fetched."), done * 100 // length if length else None)
                if length and done != length:
                    raise UpdateError(N_("The update broke off while it was fetched; ask again, or use a stick."))
        except (OSError, ValueError) as error:
            log.warning("the offered update cannot be fetched: %s", type(error).__name__)
            raise UpdateError(N_("The offered update cannot be fetched; look at the network, or use a stick.")) from error
        yield path


def _install(path: Path, asked: Asked, found: Bundle, tell: Tell) -> None:
    words = Sentence(N_("Version {version} is being installed; the box counts on with its own."), version=found.version)
    tell(words, 0)
    said: list[str] = []
    command = ("rauc", "install", str(path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as running:
        for line in running.stdout or ():
            said.append(line)
            log.info("rauc: %s", line.strip())
            if percent := re.match(r"\s*(\d{1,3})%", line):
                tell(words, int(percent[1]))
    if running.returncode == 0:
        return
    try:
        gone = bool(asked.stick) and stick_of(asked.stick, sticks()) is None
    except StickError:
        gone = False
    if gone:
        raise UpdateError(
            N_("The stick was pulled while the update was installed; this box goes on with the version that it runs: ask once more.")
        )
    log.error("rauc install: %s", last_line("".join(said)))
    raise UpdateError(
        N_("The update is damaged or could not be written, so this box goes on with the version that it runs: take another stick.")
    )

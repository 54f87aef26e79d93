"""What the service page knows of the box, and what it asks of root: files in memory are read and written, nothing is run.

A request is a file in `Places.requests`; a unit of root's takes it away and tells how it goes in `Places.boot` (`device.box.progress`).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from device.box import requests
from device.box.identity import About, about
from device.box.progress import DONE, FOLDER, RUNNING, Step, one_sentence, read_step
from device.box.sticks import Found, read_found
from device.clock import Clock, time_trusted
from device.language import N_
from device.settings.config import Config
from engines.files import atomic_write
from engines.runtime.base import EngineInfo
from engines.version import version

log = logging.getLogger(__name__)

UPDATE, SUPPORT, RESTART = "update", "support-bundle", "restart"
NOT_TAKEN = N_("Nobody has taken the request: a service of this box does not run. Call the field team.")
NOT_WRITTEN = N_("The request could not be written. Call the field team.")

_READ_EVERY_S = 0.5
_TAKEN_WITHIN_S = 30.0
_SILENT = timedelta(minutes=30)  # whoever told of a step longer ago and nothing since does not run any more
_LARGEST = 16_384  # bytes of an offer; a larger one is none of ours


@dataclass(frozen=True)
class Places:
    """Where all of it lies; tests have places of their own."""

    boot: Path = FOLDER
    requests: Path = requests.FOLDER
    os_release: Path = Path("/etc/os-release")
    command_line: Path = Path("/proc/cmdline")
    units: tuple[Path, ...] = (Path("/usr/lib/systemd/system"), Path("/etc/systemd/system"))


@dataclass(frozen=True)
class Offer:
    """A bundle that can be installed. name: of the file; where: the stick's or the server's name; request: what root is asked."""

    name: str
    where: str
    request: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Task:
    """Something that root is asked for. can: a unit that does it is there. asked: nobody has taken it yet; lost: nobody will.

    step: how it goes or went, None where nothing was told since the boot.
    """

    can: bool = False
    asked: bool = False
    lost: bool = False
    step: Step | None = None

    @property
    def busy(self) -> bool:
        """It waits or runs, so it is not asked for again."""
        step = self.step
        silent = step is not None and step.at is not None and datetime.now(timezone.utc) - step.at > _SILENT
        return self.asked or (step is not None and step.state == RUNNING and not silent)


@dataclass(frozen=True)
class Standing:
    """All that the page shows. free_bytes, total_bytes: of the disk with the record, None where it cannot be asked.
    installed: an update lies in the other slot, whatever became of a later request."""

    box: About
    engine: str
    now: datetime
    provision: Step | None
    free_bytes: int | None
    total_bytes: int | None
    sticks: tuple[Found, ...]
    offers: tuple[Offer, ...]
    update: Task
    support: Task
    restart: Task
    installed: bool = False


class ServiceRoom:
    """Looks at the box twice a second at most; `ask` writes a request. It is the desk's business that no slide is open then."""

    def __init__(self, config: Config, engine: EngineInfo, clock: Clock, places: Places = Places()) -> None:
        self._config, self._clock, self._places = config, clock, places
        self._engine = f"{engine.label}, {engine.runtime}"
        self._asked: dict[str, tuple[float, Step | None]] = {}  # when, and what was told before
        self._installed = False
        self._known: Standing | None = None
        self._read_s = float("-inf")

    @property
    def standing(self) -> Standing:
        """How the box stands."""
        if self._known is None or self._clock.monotonic_s() - self._read_s >= _READ_EVERY_S:
            self._known, self._read_s = self._read(), self._clock.monotonic_s()
        return self._known

    def ask(self, task: str, request: Mapping[str, str]) -> str:
        """Write the request; "" when that is done, else why it could not be."""
        before = read_step(task, self._places.boot)
        try:
            self._places.requests.mkdir(mode=0o700, exist_ok=True)
            atomic_write(self._places.requests / f"{task}.json", json.dumps(dict(request)) + "\n")
        except OSError as error:
            log.error("%s/%s.json cannot be written: %s", self._places.requests, task, error.strerror)
            return NOT_WRITTEN
        log.info("asked for %s at the screen", task)
        self._asked[task] = (self._clock.monotonic_s(), before)
        self._known = None
        return ""

    def _read(self) -> Standing:
        places, now = self._places, self._clock.now()
        box = about(version(), Path(os.devnull), places.os_release, places.command_line, time_trusted(now))
        box = About(box.version, box.slot, self._config.device.id, box.language, box.time_trusted, box.flashed)
        sticks, update = read_found(places.boot), self._task(UPDATE, box.flashed)
        self._installed = self._installed or (update.step is not None and update.step.state == DONE)
        free, total = _space(self._config.record_path)
        return Standing(
            box,
            self._engine,
            now,
            read_step("provision", places.boot),
            free,
            total,
            sticks,
            offers(sticks, self._config.device.state_dir, places.boot) if box.flashed else (),
            update,
            self._task(SUPPORT, True),
            self._task(RESTART, box.flashed),
            self._installed,
        )

    def _task(self, name: str, possible: bool) -> Task:
        can = possible and any((folder / f"leukoscope-{name}.path").exists() for folder in self._places.units)
        step = read_step(name, self._places.boot)
        if name not in self._asked:
            return Task(can, step=step)
        asked_s, before = self._asked[name]
        taken = not (self._places.requests / f"{name}.json").exists()
        if taken and step is not None and step != before:
            del self._asked[name]
            return Task(can, step=step)
        if self._clock.monotonic_s() - asked_s < _TAKEN_WITHIN_S:
            return Task(can, asked=True)
        return Task(can, lost=True)


def offers(sticks: tuple[Found, ...], *folders: Path) -> tuple[Offer, ...]:
    """The bundles on the sticks, and the one that was named from afar, in the first of `folders` that has such an offer."""
    found = [
        Offer(name, each.stick.label or each.stick.device, (("bundle", name), ("stick", each.stick.uuid or each.stick.device)))
        for each in sticks
        for name in each.bundles
    ]
    far = next((offer for folder in folders if (offer := _from_afar(folder / "update-offer.json"))), ())
    return (*found, *far)


def _from_afar(path: Path) -> tuple[Offer, ...]:
    """The offer of a URL; nothing where there is none, or it is none that a person could be asked about."""
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
        said: Any = json.loads(raw) if len(raw) <= _LARGEST else None
        url, told = said["url"], said.get("version")
        parts = urlsplit(url if isinstance(url, str) and url.isprintable() else "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ()
    if parts.scheme not in ("http", "https") or not (server := parts.hostname):
        return ()
    name = one_sentence(told) if isinstance(told, str) and told.strip() else PurePosixPath(parts.path).name or server
    return (Offer(name, server, (("url", url),)),)


def _space(record: Path) -> tuple[int | None, int | None]:
    """Free and all bytes of the disk on which the record lies or will lie."""
    there = next((folder for folder in (record, *record.parents) if folder.exists()), None)
    try:
        usage = shutil.disk_usage(there) if there is not None else None
    except OSError:
        usage = None
    return (None, None) if usage is None else (usage.free, usage.total)

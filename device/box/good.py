"""Whether the version that was booted is good: the judgement that sets the boot loader's tries of this slot back, or does not.

- The program answers `leukoscope status` on its socket: a version that does not start has none.
- The engine's lamp is no failure: it is green only once the golden picture was answered as in the laboratory.
- The record is written and read: its lamp, nothing unsaved, its outbox counted in the file.
- A message goes through an outbox: put, read, confirmed and removed in a record of this version's own making beside the true one. A new
  box counts no slide for hours, so there is no summary to wait for, and a false message must never stand in the true stream.
- Pictures go through camera and engine, asked once a version: step `ready` was told after the first one, and all stands well for
  `HOLD_S` after it.

A version that passed once on this box is remembered beside RAUC's own status. From then on pictures are not asked: a box without a
camera is not a bad version, and a box that is cut off in its first minutes must not lose its tries. A version that never passed is left
by a restart when its time is up, but only where the other slot is good and it is the version that fails (program, engine, record):
GRUB gives it three tries, then boots the other. One whose only fault is that no pictures come goes on, unjudged, until a camera comes.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

from device.box.progress import DONE, FOLDER, read_step
from device.box.slots import Slots
from device.errors import LeukoscopeError
from device.mqtt.outbox import OutboxMessage
from device.store import Store
from device.store.outbox import put
from engines.files import atomic_write

log = logging.getLogger(__name__)

REMEMBERED = Path("/data/leukoscope-good.json")
HOLD_S = 30.0
DEADLINE_S = 900.0
_LOOK_S = 5.0
_MISSED = 2  # looks without an answer or a picture that begin the time anew: a slow box is busy now and then
_MOST_REMEMBERED = 8


@dataclass(frozen=True)
class Look:
    """fault: what of the version fails, "" where nothing does; pictures: they come and are looked at."""

    fault: str = ""
    pictures: bool = False


@dataclass(frozen=True)
class Verdict:
    """good: the tries go back; restart: leave this version; words: for the journal."""

    good: bool
    words: str
    restart: bool = False


def look(ask: Callable[[], dict[str, Any]], self_test: Callable[[], str], folder: Path = FOLDER) -> Look:
    """How the version does now. ask: gives the daemon's status; self_test: why its outbox does not work, or ""."""
    try:
        status = ask()
    except LeukoscopeError as error:
        return Look(f"the program does not answer ({error})")
    levels = {part: (status.get(part) or {}).get("level") for part in ("camera", "engine", "record")}
    for part in ("engine", "record"):
        if levels[part] not in ("ok", "warn"):
            return Look(f"the {part} is not ready ({(status.get(part) or {}).get('text') or levels[part] or 'not told'})")
    if status.get("unsaved") or status.get("outbox_pending") is None:
        return Look("the record does not write what it is given")
    if fault := self_test():
        return Look(fault)
    ready = read_step("ready", folder)
    return Look("", levels["camera"] in ("ok", "warn") and ready is not None and ready.state == DONE)


def judge(
    version: str,
    slots: Slots,
    looking: Callable[[], Look],
    *,
    known: bool,
    deadline_s: float = DEADLINE_S,
    hold_s: float = HOLD_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    say: Callable[[str], object] = log.info,
) -> Verdict:
    """Look until it is good or its time is up. known: this version passed on this box before."""
    began, told = clock(), ""
    since: float | None = None
    missed = 0
    while True:
        seen = looking()
        if not seen.fault and known:
            return Verdict(True, f"version {version} is good, as before: program, engine, record and outbox work")
        if seen.fault or not seen.pictures:
            missed += 1
            since = since if missed < _MISSED else None
        elif since is None:
            since, missed = clock(), 0
        elif clock() - since >= hold_s:
            held = f"pictures went through camera and engine for {hold_s:.0f} s, record and outbox work"
            return Verdict(True, f"version {version} is good: {held}")
        wants = seen.fault or ("pictures are looked at" if seen.pictures else "no pictures come from the camera")
        if wants != told:
            say(f"version {version} is not judged yet: {wants}")
            told = wants
        if clock() - began >= deadline_s and since is None:
            break
        sleep(_LOOK_S)
    other = slots.other
    if not seen.fault:
        return Verdict(False, f"version {version} is not judged: {told}. It goes on; plug the camera in and restart the box")
    if known or other is None or not other.good or not other.version:
        return Verdict(False, f"version {version} is not good: {told}. It goes on, since {_why_here(known)}")
    return Verdict(
        False, f"version {version} is not good: {told}. Restarting; after its tries {other.version} is booted again", restart=True
    )


def _why_here(known: bool) -> str:
    return "it was good on this box before" if known else "the other slot holds no version that was good"


def outbox_fault(folder: Path) -> str:
    """Why this version cannot hand a message to an outbox in a record of its own making in `folder`; "" where it can."""
    message = OutboxMessage(str(uuid4()), "leukoscope/self-test/event", b"{}", datetime.now(timezone.utc), kind="event")
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".self-test-") as made:
            path = Path(made, "record.sqlite")
            with Store.open(path):
                pass
            with closing(sqlite3.connect(path)) as db, db:
                put(db, message)
            with Store.connect(path) as store:
                there = store.message(message.message_id)
                if store.pending_count() != 1 or there is None or there.topic != message.topic:
                    return "a message that was put into an outbox is not in it"
                store.acknowledge(message.message_id)
                return "" if store.pending_count() == 0 else "a message that was confirmed stays in the outbox"
    except (LeukoscopeError, OSError, sqlite3.Error) as error:
        return f"no message can be handed to an outbox ({error})"


def was_good(version: str, path: Path = REMEMBERED) -> bool:
    """Whether this version passed on this box before."""
    return version in _remembered(path)


def remember(version: str, path: Path = REMEMBERED) -> None:
    """For the next boots. A disk that does not take it costs a judgement, not the verdict."""
    versions = [each for each in _remembered(path) if each != version][-_MOST_REMEMBERED + 1 :]
    try:
        atomic_write(path, json.dumps({"good": [*versions, version]}) + "\n")
    except OSError as error:
        log.warning("%s: that version %s is good cannot be kept (%s)", path, version, error.strerror)


def _remembered(path: Path) -> list[str]:
    try:
        said = json.loads(path.read_bytes())["good"]
        return [each for each in said if isinstance(each, str)] if isinstance(said, list) else []
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []

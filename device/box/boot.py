"""What the daemon tells of its own boot: that it starts, whether the camera gives pictures, that frames are looked at, why it ended.

    with telling() as boot:                          around the whole run; `FOLDER` of progress absent: nothing is told
        run(config, each_round=boot.look)

That the daemon lives is told by a lock on a file, which the kernel lets go when the process ends, however it ends: `alive(folder)`.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from device.box.progress import DONE, FAILED, FOLDER, RUNNING, WAITING, read_step, tell
from device.errors import LeukoscopeError
from device.language import N_
from engines.errors import EnginesError

log = logging.getLogger(__name__)


class Round(Protocol):
    """What a round of the pipeline says (`device.rounds`, which by way of the service page needs this room itself)."""

    @property
    def frame(self) -> object | None: ...

    @property
    def observation(self) -> object | None: ...


class Pipeline(Protocol):
    """What is asked of the pipeline (`device.pipeline`)."""

    @property
    def camera_is_retried(self) -> bool: ...

    @property
    def camera_reason(self) -> str: ...


STARTS = N_("The program starts.")
CAMERA_WORKS = N_("The camera gives pictures.")
NO_PICTURE_YET = N_("Waiting for the camera's first picture.")
READY = N_("Ready: frames are looked at.")
ENGINE_OPEN = N_("The engine is open.")
ENDED = N_("The program was ended.")
"""The kiosk shows them in its own language; a reason stands as it was told."""

_LOCK = "daemon.alive"
_CAMERA_EVERY_S = 1.0


class Boot:
    """Tells the steps camera and ready, each only when it changes; the engine's, where no unit that builds a plan told it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._told: dict[str, tuple[str, str]] = {}
        self._due_s = 0.0

    def tell(self, step: str, state: str, words: str) -> None:
        """As `progress.tell`, once for the same words."""
        if self._told.get(step) != (state, words) and tell(step, state, words, folder=self._folder):
            self._told[step] = (state, words)

    def look(self, done: Round, pipeline: Pipeline) -> None:
        """To be called after each round of the pipeline."""
        if done.observation is not None and self._told.get("ready") != (DONE, READY):
            self.tell("camera", DONE, CAMERA_WORKS)
            if read_step("engine", self._folder) is None:
                self.tell("engine", DONE, ENGINE_OPEN)
            self.tell("ready", DONE, READY)
        if (now_s := time.monotonic()) < self._due_s:
            return
        self._due_s = now_s + _CAMERA_EVERY_S
        if pipeline.camera_is_retried:
            self.tell("camera", FAILED, pipeline.camera_reason or NO_PICTURE_YET)
        elif done.frame is not None:
            self.tell("camera", DONE, CAMERA_WORKS)
        elif "camera" not in self._told:
            self.tell("camera", WAITING, NO_PICTURE_YET)


@contextmanager
def telling(folder: Path = FOLDER) -> Iterator[Boot]:
    """Around the daemon's run: holds the lock that says it lives, and tells the error that ends it."""
    boot = Boot(folder)
    before = read_step("ready", folder)
    if before is None or before.state != FAILED:  # why it ended last time stands until frames are looked at again
        boot.tell("ready", RUNNING, STARTS)
    with _held(folder):
        try:
            yield boot
        except (LeukoscopeError, EnginesError) as error:
            boot.tell("ready", FAILED, str(error))
            raise
        except Exception as error:
            boot.tell("ready", FAILED, f"A fault in the program: {type(error).__name__}: {error}")
            raise
        boot.tell("ready", WAITING, ENDED)


def alive(folder: Path = FOLDER) -> bool | None:
    """Whether a daemon runs; None where none has run since the boot, or nobody may know."""
    try:
        handle = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(handle)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The lock; the run goes on without it where it cannot be had."""
    handle = -1
    if folder.is_dir():
        with suppress(OSError):
            handle = os.open(folder / _LOCK, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            for _ in range(20):  # somebody who just looks holds it for a moment
                with suppress(BlockingIOError):
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(0.05)
            else:
                log.warning("%s is held by another program; the kiosk may not see that this one runs", folder / _LOCK)
    try:
        yield
    finally:
        if handle >= 0:
            os.close(handle)

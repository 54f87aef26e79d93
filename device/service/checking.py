"""What `leukoscope run` would refuse of a configuration, found beforehand by the same parts and told in the same words.

A fault is what a person must mend in the configuration or beside it. A note is what may pass by itself, or works and is careless: a
camera that is not plugged in, a full disk, a broker in clear. What this user may not open is a fault, as it is for `run`: check as the
user that runs. Nothing is left behind: folders that had to be made are removed again.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from device.clock import SystemClock
from device.errors import LeukoscopeError, StoreError
from device.settings.config import Config, Picamera2Camera, ReplayCamera, V4l2Camera
from device.store.faults import UnusableRecordError, may_pass
from engines.errors import EnginesError

_V4L_MAJOR: Final = 81


@dataclass(frozen=True)
class Told:
    """key: what of the configuration is meant, as "engine.bundle". words: one or more lines, with the next step."""

    key: tuple[str, ...]
    words: str
    fault: bool


def check(config: Config) -> list[Told]:
    """All that is to be told, in the order in which `run` comes to it."""
    told = list[Told]()
    for look, key in _KEYS.items():
        try:
            told += look(config)
        except (LeukoscopeError, EnginesError) as error:
            told.append(Told(key, str(error), not may_pass(error.__cause__)))
    told += [Told(("broker",), words, False) for words in _careless(config)]
    return list(dict.fromkeys(told))


def _engine(config: Config) -> Iterator[Told]:
    """Opened as it will be, hashes and golden picture checked; what is "auto" without measuring, as the library chooses it."""
    from device.service.layers import chosen_layer
    from engines.runtime.factory import open_engine

    section = config.engine
    layer = chosen_layer(config)
    engine = open_engine(
        section.bundle,
        section.runtime,
        section.threads,
        section.score_threshold,
        ungated=section.ungated,
        plans=section.plans,
        precision=section.precision,
        layer=layer,
    )
    with engine:
        if engine.info.gate_fault:
            yield Told(("engine", "ungated"), f"{engine.info.label} {engine.info.gate_fault}; it counts because this is true", False)


def _calibration(config: Config) -> Iterator[Told]:
    from device.service.calibrate import versions_of

    versions = versions_of(config)
    versions.correction(config.microscope.objective)
    if config.microscope.objective not in versions.profile.objectives:
        words = f"{versions.profile.label(config.microscope.objective)}: this objective is not in the profile, so cells have no size"
        yield Told(("microscope", "objective"), words, False)


def _record(config: Config) -> Iterator[Told]:
    from device.store import Store, schema

    path = config.record_path
    try:
        with _nothing_left(path.parent):
            schema.make_place(path)
        if path.exists():
            Store.read(path).close()
    except UnusableRecordError:
        raise
    except StoreError as error:  # full, locked, damaged: a state while it runs
        yield Told(("record", "path"), str(error), False)


def _state(config: Config) -> Iterator[Told]:
    from device.service.control import cannot_open

    folder = config.device.state_dir
    try:
        _try_folder(folder)
    except OSError as error:
        raise cannot_open(config.control_path, error) from error
    return iter(())


def _display(config: Config) -> Iterator[Told]:
    from device import language
    from device.display.factory import open_display
    from device.display.file import cannot_keep

    spoken = language.in_use()
    try:
        open_display(config.display)  # not entered: no window flashes up
    finally:
        language.use(spoken)
    if config.display.kind == "file" and config.display.directory is not None:
        try:
            _try_folder(config.display.directory)
        except OSError as error:
            raise cannot_keep(config.display.directory, error) from error
    elif config.display.kind == "screen" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        words = "no display server is told here (DISPLAY, WAYLAND_DISPLAY); the unit has it from /etc/leukoscope/environment"
        yield Told(("display", "kind"), words, False)


def _camera(config: Config) -> Iterator[Told]:
    """Stored pictures are opened; a camera that is there is left to whoever uses it now."""
    from importlib.util import find_spec

    from device.camera.factory import open_camera
    from device.camera.inventory import AUTO, only_camera, what_is_there

    section = config.camera
    if isinstance(section, ReplayCamera):
        camera = open_camera(section, SystemClock())
        if not camera.live:
            with camera:
                return
        yield Told(("camera", "source"), "a stream is not tried here; `leukoscope doctor` does", False)
    elif isinstance(section, V4l2Camera) and section.device == AUTO:
        if only_camera() is None:
            words = f"auto finds no single camera now; {what_is_there()}; `run --wait-for-devices` waits for it"
            yield Told(("camera", "device"), words, False)
    elif isinstance(section, V4l2Camera):
        try:
            mode = Path(section.device).stat()
        except OSError as error:
            words = f"there is no camera {section.device} now ({error.strerror}); `run --wait-for-devices` waits for it"
            yield Told(("camera", "device"), words, False)
            return
        if not (stat.S_ISCHR(mode.st_mode) and os.major(mode.st_rdev) == _V4L_MAJOR):
            with open_camera(section, SystemClock()):
                pass
    elif isinstance(section, Picamera2Camera) and find_spec("picamera2") is None:
        with open_camera(section, SystemClock()):
            pass


def _frames(config: Config) -> Iterator[Told]:
    from device.store.recording import cannot_record

    if config.frames.directory is not None:
        try:
            _try_folder(config.frames.directory)
        except OSError as error:
            raise cannot_record(config.frames.directory, error) from error
    return iter(())


def _reports(config: Config) -> Iterator[Told]:
    """Written when a slide is signed, and told then: a stick that is not there now may be there by then."""
    if config.reports_path is not None:
        try:
            _try_folder(config.reports_path)
        except OSError as error:
            yield Told(("report", "folder"), f"{config.reports_path}: cannot be written now ({error.strerror})", False)


def _broker(config: Config) -> Iterator[Told]:
    from device.mqtt.credentials import OutsideUnitError, password
    from device.mqtt.tls import client_expiry, tls_context

    section = config.broker
    if not section.enabled:
        return
    try:
        password(section)
    except OutsideUnitError as error:
        yield Told(("broker", "password_credential"), str(error), False)
    if section.tls:
        tls_context(section)
        if words := client_expiry(section, SystemClock().now()):
            yield Told(("broker", "cert_file"), words, False)


def _careless(config: Config) -> list[str]:
    from device.mqtt.credentials import careless

    return careless(config.broker)


_KEYS: Final[dict[Callable[[Config], Iterator[Told]], tuple[str, ...]]] = {
    _engine: ("engine", "bundle"),
    _calibration: ("microscope", "profile"),
    _record: ("record", "path"),
    _state: ("device", "state_dir"),
    _display: ("display", "directory"),
    _camera: ("camera",),
    _frames: ("frames", "directory"),
    _reports: ("report", "folder"),
    _broker: ("broker",),
}
"""The parts in the order in which `run` opens them, and where in the file a fault of each is looked for."""


def _try_folder(folder: Path) -> None:
    """Make it, write a file in it, and leave nothing behind. Raises OSError."""
    with _nothing_left(folder):
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()


@contextmanager
def _nothing_left(folder: Path) -> Iterator[None]:
    """Remove, afterwards, the folders above and with `folder` that were not there before; only empty ones can be removed."""
    missing = list[Path]()
    for each in (folder, *folder.parents):
        try:
            if each.exists():
                break
        except OSError:
            break
        missing.append(each)
    try:
        yield
    finally:
        for each in missing:
            with suppress(OSError):
                each.rmdir()

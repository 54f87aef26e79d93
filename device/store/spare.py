"""Writes that a stopping appliance could not make, kept in a file elsewhere and made at the next start.

The file holds calls of `Store` as data: one line of JSON each, read by the owner of the process only.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import datetime, timezone
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from device.camera.base import SkippedPicture
from device.camera.quality import PictureFault
from device.errors import StoreError
from device.mqtt.outbox import OutboxMessage
from device.mqtt.payloads import CalibrationProvenance, SourceProvenance
from device.mqtt.provenance import Provenance
from device.review.journal import Act, Entry
from device.slide.keyframes import Keyframe
from device.slide.model import Cell, Field, Place, ReviewState, Slide, SlideState
from device.slide.registration import Merge
from device.store.checks import Check
from device.store.faults import UnwritableError
from device.store.journal import Write
from device.store.record import Store
from engines.files import atomic_write
from engines.naming import NamingInfo
from engines.runtime.base import EngineInfo
from engines.taxonomy import Taxonomy

log = logging.getLogger(__name__)

_PREFIX = "leukoscope-unsaved-"
_CALLS = frozenset(
    ("start_slide", "put_fields", "undo_field", "put_state", "close_slide", "put_review", "put_check", "put_aside_row", "put_message")
)
"""What may be called by such a file; made twice they change nothing (a check is kept twice)."""
_KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (Act, Cell, Check, EngineInfo, Entry, Field, Keyframe, Merge, NamingInfo, OutboxMessage, PictureFault, Place)
} | {kind.__name__: kind for kind in (Provenance, ReviewState, SkippedPicture, Slide, SlideState)}


def folders(state_dir: Path) -> tuple[Path, ...]:
    """Where such a file may lie, the places first that outlive a power cut."""
    runtime = [Path(each) for each in os.environ.get("RUNTIME_DIRECTORY", "").split(":") if each]
    return (state_dir, Path("/var/tmp"), *runtime, Path(tempfile.gettempdir()), Path("/dev/shm"))


def is_memory(path: Path) -> bool:
    """Whether a file lies in memory only (a tmpfs): it is gone when the power goes."""
    with suppress(OSError):
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
        under = [(point, kind) for _, point, kind, *_ in mounts if path.is_relative_to(point)]
        return max(under, default=("", ""), key=lambda found: len(found[0]))[1] in ("tmpfs", "ramfs", "devtmpfs")
    return False


def in_words(act: Callable[[], object]) -> bytes:
    """A write as a line of JSON; b"" for one that is no call of the store."""
    call = _call(act)
    with suppress(TypeError, ValueError):
        return b"" if call is None else json.dumps(call, allow_nan=False).encode()
    return b""


def keep(record: Path, writes: Iterable[Write], places: Iterable[Path]) -> Path | None:
    """Write what waits into the first of these places that takes it; None where none does, or there is nothing to keep.

    Only this user may read the file: a slide's header names the specimen.
    """
    lines = [line for write in writes if (line := in_words(write.act))]
    if not lines:
        return None
    head = json.dumps({"version": 1, "record": str(record.absolute())}).encode()
    name = f"{_PREFIX}{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{os.getpid()}.jsonl"
    for place in places:
        path = place / name
        try:
            before = os.umask(0o077)
            try:
                atomic_write(path, b"\n".join((head, *lines)) + b"\n")
            finally:
                os.umask(before)
            path.chmod(0o600)
        except OSError:
            continue
        return path
    return None


def bring_back(store: Store, places: Iterable[Path]) -> int:
    """Make the writes that such files hold of this record, and remove the files; how many were made.

    A write that the record will not take is put aside in it. StoreError where the record cannot be written now: the file stays.
    """
    made = 0
    for path in _files(store.path, places):
        try:
            lines = path.read_bytes().splitlines()[1:]
        except OSError as error:
            log.error("%s: what was not saved cannot be read (%s)", path, error.strerror)
            continue
        for line in lines:
            made += _made(store, path, line)
        log.warning("%d writes that the last run could not make are in the record now; they were kept in %s", len(lines), path)
        with suppress(OSError):
            path.unlink()
    return made


def _files(record: Path, places: Iterable[Path]) -> Iterator[Path]:
    for place in dict.fromkeys(places):
        with suppress(OSError):
            for path in sorted(place.glob(f"{_PREFIX}*.jsonl")):
                about = path.lstat()
                if path.is_symlink() or not path.is_file() or about.st_uid != os.geteuid():
                    continue  # anybody may put a file into a common folder
                with suppress(ValueError, KeyError, TypeError), path.open("rb") as file:
                    if json.loads(file.readline())["record"] == str(record.absolute()):
                        yield path


def _made(store: Store, path: Path, line: bytes) -> int:
    try:
        call = json.loads(line)
        name, given = str(call["call"]), [_value(each) for each in call["given"]]
        if name not in _CALLS:
            raise ValueError(f"{name} is no write")
        getattr(store, name)(*given)
    except UnwritableError as error:
        why = str(error)
    except StoreError:
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
    else:
        return 1
    log.error("%s: a write cannot be made and is put aside: %s", path, why)
    store.put_aside_row("write", path.name, why, line)
    return 0


def _call(act: Callable[[], object]) -> dict[str, object] | None:
    if not isinstance(act, partial) or act.keywords or (name := getattr(act.func, "__name__", "")) not in _CALLS:
        return None
    return {"call": name, "given": [_plain(each) for each in act.args]}


_AS_PLAIN: tuple[tuple[type, str, Callable[[Any], object]], ...] = (
    (bytes, "bytes", lambda value: base64.b64encode(value).decode()),
    (datetime, "datetime", datetime.isoformat),
    (np.ndarray, "array", lambda value: [None if np.isnan(each) else float(each) for each in value.ravel()]),
    (Taxonomy, "Taxonomy", Taxonomy.to_dict),
    (CalibrationProvenance, "CalibrationProvenance", lambda value: value.model_dump(mode="json")),
    (SourceProvenance, "SourceProvenance", lambda value: value.model_dump(mode="json")),
    (SkippedPicture, "SkippedPicture", SkippedPicture._asdict),
    (dict, "dict", lambda value: {str(key): _plain(each) for key, each in value.items()}),
)
_FROM_PLAIN: dict[str, Callable[[Any], object]] = {
    "bytes": base64.b64decode,
    "datetime": datetime.fromisoformat,
    "array": lambda of: np.array(of, np.float32),  # null becomes NaN
    "Taxonomy": Taxonomy.from_dict,
    "CalibrationProvenance": lambda of: CalibrationProvenance.read(json.dumps(of)),
    "SourceProvenance": lambda of: SourceProvenance.read(json.dumps(of)),
    "dict": lambda of: {key: _value(each) for key, each in of.items()},
}


def _plain(value: object) -> object:
    """As JSON; what JSON has no word for is an object with one key, the kind."""
    if isinstance(value, Enum):
        return {type(value).__name__: value.value}
    if isinstance(value, np.generic):
        value = value.item()
    for kind, name, plain in _AS_PLAIN:
        if isinstance(value, kind):
            return {name: plain(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if is_dataclass(value) and type(value).__name__ in _KINDS:
        return {type(value).__name__: {each.name: _plain(getattr(value, each.name)) for each in fields(value)}}
    if value is not None and not isinstance(value, (str, bool, int, float)):
        raise TypeError(f"{type(value).__name__} cannot be kept")
    return value


def _value(plain: Any) -> Any:
    """The value of which `_plain` made this; lists become tuples."""
    if isinstance(plain, list):
        return tuple(map(_value, plain))
    if not isinstance(plain, dict):
        return plain
    ((kind, of),) = plain.items()
    if kind in _FROM_PLAIN:
        return _FROM_PLAIN[kind](of)
    made = _KINDS[kind]
    return made(**{key: _value(each) for key, each in of.items()}) if isinstance(of, dict) else made(of)

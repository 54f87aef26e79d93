"""Files on disk: the atomic write (a file or folder is there complete or not at all), checksums, and names that can be shown."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

from engines.errors import DataError

_STEERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def atomic_write(path: Path, content: bytes | str | Callable[[IO[bytes]], object]) -> None:
    """Put `content` (text as UTF-8, or what a function writes into the open file) at `path` by temporary file, fsync and rename.

    After a power cut there is either the former file or the new one. The folder is not made. Raises OSError.
    """
    with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False) as file:
        temporary = Path(file.name)
        try:
            if isinstance(content, str):
                content = content.encode(errors="backslashreplace")  # a file's name that is not UTF-8 may stand in it
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)  # the open file: in a folder of another user its name may be a link by now
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    fsync(path.parent)


def write_result(path: Path, content: bytes | str) -> None:
    """`atomic_write` for results of a command: raises DataError naming the file when the disk refuses."""
    try:
        atomic_write(path, content)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}). Name another place.") from error


def write_step(
    path: Path, step: str, state: str, words: str, percent: float | None, template: str = "", values: Mapping[str, str] | None = None
) -> None:
    """How one step of a box's boot stands, as its screen reads it (docs/box.md); percent: 0 to 100. Raises OSError.

    template, values: what the words were made of, where they can be said in another language.
    """
    share = None if percent is None else max(0, min(100, int(percent)))
    at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    made_of = {"template": template, "values": dict(values or {})} if template else {}
    atomic_write(path, json.dumps({"step": step, "state": state, "percent": share, "words": words, "at": at, **made_of}) + "\n")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """`write_result` of JSON; NaN is a ValueError, since JSON has none."""
    write_result(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


@contextmanager
def atomic_folder(out: Path, replace: bool = False) -> Iterator[Path]:
    """A new folder to write into, which becomes `out` at the end with all its files on the disk, or vanishes on an error.

    Raises DataError where `out` holds anything already, unless `replace`, and when the disk refuses.
    """
    if not replace and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: exists already; name a new folder or remove it")
    former = out.with_name(f".{out.name}.replaced-{os.getpid()}")
    staging: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
        staging.chmod(0o755)
        yield staging
        for path in (staging, *staging.rglob("*")):
            fsync(path)
        if replace and out.exists():
            out.rename(former)
        staging.rename(out)
        fsync(out.parent)
    except OSError as error:
        if former.exists() and not out.exists():
            former.rename(out)
        raise DataError(f"{error.filename or out}: cannot be written or read ({error.strerror}); nothing was made of {out}") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        if out.exists():
            shutil.rmtree(former, ignore_errors=True)


def fsync(path: Path) -> None:
    """Make a file's content, or the new names in a folder, outlive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes, hex, read in blocks. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def printable(name: Path | str) -> str:
    """A file's name for people, JSON and pages: bytes that are no UTF-8 are shown as \\xff, and what would steer a terminal or turn the
    direction of what follows as \\x1b, \\n, \\u202e."""
    try:
        text = os.fsencode(name).decode(errors="backslashreplace")
    except UnicodeEncodeError:  # half of a surrogate pair, which no file's name has
        text = str(name).encode(errors="backslashreplace").decode()
    return _STEERS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def steering_text(value: object) -> str | None:
    """The first text in JSON's `value`, key or not, that would steer a terminal, cut to 60 letters; None where there is none.

    A line's end and a tab may stand in a note.
    """
    if isinstance(value, str):
        steers = (found[0] for found in _STEERS.finditer(value))
        return value[:60] if any(found not in "\t\n" for found in steers) else None
    parts = [*value, *value.values()] if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return next((word for part in parts if (word := steering_text(part)) is not None), None)


def print_any_name() -> None:
    """Let stdout and stderr show names that are not UTF-8, instead of failing on them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def check_file(path: Path | None) -> None:
    """DataError, before any work, for a file that could not be written since it has no folder."""
    if path is not None and not path.absolute().parent.is_dir():
        raise DataError(f"{path}: its folder does not exist. Make it, or name another file.")


def check_folder(folder: Path | None) -> None:
    """DataError, before any work, for a folder that could not be made since a file is there."""
    if folder is not None and folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: a file of that name is there already. Name a folder.")


def make_folder(folder: Path) -> None:
    """The folder, and those above it, if they are not there yet; DataError naming it when the disk refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be made ({error.strerror}). Name another folder.") from error

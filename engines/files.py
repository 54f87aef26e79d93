"""Results written whole or not at all. What they say is not decided here."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.errors import DataError


def write_whole(path: Path, content: bytes) -> None:
    """Writes by temporary file, fsync and rename; DataError naming the file when the disk refuses."""
    staging = path.with_name(f".{path.name}.part")
    try:
        with staging.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staging.replace(path)
    except OSError as error:
        staging.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written ({error.strerror}). Name another place.") from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON by an atomic write; NaN is a ValueError, since JSON has none."""
    write_whole(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def make_folder(folder: Path) -> None:
    """The folder, and those above it, if they are not there yet; DataError naming it when the disk refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be made ({error.strerror}). Name another folder.") from error

"""A text file that is written whole or not at all: what a person opens is never half of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from device.errors import StoreError


def write_whole(out: Path, text: str) -> None:
    """Put `text` (UTF-8) in the place of `out`: temporary file beside it, fsync, rename, fsync of the folder, which is made if needed.

    Raises StoreError, naming the file; a former one is then still there.
    """
    if out.is_dir():
        raise StoreError(f"{out}: is a folder; name the file to write")
    folder = out.absolute().parent
    temporary: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=folder, prefix=f".{out.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(out)
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise StoreError(f"{out}: cannot be written: {error.strerror}; free space, or name another file") from error

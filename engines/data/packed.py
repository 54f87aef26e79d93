"""Labels packed in a zip beside their pictures, as published for one subset: read where they are, nothing is unpacked there."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import zipfile
from functools import cache
from pathlib import Path, PurePosixPath

from engines.errors import DataError
from engines.pictures import is_hidden

_LABELS = {".json", ".txt"}
_LARGEST = 2_000_000_000
"""Bytes of all labels of an archive, unpacked; the published ones have some tens of millions."""


def label_folder(archive: Path) -> Path:
    """A folder with the label files of an archive, which is gone when this process ends. Raises DataError for one that is damaged."""
    stat = archive.stat()
    return _unpacked(archive, stat.st_mtime_ns, stat.st_size)


@cache
def _unpacked(archive: Path, _changed_ns: int, _size: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"{archive.stem}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as packed:
            wanted = [one for one in packed.infolist() if _is_label(PurePosixPath(one.filename))]
            if sum(one.file_size for one in wanted) > _LARGEST:
                raise DataError(f"{archive}: its labels would take more than {_LARGEST // 1_000_000} MB; unpack it by hand")
            for one in wanted:
                target = folder.joinpath(*PurePosixPath(one.filename).parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with packed.open(one) as content, target.open("wb") as file:
                    shutil.copyfileobj(content, file)
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        raise DataError(f"{archive}: cannot be unpacked ({error}); fetch it again, or unpack its labels there") from error
    return folder


def _is_label(name: PurePosixPath) -> bool:
    """Whether a member is a label file with a place inside the folder."""
    inside = not name.is_absolute() and ".." not in name.parts
    hidden = any(is_hidden(Path(part)) or part == "__MACOSX" for part in name.parts)
    return inside and not hidden and name.suffix.lower() in _LABELS

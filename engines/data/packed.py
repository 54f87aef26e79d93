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


_OPENED: dict[Path, Path] = {}
"""Archives by the folder that stands for them."""


def shown(file: Path) -> Path:
    """How a label file is named to people: one that was read from an archive as if the archive were a folder."""
    for folder, archive in _OPENED.items():
        if file.is_relative_to(folder):
            return archive / file.relative_to(folder)
    return file


def unpack(archive: Path) -> int:
    """Write the labels of an archive beside it, where they are read from then on; returns how many files. Nothing is overwritten."""
    folder = label_folder(archive)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    for file in files:
        target = archive.parent / file.relative_to(folder)
        if target.exists():
            raise DataError(f"{target}: is there already; {archive} was not unpacked over it")
    for file in files:
        target = archive.parent / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return len(files)


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
    _OPENED[folder] = archive
    return folder


def _is_label(name: PurePosixPath) -> bool:
    """Whether a member is a label file with a place inside the folder."""
    inside = not name.is_absolute() and ".." not in name.parts
    hidden = any(is_hidden(Path(part)) or part == "__MACOSX" for part in name.parts)
    return inside and not hidden and name.suffix.lower() in _LABELS

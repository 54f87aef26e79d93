"""An appliance's record given where labelled cells are wanted: told by its first bytes, its signed cells written as a folder."""

from __future__ import annotations

from pathlib import Path

from engines.errors import DataError

_HEADER = b"SQLite format 3\x00"


def is_record(path: Path) -> bool:
    """Whether a file is a database, and so a record rather than a folder of pictures."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_HEADER)) == _HEADER


def write_reviewed(path: Path, folder: Path) -> str:
    """Write what persons signed in the record to the new folder, labelled as `leukoscope export --labels` does; a line that says so.

    Which words of a review stand is the appliance's to know, so its own room reads the record. What the network itself told of a cell
    is no label: a layer that learns from its own answers only grows surer of its errors. Raises DataError.
    """
    from device.errors import LeukoscopeError
    from device.report.keeping import export_labels

    try:
        return export_labels(path, folder, since=None).words
    except LeukoscopeError as error:
        raise DataError(str(error)) from error

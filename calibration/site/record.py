"""Cells of an appliance's record that a person reviewed: the seam of the review, which records do not hold yet."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from engines.errors import DataError

_HEADER = b"SQLite format 3\x00"


def is_record(path: Path) -> bool:
    """Whether a file is a database, and so a record rather than a folder of pictures."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_HEADER)) == _HEADER


def refuse_unreviewed(path: Path) -> None:
    """Raises DataError that says what the record holds: cells with pictures, none of which a person has reviewed.

    What the network itself told of a cell is no label: a layer that learns from its own answers only grows surer of its errors.
    """
    try:
        with closing(sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True)) as db:
            (pictures,) = db.execute("SELECT count(*) FROM crops").fetchone()
            (slides,) = db.execute("SELECT count(DISTINCT slide_id) FROM crops").fetchone()
    except sqlite3.Error as error:
        raise DataError(
            f"{path}: no record of an appliance that can be read ({error}). Give a record, or a labelled folder."
        ) from error
    raise DataError(
        f"{path}: holds pictures of {pictures} cells on {slides} slides, and a person has reviewed none of them; what the engine told "
        "is no label. Label the cells and give the folder to --cells."
    )

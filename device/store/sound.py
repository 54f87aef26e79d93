"""Whether what stands in a row can be what was written there; ValueError where it cannot.

Records from before checksums have no other guard.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import datetime
from math import isfinite

from device.slide.model import Field
from engines.taxonomy import Taxonomy


def moment(text: str) -> datetime:
    """A time with its zone."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return at


def known_moment(text: str) -> datetime | None:
    """The same, None for one that is damaged."""
    try:
        return moment(text)
    except ValueError:
        return None


def line(text: str) -> str:
    """A word that a person gave, which has no control characters."""
    if any(ord(character) < 0x20 for character in text):
        raise ValueError("a control character")
    return text


def no_bytes(row: sqlite3.Row, but: str = "") -> sqlite3.Row:
    """The row, in which words and numbers stand, and bytes in the column `but` alone."""
    no_bytes_among(*(value for column, value in zip(row.keys(), row, strict=True) if column != but))
    return row


def no_bytes_among(*values: object) -> None:
    if any(isinstance(value, bytes) for value in values):
        raise ValueError("bytes in the place of a word or number")


def cells(fields: Iterable[Field], taxonomy: Taxonomy) -> None:
    """Every cell has a class and a group of the taxonomy, as many attributes as it says, and a box that is somewhere."""
    classes, values = len(taxonomy.classes), taxonomy.n_logits
    groups = {"", *(group.key for group in taxonomy.told_groups)}
    for field in fields:
        for cell in (*field.cells, *field.seen):
            if not 0 <= cell.class_index < classes:
                raise ValueError(f"field {field.index}: a cell of class {cell.class_index} of {classes}")
            if cell.attributes.shape != (values,):
                raise ValueError(f"field {field.index}: a cell with {cell.attributes.size} attribute values of {values}")
            if cell.group not in groups:
                raise ValueError(f"field {field.index}: a cell of an unknown group")
            if not all(map(isfinite, cell.box_px)):
                raise ValueError(f"field {field.index}: a box without a place")

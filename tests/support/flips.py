"""Flips single bits in a record's file, and says what of it a flip changed: a table's values, or only pages that hold none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

COUNTS = ("slides", "models", "fields", "cells", "crops", "keyframes", "review", "summaries")
"""Tables whose values make a slide: all that a count, a report or a summary is built from."""


def flip(path: Path, bit: int) -> None:
    """Change one bit of a file in place."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def chosen(path: Path, count: int, seed: int = 15) -> Iterator[int]:
    """So many bits of a file, by chance."""
    bits = np.random.default_rng(seed).choice(path.stat().st_size * 8, count, replace=False)
    yield from map(int, bits)


def values(path: Path) -> dict[str, list[tuple[object, ...]]] | None:
    """Every row of `COUNTS` by table scan, texts as bytes; None where SQLite cannot read them."""
    try:
        with closing(sqlite3.connect(path.absolute().as_uri() + "?mode=ro&immutable=1", uri=True)) as db:
            db.text_factory = bytes
            return {table: sorted(db.execute(f"SELECT * FROM {table} NOT INDEXED"), key=repr) for table in COUNTS}
    except (sqlite3.DatabaseError, UnicodeDecodeError):  # the second: its words about a damaged name in the schema
        return None

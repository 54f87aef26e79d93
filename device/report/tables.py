"""CSV as other programs take it: RFC 4180, UTF-8 without a byte order mark, nothing in it that a spreadsheet would compute.

No byte order mark: programs read these files, and one that does not expect it would find a first column that is called "\\ufeffslide".
The columns' names are ASCII; to open a file with names in another script in Excel, import it and say UTF-8.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

Value = str | int | float | bool | None
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  (the wide forms are meant)
"""What a spreadsheet takes for a formula, or steps over to find one."""


def guarded(text: str) -> str:
    """Text that no spreadsheet computes: an apostrophe before what would begin a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Value]]) -> str:
    """A table with its head. None is an empty field, True and False are 1 and 0; numbers stand as they are, also negative ones.

    KeyError for a row without one of the columns, ValueError for one with another.
    """
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({column: _field(row[column]) for column in columns} | {key: "" for key in row if key not in columns})
    return out.getvalue()


def _field(value: Value) -> str | int | float:
    if value is None:
        return ""
    if isinstance(value, bool):
        return int(value)
    return guarded(value) if isinstance(value, str) else value

"""TXT labels, one line a cell: `class cx cy w h` in shares of the picture, then attributes in the columns of the taxonomy's layouts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.data.class_lists import ClassNumbers
from engines.data.faults import Fault, Kind, Place, Report
from engines.data.labels import TXT_ROUNDING_PX, CellLabel, sound_box
from engines.data.vocabulary import attribute_codes, txt_codes
from engines.taxonomy import UNKNOWN, Taxonomy, TxtLayout

SPARSE_COLUMNS = 16
"""Of the sparse data set that followed (SLA-Det): class and box, four columns of the labelled patch, seven attributes."""
_PATCH = slice(5, 9)

CONFIDENCE_COLUMNS = 6
MIN_OUTLINE = 7
"""Columns of a triangle."""


@dataclass(frozen=True)
class Row:
    """The numbers of one line, and where it stands."""

    place: Place
    values: tuple[float, ...]


def txt_rows(file: Path, report: Report) -> list[Row] | None:
    """The lines of one file that hold numbers; what does not goes to `report`. None where the file cannot be read."""
    try:
        lines = file.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        report(Fault(Kind.MALFORMED_ROW, Place(file), f"not UTF-8 at byte {error.start}; write the file again as UTF-8"))
        return None
    except OSError as error:
        report(Fault(Kind.MALFORMED_ROW, Place(file), f"cannot be read: {error.strerror}"))
        return None
    rows = []
    for number, line in enumerate(lines, start=1):
        place = Place(file, number)
        try:
            values = tuple(float(word) for word in line.split())
        except ValueError:
            report(Fault(Kind.MALFORMED_ROW, place, f"not numbers: '{line.strip()[:60]}'"))
            continue
        rows += [Row(place, values)] if values else []
    return rows


def outlines(rows: Sequence[Row], taxonomy: Taxonomy) -> set[int]:
    """How many columns those rows have that are outlines: `class x1 y1 x2 y2 …`, all shares, which attributes are not.

    A number of columns that is a layout too (11: five corners, or a box and six attributes) counts where at least half of its rows have
    two fractions or more behind the fifth column. Corners on the edge are 0 or 1, so no single row decides.
    """
    found = set()
    for columns in {len(row.values) for row in rows}:
        same = [row.values for row in rows if len(row.values) == columns]
        if columns >= MIN_OUTLINE and columns % 2:
            likely = sum(all(-0.001 <= v <= 1.001 for v in v[1:]) and sum(v != int(v) for v in v[5:]) > 1 for v in same)
            if likely and (taxonomy.layout(columns) is None or 2 * likely >= len(same)):
                found.add(columns)
    return found


def read_cells(
    rows: Sequence[Row], size_hw: tuple[int, int], numbers: ClassNumbers, outlined: Collection[int], report: Report
) -> tuple[CellLabel, ...]:
    """Rows as cells, boxes in px of a picture of `size_hw`; rows of `outlined` columns give the box around them.

    A row without meaning goes to `report` and is left out.
    """
    cells = (_cell(row, size_hw, numbers, outlined, report) for row in rows)
    return tuple(cell for cell in cells if cell is not None)


def _cell(row: Row, size_hw: tuple[int, int], numbers: ClassNumbers, outlined: Collection[int], report: Report) -> CellLabel | None:
    place, values, taxonomy, columns = row.place, row.values, numbers.taxonomy, len(row.values)
    if columns == SPARSE_COLUMNS:
        values = (*values[: _PATCH.start], *values[_PATCH.stop :])
    if len(values) in outlined:
        xs, ys = values[1::2], values[2::2]
        left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
        values = (values[0], (left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    layout = taxonomy.layout(len(values))
    if layout is None:
        *others, widest = [str(n) for n in sorted(one.columns for one in taxonomy.txt_layouts)]
        expected = f"{', '.join(others)} or {widest}" if others else widest
        report(Fault(Kind.MALFORMED_ROW, place, f"{columns} columns{_likely(values)}; expected {expected}"))
        return None
    code = numbers.code(values[0], place, report)
    if code is None:
        return None
    cx, cy, w, h = values[1:5]
    if not sound_box((cx, cy, w, h), place, "the line", report):
        return None
    found = attribute_codes(values[5:], taxonomy, lone_two_is_odd=False, layout=layout)
    for message in found.wrong:
        report(Fault(Kind.UNKNOWN_VALUE, place, message))
    height, width = size_hw
    x, y, wide, high = (round(v, TXT_ROUNDING_PX) for v in ((cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height))
    return CellLabel(place, code, (x, y, wide, high), tuple(found.codes), columns)


def _likely(values: Sequence[float]) -> str:
    """What a line with so many columns may be, for a message."""
    if len(values) == CONFIDENCE_COLUMNS:
        return " (a network's answers with their confidence are no labels)"
    outline = len(values) >= MIN_OUTLINE and len(values) % 2 and max(values[5:]) > 1 and max(values[1:5]) > 1
    return " (an outline in px? Outlines must be shares, between 0 and 1)" if outline else ""


def txt_line(cell: CellLabel, size_hw: tuple[int, int], layout: TxtLayout, taxonomy: Taxonomy) -> str:
    """One line for a cell of a picture of `size_hw`, the box in full precision; -1 in columns of which the taxonomy says nothing."""
    height, width = size_hw
    x, y, w, h = cell.xywh_px
    box = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
    codes = {a.key: code for a, code in zip(taxonomy.attributes, cell.attributes, strict=True)}
    keys = [key for key in layout.keys if key in codes]
    written = dict(zip(keys, txt_codes([codes[key] for key in keys]) if keys else (), strict=True))
    return " ".join([str(cell.code), *(f"{v:.15g}" for v in box), *(str(written.get(key, UNKNOWN)) for key in layout.keys)])

"""TXT labels of 5, 11 and 12 columns, one line a cell: `class cx cy w h` in shares of the picture, then the attributes.

5 columns have no attributes; 12 have seven; 11 leave out Cell Size (see `attribute_codes`).
"""

from __future__ import annotations

import math
from pathlib import Path

from engines.data.faults import Fault, Kind, Place, Report
from engines.data.labels import TXT_ROUNDING_PX, CellLabel, sound_box
from engines.data.vocabulary import attribute_codes, txt_codes
from engines.taxonomy import Taxonomy

SPARSE_COLUMNS = 16
"""Of the sparse data set that followed (SLA-Det): four more for the labelled patch."""


def allowed_columns(taxonomy: Taxonomy) -> tuple[int, ...]:
    """Columns that a line may have: no attributes, all but the first, all; 5, 11 and 12 for the published taxonomy."""
    n = len(taxonomy.attributes)
    return tuple(sorted({5, *((5 + n - 1,) if n > 1 else ()), 5 + n}))


def read_txt(file: Path, size_hw: tuple[int, int], taxonomy: Taxonomy, report: Report) -> tuple[CellLabel, ...]:
    """The cells of one file, boxes in px of a picture of `size_hw`; a line without meaning goes to `report` and is left out."""
    try:
        lines = file.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        report(Fault(Kind.MALFORMED_ROW, Place(file), f"not UTF-8 at byte {error.start}; write the file again as UTF-8"))
        return ()
    except OSError as error:
        report(Fault(Kind.MALFORMED_ROW, Place(file), f"cannot be read: {error.strerror}"))
        return ()
    cells = (_cell(line, Place(file, number), size_hw, taxonomy, report) for number, line in enumerate(lines, start=1) if line.strip())
    return tuple(cell for cell in cells if cell is not None)


def _cell(line: str, place: Place, size_hw: tuple[int, int], taxonomy: Taxonomy, report: Report) -> CellLabel | None:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        report(Fault(Kind.MALFORMED_ROW, place, f"not numbers: '{line.strip()[:60]}'"))
        return None
    allowed = allowed_columns(taxonomy)
    if len(values) not in allowed:
        sparse = " (labels of the sparse data set, which this does not read)" if len(values) == SPARSE_COLUMNS else ""
        words = f"{len(values)} columns{sparse}; expected {', '.join(map(str, allowed[:-1]))} or {allowed[-1]}"
        report(Fault(Kind.MALFORMED_ROW, place, words))
        return None
    code = values[0]
    if not (math.isfinite(code) and code == int(code) and 0 <= code < len(taxonomy.classes)):
        report(Fault(Kind.UNKNOWN_CLASS, place, f"class {code:g}; there are 0 to {len(taxonomy.classes) - 1}"))
        return None
    cx, cy, w, h = values[1:5]
    if not sound_box((cx, cy, w, h), place, "the line", report):
        return None
    found = attribute_codes(values[5:], taxonomy, lone_two_is_odd=False)
    for message in found.wrong:
        report(Fault(Kind.UNKNOWN_VALUE, place, message))
    height, width = size_hw
    x, y, wide, high = (round(v, TXT_ROUNDING_PX) for v in ((cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height))
    return CellLabel(place, int(code), (x, y, wide, high), tuple(found.codes), len(values))


def txt_line(cell: CellLabel, size_hw: tuple[int, int], columns: int) -> str:
    """One line for a cell of a picture of `size_hw`: 5 columns and the last `columns` - 5 attributes, in full precision."""
    height, width = size_hw
    x, y, w, h = cell.xywh_px
    box = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
    kept = cell.attributes[len(cell.attributes) - (columns - 5) :]
    return " ".join([str(cell.code), *(f"{v:.15g}" for v in box), *map(str, txt_codes(kept) if kept else ())])

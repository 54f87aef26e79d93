"""TXT labels, one line a cell: `class cx cy w h` in shares of the picture, then attributes in the columns of the taxonomy's layouts."""

from __future__ import annotations

import math
from pathlib import Path

from engines.data.faults import Fault, Kind, Place, Report
from engines.data.labels import TXT_ROUNDING_PX, CellLabel, sound_box
from engines.data.vocabulary import attribute_codes, txt_codes
from engines.taxonomy import UNKNOWN, Taxonomy, TxtLayout

SPARSE_COLUMNS = 16
"""Of the sparse data set that followed (SLA-Det): four more for the labelled patch."""


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
    layout = taxonomy.layout(len(values))
    if layout is None:
        sparse = " (labels of the sparse data set, which this does not read)" if len(values) == SPARSE_COLUMNS else ""
        *others, widest = [str(n) for n in sorted(one.columns for one in taxonomy.txt_layouts)]
        expected = f"{', '.join(others)} or {widest}" if others else widest
        report(Fault(Kind.MALFORMED_ROW, place, f"{len(values)} columns{sparse}; expected {expected}"))
        return None
    code = values[0]
    if not (math.isfinite(code) and code == int(code) and 0 <= code < len(taxonomy.classes)):
        report(Fault(Kind.UNKNOWN_CLASS, place, f"class {code:g}; there are 0 to {len(taxonomy.classes) - 1}"))
        return None
    cx, cy, w, h = values[1:5]
    if not sound_box((cx, cy, w, h), place, "the line", report):
        return None
    found = attribute_codes(values[5:], taxonomy, lone_two_is_odd=False, layout=layout)
    for message in found.wrong:
        report(Fault(Kind.UNKNOWN_VALUE, place, message))
    height, width = size_hw
    x, y, wide, high = (round(v, TXT_ROUNDING_PX) for v in ((cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height))
    return CellLabel(place, int(code), (x, y, wide, high), tuple(found.codes), len(values))


def txt_line(cell: CellLabel, size_hw: tuple[int, int], layout: TxtLayout, taxonomy: Taxonomy) -> str:
    """One line for a cell of a picture of `size_hw`, the box in full precision; -1 in columns of which the taxonomy says nothing."""
    height, width = size_hw
    x, y, w, h = cell.xywh_px
    box = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
    codes = {a.key: code for a, code in zip(taxonomy.attributes, cell.attributes, strict=True)}
    keys = [key for key in layout.keys if key in codes]
    written = dict(zip(keys, txt_codes([codes[key] for key in keys]) if keys else (), strict=True))
    return " ".join([str(cell.code), *(f"{v:.15g}" for v in box), *(str(written.get(key, UNKNOWN)) for key in layout.keys)])

"""The morphology bank: the slide's cells as small pictures, by type and group. Laying them out is not done here.

What needs a person's eye stands first: blasts and equivalents, the least certain before the others; of other types the cells most
like a blast.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from device.slide.model import Cell, Slide
from device.slide.tally import tally
from engines.detections import Image
from engines.taxonomy import Taxonomy

MARGIN_SHARE = 0.25
"""Of the box's longer side, on every side: neighbours and the cell's outline help the reader."""
LONGEST_PX = 320
"""A larger crop is reduced to this; smaller ones keep their pixels."""
UNIDENTIFIED = "Unidentified"


def crop_jpeg(image: Image, box_px: tuple[float, float, float, float], jpeg_quality: int) -> bytes:
    """The cell in `box_px` (x1 y1 x2 y2) with its margin as JPEG, cut at the frame's edges; empty if nothing of it is inside."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box_px
    margin = MARGIN_SHARE * max(x2 - x1, y2 - y1)
    left, top = max(0, int(np.floor(x1 - margin))), max(0, int(np.floor(y1 - margin)))
    right, bottom = min(width, int(np.ceil(x2 + margin))), min(height, int(np.ceil(y2 + margin)))
    if right <= left or bottom <= top:
        return b""
    crop = image[top:bottom, left:right]
    scale = LONGEST_PX / max(crop.shape[:2])
    if scale < 1:
        size = max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale))
        crop = np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, encoded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    return encoded.tobytes()


@dataclass(frozen=True, eq=False)
class BankCell:
    """A cell of the bank and the field that it was counted in."""

    field_index: int
    cell: Cell


@dataclass(frozen=True, eq=False)
class BankRow:
    """One type or group (`told` as in `Cell.told`), with "" the unidentified. count: all its cells; `cells`: those that are shown."""

    told: int | str
    name: str
    count: int
    cells: tuple[BankCell, ...]


def morphology_bank(slide: Slide, taxonomy: Taxonomy, per_type: int = 12) -> tuple[BankRow, ...]:
    """The slide's cells by type and group: blasts first, then by falling count, the unidentified last; artefacts are left out.

    In each at most `per_type`; of blasts and the unidentified all, since a person looks at each, and all of a foreign film. Blasts are
    ordered from the least probable on, others from the most probable blast on; without a second look by score, the best first, but of
    blasts the worst.
    """
    cells: dict[int | str, list[BankCell]] = {}
    for field in slide.fields:
        for cell in field.cells:
            if not taxonomy.is_artefact(cell.class_index):
                cells.setdefault(slide.told(cell), []).append(BankCell(field.index, cell))
    rows = []
    for row in sorted(tally(slide, taxonomy).by_count(), key=lambda row: not row.blast):
        at_most = None if slide.foreign or row.blast else per_type
        rows.append(BankRow(row.told, row.name, row.count, _shown(cells.pop(row.told), row.blast, at_most)))
    left = [cell for rest in cells.values() for cell in rest]
    if left:
        rows.append(BankRow("", UNIDENTIFIED, len(left), _shown(left, False, None)))
    return tuple(rows)


def _shown(cells: list[BankCell], blast: bool, at_most: int | None) -> tuple[BankCell, ...]:
    def doubt(shown: BankCell) -> float:
        cell = shown.cell
        likely = cell.score if cell.blast_probability is None else cell.blast_probability
        return likely if blast else -likely

    return tuple(sorted((c for c in cells if c.cell.crop_jpeg), key=doubt)[:at_most])

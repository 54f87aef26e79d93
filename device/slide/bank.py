"""The morphology bank: the slide's cells as small pictures, by type, the most certain first. Laying them out is not done here."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from device.slide.model import Cell, Slide
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
    """One type, or with class_index None the unidentified. count: all its cells; `cells`: the best of those that have a crop."""

    class_index: int | None
    name: str
    count: int
    cells: tuple[BankCell, ...]


def morphology_bank(slide: Slide, taxonomy: Taxonomy, per_type: int = 12) -> tuple[BankRow, ...]:
    """The slide's cells by type, most frequent type first and the unidentified last; in each at most `per_type`, best scores first.

    Artefacts are left out.
    """
    groups: dict[int | None, list[BankCell]] = {}
    for field in slide.fields:
        for cell in field.cells:
            if not taxonomy.is_artefact(cell.class_index):
                groups.setdefault(cell.class_index if cell.identified else None, []).append(BankCell(field.index, cell))
    order = sorted(groups, key=lambda index: (index is None, -len(groups[index]), index or 0))
    rows = []
    for index in order:
        best = sorted((c for c in groups[index] if c.cell.crop_jpeg), key=lambda c: -c.cell.score)[:per_type]
        rows.append(BankRow(index, UNIDENTIFIED if index is None else taxonomy.classes[index], len(groups[index]), tuple(best)))
    return tuple(rows)

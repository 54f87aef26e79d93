"""A field as it was counted, from its stored picture: the current cell marked, the others thin, and the box of a cell being added."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from device.display import marks, text
from device.display.gallery_cells import draw_bar, style_of
from device.display.layout import Rect, Unit, letterbox
from device.display.pages_review import FieldPage, Photo, Scale, Shown
from device.display.palette import BUSY, DIM, GROUND, HALO, SOFT, WARN
from device.display.sheet import Sheet
from device.display.targets import Targets
from engines.detections import Image
from engines.taxonomy import Taxonomy

_Box = tuple[float, float, float, float]


def draw_field(sheet: Sheet, targets: Targets, place: Rect, page: FieldPage, unit: Unit) -> None:
    """Lay the field on `place`, which it covers whole; its picture is a target, "picture"."""
    current = None if page.current is None else page.current.cell_id
    cells = () if page.bare else page.cells
    wide, tall = place.width, place.height
    drawn = _field(page.photo, page.why, page.size_px, cells, current, page.adding, page.taxonomy, page.scale, wide, tall, unit)
    sheet.lay(drawn, place.x0, place.y0)
    at = letterbox(*page.size_px, wide, tall)
    if page.photo is not None:
        targets.add(Rect(at.x0 + place.x0, at.y0 + place.y0, at.x1 + place.x0, at.y1 + place.y0), "picture")


@lru_cache(maxsize=2)
def _scaled(photo: Photo, width: int, height: int) -> Image:
    """The field's picture in this size, read-only; made once."""
    way = cv2.INTER_CUBIC if width > photo.image.shape[1] else cv2.INTER_AREA
    return text.finished(np.asarray(cv2.resize(photo.image, (width, height), interpolation=way), np.uint8))


@lru_cache(maxsize=3)
def _field(
    photo: Photo | None,
    why: str,
    size_px: tuple[int, int],
    cells: tuple[Shown, ...],
    current: int | None,
    adding: _Box | None,
    taxonomy: Taxonomy,
    scale: Scale,
    width: int,
    height: int,
    unit: Unit,
) -> Image:
    picture = marks.blank(width, height, GROUND)
    at = letterbox(*size_px, width, height)
    field = None if photo is None else _scaled(photo, at.width, at.height)
    if field is None:
        px = unit(28)
        lines = text.wrap(why, px, width - 2 * unit(60), 3)
        y = (height - len(lines) * text.line_height(px)) // 2
        for line in lines:
            text.put(picture, line, (width // 2, y), px, SOFT, GROUND, align="centre")
            y += text.line_height(px)
    else:
        text.paste(picture, field, at.x0, at.y0)
    factor = at.width / size_px[0]
    for shown in cells:
        if shown.cell_id != current:
            style = style_of(taxonomy, shown.verdict or shown.told)
            box = _on(at, shown.cell.box_px, factor)
            marks.corners(picture, box.grow(1), unit(2) + 2, unit(14), HALO)
            marks.corners(picture, box, unit(2), unit(13), DIM if style.artefact else style.colour)
    for shown in cells:
        if shown.cell_id == current:
            box = _on(at, shown.cell.box_px, factor).grow(unit(6))
            marks.outline(picture, box.grow(unit(2)), unit(8), HALO)
            marks.outline(picture, box, unit(4), BUSY)
    if adding is not None:
        box = _on(at, adding, factor)
        marks.outline(picture, box.grow(unit(2)), unit(8), HALO)
        marks.dashed(picture, box, unit(4), unit(12), WARN, HALO)
    film = at.view(picture)
    film[:] = text.as_seen(film).copy()  # film is never turned over
    if field is not None:
        y = min(height - unit(16), at.y1 + unit(18))
        ground = GROUND
        if y < at.y1 + unit(12):  # no room under the picture: on a plate within it
            y = at.y1 - unit(24)
            marks.fill(picture, Rect(at.x0 + unit(8), y - unit(18), at.x0 + unit(330), y + unit(18)), GROUND)
        draw_bar(picture, (at.x0 + unit(16), y), scale, factor, unit(200), unit, ground)
    return text.finished(picture)


def _on(at: Rect, box: _Box, factor: float) -> Rect:
    x0, y0, x1, y1 = (round(value * factor) for value in box)
    return Rect(at.x0 + x0, at.y0 + y0, at.x0 + x1, at.y0 + y1)

"""The pages of the review on the whole screen: a group's cells at one scale, a field, two cells side by side. Slow parts are kept.

Only what changed is drawn anew: every part is a finished picture that lies on the sheet already where it is the same.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from device.display import marks, text
from device.display.base import ScreenView
from device.display.gallery_cells import before_after, caption_height, code_of, cut, draw_bar, letters, share_words, shown_name, tile
from device.display.gallery_field import draw_field
from device.display.gallery_frame import BUTTONS, HEAD, SAID, draw_buttons, draw_head, draw_said
from device.display.gallery_side import SIDE, draw_side
from device.display.gallery_sign import draw_sign, draw_slides
from device.display.layout import Rect, Unit
from device.display.pages_review import (
    COLUMNS,
    ROWS,
    ComparePage,
    FieldPage,
    GalleryPage,
    ReviewPages,
    Scale,
    Shown,
    SignPage,
)
from device.display.palette import BUSY, CARD, DIM, GROUND, LINE, OK, SOFT, TEXT
from device.display.sheet import Sheet
from device.display.targets import Targets
from device.language import _, in_use
from engines.detections import Image
from engines.taxonomy import Taxonomy


class ReviewLayout(NamedTuple):
    """The places of a page with cells."""

    unit: Unit
    head: Rect
    main: Rect
    said: Rect
    buttons: Rect
    side: Rect


def review_layout(width_px: int, height_px: int) -> ReviewLayout:
    """Places on a canvas in the language in use, as of one that is read from the left."""
    return _review_layout(width_px, height_px, in_use())


@lru_cache(maxsize=8)
def _review_layout(width_px: int, height_px: int, language: str) -> ReviewLayout:
    unit = Unit(min(width_px / 1920, height_px / 1080), language)
    left = width_px - unit(SIDE)
    buttons = height_px - unit(BUTTONS)
    said = buttons - unit(SAID)
    return ReviewLayout(
        unit,
        head=Rect(0, 0, left, unit(HEAD)),
        main=Rect(0, unit(HEAD), left, said),
        said=Rect(0, said, left, buttons),
        buttons=Rect(0, buttons, left, height_px),
        side=Rect(left, 0, width_px, height_px),
    )


def draw_review(sheet: Sheet, view: ScreenView, page: ReviewPages) -> Targets:
    """Bring `sheet` to `page`, whatever was drawn on it before; returns where a press means something."""
    height, width = sheet.pixels.shape[:2]
    plan, targets = review_layout(width, height), Targets()
    sheet.from_right = plan.unit.from_right
    with text.mirrored(plan.unit.from_right):
        _draw(sheet, targets, view, page, plan)
    if plan.unit.from_right:
        targets.places = [(where.mirrored(width), word) for where, word in targets.places]
    return targets


def _draw(sheet: Sheet, targets: Targets, view: ScreenView, page: ReviewPages, plan: ReviewLayout) -> None:
    width, unit = sheet.pixels.shape[1], plan.unit
    if isinstance(page, GalleryPage | FieldPage | ComparePage):
        scale, per_px = page.scale, _per_px(page, plan)
        draw_head(sheet, plan.head, page.head, None if isinstance(page, FieldPage) else scale, per_px, unit)
        if isinstance(page, GalleryPage):
            _draw_cells(sheet, targets, plan.main, page, unit)
        elif isinstance(page, FieldPage):
            draw_field(sheet, targets, plan.main, page, unit)
        else:
            _draw_pair(sheet, targets, plan.main, page, per_px, unit)
        draw_said(sheet, plan.said, page.head, view, unit)
        draw_buttons(sheet, targets, plan.buttons, page.buttons, unit)
        draw_side(sheet, targets, plan.side, page, unit)
        return
    whole = Rect(0, plan.head.y1, width, plan.main.y1)
    head = replace(page.head, blockers=()) if isinstance(page, SignPage) else page.head  # they stand beside the table
    draw_head(sheet, plan.head._replace(x1=width), head, None, 1.0, unit)
    if isinstance(page, SignPage):
        draw_sign(sheet, whole, page, unit)
    else:
        draw_slides(sheet, targets, whole, page, unit)
    draw_said(sheet, plan.said._replace(x1=width), page.head, view, unit)
    draw_buttons(sheet, targets, plan.buttons._replace(x1=width), page.buttons, unit)


def _tile_size(place: Rect, unit: Unit) -> tuple[int, int]:
    return place.width // COLUMNS, min(place.height // ROWS, unit(230))


def _per_px(page: GalleryPage | FieldPage | ComparePage, plan: ReviewLayout) -> float:
    """Screen px for one px of the field in what the page shows of cells."""
    if isinstance(page, ComparePage):
        side = _pair_side(plan.main, plan.unit)
        return side / page.scale.side_px  # with the least that fits 24 cells on a page, more than twice the gallery's
    _, tall = _tile_size(plan.main, plan.unit)
    return (tall - 2 * plan.unit(5) - caption_height(plan.unit)) / page.scale.side_px


def _draw_cells(sheet: Sheet, targets: Targets, place: Rect, page: GalleryPage, unit: Unit) -> None:
    """The cells row by row; what is left over of the place is plain."""
    wide, tall = _tile_size(place, unit)
    taxonomy, scale, ground = page.taxonomy, page.scale, GROUND
    for index in range(COLUMNS * ROWS):
        x, y = place.x0 + index % COLUMNS * wide, place.y0 + index // COLUMNS * tall
        if index >= len(page.cells):
            sheet.lay(_plain(wide, tall), x, y)
            continue
        shown = page.cells[index]
        selected = shown.cell_id in page.selected
        sheet.lay(tile(shown, taxonomy, scale, wide, tall, index == page.at, selected, ground, unit), x, y)
        targets.add(Rect(x, y, x + wide, y + tall), f"cell {shown.cell_id}")
    used = COLUMNS * wide, ROWS * tall
    if place.width > used[0]:
        sheet.lay(_plain(place.width - used[0], place.height), place.x0 + used[0], place.y0)
    if place.height > used[1]:
        sheet.lay(_plain(used[0], place.height - used[1]), place.x0, place.y0 + used[1])


@lru_cache(maxsize=8)
def _plain(width: int, height: int) -> Image:
    return text.finished(marks.blank(width, height, GROUND))


def _pair_side(place: Rect, unit: Unit) -> int:
    return min(place.width // 2 - unit(24), place.height - unit(110))


def _draw_pair(sheet: Sheet, targets: Targets, place: Rect, page: ComparePage, per_px: float, unit: Unit) -> None:
    for at, shown in enumerate(page.pair):
        x0 = place.x0 + at * (place.width // 2)
        x1 = place.x1 if at else place.x0 + place.width // 2
        current = page.current is not None and page.current.cell_id == shown.cell_id
        half = _half(shown, page.taxonomy, page.scale, per_px, x1 - x0, place.height, current, unit)
        sheet.lay(half, x0, place.y0)
        targets.add(Rect(x0, place.y0, x1, place.y1), f"cell {shown.cell_id}")


@lru_cache(maxsize=6)
def _half(shown: Shown, taxonomy: Taxonomy, scale: Scale, per_px: float, width: int, height: int, current: bool, unit: Unit) -> Image:
    """One of two cells, with what was told and said under it."""
    picture = marks.blank(width, height, GROUND)
    side = _pair_side(Rect(0, 0, 2 * width, height), unit)
    left, top = (width - side) // 2, unit(8)
    text.paste(picture, cut(shown, side, side, per_px, CARD), left, top)
    frame = Rect(left, top, left + side, top + side)
    marks.outline(picture, frame, unit(5) if current else unit(1), BUSY if current else LINE)
    before, after = before_after(shown, taxonomy)
    y, px = top + side + unit(10), unit(26)
    icon = unit(24)
    text.paste(picture, marks.marker(before.marker or "question", icon, before.colour, GROUND), left, y + unit(4))
    name = shown_name(before)
    x = text.put(picture, name, (left + icon + unit(10), y), px, TEXT, GROUND, bold=after is None, max_px=side - icon - unit(10)).x1
    if after is not None:
        rest = f"{'<' if unit.from_right else '→'} {code_of(after)}" if after.name != before.name else f"= {code_of(after)}"
        text.put(picture, rest, (x + unit(12), y), px, OK, GROUND, bold=True, max_px=max(1, left + side - x - unit(12)))
    y += text.line_height(px)
    sure, blast = share_words(shown.sure), share_words(shown.cell.blast_probability)
    words = " · ".join(part for part in (sure, _("blast {share}").format(share=blast) if blast else "") if part)
    text.put(picture, words, (left, y), letters(unit, 22), SOFT if words else DIM, GROUND, max_px=side // 2)
    draw_bar(picture, (left + side // 2, y + unit(14)), scale, per_px, side // 4, unit, GROUND)
    return text.finished(picture)

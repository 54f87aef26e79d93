"""Draws one picture of the screen from a `ScreenView`: the same view gives the same picture; showing it lives elsewhere."""

from __future__ import annotations

from functools import partial

import numpy as np

from device.display import text
from device.display.ask import draw_ask
from device.display.base import ScreenView
from device.display.far import draw_far
from device.display.field import draw_over, draw_picture, plan_cells
from device.display.gallery import draw_review
from device.display.layout import Rect, Unit, layout, letterbox
from device.display.pages import AskPage, CountPage, ServicePage
from device.display.pages_review import REVIEW_PAGES
from device.display.panel import draw_panel
from device.display.service import draw_service
from device.display.sheet import Sheet
from device.display.surround import draw_footer, draw_strip
from device.display.targets import Targets
from engines.detections import Image
from engines.second_thread import in_second_thread


def draw(view: ScreenView, size_px: tuple[int, int] = (1920, 1080), out: Image | None = None) -> Image:
    """The screen for `view` as a BGR canvas, (height, width, 3) uint8.

    size_px: width and height, at least 320 x 180 (ValueError below); text is made to be read at 2 m on 1920 x 1080 and scales with
    the canvas. out: a C-contiguous array of that shape to draw into instead of a new one; it is painted whole.
    """
    width, height = size_px
    canvas = np.empty((height, width, 3), np.uint8) if out is None else out
    if canvas.shape != (height, width, 3) or canvas.dtype != np.uint8:
        raise ValueError(f"the canvas to draw into is {canvas.shape} {canvas.dtype}, wanted ({height}, {width}, 3) uint8")
    draw_on(Sheet(canvas), view)
    return canvas


def draw_on(sheet: Sheet, view: ScreenView) -> Targets:
    """Bring `sheet` to what `draw` gives for `view`, whatever view was drawn on it before; returns where a press means something.

    Raises ValueError as `draw` does.

    Of strip, footer and panel only those parts are copied that lie there no longer; the picture is always painted whole.
    """
    height, width = sheet.pixels.shape[:2]
    if isinstance(view.page, REVIEW_PAGES):
        return draw_review(sheet, view, view.page)
    plan = layout(width, height)
    targets = Targets()
    from_right = plan.unit.from_right
    if isinstance(view.page, CountPage) and view.page.far:
        draw_far(sheet, view, targets, plan.unit)
        return targets
    if isinstance(view.page, ServicePage):
        draw_service(sheet, view.page, targets, plan.unit)
        return targets
    at = plan.picture.mirrored(width) if from_right else plan.picture
    place = at.view(sheet.pixels)
    sheet.from_right = from_right
    sheet.paint(at)
    with in_second_thread(partial(draw_picture, place, view.frame)):  # half of the work, and all of it OpenCV's
        cells = plan_cells(plan.picture, view, plan.unit)
        with text.mirrored(from_right):
            draw_strip(sheet, plan.strip, view, "" if cells is None else cells.words, plan.unit)
            draw_footer(sheet, plan.footer, view, cells, targets, plan.unit)
            draw_panel(sheet, plan.panel, view, plan.unit)
    draw_over(place, view, cells, plan.unit)
    if from_right:
        targets.places = [(where.mirrored(width), word) for where, word in targets.places]
    if isinstance(view.page, AskPage):
        _ask(place, at, view.page, targets, plan.unit)
    elif view.frame is not None:
        film = letterbox(*view.frame.size_px, at.width, at.height)
        targets.add(Rect(at.x0 + film.x0, at.y0 + film.y0, at.x0 + film.x1, at.y0 + film.y1), "picture")
    return targets


def _ask(place: Image, at: Rect, page: AskPage, targets: Targets, unit: Unit) -> None:
    """Draw the question over `place`, which lies at `at` on the canvas."""
    if not unit.from_right:
        draw_ask(place, (at.x0, at.y0), page, targets, unit)
        return
    turned, buttons = np.ascontiguousarray(place[:, ::-1]), Targets()
    with text.mirrored():
        draw_ask(turned, (0, 0), page, buttons, unit)
    place[:] = turned[:, ::-1]
    for button, word in buttons.places:
        there = button.mirrored(at.width)
        targets.add(Rect(at.x0 + there.x0, at.y0 + there.y0, at.x0 + there.x1, at.y0 + there.y1), word)

"""The left of the screen: the whole picture with boxes and labels, or why there is none. How these look: `boxes`, `labels`."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from device.camera.base import CameraState, Frame
from device.display import marks, text
from device.display.base import ScreenView
from device.display.boxes import box_pieces
from device.display.labels import Plan, Tag, plan, plate_piece
from device.display.layout import Rect, Unit, letterbox
from device.display.pages import CountPage
from device.display.palette import BUSY, DIM, GROUND, HALO, LEVELS, NOT_LOOKED_AT, OK, PANEL, SOFT, TEXT, Colour, TypeStyle, mix
from device.display.placing import nearest
from device.display.text import Piece
from device.display.told import cell_words, spoken, told_cells
from device.display.words import camera_words
from device.language import _
from device.slide.model import SlideState
from engines.detections import Float32, Image


class Cells(NamedTuple):
    """What is drawn over the picture, in this order, and all that in words; leaders: lines from plates to boxes, ends and colour.

    one: the one cell that is told in words, its style and those words; chosen: a person pressed on it.
    """

    boxes: tuple[Piece, ...]
    leaders: tuple[tuple[tuple[int, int], tuple[int, int], Colour], ...]
    labels: tuple[Piece, ...]
    words: str
    one: TypeStyle | None = None
    one_words: tuple[str, ...] = ()
    chosen: bool = False


def draw_picture(place: Image, frame: Frame | None) -> None:
    """Scale the frame into the part of the canvas that it may use, with plain ground around it, or instead of it.

    Touches no cache and writes nothing else, so that it may run in a thread beside the drawing of the rest.
    """
    height, width = place.shape[:2]
    if frame is None:
        marks.fill(place, Rect(0, 0, width, height), GROUND)
        return
    at = letterbox(*frame.size_px, width, height)
    for edge in (Rect(0, 0, width, at.y0), Rect(0, at.y1, width, height), at._replace(x0=0, x1=at.x0), at._replace(x0=at.x1, x1=width)):
        marks.fill(place, edge, GROUND)
    # OpenCV writes through `dst` when it is a view with whole rows of pixels; the test of the overlay holds it to that.
    out, size = at.view(place), (at.width, at.height)
    if at.width > frame.size_px[0]:
        cv2.resize(frame.image, size, dst=out, interpolation=cv2.INTER_CUBIC)
        return
    exact = not cv2.ipp.useIPP_NotExact()
    cv2.ipp.setUseIPP_NotExact(True)  # for this thread only; on x86 the same interpolation in half the time, rounded within one level
    try:
        cv2.resize(frame.image, size, dst=out, interpolation=cv2.INTER_LINEAR)
    finally:
        cv2.ipp.setUseIPP_NotExact(not exact)


def plan_cells(area: Rect, view: ScreenView, unit: Unit) -> Cells | None:
    """What is to be drawn over the picture in a place of the size of `area`; None without a living picture that was looked at.

    While the stage moves or the picture is out of focus nothing is drawn, and the words say so.
    """
    found = view.detections
    if view.frame is None or found is None or camera_words(view.camera) is not None:
        return None
    if not (view.resting and view.sharp):  # what is smeared or blurred would be given a type and attributes that nobody can see
        return Cells((), (), (), _("moving") if not view.resting else view.focus_text)
    told = told_cells(view, found)
    boxes = to_canvas(told.boxes_px, view.frame.size_px, letterbox(*view.frame.size_px, area.width, area.height))
    page = view.page if isinstance(view.page, CountPage) else CountPage()
    size = view.frame.size_px
    one = spoken(told, None if page.pointed is None else (page.pointed[0] * size[0], page.pointed[1] * size[1]))
    of_one = () if one is None else (told.styles[one.index], cell_words(told, one.index, view.engine.taxonomy), one.chosen)
    if page.bare:
        return Cells((), (), (), told.words, *of_one)
    tags: list[Tag] = []
    bare: list[tuple[Rect, TypeStyle]] = []
    for index, (box, style) in enumerate(zip(boxes, told.styles, strict=True)):
        if style.artefact or style is NOT_LOOKED_AT:
            bare.append((box, style))
        else:
            tags.append(Tag(box, style, one is not None and one.index == index))
    inside = Rect(unit(6), unit(6), area.width - unit(6), area.height - unit(6))
    if page.far:
        planned = Plan((None,) * len(tags), (False,) * len(tags), "")
    else:
        planned = plan(tuple(tags), tuple(box for box, _style in bare), inside, unit)
    words = f"{told.words} · {planned.caption}" if planned.caption else told.words
    leaders = []
    labels: list[Piece] = []
    for tag, short, where in zip(tags, planned.short, planned.places, strict=True):
        if where is not None:
            labels.append(plate_piece(tag, short, where, unit))
            start, end = nearest(where, tag.box)
            if math.dist(start, end) > unit(28):  # a plate that lies at its box needs no line
                leaders.append((start, end, tag.style.colour))
    surest_last = ((tag.box, tag.style) for tag in reversed(tags))  # on top
    drawn = tuple(piece for box, style in (*bare, *surest_last) for piece in box_pieces(box, style, unit))
    return Cells(drawn, tuple(leaders), tuple(labels), words, *of_one)


def draw_over(place: Image, view: ScreenView, cells: Cells | None, unit: Unit) -> None:
    """Draw boxes and labels over the picture that lies in `place`, or why there is none."""
    banner = camera_words(view.camera, view.slide is not None and bool(view.slide.fields))
    if view.frame is None:
        if banner is None or view.camera.state is CameraState.OPENING:
            state = _("Waiting for the first picture") if banner is None else _("Opening the camera")
            calm = _start_picture(state, view.camera.name, view.camera.reason, unit, place.shape[1], place.shape[0])
            text.paste(place, calm, 0, 0)
        else:
            _banner(place, banner, unit)
        return
    at = letterbox(*view.frame.size_px, place.shape[1], place.shape[0])
    if banner is not None:  # an old picture: dark, and without boxes, lest it be taken for what lies under the objective
        dark = at.view(place)
        np.right_shift(dark, 2, out=dark)
        _banner(place, banner, unit)
        return
    if view.field_counted and view.slide is not None and view.slide.state is SlideState.COUNTING:
        marks.outline(place, at, unit(4), OK)
    elif not view.resting:
        marks.outline(place, at, unit(2), BUSY)
    if cells is None:
        return
    for piece in cells.boxes:
        text.paste(place, *piece)
    for start, end, colour in cells.leaders:
        cv2.line(place, start, end, HALO, unit(3) + 3, cv2.LINE_AA)
        cv2.line(place, start, end, colour, unit(3), cv2.LINE_AA)
    for piece in cells.labels:
        text.paste(place, *piece)


def to_canvas(boxes_px: Float32, frame_size_px: tuple[int, int], at: Rect) -> tuple[Rect, ...]:
    """Boxes (N, 4) of the frame where their cells lie in the picture drawn at `at`."""
    factor = np.array([at.width / frame_size_px[0], at.height / frame_size_px[1]] * 2)
    moved = np.rint(boxes_px * factor + np.array([at.x0, at.y0] * 2)).astype(np.int64)
    return tuple(Rect(*row) for row in moved.tolist())


def _banner(place: Image, words: tuple[str, str, str, str], unit: Unit) -> None:
    """A band across the whole place: why there is no living picture, and what happens next."""
    level, title, reason, after = words
    colour = LEVELS[level]
    height, width = place.shape[:2]
    inner = width - 2 * unit(64) - unit(110)
    reasons, afters = text.wrap(reason, unit(32), inner, 3), text.wrap(after, unit(28), inner, 2)
    tall = 2 * unit(34) + text.line_height(unit(54)) + unit(10)
    tall += len(reasons) * text.line_height(unit(32)) + unit(10) + len(afters) * text.line_height(unit(28))
    band = Rect(0, max(0, (height - tall) // 2), width, min(height, (height + tall) // 2))
    marks.fill(place, band, PANEL)
    marks.fill(place, Rect(0, band.y0, width, band.y0 + unit(6)), colour)
    marks.fill(place, Rect(0, band.y1 - unit(6), width, band.y1), colour)
    x, y = unit(64), band.y0 + unit(34)
    text.paste(place, marks.lamp(level, unit(84), PANEL), x, y + unit(2))
    x += unit(110)
    text.put(place, title, (x, y), unit(54), TEXT, PANEL, bold=True, max_px=inner)
    y += text.line_height(unit(54)) + unit(10)
    for lines, px, colour in ((reasons, unit(32), TEXT), (afters, unit(28), SOFT)):
        for line in lines:
            text.put(place, line, (x, y), px, colour, PANEL)
            y += text.line_height(px)
        y += unit(10)


@lru_cache(maxsize=2)
def _start_picture(state: str, name: str, reason: str, unit: Unit, width: int, height: int) -> Image:
    """The calm screen before the first picture."""
    picture = marks.blank(width, height, GROUND)
    lens, middle = unit(260), width // 2
    y = max(0, height // 2 - unit(330))
    text.paste(picture, marks.marker("lens", lens, mix(SOFT, GROUND, 0.8), GROUND), middle - lens // 2, y)
    y += lens + unit(36)
    for words, size, colour, bold, gap in (
        ("Leukoscope", 80, TEXT, False, 4),
        (_("A second pair of eyes beside the microscope"), 30, SOFT, False, 56),
        (state, 34, TEXT, False, 6),
        (name, 26, SOFT, False, 6),
        (reason, 26, DIM, False, 0),
    ):
        at = text.put(picture, words, (middle, y), unit(size), colour, GROUND, bold=bold, align="centre", max_px=width - 2 * unit(60))
        y = at.y1 + unit(gap)
    return text.finished(picture)

"""The count as it is read from afar: few words in letters of 16 arc minutes and more at 2 m on a screen of 24 inches.

Shown are the count, what becomes of the field, the last message, blasts, and what must stand beside every number; all else is left out.
"""

from __future__ import annotations

from functools import lru_cache, partial

from device.camera.base import CameraState
from device.display import marks, text
from device.display.base import ScreenView
from device.display.field import Cells, draw_over, draw_picture, plan_cells
from device.display.layout import Rect, Unit
from device.display.palette import BUSY, CARD, GROUND, LEVELS, OK, PANEL, SOFT, TEXT, WARN, ink_on
from device.display.sheet import Sheet
from device.display.targets import Targets
from device.display.words import SIMULATOR_NOTICE, camera_words, notice, slide_words, stage_words
from device.language import _
from device.slide.doubt import limit_words
from device.slide.picture_state import PictureState
from engines.detections import Image
from engines.second_thread import in_second_thread

LEAST_PX = 48
"""Letters of no word are smaller: capitals of 34 px on 1920 x 1080."""
_PICTURE_W, _PICTURE_H = 1120, 630
_MARGIN = 40
_STAGE_PX, _MESSAGE_PX, _COUNT_PX, _BLAST_PX = 60, 60, 230, 84


def draw_far(sheet: Sheet, view: ScreenView, targets: Targets, unit: Unit) -> None:
    """Bring the whole of `sheet` to the far view of `view`."""
    height, width = sheet.pixels.shape[:2]
    sheet.from_right = unit.from_right
    at = Rect(0, 0, unit(_PICTURE_W), unit(_PICTURE_H))
    place = (at.mirrored(width) if unit.from_right else at).view(sheet.pixels)
    sheet.paint(at.mirrored(width) if unit.from_right else at)
    slide, tally = view.slide, view.differential
    state = None if slide is None else slide.state
    at_least = "" if slide is None else PictureState.of(slide).at_least
    cells: Cells | None = None
    with in_second_thread(partial(draw_picture, place, view.frame)):
        cells = plan_cells(at, view, unit)
        with text.mirrored(unit.from_right):
            white = 0 if tally is None else tally.white_cells
            chip = ("warn", _("Foreign film")) if slide is not None and slide.foreign else slide_words(state)
            panel_w = width - at.x1
            sheet.lay(_count(at_least, white, view.target_cells, chip, panel_w, at.height // 2, unit), at.x1, 0)
            blasts = None if tally is None or not white else (tally.blasts, white, white - tally.unidentified, *tally.blast_range)
            sheet.lay(_blasts(blasts, panel_w, at.height - at.height // 2, unit), at.x1, at.height // 2)
            live = view.frame is not None and view.camera.state is CameraState.STREAMING
            banner = camera_words(view.camera, slide is not None and bool(slide.fields))
            if live:
                level, stage = stage_words(state, view.resting, view.field_counted, view.held)
            else:
                level, stage = ("busy", _("No live picture")) if banner is None else banner[:2]
            simulated = view.frame is not None and view.frame.source.lower().startswith("simulator")
            stage_h, foot_h = unit(100), unit(225 if simulated else 150)
            sheet.lay(_line(level, stage, width, stage_h, unit), 0, at.y1)
            message_h = height - at.y1 - stage_h - foot_h
            sheet.lay(_message(view.message, view.message_level, width, message_h, unit), 0, at.y1 + stage_h)
            foot = _foot(notice(slide), view.engine.label, simulated, width, foot_h, unit)
            sheet.lay(foot, 0, height - foot_h)
    if banner is None:
        draw_over(place, view, cells, unit)
    targets.add(Rect(0, 0, width, height), "Z")


@lru_cache(maxsize=4)
def _count(at_least: str, cells: int, target: int, chip: tuple[str, str], width: int, height: int, unit: Unit) -> Image:
    picture = marks.blank(width, height, PANEL)
    left, right = unit(_MARGIN), width - unit(_MARGIN)
    level, word = chip
    px = _fitting(word, (56, LEAST_PX), right - left, unit, True)
    text.put(picture, word, (right, unit(8)), px, LEVELS[level], PANEL, bold=True, align="right")
    what = f"{at_least}" + _("white cells")
    room = right - left - text.width(word, px, True) - unit(24)
    text.put(picture, what, (left, unit(8)), unit(LEAST_PX), WARN if at_least else SOFT, PANEL, max_px=room)
    big, of = str(cells), f"/ {target}"
    room = right - left - unit(24)
    px = next(
        (unit(p) for p in (_COUNT_PX, 200, 170, 150, 120) if text.width(big, unit(p), True) + text.width(of, unit(80)) <= room),
        unit(100),
    )
    end = text.put(picture, big, (left, unit(58)), px, TEXT, None, bold=True)  # its tall line reaches into the words above
    y = end.y0 + text.base_line(px) - text.base_line(unit(80))
    done = cells >= target
    text.put(picture, of, (end.x1 + unit(24), y), unit(80), OK if done else SOFT, PANEL, bold=done)
    bar = Rect(left, height - unit(22), right, height - unit(4))
    marks.fill(picture, bar, CARD)
    if cells:
        marks.fill(picture, bar._replace(x1=left + max(1, round(bar.width * min(1.0, cells / target)))), OK if done else BUSY)
    return text.finished(picture)


@lru_cache(maxsize=4)
def _blasts(counted: tuple[int, int, int, float, float] | None, width: int, height: int, unit: Unit) -> Image:
    """Blasts, and of a zero what it leaves open. counted: blasts, white cells, told ones, the limits of the share; None: no cell."""
    picture = marks.blank(width, height, PANEL)
    left, right = unit(_MARGIN), width - unit(_MARGIN)
    title, icon = _("Blasts and blast equivalents"), unit(50)
    text.paste(picture, marks.marker("diamond", icon, WARN, PANEL), left, unit(26))
    lines = text.wrap(title, unit(LEAST_PX), right - left - icon - unit(20), 2)
    y = unit(18)
    for line in lines:
        text.put(picture, line, (left + icon + unit(20), y), unit(LEAST_PX), SOFT, PANEL)
        y += text.line_height(unit(LEAST_PX))
    if counted is None:
        text.put(picture, _("no cell counted yet"), (left, y + unit(8)), unit(LEAST_PX), SOFT, PANEL, max_px=right - left)
        return text.finished(picture)
    blasts, white, told, low, high = counted
    if blasts:
        big = _("{n} of {cells}").format(n=blasts, cells=white)
        small = _("95 % range {low} to {high} %").format(low=f"{low:.0f}", high=f"{high:.0f}")
    elif told:
        big = _("0 of {n} told").format(n=told)
        small = _("up to {limit} possible").format(limit=limit_words(high))
    else:
        big, small = _("no cell told"), _("any share possible")
    px = _fitting(big, (_BLAST_PX, 72, 60, LEAST_PX), right - left, unit, True)
    text.put(picture, big, (left, y), px, TEXT, PANEL, bold=True, max_px=right - left)
    y += text.line_height(px)
    px = _fitting(small, (56, LEAST_PX), right - left, unit, not blasts)
    text.put(picture, small, (left, y), px, SOFT if blasts else WARN, PANEL, bold=not blasts, max_px=right - left)
    return text.finished(picture)


@lru_cache(maxsize=16)
def _line(level: str, words: str, width: int, height: int, unit: Unit) -> Image:
    """What becomes of the field now seen."""
    picture = marks.blank(width, height, PANEL)
    icon = unit(56)
    kind = {"ok": "tick", "busy": "ring", "warn": "alert", "fail": "failed"}[level]
    text.paste(picture, marks.marker(kind, icon, LEVELS[level], PANEL), unit(_MARGIN), (height - icon) // 2)
    room = width - 2 * unit(_MARGIN) - icon - unit(24)
    px = _fitting(words, (_STAGE_PX, LEAST_PX), room, unit, True)
    y = (height - text.line_height(px)) // 2
    text.put(picture, words, (unit(_MARGIN) + icon + unit(24), y), px, LEVELS[level], PANEL, bold=True, max_px=room)
    return text.finished(picture)


@lru_cache(maxsize=4)
def _message(words: str, level: str, width: int, height: int, unit: Unit) -> Image:
    """The last message in two lines at most."""
    ground = LEVELS[level] if words and level in ("warn", "fail") else GROUND
    picture = marks.blank(width, height, ground)
    room = width - 2 * unit(_MARGIN)
    px = next((unit(p) for p in (_MESSAGE_PX, 54) if len(text.wrap(words, unit(p), room, 3)) <= 2), unit(LEAST_PX))
    lines = text.wrap(words, px, room, 2)
    y = (height - len(lines) * text.line_height(px)) // 2
    for line in lines:
        text.put(picture, line, (unit(_MARGIN), y), px, ink_on(ground), ground, max_px=room)
        y += text.line_height(px)
    return text.finished(picture)


@lru_cache(maxsize=4)
def _foot(words: str, model: str, simulated: bool, width: int, height: int, unit: Unit) -> Image:
    """That nobody has reviewed it, by which engine it was counted, and that the film is rendered where it is."""
    picture = marks.blank(width, height, PANEL)
    rows = [
        (words, WARN, PANEL, True),
        (model, SOFT, PANEL, False),
        *([(_(SIMULATOR_NOTICE), GROUND, WARN, True)] if simulated else []),
    ]
    room, each = width - 2 * unit(_MARGIN), height // len(rows)
    for number, (said, ink, ground, bold) in enumerate(rows):
        marks.fill(picture, Rect(0, number * each, width, height), ground)
        px = _fitting(said, (56 if bold else LEAST_PX, LEAST_PX), room, unit, bold)
        y = number * each + (each - text.line_height(px)) // 2
        text.put(picture, said, (width // 2, y), px, ink, ground, bold=bold, align="centre", max_px=room)
    return text.finished(picture)


def _fitting(words: str, sizes: tuple[int, ...], room: int, unit: Unit, bold: bool) -> int:
    """The first of `sizes`, in px of the canvas, in which `words` go into `room`; the last where they go in none."""
    return text.largest(words, tuple(unit(size) for size in sizes), room, bold)

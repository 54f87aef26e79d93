"""The right of the screen: slide, count, differential, states, provenance. Each part is drawn anew only when it changes."""

from __future__ import annotations

from functools import lru_cache

from device.display import marks, text
from device.display.base import PartState, ScreenView
from device.display.film_map import draw_film_map
from device.display.layout import Rect, Unit
from device.display.palette import BUSY, CARD, DIM, GROUND, LEVELS, OK, PANEL, SOFT, TEXT, WARN, mix, type_styles
from device.display.rows import MARGIN, blank, blast_part, told_rows, type_rows
from device.display.sheet import Sheet
from device.display.surround import at_target
from device.display.words import notice, slide_words
from device.language import _, ngettext
from device.slide.doubt import FOREIGN, sensitivity
from device.slide.model import SlideState
from device.slide.picture_state import PictureState, count_of
from engines.detections import Image
from engines.naming import NamingInfo

_LAMP_PITCH = 28


def draw_panel(sheet: Sheet, place: Rect, view: ScreenView, unit: Unit) -> None:
    """Lay the panel's parts on `place`, which they cover whole."""
    width, slide, tally = place.width, view.slide, view.differential
    state, pictures = (None, None) if slide is None else (slide.state, PictureState.of(slide))
    head = _header(
        "" if slide is None else slide.slide_id,
        0 if slide is None else len(slide.fields),
        0 if slide is None else slide.fields_undone,
        "" if slide is None else slide.abort_reason,
        "" if slide is None else slide.specimen,
        "" if slide is None else slide.operator,
        state,
        pictures is not None and bool(pictures.sentences(only_grave=True)),
        at_target(view),
        width,
        unit,
    )
    has_slide = slide is not None and state is not SlideState.IDLE
    at_least = "" if pictures is None else pictures.at_least
    count = _count(0 if tally is None else tally.white_cells, at_least, view.target_cells, has_slide, width, unit)
    naming, taxonomy = view.engine.naming, view.engine.taxonomy
    foot = _foot(view.engine.label, "" if naming is None else _naming_words(naming), view.calibration_label, notice(slide), width, unit)
    last = place.y1 - foot.shape[0]
    # Each lamp on its own: fields a second and milliseconds change with nearly every frame, the others stay for hours.
    margin, pitch = unit(8), _lamp_pitch(unit)
    below = last - unit(16) - max(1, len(view.parts)) * pitch
    parts = [head, count]
    if naming is None:
        parts.append(type_rows(tally, type_styles(taxonomy), width, unit))
    else:
        if slide is not None and slide.foreign:
            parts.insert(1, _foreign(_(FOREIGN), width, unit))
        parts.append(blast_part(tally, sensitivity(naming, slide is not None and slide.foreign), width, unit))
        parts.append(told_rows(tally, taxonomy, below - place.y0 - sum(part.shape[0] for part in parts), width, unit))
    y = place.y0
    for part in parts:
        sheet.lay(part, place.x0, y)
        y += part.shape[0]
    film = draw_film_map(view, below - y, width, unit)
    if film is not None:
        sheet.lay(film, place.x0, below - film.shape[0])
    free = below - y - (0 if film is None else film.shape[0])
    if free > 0:
        sheet.lay(_empty(width, free, unit), place.x0, y)
    sheet.lay(_empty(width, margin, unit, rule=True), place.x0, below)
    y = below + margin
    for lamp in view.parts:
        sheet.lay(_lamp(lamp, width, unit), place.x0, y)
        y += pitch
    sheet.lay(_empty(width, last - y, unit), place.x0, y)
    sheet.lay(foot, place.x0, last)


@lru_cache(maxsize=4)
def _words_x(unit: Unit) -> int:
    """Where the values of parts and provenance begin, from the margin: behind the longest of their names."""
    lamps = [text.width(_(name), unit.letters(21)) + unit(28) for name in ("Camera", "Engine", "Broker", "Record")]
    return max(*lamps, *(text.width(_(name), unit.letters(19)) for name in ("Model", "Naming", "Calibration"))) + unit(12)


def _lamp_pitch(unit: Unit) -> int:
    return max(unit(_LAMP_PITCH), text.line_height(unit.letters(21)))


def _naming_words(naming: NamingInfo) -> str:
    """What named the cells: a layer of this site, or the one that came with the engine."""
    return _("site layer {name}").format(name=naming.label) if naming.site else naming.label


@lru_cache(maxsize=16)
def _empty(width: int, height: int, unit: Unit, rule: bool = False) -> Image:
    return text.finished(blank(width, height, unit, rule))


@lru_cache(maxsize=4)
def _header(
    slide_id: str,
    fields: int,
    undone: int,
    aborted: str,
    specimen: str,
    operator: str,
    state: SlideState | None,
    poor: bool,
    reached: bool,
    width: int,
    unit: Unit,
) -> Image:
    """The specimen, the slide's state as a chip, its id, who counts and how many fields were counted; the whole of it in another
    colour while the target is reached."""
    picture = blank(width, unit(96), unit)
    left, right, ground = unit(MARGIN), width - unit(MARGIN), OK if reached else PANEL
    ink, soft = (GROUND, GROUND) if reached else (TEXT, SOFT)
    if reached:
        marks.fill(picture, Rect(0, 0, width, picture.shape[0]), OK)
    title = specimen or (_("No specimen number") if slide_id else "Leukoscope")
    level, word = ("ok", _("target reached")) if reached else slide_words(state)
    colour, name_w = GROUND if reached else LEVELS[level], text.width("Leukoscope", unit(36), True)
    px = text.largest(word, (unit.letters(22), unit.letters(20), unit.letters(17)), right - left - name_w - 3 * unit(14), True)
    chip_w = text.width(word, px, True) + 2 * unit(14)
    chip = Rect(right - chip_w, unit(20), right, unit(56))
    room = chip.x0 - left - unit(12)
    size = text.largest(title, tuple(map(unit.letters, (36, 32, 28, 25, 22, 20, 18, 16, 14))), room, True)
    y = unit(15) + (text.line_height(unit(36)) - text.line_height(size)) // 2
    text.put(picture, title, (left, y), size, ink if specimen or not slide_id else soft, ground, bold=True, max_px=room)
    text.paste(picture, marks.plate(chip.width, chip.height, chip.height // 2, colour, ground), chip.x0, chip.y0)
    y = chip.y0 + (chip.height - text.line_height(px)) // 2
    text.put(picture, word, (chip.x0 + unit(14), y), px, OK if reached else GROUND, colour, bold=True)
    if not slide_id:
        text.put(picture, _("Press S to start a slide"), (left, unit(61)), px, SOFT, PANEL, max_px=right - left)
        return text.finished(picture)
    said = aborted if state is SlideState.ABORTED and aborted else count_of(fields, "field")
    if undone and state is not SlideState.ABORTED:
        said += ngettext(", {n} undone", ", {n} undone", undone).format(n=undone)
    if poor:
        said += _(": see the note")
    who = f"{operator} · {slide_id}" if operator else slide_id
    sizes = tuple(map(unit.letters, (22, 20, 18)))
    px = next((p for p in sizes if text.width(said, p) + text.width(who, p) + unit(16) <= right - left), sizes[-1])
    said_w = min(text.width(said, px), (right - left) * 3 // 5)
    text.put(picture, said, (right, unit(61)), px, WARN if poor and not reached else soft, ground, align="right", max_px=said_w)
    text.put(picture, who, (left, unit(61)), px, ink, ground, max_px=right - left - said_w - unit(16))
    return text.finished(picture)


@lru_cache(maxsize=2)
def _foreign(words: str, width: int, unit: Unit) -> Image:
    """That the film is foreign: a band that stays as long as the slide does."""
    left, right, px, title = unit(MARGIN), width - unit(MARGIN), unit.letters(21), unit.letters(28)
    lines = text.wrap(words, px, right - left, 4)
    picture = marks.blank(width, unit(16) + text.line_height(title) + len(lines) * text.line_height(px) + unit(12), WARN)
    text.paste(picture, marks.marker("alert", title, GROUND, WARN), left, unit(10) + (text.line_height(title) - title) // 2)
    text.put(picture, _("Foreign film"), (left + title + unit(12), unit(10)), title, GROUND, WARN, bold=True)
    y = unit(14) + text.line_height(title)
    for line in lines:
        text.put(picture, line, (left, y), px, GROUND, WARN)
        y += text.line_height(px)
    return text.finished(picture)


@lru_cache(maxsize=4)
def _count(cells: int, at_least: str, target: int, has_slide: bool, width: int, unit: Unit) -> Image:
    """White blood cells counted of the target, large, with a bar."""
    picture = blank(width, unit(112), unit, rule=True)
    left, right = unit(MARGIN), width - unit(MARGIN)
    ink = TEXT if has_slide else DIM
    x = text.put(picture, at_least, (left, unit(40)), unit.letters(24), WARN, PANEL, bold=True).x1 + unit(8) if at_least else left
    number = text.put(picture, str(cells), (x, unit(5)), unit(66), ink, PANEL, bold=True)
    x = number.x1 + unit(12)
    of = text.put(picture, f"/ {target}", (x, unit(27)), unit(40), SOFT if has_slide else DIM, PANEL)
    done = cells >= target
    words = _("target reached") if done else _("white cells")
    colour = OK if done else SOFT if has_slide else DIM
    room = right - of.x1 - unit(10)
    px = text.largest(words, (unit.letters(24), unit.letters(21), unit.letters(18)), room, done)
    text.put(picture, words, (right, unit(40) + (unit(24) - px)), px, colour, PANEL, bold=done, align="right", max_px=room)
    w, h = right - left, unit(16)
    bar = marks.plate(w, h, h // 2, CARD, PANEL).copy()
    filled = round(w * min(1.0, cells / target))
    if filled:
        full = marks.plate(w, h, h // 2, OK if done else BUSY, PANEL)
        bar[:, :filled] = full[:, :filled]
    text.paste(picture, bar, left, unit(84))
    return text.finished(picture)


@lru_cache(maxsize=32)
def _lamp(part: PartState, width: int, unit: Unit) -> Image:
    """State of one part by shape, colour and words."""
    pitch = _lamp_pitch(unit)
    picture = blank(width, pitch, unit)
    left, right, px, icon = unit(MARGIN), width - unit(MARGIN), unit.letters(21), unit(18)
    text.paste(picture, marks.lamp(part.level, icon, PANEL), left, (pitch - icon) // 2)
    top, x = (pitch - text.line_height(px)) // 2, left + _words_x(unit)
    text.put(picture, _(part.name), (left + unit(28), top), px, SOFT, PANEL, max_px=_words_x(unit) - unit(34))
    ink = TEXT if part.level in ("ok", "busy") else LEVELS[part.level]
    px = text.largest(part.text, tuple(map(unit.letters, range(21, 13, -1))), right - x)
    text.put(picture, part.text, (x, top + (unit.letters(21) - px) // 2), px, ink, PANEL, max_px=right - x)
    return text.finished(picture)


@lru_cache(maxsize=4)
def _foot(model: str, naming: str, calibration: str, words: str, width: int, unit: Unit) -> Image:
    """What saw, what named (if that is apart) and how it was calibrated; and always that nobody has reviewed it."""
    values = [(_("Model"), model), *([(_("Naming"), naming)] if naming else []), (_("Calibration"), calibration)]
    px = unit.letters(19)
    pitch = max(unit(24), text.line_height(px))
    left, right = unit(MARGIN), width - unit(MARGIN)
    room = right - left - unit(16)
    loud = text.largest(words, tuple(map(unit.letters, range(22, 17, -1))), room, True)
    lines = text.wrap(words, loud, room, 2, True)
    box_h = max(unit(40), len(lines) * text.line_height(loud) + unit(8))
    picture = blank(width, unit(24) + pitch * len(values) + box_h, unit, rule=True)
    for line, (name, value) in enumerate(values):
        x, y = left + _words_x(unit), unit(7) + pitch * line
        text.put(picture, name, (left, y), px, DIM, PANEL, max_px=x - left - unit(6))
        text.put(picture, value, (x, y), px, SOFT, PANEL, max_px=right - x)
    box = Rect(left, picture.shape[0] - unit(10) - box_h, right, picture.shape[0] - unit(10))
    marks.fill(picture, box, mix(WARN, PANEL, 0.16))
    marks.outline(picture, box, unit(2), WARN)
    y = box.y0 + (box.height - len(lines) * text.line_height(loud)) // 2
    for said in lines:
        text.put(picture, said, ((left + right) // 2, y), loud, WARN, mix(WARN, PANEL, 0.16), bold=True, align="centre")
        y += text.line_height(loud)
    return text.finished(picture)

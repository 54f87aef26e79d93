"""The differential on the panel: rows of types and groups, and what is said of blasts. Each part is a finished picture."""

from __future__ import annotations

from functools import lru_cache

from device.display import marks, text
from device.display.layout import Rect, Unit
from device.display.palette import CARD, DIM, LINE, PANEL, SOFT, TEXT, WARN, Colour, TypeStyle, group_styles, mix, type_styles
from device.language import _, number
from device.slide.doubt import limit_words
from device.slide.tally import Differential
from engines.detections import Image
from engines.taxonomy import Taxonomy

MARGIN = 28
BAR_SHARE = 0.34
"""Of the type's colour in its bar: dark enough for words on it."""
_ROWS_AT_MOST = 14
_PITCH, _LETTERS = 35, 24
_CLOSER = ((31, 22), (28, 20), (26, 19))
"""The same where there are many rows."""
_SMALL_PITCH = 32
"""On a canvas of 1024 x 600, where all rows are to have a place beside letters of 14 px."""
_COUNT_X = 84
"""Where counts end, from the right margin."""
_NOTHING = Differential((), 0, 0, 0.0, 0)


def blank(width: int, height: int, unit: Unit, rule: bool = False) -> Image:
    """The panel's ground with its edge; rule: a line at the top."""
    picture = marks.blank(width, height, PANEL)
    marks.fill(picture, Rect(0, 0, unit(1), height), LINE)
    if rule:
        marks.fill(picture, Rect(unit(MARGIN), 0, width - unit(MARGIN), unit(1)), LINE)
    return picture


@lru_cache(maxsize=4)
def type_rows(tally: Differential | None, styles: tuple[TypeStyle, ...], width: int, unit: Unit) -> Image:
    """The differential: one row for each type with marker, code, name, bar, count and per cent; the apart ones under a rule."""
    types = [s for s in styles if not s.artefact][:_ROWS_AT_MOST]
    tally = tally or _NOTHING
    counted = {row.name: row for row in tally.rows}
    measure = _SMALL_PITCH if unit.small else _PITCH
    pitch, top = unit(measure), unit(34)
    picture = blank(width, top + (len(types) + 3) * pitch + unit(17), unit)
    left, right = unit(MARGIN), width - unit(MARGIN)
    y = _heading(picture, unit)
    for style in types:
        row = counted.get(style.name)
        _row(picture, y, style, 0 if row is None else row.count, 0.0 if row is None else row.percent, unit, measure)
        y += pitch
    y += unit(4)
    marks.fill(picture, Rect(left, y, right, y + unit(1)), LINE)
    y += unit(5)
    _blast_row(picture, y, tally, unit, measure)
    _sum_row(picture, y + pitch, "question", _("unidentified"), tally.unidentified, tally.unidentified_percent, unit, measure)
    _sum_row(picture, y + 2 * pitch, "cross", _("artefacts, not counted"), tally.artefacts, None, unit, measure)
    return text.finished(picture)


@lru_cache(maxsize=4)
def blast_part(tally: Differential | None, sensitivity: str, width: int, unit: Unit) -> Image:
    """Blasts before all others, with their 95 % range; of a zero its upper limit and `sensitivity`, a sentence on the engine."""
    tally = tally or _NOTHING
    said = tally.white_cells - tally.unidentified
    none = not tally.blasts
    px, small = unit.letters(24), unit.letters(19)
    left, right = unit(MARGIN), width - unit(MARGIN)
    lines = text.wrap(sensitivity, small, right - left, 5) if none and tally.white_cells else ()
    low, high = tally.blast_range if tally.white_cells else (0.0, 0.0)
    if none:
        count, limits = _("no cell told"), _("any share possible")
        if said:
            count, limits = _("0 of {n} told").format(n=said), _("up to {limit} possible").format(limit=limit_words(high))
    else:
        count = _("{n} of {cells}").format(n=tally.blasts, cells=tally.white_cells)
        limits = _("95 % range {low} to {high} %").format(low=f"{low:.0f}", high=f"{high:.0f}")
    share = "" if none else percent_words(tally.blast_percent, tally.blasts)
    used = unit(32) + text.width(count, px, True) + unit(16) + (text.width(share, px, True) + unit(16) if share else 0)
    limits_px = text.largest(limits, (px, unit.letters(22), unit.letters(20), unit.letters(18)), right - left - used, none)
    apart = text.width(limits, limits_px, none) > right - left - used  # then they have a line of their own
    top = unit(78) + (text.line_height(limits_px) if apart and tally.white_cells else 0)
    picture = blank(width, top + len(lines) * text.line_height(small) + unit(6), unit, rule=True)
    icon, y, title = unit(22), unit(10), _("Blasts and blast equivalents")
    text.paste(picture, marks.marker("diamond", icon, WARN, PANEL), left, y + (text.line_height(px) - icon) // 2)
    text.put(
        picture,
        title,
        (left + unit(32), y),
        text.largest(title, (px, unit.letters(22), unit.letters(19)), right - left - unit(32), True),
        TEXT,
        PANEL,
        bold=True,
    )
    y += text.line_height(px) + unit(2)
    if not tally.white_cells:
        text.put(picture, _("no cell counted yet"), (left + unit(32), y), px, DIM, PANEL)
        return text.finished(picture)
    x = text.put(picture, count, (left + unit(32), y), px, TEXT, PANEL, bold=True, max_px=right - left - unit(32)).x1 + unit(16)
    if share:
        text.put(picture, share, (x, y), px, TEXT, PANEL, bold=True, max_px=right - x)
    y += text.line_height(px) if apart else (px - limits_px) // 2
    ink, room = WARN if none else SOFT, right - left - (unit(32) if apart else used)
    text.put(picture, limits, (right, y), limits_px, ink, PANEL, bold=none, align="right", max_px=room)
    y = top
    for line in lines:
        text.put(picture, line, (left, y), small, SOFT, PANEL)
        y += text.line_height(small)
    return text.finished(picture)


@lru_cache(maxsize=4)
def told_rows(tally: Differential | None, taxonomy: Taxonomy, room: int, width: int, unit: Unit) -> Image:
    """What was told where a second look names cells: types and groups with a count, blasts first, in at most `room` px of height.

    None with count 0: a zero of a type would reassure. The least frequent beyond the room are one row, blasts never before others.
    """
    tally = tally or _NOTHING
    types, groups = type_styles(taxonomy), group_styles(taxonomy)
    shown = sorted((row for row in tally.rows if row.count), key=lambda row: not row.blast)
    top, apart = unit(34), unit(13)
    choices = [
        (p, letters, max(1, (room - top - apart) // unit(p) - 2))
        for p, letters in ((_PITCH, _LETTERS), *(((_SMALL_PITCH, 22),) if unit.small else _CLOSER))
    ]
    pitch, letters, fit = next((choice for choice in choices if len(shown) <= choice[2]), choices[-1])
    further = [] if len(shown) <= fit else sorted(shown, key=lambda row: (not row.blast, -row.count))[fit - 1 :]
    shown = [row for row in shown if row not in further]
    picture = blank(width, top + apart + (max(1, len(shown)) + bool(further) + 2) * unit(pitch), unit)
    left, right = unit(MARGIN), width - unit(MARGIN)
    y = _heading(picture, unit)
    if not shown:
        text.put(picture, _("nothing told yet"), (left + unit(42), y), unit.letters(letters - 1), DIM, PANEL)
        y += unit(pitch)
    for row in shown:
        style = types[row.told] if isinstance(row.told, int) else groups[row.told]
        _row(picture, y, style, row.count, row.percent, unit, pitch, letters)
        y += unit(pitch)
    if further:
        count = sum(row.count for row in further)
        percent = sum(row.percent for row in further)
        _sum_row(picture, y, "ring", _("{n} further types").format(n=len(further)), count, percent, unit, pitch, letters - 1)
        y += unit(pitch)
    y += unit(4)
    marks.fill(picture, Rect(left, y, right, y + unit(1)), LINE)
    y += unit(5)
    _sum_row(picture, y, "question", _("unidentified"), tally.unidentified, tally.unidentified_percent, unit, pitch, letters - 1)
    _sum_row(picture, y + unit(pitch), "cross", _("artefacts, not counted"), tally.artefacts, None, unit, pitch, letters - 1)
    return text.finished(picture)


def _heading(picture: Image, unit: Unit) -> int:
    """The words over the columns; where the first row begins."""
    left, right, px = unit(MARGIN), picture.shape[1] - unit(MARGIN), unit.letters(20)
    text.put(picture, _("Differential"), (left, unit(4)), px, DIM, PANEL)
    share = _("per cent") if text.width(_("per cent"), px) < unit(_COUNT_X) - unit(4) else "%"
    text.put(picture, _("cells"), (right - unit(_COUNT_X), unit(4)), px, DIM, PANEL, align="right")
    text.put(picture, share, (right, unit(4)), px, DIM, PANEL, align="right")
    return unit(34)


def _row(
    picture: Image, y: int, style: TypeStyle, count: int, percent: float, unit: Unit, pitch: int = _PITCH, letters: int = _LETTERS
) -> None:
    """One type. The bar lies behind the words; its full width is 100 per cent."""
    left, right, height, px = unit(MARGIN), picture.shape[1] - unit(MARGIN), unit(pitch - 2), unit.letters(letters)
    icon = unit(20)
    seen = count > 0
    faint = style.colour if seen else mix(style.colour, PANEL, 0.6)
    text.paste(picture, marks.marker(style.marker, icon, faint, PANEL), left, y + (height - icon) // 2)
    x = left + unit(30)
    marks.fill(picture, Rect(x, y, right, y + height), mix(CARD, PANEL, 0.45))
    if seen:
        end = max(x + unit(4), x + round((right - x) * percent / 100))
        marks.fill(picture, Rect(x, y, end, y + height), mix(style.colour, PANEL, BAR_SHARE))
        marks.fill(picture, Rect(x, y, x + unit(4), y + height), style.colour)
    ink = TEXT if seen else DIM
    top = y + (height - text.line_height(px)) // 2 - unit(1)
    code_px = unit.letters(letters - 5)
    text.put(picture, style.code, (x + unit(12), top + text.base_line(px) - text.base_line(code_px)), code_px, ink, None)
    name_x = x + max(unit(70), unit(20) + text.width("MMC", unit.letters(letters - 5)))
    room, name = right - unit(_COUNT_X + 38) - name_x, _(style.name)
    name_px = text.largest(name, (px, unit.letters(letters - 3), unit.letters(letters - 6), unit.letters(letters - 8)), room)
    text.put(picture, name, (name_x, top + (px - name_px) // 2), name_px, ink, None, max_px=room)
    text.put(picture, str(count), (right - unit(_COUNT_X), top), px, ink, None, bold=seen, align="right")
    text.put(picture, percent_words(percent, count), (right - unit(6), top), px, ink, None, align="right")


def _blast_row(picture: Image, y: int, tally: Differential, unit: Unit, pitch: int) -> None:
    """All blasts in one line; none of them are not 0 per cent but as many as may have been missed."""
    if tally.blasts or tally.white_cells == tally.unidentified:
        _sum_row(picture, y, "diamond", _("blast types together"), tally.blasts, tally.blast_percent, unit, pitch)
        return
    _sum_row(
        picture,
        y,
        "diamond",
        _("blasts: up to {limit} possible").format(limit=limit_words(tally.blast_range[1])),
        0,
        None,
        unit,
        pitch,
        ink=WARN,
    )


def _sum_row(
    picture: Image,
    y: int,
    kind: str,
    words: str,
    count: int,
    percent: float | None,
    unit: Unit,
    pitch: int = _PITCH,
    letters: int = _LETTERS - 1,
    ink: Colour | None = None,
) -> None:
    """One of the lines under the types, without a bar."""
    left, right, height, px = unit(MARGIN), picture.shape[1] - unit(MARGIN), unit(pitch - 2), unit.letters(letters)
    icon, ink = unit(20), ink or (SOFT if count else DIM)
    colour = (WARN if kind == "diamond" else TEXT) if count else ink
    text.paste(picture, marks.marker(kind, icon, colour, PANEL), left, y + (height - icon) // 2)
    top = y + (height - text.line_height(px)) // 2 - unit(1)
    room = right - unit(_COUNT_X + 38) - left - unit(42)
    words_px = text.largest(words, (px, unit.letters(letters - 2), unit.letters(letters - 5)), room)
    text.put(picture, words, (left + unit(42), top + (px - words_px) // 2), words_px, ink, PANEL, max_px=room)
    text.put(picture, str(count), (right - unit(_COUNT_X), top), px, ink, PANEL, bold=bool(count), align="right")
    if percent is not None:
        text.put(picture, percent_words(percent, count), (right - unit(6), top), px, ink, PANEL, align="right")


def percent_words(percent: float, count: int) -> str:
    """Per cent as on the screen: one digit behind the point below 10."""
    return f"{number(percent, 1)} %" if count and percent < 9.95 else f"{percent:.0f} %"

"""The right of every page with cells: whose slide it is, the current cell large, the legend of keys, which can be pressed."""

from __future__ import annotations

from functools import lru_cache

from device.display import marks, text
from device.display.gallery_cells import (
    BLAST_DOUBT,
    before_after,
    code_of,
    cut,
    draw_bar,
    fitting,
    letters,
    share_words,
    shown_name,
    style_of,
)
from device.display.layout import Rect, Unit
from device.display.pages_review import Head, LegendEntry, ReviewPage, Scale, Shown
from device.display.palette import BUSY, CARD, DIM, LINE, OK, PANEL, SOFT, TEXT, WARN, mix
from device.display.sheet import Sheet
from device.display.targets import Targets
from device.display.words import NOTICE, REVIEWED_NOTICE, attribute_phrases
from device.language import _
from engines.detections import Image
from engines.taxonomy import Taxonomy

SIDE = 590
"""Width, in px of the 1920 x 1080 drawing."""
_MARGIN, _LARGE, _WHOSE, _NOTICE = 20, 316, 92, 56
_LARGE_SMALL = 386  # of what is known of the current cell, where its letters are larger than their share of the canvas
_LEGEND_COLUMNS, _LEGEND_ROWS = 4, 5
_KEY_GROUND = mix(CARD, LINE, 0.4)


def draw_side(sheet: Sheet, targets: Targets, place: Rect, page: ReviewPage, unit: Unit) -> None:
    """Lay the side's parts on `place`, which they cover whole."""
    width, x, y = place.width, place.x0, place.y0
    notice_y = place.y1 - unit(_NOTICE)
    whose = _whose(_whose_of(page.head), width, unit(_WHOSE), unit)
    sheet.lay(whose, x, y)
    y += whose.shape[0]
    tall = unit(_LARGE_SMALL if unit.small else _LARGE)
    cell = _current(page.current, page.taxonomy, page.scale, width, tall, unit)
    sheet.lay(cell, x, y)
    y += cell.shape[0]
    now = "" if page.current is None else page.current.verdict
    columns = max(_LEGEND_COLUMNS, -(-len(page.legend) // _LEGEND_ROWS))
    sheet.lay(_legend(page.legend, now, page.taxonomy, columns, width, notice_y - y, unit), x, y)
    for entry, at in zip(page.legend, _places(len(page.legend), columns, width, notice_y - y, unit), strict=True):
        targets.add(Rect(at.x0 + x, at.y0 + y, at.x1 + x, at.y1 + y), f"class {entry.verdict}")
    sheet.lay(notice_part(page.head.signed, width, place.y1 - notice_y, unit), x, notice_y)


def _whose_of(head: Head) -> tuple[str, str, str, str]:
    return head.slide_id, head.specimen, head.reviewer, head.made_by


@lru_cache(maxsize=4)
def _whose(words: tuple[str, str, str, str], width: int, height: int, unit: Unit) -> Image:
    """Slide, specimen, reviewer, and what made the first differential."""
    slide_id, specimen, reviewer, made_by = words
    picture = marks.blank(width, height, PANEL)
    marks.fill(picture, Rect(0, 0, unit(1), height), LINE)
    left, right = unit(_MARGIN), width - unit(_MARGIN)
    reviewed = _("reviewer {initials}").format(initials=reviewer) if reviewer else ""
    first = specimen or slide_id
    small = letters(unit, 22)
    room = right - left - (text.width(reviewed, small) + unit(16) if reviewed else 0)
    text.put(picture, first, (left, unit(8)), unit(28), TEXT, PANEL, bold=True, max_px=room)
    text.put(picture, reviewed, (right, unit(12)), small, SOFT, PANEL, align="right")
    second = " · ".join(part for part in (slide_id if specimen else "", made_by) if part)
    px = fitting(second, letters(unit, 20), unit(20), right - left)
    text.put(picture, second, (left, unit(52)), px, DIM, PANEL, max_px=right - left)
    return text.finished(picture)


@lru_cache(maxsize=16)
def _current(shown: Shown | None, taxonomy: Taxonomy, scale: Scale, width: int, height: int, unit: Unit) -> Image:
    """The current cell as large as goes, with its own scale bar, and all that is known of it."""
    picture = marks.blank(width, height, PANEL)
    marks.fill(picture, Rect(0, 0, unit(1), height), LINE)
    left, large = unit(_MARGIN), unit(_LARGE - 40)
    if shown is None:
        text.put(picture, _("No cell is chosen"), (left, height // 2 - unit(20)), unit(26), DIM, PANEL, max_px=width - 2 * left)
        return text.finished(picture)
    per_px = large / scale.side_px
    text.paste(picture, cut(shown, large, large, per_px, CARD), left, 0)
    marks.outline(picture, Rect(left, 0, left + large, large), unit(3), BUSY)
    draw_bar(picture, (left, large + unit(20)), scale, per_px, large // 2, unit, PANEL)
    x, y, right = left + large + unit(16), 0, width - unit(12)
    before, after = before_after(shown, taxonomy)

    def line(words: str, px: int, colour: tuple[int, int, int], bold: bool = False, lines: int = 1) -> None:
        nonlocal y
        size = letters(unit, px)
        for part in text.wrap(words, size, right - x, lines, bold):
            if y + text.line_height(size) > height:
                return
            text.put(picture, part, (x, y), size, colour, PANEL, bold=bold, max_px=right - x)
            y += text.line_height(size)

    if shown.added:
        line(_("Added by a person"), 20, DIM)
    else:
        line(_("Told by the engine"), 20, DIM)
        icon = unit(24)
        text.paste(picture, marks.marker(before.marker or "question", icon, before.colour, PANEL), x, y + unit(3))
        name, start = shown_name(before), y
        beside = x + icon + unit(8)
        for part in text.wrap(name, unit(24), right - beside, 2, after is None):
            text.put(picture, part, (beside, y), unit(24), TEXT, PANEL, bold=after is None, max_px=right - beside)
            y += text.line_height(unit(24))
        y = max(y, start + icon)
        if not shown.told:
            likest = style_of(taxonomy, taxonomy.classes[shown.cell.class_index])
            line(_("most like {name}").format(name=shown_name(likest)), 22, TEXT, lines=2)
        if sure := share_words(shown.sure):
            line(_("{share} sure").format(share=sure), 22, SOFT)
        if blast := share_words(shown.cell.blast_probability):
            line(_("blast {share}").format(share=blast), 22, WARN if (shown.cell.blast_probability or 0) >= BLAST_DOUBT else SOFT)
    if after is not None:
        y += unit(6)
        line(_("Said by a person"), 20, DIM)
        line(shown_name(after), 24, OK, bold=True, lines=2)
    y += unit(6)
    line(_("Field {n}").format(n=shown.field_index) + (" · " + _("opened") if shown.opened else ""), 20, SOFT)
    phrases = attribute_phrases(shown.cell.attributes, taxonomy) if not before.artefact else ()
    for phrase in sorted(phrases, key=lambda p: p.rank):
        line(phrase.words, 19, DIM)
    if not phrases and taxonomy.attributes and not before.artefact:
        line(_("attributes not known"), 19, DIM)
    return text.finished(picture)


def _places(n: int, columns: int, width: int, height: int, unit: Unit) -> list[Rect]:
    """Where the entries of the legend lie within it, filling it row by row."""
    left, top, gap = unit(_MARGIN) - unit(6), unit(6), unit(4)
    wide, tall = (width - left - unit(8)) / columns, (height - top - unit(2)) / _LEGEND_ROWS
    return [
        Rect(
            left + round(i % columns * wide),
            top + round(i // columns * tall),
            left + round((i % columns + 1) * wide) - gap,
            top + round((i // columns + 1) * tall) - gap,
        )
        for i in range(n)
    ]


@lru_cache(maxsize=16)
def _legend(entries: tuple[LegendEntry, ...], now: str, taxonomy: Taxonomy, columns: int, width: int, height: int, unit: Unit) -> Image:
    """Every class with its key, marker, code and name; what a person said of the current cell is framed."""
    picture = marks.blank(width, height, PANEL)
    marks.fill(picture, Rect(0, 0, unit(1), height), LINE)
    marks.fill(picture, Rect(unit(_MARGIN), 0, width - unit(_MARGIN), unit(1)), LINE)
    for entry, at in zip(entries, _places(len(entries), columns, width, height, unit), strict=True):
        style = style_of(taxonomy, entry.verdict)
        ground = mix(style.colour, CARD, 0.16) if style.blast else CARD
        marks.fill(picture, at, ground)
        cap, icon = unit(34), unit(22)
        x, y = at.x0 + unit(8), at.y0 + unit(8)
        if entry.key:
            text.paste(picture, marks.plate(cap, cap, unit(7), _KEY_GROUND, ground), x, y)
            top = y + (cap - text.line_height(unit(24))) // 2
            text.put(picture, entry.key, (x + cap // 2, top), unit(24), TEXT, _KEY_GROUND, bold=True, align="centre")
        text.paste(picture, marks.marker(style.marker or "question", icon, style.colour, ground), at.x1 - icon - unit(8), y + unit(6))
        code_x = x + cap + unit(8)
        code_room = at.x1 - icon - unit(12) - code_x
        px = fitting(code_of(style), letters(unit, 19), unit(19), code_room)
        text.put(picture, code_of(style), (code_x, y + (cap - text.line_height(px)) // 2), px, SOFT, ground, max_px=code_room)
        y += cap + unit(6)
        px, inner = letters(unit, 18), at.width - unit(14)
        while px > text.MIN_SIZE_PX and max(text.width(word, px) for word in entry.name.split()) > inner:
            px -= 1
        while px > unit(18) and len(text.wrap(entry.name, px, inner, 4)) > (at.y1 - y) // text.line_height(px):
            px -= 1
        most = max(1, (at.y1 - y) // text.line_height(px))
        for part in text.wrap(entry.name, px, inner, min(3, most)):
            text.put(picture, part, (x, y), px, TEXT, ground, max_px=at.width - unit(12))
            y += text.line_height(px)
        if entry.verdict == now:
            marks.outline(picture, at, unit(3), OK)
    return text.finished(picture)


@lru_cache(maxsize=4)
def notice_part(signed: bool, width: int, height: int, unit: Unit) -> Image:
    """That nobody has signed it yet, or that it stays an aid."""
    picture = marks.blank(width, height, PANEL)
    box = Rect(unit(12), unit(4), width - unit(12), height - unit(8))
    colour = OK if signed else WARN
    ground = mix(colour, PANEL, 0.16)
    marks.fill(picture, box, ground)
    marks.outline(picture, box, unit(2), colour)
    words, px = _(REVIEWED_NOTICE) if signed else _(NOTICE), letters(unit, 21)
    px = fitting(words, px, text.MIN_SIZE_PX, box.width - unit(16), True)
    y = box.y0 + (box.height - text.line_height(px)) // 2
    text.put(picture, words, ((box.x0 + box.x1) // 2, y), px, colour, ground, bold=True, align="centre", max_px=box.width)
    return text.finished(picture)

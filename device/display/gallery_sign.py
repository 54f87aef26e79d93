"""The page on which a slide is signed, before and after side by side, and the list of slides that can be opened for review."""

from __future__ import annotations

from functools import lru_cache

from device.display import marks, text
from device.display.gallery_cells import LEAST_PX, letters
from device.display.gallery_side import notice_part
from device.display.layout import Rect, Unit
from device.display.pages_review import SignPage, SignRow, SlideRow, SlidesPage
from device.display.palette import BUSY, CARD, DIM, GROUND, LINE, OK, PANEL, SOFT, TEXT, WARN, mix
from device.display.rows import percent_words
from device.display.sheet import Sheet
from device.display.targets import Targets
from device.language import _
from engines.detections import Image

_TABLE = 1180
_SLIDE_ROW = 108


def draw_sign(sheet: Sheet, place: Rect, page: SignPage, unit: Unit) -> None:
    """Lay the two differentials and what stands beside them on `place`, which they cover whole."""
    table_w = unit(_TABLE)
    notice_h = unit(60)
    sheet.lay(_table(page, table_w, place.height, unit), place.x0, place.y0)
    sheet.lay(_beside(page, place.width - table_w, place.height - notice_h, unit), place.x0 + table_w, place.y0)
    notice = notice_part(page.head.signed, place.width - table_w, notice_h, unit)
    sheet.lay(notice, place.x0 + table_w, place.y1 - notice_h)


@lru_cache(maxsize=2)
def _table(page: SignPage, width: int, height: int, unit: Unit) -> Image:
    """One row for each type that was told or said; what changed is bold."""
    picture = marks.blank(width, height, GROUND)
    left, right = unit(24), width - unit(40)
    before_x, after_x = left + unit(700), left + unit(960)
    px = letters(unit, 22)
    for words, x in ((_("As counted"), before_x), (_("Reviewed"), after_x), (_("Change"), right)):
        text.put(picture, words, (x, unit(8)), px, DIM, GROUND, align="right", max_px=unit(280))
    top = unit(44)
    pitch = min(unit(46), (height - top) // max(1, len(page.rows)))
    row_px = max(text.MIN_SIZE_PX, min(unit(27), pitch - unit(8)))
    y = top
    for row in page.rows:
        if y + pitch > height:
            break
        _sign_row(picture, row, y, pitch, row_px, (left, before_x, after_x, right), unit)
        y += pitch
    return text.finished(picture)


def _sign_row(picture: Image, row: SignRow, y: int, pitch: int, px: int, at: tuple[int, int, int, int], unit: Unit) -> None:
    left, before_x, after_x, right = at
    changed = row.after != row.before
    ground = mix(WARN, GROUND, 0.14) if row.blast else GROUND
    marks.fill(picture, Rect(left - unit(8), y, right + unit(8), y + pitch - unit(2)), ground)
    top = y + (pitch - unit(2) - text.line_height(px)) // 2
    if row.blast:
        icon = round(px * 0.8)
        text.paste(picture, marks.marker("diamond", icon, WARN, ground), left, y + (pitch - icon) // 2)
    ink = TEXT if row.before or row.after else DIM
    text.put(picture, row.name, (left + unit(36), top), px, ink, ground, bold=changed, max_px=before_x - left - unit(206))
    for x, count, share, bold in (
        (before_x, row.before, row.before_percent, False),
        (after_x, row.after, row.after_percent, changed),
    ):
        words = "" if share is None else percent_words(share, count)
        text.put(picture, words, (x, top), px, SOFT if not bold else TEXT, ground, align="right")
        text.put(picture, str(count), (x - unit(110), top), px, ink, ground, bold=bold, align="right")
    if changed:
        text.put(picture, f"{row.after - row.before:+d}", (right, top), px, BUSY, ground, bold=True, align="right")
    elif row.note:
        text.put(
            picture,
            row.note,
            (right, top),
            max(round(px * 0.8), min(px, LEAST_PX)),
            DIM,
            ground,
            align="right",
            max_px=right - after_x + unit(80),
        )


@lru_cache(maxsize=4)
def _beside(page: SignPage, width: int, height: int, unit: Unit) -> Image:
    """What keeps from signing, or that nothing does; the reason, where one is asked; who signs."""
    picture = marks.blank(width, height, PANEL)
    marks.fill(picture, Rect(0, 0, unit(1), height), LINE)
    left, inner = unit(28), width - 2 * unit(28)
    y = unit(16)

    def line(words: str, size: int, colour: tuple[int, int, int], bold: bool = False, lines: int = 3, indent: int = 0) -> None:
        nonlocal y
        px = letters(unit, size)
        for part in text.wrap(words, px, inner - indent, lines):
            text.put(picture, part, (left + indent, y), px, colour, PANEL, bold=bold, max_px=inner - indent)
            y += text.line_height(px)

    head = page.head
    line(head.specimen or head.slide_id, 30, TEXT, bold=True)
    if head.specimen:
        line(head.slide_id, 21, DIM)
    line(head.made_by, 21, DIM)
    before, after = page.cells
    line(_("{after} white cells, {before} as counted").format(after=after, before=before), 24, SOFT)
    y += unit(14)
    if head.blockers:
        line(_("Not yet to be signed"), 30, WARN, bold=True)
        for blocker in head.blockers:
            text.paste(picture, marks.marker("alert", unit(22), WARN, PANEL), left, y + unit(5))
            line(blocker, 25, TEXT, indent=unit(34))
            y += unit(4)
    elif head.signed:
        line(_("Signed"), 30, OK, bold=True)
    else:
        line(_("Ready to sign"), 30, OK, bold=True)
    if page.reason is not None:
        y += unit(10)
        line(_("Why so few cells are enough, in a few words"), 23, SOFT)
        entry = Rect(left, y, left + inner, y + unit(64))
        marks.fill(picture, entry, CARD)
        marks.outline(picture, entry, unit(2), BUSY)
        shown = page.reason
        while shown and text.width(shown, unit(28)) > inner - unit(40):  # the end is what is being typed
            shown = shown[1:]
        typed = text.put(picture, shown, (left + unit(14), y + unit(13)), unit(28), TEXT, CARD)
        marks.fill(picture, Rect(typed.x1 + unit(3), y + unit(14), typed.x1 + unit(7), y + unit(50)), BUSY)
        y += unit(74)
    y += unit(10)
    for note in page.notes:
        line(note, 22, SOFT)
        y += unit(6)
    if head.reviewer:
        line(
            _("Signed by {initials}").format(initials=head.reviewer)
            if head.signed
            else _("Enter signs as {initials}").format(initials=head.reviewer),
            26,
            TEXT,
            bold=True,
        )
    return text.finished(picture)


def draw_slides(sheet: Sheet, targets: Targets, place: Rect, page: SlidesPage, unit: Unit) -> None:
    """Lay the list on `place`; each slide is a target, "slide ID"."""
    pitch = unit(_SLIDE_ROW)
    fit = max(1, place.height // pitch)
    first = min(max(0, page.at - fit // 2), max(0, len(page.rows) - fit))
    shown = page.rows[first : first + fit]
    y = place.y0
    for at, row in enumerate(shown, first):
        sheet.lay(_slide_row(row, at == page.at, place.width, pitch, unit), place.x0, y)
        targets.add(Rect(place.x0, y, place.x1, y + pitch), f"slide {row.slide_id}")
        y += pitch
    if place.y1 > y:
        sheet.lay(_rest("" if page.rows else _("No slide has been finished yet."), place.width, place.y1 - y, unit), place.x0, y)


@lru_cache(maxsize=32)
def _slide_row(row: SlideRow, current: bool, width: int, height: int, unit: Unit) -> Image:
    ground = CARD if current else GROUND
    picture = marks.blank(width, height, ground)
    marks.fill(picture, Rect(unit(24), height - unit(1), width - unit(24), height), LINE)
    left, right = unit(40), width - unit(40)
    half = (right - left) // 2
    text.put(picture, row.specimen or row.slide_id, (left, unit(12)), unit(32), TEXT, ground, bold=True, max_px=half)
    text.put(picture, row.slide_id if row.specimen else "", (left, unit(60)), letters(unit, 22), DIM, ground, max_px=half)
    text.put(picture, row.finished, (right, unit(16)), unit(26), SOFT, ground, align="right", max_px=half)
    text.put(picture, row.words, (right, unit(58)), letters(unit, 24), OK if row.signed else WARN, ground, align="right", max_px=half)
    if current:
        marks.outline(picture, Rect(unit(8), 0, width - unit(8), height), unit(4), BUSY)
    return text.finished(picture)


@lru_cache(maxsize=4)
def _rest(words: str, width: int, height: int, unit: Unit) -> Image:
    picture = marks.blank(width, height, GROUND)
    text.put(picture, words, (width // 2, height // 3), unit(30), SOFT, GROUND, align="centre", max_px=width)
    return text.finished(picture)

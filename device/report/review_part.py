"""What the review and the place on the film add to a slide's page, as plain values: map, journal in rows, rules of counting.

All in English, as the page, the tables and FHIR are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from statistics import median

from device.report.case import NUCLEATED_RED, Case, DoubtfulSignatureError, Kind, Signature
from device.review.journal import Act, Entry
from device.slide.doubt import FOREIGN
from device.slide.model import Slide
from device.slide.picture_state import PictureState, count_of
from device.slide.tally import differences
from device.slide.verdict import is_blast, name_of, pre_class, said

USUAL_TARGET = 200
_MANY_RED = 5.0  # nucleated red cells to each 100 white cells from which an analyser's count of white cells is off
_CELLS_NAMED = 8
ACT_WORDS = {
    Act.NAMED: "named", Act.ADDED: "added", Act.ACKNOWLEDGED: "unjoined piece of film accepted", Act.NOTED: "remark",
    Act.UNDONE: "taken back", Act.SIGNED: "signed", Act.SECONDED: "second signature", Act.REOPENED: "reopened",
}  # fmt: skip


@dataclass(frozen=True)
class Dot:
    """A cell on the map. look: blast, cell, unidentified or excluded."""

    x: float
    y: float
    look: str


@dataclass(frozen=True)
class Chart:
    """A connected piece of film, in px of the frames from its own upper left corner. main: most cells lie here."""

    number: int
    main: bool
    width: float
    height: float
    fields: tuple[tuple[float, float, float, float], ...]  # x, y, width, height
    dots: tuple[Dot, ...]
    cells: int


@dataclass(frozen=True)
class Row:
    """Some entries of the journal that belong together. numbers: "12" or "12–161"."""

    numbers: str
    at: datetime
    time_trusted: bool
    who: str
    words: str
    cells: str
    before: str
    after: str
    why: str


def standing(case: Case) -> tuple[Signature | None, str, str]:
    """The signature that stands, the page's word for the review state, and a warning where the record's word is not to be believed."""
    try:
        signature = case.signature
    except DoubtfulSignatureError as error:
        return None, "SIGNATURE IN DOUBT", str(error)
    if case.reopened:
        return None, "REOPENED, NOT SIGNED", ""
    return signature, "UNREVIEWED" if signature is None else "REVIEWED", ""


def lookers(case: Case) -> str:
    """Who looked at the blasts one by one, over all revisions."""
    foreign = bool(case.slide.foreign)
    blasts = {cell.cell_id for cell in case.slide.cells if is_blast(said(cell, case.taxonomy, foreign), case.taxonomy)}
    return ", ".join(dict.fromkeys(entry.who for entry in case.entries if entry.act is Act.OPENED and entry.cell_id in blasts))


def charts(case: Case) -> tuple[Chart, ...]:
    """The map: the main piece of film first. Empty for stored pictures, and for records that did not know their fields' places."""
    slide, taxonomy = case.slide, case.taxonomy
    if slide.separate_pictures:
        return ()
    apart, made = case.counted.unjoined_charts, []
    for number in sorted({field.place.chart for field in slide.fields if field.place is not None}):
        fields = [field for field in slide.fields if field.place is not None and field.place.chart == number]
        corners = [(f.place.x_px, f.place.y_px, *f.size_px) for f in fields if f.place is not None]
        left, top = min(x for x, _y, _w, _h in corners), min(y for _x, y, _w, _h in corners)
        dots = []
        for field, (x, y, _w, _h) in zip(fields, corners, strict=True):
            for cell in field.cells:
                x1, y1, x2, y2 = cell.box_px
                look = _look(said(cell, taxonomy, bool(slide.foreign)), case)
                dots.append(Dot(x - left + (x1 + x2) / 2, y - top + (y1 + y2) / 2, look))
        right, bottom = max(x + w for x, _y, w, _h in corners), max(y + h for _x, y, _w, h in corners)
        boxes = tuple((x - left, y - top, float(w), float(h)) for x, y, w, h in corners)
        dots.sort(key=lambda dot: dot.look == "blast")  # blasts lie on top
        made.append(Chart(number, number not in apart, right - left, bottom - top, boxes, tuple(dots), len(dots)))
    return tuple(sorted(made, key=lambda chart: (not chart.main, chart.number)))


def _look(word: str, case: Case) -> str:
    if is_blast(word, case.taxonomy):
        return "blast"
    if case.taxonomy.person_class(word) is not None:
        return "excluded"
    return "cell" if word else "unidentified"


def place_words(case: Case) -> list[str]:
    """What is to be said of the place on the film where it is not sure; empty where it always was."""
    slide, found = case.slide, []
    if slide.lost_rests:
        found.append(f"The place on the film was lost at {slide.lost_rests} rest{'s' if slide.lost_rests > 1 else ''}.")
    apart = [chart for chart in charts(case) if not chart.main and chart.cells]
    if apart:
        pieces, them = ("pieces of the film were", "them") if len(apart) > 1 else ("piece of the film was", "it")
        most = sum(chart.cells for chart in apart)
        found.append(f"{len(apart)} {pieces} never joined with the rest: at most {most} cells on {them} could be counted twice.")
        accepted = [entry for entry in case.stands if entry.act is Act.ACKNOWLEDGED]
        found += [f"Accepted by {entry.who} ({entry.said})." for entry in accepted]
    return found


def doubts(case: Case) -> list[str]:
    """Why the counts may be off: damage in the record, a foreign film, poor pictures, a place on the film that was lost.

    Stands wherever counts do.
    """
    damage = case.stored.damage
    damaged = [f"DAMAGED IN THE RECORD, do not rely on these numbers: {damage}; restore a backup, or count it again"] if damage else []
    foreign = [FOREIGN] if case.slide.foreign else []
    return [*damaged, *foreign, *PictureState.of(case.slide).sentences(only_grave=True), *place_words(case)]


def changes(case: Case) -> list[tuple[str, str, int]]:
    """What the review changed: from, to, how many cells, the most frequent first; "" stands for a cell that was added."""
    foreign, found = bool(case.slide.foreign), Counter[tuple[str, str]]()
    for cell in case.slide.cells:
        pre, after = case.pre.get(cell.cell_id), name_of(said(cell, case.taxonomy, foreign), case.taxonomy)
        before = "" if pre is None else name_of(pre_class(pre, case.taxonomy, foreign), case.taxonomy)
        if before != after:
            found[before, after] += 1
    return [(before, after, count) for (before, after), count in found.most_common()]


def readers(case: Case) -> list[str]:
    """Where the last two signatures are of two people: what they counted differently, and whether that is beyond chance."""
    signed = [one for one in case.review.signatures if not one.seconds]
    if len(signed) < 2 or signed[-1].who.casefold() == signed[-2].who.casefold():
        return []
    found = []
    for one in differences(case.review.at(signed[-2].number).differential, case.review.at(signed[-1].number).differential):
        if abs(one.first - one.second) >= 0.05:
            beyond = ", beyond what chance leaves open" if one.beyond else ""
            found.append(f"{one.name} {one.first:.1f} % ({signed[-2].who}), {one.second:.1f} % ({signed[-1].who}){beyond}")
    return found or [f"{signed[-2].who} and {signed[-1].who} counted the same."]


def journal(case: Case) -> list[Row]:
    """The journal in rows: what was done at one go to several cells is one; cells that were only looked at are left out."""
    rows, shown = [], [entry for entry in case.entries if entry.act is not Act.OPENED]
    for _key, several in groupby(shown, key=lambda e: (e.act, e.step, e.said, e.said_before, e.who)):
        group = list(several)
        first, last = group[0], group[-1]
        numbers = str(first.number) if first is last else f"{first.number}–{last.number}"  # noqa: RUF001  (an en dash is meant)
        of_revision = first.act in (Act.SIGNED, Act.SECONDED, Act.REOPENED, Act.ACKNOWLEDGED)
        before, after = ("", first.said) if of_revision else tuple(_said(word, first, case) for word in (first.said_before, first.said))
        rows.append(Row(numbers, first.at, first.time_trusted, first.who, ACT_WORDS[first.act], _ids(group), before, after, first.why))
    return rows


def _said(word: str, entry: Entry, case: Case) -> str:
    if entry.act is Act.NOTED or (entry.act is Act.ADDED and not word):
        return ""
    return name_of(word, case.taxonomy)


def _ids(group: Iterable[Entry]) -> str:
    ids = [str(entry.cell_id) for entry in group if entry.cell_id]
    return ", ".join(ids) if len(ids) <= _CELLS_NAMED else f"{', '.join(ids[:_CELLS_NAMED])}, … ({len(ids)})"


def focus_words(slide: Slide) -> str:
    """The sharpness of the fields in one sentence; "" without fields."""
    if not slide.fields:
        return ""
    poorest = min(slide.fields, key=lambda field: field.focus)
    middle = median(field.focus for field in slide.fields)
    return f"Sharpness {middle:.2f} in the middle field, {poorest.focus:.2f} in the poorest (field {poorest.index})."


def hints(case: Case) -> list[str]:
    """What a reader is to be told on the first page: so few cells, a range that spans a share that decides, nucleated red cells."""
    red = next((line for line in case.lines if line.key == NUCLEATED_RED), None)
    return hints_of(case.after.white_cells, case.after.undecided_percents, 0.0 if red is None else red.value)


def hints_of(white_cells: int, undecided: Iterable[float], red_per_100: float) -> list[str]:
    """The same of so many white cells. undecided: the deciding per cents of blasts that the interval spans."""
    found = []
    if 0 < white_cells < USUAL_TARGET:
        cells = count_of(white_cells, "white cell")
        found.append(f"{cells} were counted; {USUAL_TARGET} are usual, so per cents are rough.")
    spanned = [f"{limit:g} %" for limit in undecided] if white_cells else []
    if spanned:
        found.append(f"The 95 % range of the blasts spans {' and '.join(spanned)}: count on, to 400 or 500 cells.")
    if red_per_100 >= _MANY_RED:
        found.append(
            f"{red_per_100:.0f} nucleated red cells to 100 white cells: an analyser's count of white cells needs correcting, "
            f"WBC × 100 / (100 + {red_per_100:.0f})."  # noqa: RUF001  (the sign is meant)
        )
    return found


def rules(case: Case) -> list[str]:
    """How cells were counted, for the footnotes. Sources are named only where they were read."""
    taxonomy = case.taxonomy
    equivalents = taxonomy.members("equivalents")
    proper = [name for name in taxonomy.blasts if name not in equivalents]
    excluded = [line.name.lower() for line in case.lines if line.kind is Kind.PER_100]
    named, alike = ", ".join(proper) or "–", ", ".join(equivalents) or "–"  # noqa: RUF001
    return [
        f"{USUAL_TARGET} white cells are the usual target. With fewer than 100 a signature needs a reason, which stands in the "
        "journal.",
        "Per cents are of all white cells that were classed; unidentified ones are among them until somebody names them. Left out "
        f"and given per 100 white cells: {', '.join(excluded)}.",
        "A cell is counted once, by its place on the film, however often it was seen.",
        "A cell that the border of the picture cuts is counted where half of it or more was visible.",
        "Ranges are exact 95 % intervals (Clopper and Pearson) of counting so few cells. Errors in naming cells come on top. Of a "
        "zero the upper limit leaves out unidentified cells.",
        f"Blasts: {named}. Equivalents: {alike}. Both are given together and apart.",
    ]

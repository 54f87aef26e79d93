"""What the page of one slide shows of a summary: lines with exact intervals, doubts in words, what the review changed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

from device.language import _, ngettext, number
from device.mqtt.payloads import AttributeShares, SlideSummary
from device.report.case import NUCLEATED_RED
from device.slide.description import FEW_CELLS
from device.slide.doubt import FOREIGN, UNKNOWN_SENSITIVITY, limit_words, zero_words
from device.slide.picture_state import count_of
from device.slide.tally import NRBC_NOTE_FROM, percent
from device.supervisor.doubt import blast_range, picture_state
from device.supervisor.web import charts
from engines.intervals import exact_interval
from engines.pages import NOTICE


@dataclass(frozen=True)
class Line:
    """One line of the differential. percent, low, high: exact 95 % limits. before: count before the review, None where unreviewed.

    bar, from_, to: percent, low and high in hundredths of the chart's width.
    """

    name: str
    kind: str  # "blast", "cell", "unidentified"
    count: int
    percent: float
    low: float
    high: float
    before: int | None
    bar: float
    from_: float
    to: float


@dataclass(frozen=True)
class Change:
    """One line as counted and as signed, with counts and per cents."""

    name: str
    blast: bool
    before: int
    before_percent: float
    after: int
    after_percent: float


@dataclass(frozen=True)
class SlideView:
    """A summary as the page shows it. scale: end of the axis in per cent. unseen: types of which none was told, `unseen_limit` how many
    of each may be there. doubts: sentences that stand before the counts."""

    lines: tuple[Line, ...]
    scale: float
    unseen: tuple[str, ...]
    unseen_limit: str
    doubts: tuple[str, ...]
    at_least: bool
    blast_low: float
    blast_high: float
    blast_words: str
    blast_state: str
    sensitivity: str
    changes: tuple[Change, ...]
    sentences: tuple[str, ...]
    crops: tuple[Any, ...]


def of(summary: SlideSummary) -> SlideView:
    """The view of a summary of any form, in the language that is spoken."""
    review = summary.review if summary.review_state == "reviewed" else None
    before = None if review is None else {row.name: row.count for row in review.counts_before}
    told = summary.white_cells - summary.unidentified.count
    rows = [(row.name, "blast" if row.blast else "cell", row.count) for row in summary.differential]
    rows.append(("Unidentified", "unidentified", summary.unidentified.count))
    if before is not None and review is not None:
        before["Unidentified"] = review.unidentified_before
    shown = [row for row in rows if row[2] or (before or {}).get(row[0])]
    shown.sort(key=lambda row: (row[1] == "unidentified", -row[2]))
    limits = {name: tuple(100 * limit for limit in exact_interval(count, summary.white_cells)) for name, _kind, count in shown}
    end = charts.scale(max((high for _low, high in limits.values()), default=0.0))
    lines = []
    for name, kind, count in shown:
        low, high = limits[name]
        share = percent(count, summary.white_cells)
        earlier = None if before is None else before.get(name, 0)
        lines.append(Line(name, kind, count, share, low, high, earlier, *(round(100 * v / end, 2) for v in (share, low, high))))
    state = picture_state(summary)
    low, high = blast_range(summary)
    unseen = tuple(row.name for row in summary.differential if not row.count and not row.group)
    return SlideView(
        lines=tuple(lines),
        scale=end,
        unseen=unseen,
        unseen_limit=limit_words(100 * exact_interval(0, told)[1]) if told else "",
        doubts=tuple(_doubts(summary)),
        at_least=bool(state.at_limit),
        blast_low=low,
        blast_high=high,
        blast_words="" if summary.blasts.count else zero_words(told),
        blast_state=_blast_state(summary),
        sensitivity=summary.blasts.sensitivity or _(UNKNOWN_SENSITIVITY),
        changes=() if before is None else tuple(_changes(summary, before)),
        sentences=tuple(sentence for sentence in summary.description if sentence not in (NOTICE, FOREIGN)),
        crops=tuple(getattr(summary, "crops", None) or ()),
    )


def _blast_state(summary: SlideSummary) -> str:
    """Whether a person stands behind the blasts. Never final without one."""
    if summary.blasts.confirmed:
        return (
            _("Confirmed: a person opened every blast by itself and signed.")
            if summary.blasts.count
            else _("A person signed this slide.")
        )
    if summary.review_state == "reviewed":
        return _("A person signed this slide; that each blast was opened by itself is not said.")
    return _("Preliminary: a person must confirm every blast.")


def grave_doubts(summary: SlideSummary) -> list[str]:
    """Why no count of this slide is to be relied on as it stands: a foreign film, poor pictures, cells that may be counted twice."""
    found = [_(FOREIGN)] if summary.film == "foreign" else []
    found += picture_state(summary).sentences(only_grave=True)
    if summary.possible_doubles:
        pieces = _("{n} pieces of film were never joined: {cells} at most may be counted twice.")
        found.append(pieces.format(n=summary.charts, cells=count_of(summary.possible_doubles, "cell")))
    if summary.lost_rests:
        found.append(_("The place on the film was not known in {fields}.").format(fields=count_of(summary.lost_rests, "field")))
    return found


def _doubts(summary: SlideSummary) -> list[str]:
    """All that is to be known before the counts are read, gravest first."""
    found = []
    if summary.state == "aborted":
        found.append(_("The slide was not finished ({reason}).").format(reason=summary.abort_reason))
    found += grave_doubts(summary)
    if not summary.white_cells:
        found.append(_("No white cell was counted. That does not mean that the film has none."))
    elif summary.white_cells < FEW_CELLS:
        few = ngettext(
            "Only {n} white blood cell was counted: per cents of so few are uncertain.",
            "Only {n} white blood cells were counted: per cents of so few are uncertain.",
            summary.white_cells,
        )
        found.append(few.format(n=summary.white_cells))
    if summary.film == "undecided":
        found.append(_("Whether this film is like those that the engine knows was not decided."))
    if any(row.key == NUCLEATED_RED and (row.per_100 or 0.0) >= NRBC_NOTE_FROM for row in summary.apart or ()):
        found.append(_("5 or more nucleated red cells per 100 white cells: the analyser's white cell count needs correcting."))
    if not summary.time_trusted:
        found.append(_("The device's clock was not set: do not rely on its dates."))
    return found


def _changes(summary: SlideSummary, before: dict[str, int]) -> list[Change]:
    """All lines that have or had a cell, in the order of the differential."""
    whole = sum(before.values())
    after = {row.name: (row.count, row.blast) for row in summary.differential} | {"Unidentified": (summary.unidentified.count, False)}
    found = []
    for name in dict.fromkeys(chain(after, before)):
        now, blast = after.get(name, (0, False))
        then = before.get(name, 0)
        if now or then:
            found.append(Change(name, blast, then, percent(then, whole), now, percent(now, summary.white_cells)))
    return found


def attribute_words(attribute: AttributeShares) -> str:
    """The most frequent word of an attribute with its share; "mixed" on a tie, "" where nothing is known."""
    if not attribute.known:
        return ""
    if attribute.majority is None:
        return _("mixed")
    share = next((each.percent for each in attribute.shares if each.value == attribute.majority), 0.0)
    return f"{_(attribute.majority)} {number(share)} %"

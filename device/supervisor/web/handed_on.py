"""What the supervisor hands on of slides: FHIR and CSV from a received summary, in the codes, columns and words of the box's own.

All English, for machines. What a summary does not bear (single cells, the operator) is left out; "final" is written of a signed slide
alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

from device.language import speaking
from device.mqtt.payloads import SlideSummary
from device.report.case import NUCLEATED_RED, Kind, Line, Signature
from device.report.csv_files import DIFFERENTIAL, moment, of_line
from device.report.facts import Facts
from device.report.fhir import bundle_of, to_json
from device.report.review_part import hints_of
from device.report.tables import Value, csv_text
from device.slide.doubt import UNKNOWN_SENSITIVITY, zero_words
from device.slide.tally import DECISIVE_PERCENTS, percent
from device.slide.verdict import ARTEFACT
from device.supervisor.doubt import blast_range
from device.supervisor.web.slide_page import grave_doubts
from engines.intervals import exact_interval
from engines.pages import NOTICE
from engines.taxonomy import LEUKEMIA_ATTRI

NOT_NAMED = "a person whom the device does not name"
SLIDES = (
    "device", "slide", "specimen", "revision", "review_state", "state", "started_at", "finished_at", "clock_trusted", "received_at",
    "white_cells", "target_cells", "at_least", "blasts", "blast_percent", "blast_low_95", "blast_high_95", "blasts_confirmed", "film",
    "in_doubt", "second_signatures", "model", "simulated", "notice",
)  # fmt: skip
"""Columns of a list of slides."""


@speaking("en")
def fhir(summary: SlideSummary, seconds: Sequence[Any] = (), written_at: datetime | None = None) -> str:
    """The slide as a bundle of FHIR R4, JSON. seconds: second signatures (`initials`, `agree`, `revision`)."""
    return to_json(bundle_of(facts_of_summary(summary, seconds), written_at=written_at or datetime.now(timezone.utc)))


@speaking("en")
def facts_of_summary(summary: SlideSummary, seconds: Sequence[Any] = ()) -> Facts:
    """Of a summary of any form. A second reader who disagrees is told as a doubt and changes no status."""
    signature = signature_of(summary, seconds)
    told = summary.white_cells - summary.unidentified.count
    low, high = blast_range(summary)
    red = next((row.per_100 or 0.0 for row in summary.apart or () if row.key == NUCLEATED_RED), 0.0)
    against = [one for one in seconds if not one.agree and one.revision == (summary.revision or 0)]
    model, naming = summary.model, summary.model.naming
    return Facts(
        device_id=summary.device_id,
        slide_id=summary.slide_id,
        revision=summary.revision or 0,
        at=summary.finished_at,
        time_trusted=summary.time_trusted,
        simulated=summary.source.simulated,
        abort_reason=summary.abort_reason if summary.state == "aborted" else None,
        signature=signature,
        lines=lines(summary),
        looked_at=summary.review_state == "reviewed",
        doubts=(*grave_doubts(summary), *(f"A second reader ({one.initials}) does not agree." for one in against)),
        hints=tuple(hints_of(summary.white_cells, (p for p in DECISIVE_PERCENTS if low < p < high), red)),
        zero="" if summary.blasts.count else zero_words(told),
        sensitivity=summary.blasts.sensitivity or UNKNOWN_SENSITIVITY,
        sentences=tuple(summary.description) or (NOTICE,),
        specimen=summary.specimen or "",
        operator="",
        software="" if summary.versions is None else summary.versions.leukoscope,
        model=f"{model.name} {model.version} {model.precision}",
        model_digest=model.digest,
        naming="" if naming is None or not naming.name else f"{naming.name} {naming.version} {naming.digest}".strip(),
    )


def signature_of(summary: SlideSummary, seconds: Sequence[Any] = ()) -> Signature | None:
    """The signature that the device tells of, with those who agreed to that revision. None unless it says by whom, when and of what."""
    review = summary.review
    if summary.review_state != "reviewed" or review is None or review.signed_at is None or not summary.revision:
        return None
    agreed = tuple(one.initials for one in seconds if one.agree and one.revision == summary.revision)
    who = review.reviewer or NOT_NAMED
    return Signature(who, review.signed_at, summary.time_trusted, summary.revision, review.journal_digest, review.corrected, agreed)


def lines(summary: SlideSummary) -> tuple[Line, ...]:
    """As `Case.lines`. Sums of blasts proper and of equivalents need the taxonomy's groups: not of one's own."""
    now, names = summary.white_cells, {row.name for row in summary.differential if not row.group}
    review = summary.review if summary.review_state == "reviewed" else None
    counts = {row.name: row.count for row in summary.differential}
    before = dict(counts) if review is None else {row.name: row.count for row in review.counts_before}
    unidentified_before = summary.unidentified.count if review is None else review.unidentified_before
    artefacts_before = summary.artefacts if review is None else review.artefacts_before
    then = sum(before.values()) + unidentified_before
    told = now - summary.unidentified.count

    def line(key: str, name: str, kind: Kind, blast: bool, count: int, earlier: int) -> Line:
        base = told if key == "all_blasts" and not count else now
        low, high = (100 * limit for limit in exact_interval(count, base)) if now and kind is not Kind.PER_100 else (None, None)
        return Line(key, name, kind, blast, count, now, percent(count, now), low, high, earlier, percent(earlier, then))

    def summed(key: str, name: str, rows: Iterable[str]) -> Line:
        rows = tuple(rows)
        return line(key, name, Kind.SUM, True, sum(counts.get(r, 0) for r in rows), sum(before.get(r, 0) for r in rows))

    found = [
        line(row.group or row.name, row.name, Kind.GROUP if row.group else Kind.TYPE, row.blast, row.count, before.get(row.name, 0))
        for row in summary.differential
    ]
    found.append(line("unidentified", "Unidentified", Kind.UNIDENTIFIED, False, summary.unidentified.count, unidentified_before))
    found.append(summed("all_blasts", "Blasts and equivalents together", (row.name for row in summary.differential if row.blast)))
    equivalents = LEUKEMIA_ATTRI.members("equivalents")
    if names <= set(LEUKEMIA_ATTRI.classes):
        found.append(summed("blasts_proper", "Blasts without equivalents", (n for n in LEUKEMIA_ATTRI.blasts if n not in equivalents)))
        found.append(summed("equivalents", "Blast equivalents", equivalents))
    for row in summary.apart or ():
        found.append(line(row.key, row.name, Kind.PER_100, False, row.count, artefacts_before if row.key == ARTEFACT else 0))
    return tuple(found)


@speaking("en")
def slide_csv(summary: SlideSummary, seconds: Sequence[Any] = ()) -> str:
    """One slide in the columns of the box's own differential.csv."""
    facts = facts_of_summary(summary, seconds)
    signature = facts.signature
    same: dict[str, Value] = {
        "slide": facts.slide_id,
        "specimen": facts.specimen,
        "review_state": "unreviewed" if signature is None else "reviewed",
        "revision": facts.revision,
        "signed_by": "" if signature is None else " ".join((signature.who, *signature.seconded)),
        "model": facts.model,
        "model_digest": facts.model_digest,
        "simulated": facts.simulated,
        "signed_at": None if signature is None else moment(signature.at),
        "device": facts.device_id,
        "doubts": " ".join(facts.doubts),
    }
    return csv_text(DIFFERENTIAL, ({**same, **of_line(one)} for one in facts.lines))


def slides_csv(rows: Iterable[Any]) -> str:
    """A list of slides (`SlideRow`), one row each."""
    return csv_text(SLIDES, (_list_row(row) for row in rows))


def _list_row(row: Any) -> dict[str, Value]:
    return {
        "device": row.device_id,
        "slide": row.slide_id,
        "specimen": row.specimen,
        "revision": row.revision,
        "review_state": "corrected" if row.corrected else row.review_state,
        "state": row.state,
        "started_at": moment(row.started_at),
        "finished_at": moment(row.finished_at),
        "clock_trusted": row.time_trusted,
        "received_at": moment(row.received_at),
        "white_cells": row.white_cells,
        "target_cells": row.target_cells,
        "at_least": row.at_least,
        "blasts": row.blasts,
        "blast_percent": round(row.blast_percent, 2),
        "blast_low_95": row.blast_low,
        "blast_high_95": row.blast_high,
        "blasts_confirmed": row.blasts_confirmed,
        "film": row.film,
        "in_doubt": row.doubtful,
        "second_signatures": row.seconded,
        "model": row.model,
        "simulated": row.simulated,
        "notice": NOTICE,
    }

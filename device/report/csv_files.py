"""The two tables of a slide: one row a cell, and one row a line of the differential. How CSV is written is `tables`'."""

from __future__ import annotations

from datetime import datetime, timezone

from device.language import speaking
from device.report.case import Case, Kind, Line
from device.report.review_part import doubts
from device.report.tables import Value, csv_text
from device.slide.verdict import name_of, pre_class, said

_OF_SLIDE = ("slide", "specimen", "review_state", "revision", "signed_by", "model", "model_digest", "simulated")
_CELL = (
    "cell_id", "field", "chart", "x_um", "y_um", "film_x_px", "film_y_px", "x1_px", "y1_px", "x2_px", "y2_px", "cut_by_border",
    "pre_class", "pre_group", "score", "probability", "blast_probability", "distance", "class_after", "in_differential", "act", "who",
    "when", "clock_trusted",
)  # fmt: skip
DIFFERENTIAL = (
    *_OF_SLIDE, "signed_at", "device", "kind", "name", "loinc", "loinc_is", "blast", "count", "of_cells", "percent", "low_95",
    "high_95", "per_100_white_cells", "count_before", "percent_before", "doubts",
)  # fmt: skip


@speaking("en")
def cells_csv(case: Case) -> str:
    """One row a counted cell and one an added one, by field. x, y: the middle of the cell on the film, on the axes of its chart; um are
    empty where the scale is not known. Attributes are the engine's, whatever the class became; empty where unknown."""
    taxonomy, scale = case.taxonomy, case.stored.provenance.calibration
    um = None if scale is None else scale.um_per_px
    keys = [attribute.key for attribute in taxonomy.attributes]
    same, foreign = _of_slide(case), bool(case.slide.foreign)
    rows: list[dict[str, Value]] = []
    for field, cell in case.placed:
        pre, entry, words = case.pre.get(cell.cell_id), case.looked_at.get(cell.cell_id), cell.attribute_words(taxonomy)
        x1, y1, x2, y2 = cell.box_px
        after = said(cell, taxonomy, foreign)
        x_px, y_px = (x1 + x2) / 2, (y1 + y2) / 2
        on_film = None if field.place is None else (field.place.x_px + x_px, field.place.y_px + y_px)
        rows.append(
            {
                **same,
                "cell_id": cell.cell_id,
                "field": field.index,
                "chart": None if field.place is None else field.place.chart,
                "x_um": None if on_film is None or um is None else round(on_film[0] * um, 2),
                "y_um": None if on_film is None or um is None else round(on_film[1] * um, 2),
                "film_x_px": None if on_film is None else round(on_film[0], 1),
                "film_y_px": None if on_film is None else round(on_film[1], 1),
                "x1_px": round(x1, 1),
                "y1_px": round(y1, 1),
                "x2_px": round(x2, 1),
                "y2_px": round(y2, 1),
                "cut_by_border": cell.provisional,
                "pre_class": "" if pre is None else name_of(pre_class(pre, taxonomy, foreign), taxonomy),
                "pre_group": None if pre is None else pre.group,
                "score": None if pre is None else round(pre.score, 4),
                "probability": _rounded(None if pre is None else pre.probability),
                "blast_probability": _rounded(None if pre is None else pre.blast_probability),
                "distance": _rounded(None if pre is None else pre.distance),
                "class_after": name_of(after, taxonomy),
                "in_differential": not taxonomy.is_artefact(cell.class_index),
                "act": None if entry is None else entry.act.value,
                "who": None if entry is None else entry.who,
                "when": None if entry is None else moment(entry.at),
                "clock_trusted": None if entry is None else entry.time_trusted,
                **{f"attribute_{key}": words.get(key) for key in keys},
            }
        )
    return csv_text((*_OF_SLIDE, *_CELL, *(f"attribute_{key}" for key in keys)), rows)


@speaking("en")
def differential_csv(case: Case) -> str:
    """One row a type, group and sum, and one of each kind that is counted per 100 white cells. `kind` says which may be added up."""
    signed_at = case.slide.signed_at
    same: dict[str, Value] = {
        **_of_slide(case),
        "signed_at": None if signed_at is None else moment(signed_at),
        "device": case.stored.provenance.device_id,
        "doubts": " ".join(doubts(case)),
    }
    before = bool(case.before.white_cells)
    return csv_text(DIFFERENTIAL, ({**same, **of_line(line, before)} for line in case.lines))


def of_line(line: Line, before: bool = True) -> dict[str, Value]:
    """The columns of one line of a differential, stored or received. before: a per cent of the count before the review is told too."""
    per_100, code = line.kind is Kind.PER_100, line.code
    return {
        "kind": line.kind.value,
        "name": line.name,
        "loinc": code.loinc,
        "loinc_is": None if code.loinc is None else "nearest" if code.nearest else "exact",
        "blast": line.blast,
        "count": line.count,
        "of_cells": line.whole,
        "percent": None if per_100 or not line.whole else round(line.value, 2),
        "low_95": _rounded(line.low, 2),
        "high_95": _rounded(line.high, 2),
        "per_100_white_cells": round(line.value, 2) if per_100 and line.whole else None,
        "count_before": line.before,
        "percent_before": None if per_100 or not before else round(line.value_before, 2),
    }


def _of_slide(case: Case) -> dict[str, Value]:
    slide, model = case.slide, case.stored.provenance.model
    signature = case.signature
    return {
        "slide": slide.slide_id,
        "specimen": slide.specimen,
        "review_state": "reopened" if case.reopened else "unreviewed" if signature is None else "reviewed",
        "revision": slide.revision,
        "signed_by": "" if signature is None else " ".join((signature.who, *signature.seconded)),
        "model": f"{model.name} {model.version} {model.precision}",
        "model_digest": model.digest,
        "simulated": case.simulated,
    }


def moment(at: datetime) -> str:
    """As the tables write it: UTC, to the second."""
    return at.astimezone(timezone.utc).isoformat(timespec="seconds")


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)

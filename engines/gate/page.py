"""Writes what a gate found as one HTML page that needs nothing else, and its pictures as files. How it looks is in gate.html.j2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from engines.bundle import Bundle
from engines.evaluation.attributes import MIN_IOU
from engines.evaluation.examples import css_key
from engines.evaluation.page import Plot
from engines.evaluation.pair_pictures import KEY, changes, confusions, crop
from engines.evaluation.pairs import Disagreement, Kind, worst
from engines.files import make_folder, printable, write_result
from engines.gate.measure import GateResult
from engines.gate.words import Row, floor_rows, kept, points, rows, sentence, verdict
from engines.pages import data_uri, page_template
from engines.plot_style import jpeg, png

_TEMPLATE = "gate.html.j2"
_QUANTILES = (0.5, 0.9, 0.99, 1.0)
Figure = tuple[str, str, str, str, bool | None]
"""A large figure at the top of the page: what it is, its value, what that is made of, its limit and whether it is kept."""
Shown = tuple[str, str, str]
"""One disagreement: the picture's name, by how much, and the crop as data."""


def write_page(result: GateResult, folder: Path, created: datetime, bundle: Bundle | None = None) -> Path:
    """Writes index.html and the folder `pictures` beside it (the same pictures as files) into `folder`; returns the page's path.

    bundle: the candidate's, with the record in it, whose digest and quantisation the page then tells. A former page is replaced,
    with its pictures of disagreements. Raises DataError naming what cannot be read or written.
    """
    pictures = folder / "pictures"
    make_folder(pictures)
    for old in pictures.glob("disagreement-*.jpg"):
        old.unlink()
    label = f"{result.candidate.evaluation.engine.label} against {result.reference.evaluation.engine.label}"
    names = result.candidate.evaluation.engine.taxonomy.classes
    plots = {
        "confusion": confusions(result.reference.evaluation.confusion, result.candidate.evaluation.confusion, names, label),
        "pairs": changes(result.agreement, result.limits.shift_px, label),
    }
    drawn = {}
    for name, figure in plots.items():
        content = png(figure)
        write_result(pictures / f"{name}.png", content)
        drawn[name] = Plot.of(content)
    groups: dict[Kind, list[Shown]] = {}
    for number, disagreement in enumerate(worst(result.agreement), 1):
        photograph = jpeg(crop(disagreement, names))
        write_result(pictures / f"disagreement-{number:02d}-{disagreement.kind.name.lower()}.jpg", photograph)
        shown = (printable(disagreement.pairs.told.path.name), _amount(disagreement), data_uri(photograph))
        groups.setdefault(disagreement.kind, []).append(shown)
    page = folder / "index.html"
    write_result(page, html(result, drawn, groups, created, bundle))
    return page


def html(
    result: GateResult, plots: dict[str, Plot], groups: dict[Kind, list[Shown]], created: datetime, bundle: Bundle | None = None
) -> str:
    """The page's text. plots: "confusion" and "pairs"; created: the moment that it bears; the rest as `write_page`."""
    one, other = result.reference.evaluation, result.candidate.evaluation
    scores = rows(result)
    return page_template(Path(__file__).with_name(_TEMPLATE), points=points, sentence=sentence, percent=_percent).render(
        result=result,
        one=one,
        other=other,
        agreement=result.agreement,
        verdict=verdict(result),
        kept_scores=kept(result),
        figures=_figures(result, scores[:4]),
        rows=scores,
        floors=floor_rows(result),
        types=_types(result),
        attributes=_attributes(result),
        quantiles=_quantiles(result),
        plots=plots,
        groups=[(kind.value, groups[kind]) for kind in Kind if kind in groups],
        key=css_key(KEY),
        min_iou=MIN_IOU,
        kept=bundle,
        created=created.astimezone(timezone.utc),
    )


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def _figures(result: GateResult, limited: Sequence[Row]) -> list[Figure]:
    """limited: the rows of the four quantities that have a limit."""
    score, f1, youden, shift = limited
    moved = shift.lost if shift.lost == "-" else f"{shift.lost} px"
    golden = result.candidate.golden_fault
    return [
        ("mAP50-95 lost, COCO", score.lost, f"{score.reference} → {score.candidate}", _at_most(score), score.within),
        ("Attributes, mean F1 lost", f1.lost, f"{f1.reference} → {f1.candidate}", _at_most(f1), f1.within),
        ("Youden's J of blasts lost", youden.lost, "not both labelled", "no limit without both", None)
        if youden.within is None
        else ("Youden's J of blasts lost", youden.lost, f"{youden.reference} → {youden.candidate}", _at_most(youden), youden.within),
        ("Boxes moved, median", moved, f"{result.agreement.paired} pairs", f"at most {shift.allowed} px", shift.within),
        ("Golden picture", "as stored", "", "within the bundle's tolerance", True)
        if golden is None
        else ("Golden picture", "differs", golden, "beyond the bundle's tolerance", False),
    ]


def _quantiles(result: GateResult) -> list[tuple[str, float, float]]:
    """In words which share of the pairs, and below what shift in px and what difference of scores it lies; none without a pair."""
    shift_px, score = result.agreement.shift_px, np.abs(result.agreement.score_change)
    return [(_share(q), float(np.quantile(shift_px, q)), float(np.quantile(score, q))) for q in _QUANTILES if len(shift_px)]


def _types(result: GateResult) -> list[dict[str, Any]]:
    """AP50-95 of each labelled type by both rules, points."""
    one, other = result.reference.evaluation, result.candidate.evaluation
    names = one.engine.taxonomy.classes
    return [
        {
            "name": names[code],
            "cells": int(one.yolo.truths[i]),
            "coco": (100 * one.coco.ap5095[i], 100 * other.coco.ap5095[i]),
            "yolo": (100 * one.yolo.ap5095[i], 100 * other.yolo.ap5095[i]),
        }
        for i, code in enumerate(one.yolo.classes)
    ]


def _attributes(result: GateResult) -> list[dict[str, Any]]:
    """F1 and accuracy of each attribute that the labels state, points; NaN where no such cell was found."""
    one, other = result.reference.evaluation.attributes, result.candidate.evaluation.attributes
    return [
        {
            "name": a.name,
            "cells": (one[a.key].n, other[a.key].n),
            "f1": (100 * one[a.key].f1, 100 * other[a.key].f1),
            "accuracy": (100 * one[a.key].accuracy, 100 * other[a.key].accuracy),
        }
        for a in result.reference.evaluation.engine.taxonomy.attributes
        if not math.isnan(one[a.key].coverage)
    ]


def _amount(shown: Disagreement) -> str:
    if shown.kind is Kind.SHIFT:
        return f"{shown.amount:.1f} px"
    if shown.kind is Kind.TYPE:
        return f"both {shown.amount:.2f} or more"
    return f"by {shown.amount:.2f}" if shown.kind is Kind.SCORE else f"score {shown.amount:.2f}"


def _at_most(row: Row) -> str:
    return f"at most {row.allowed} point{'' if row.allowed == '1' else 's'}"


def _share(quantile: float) -> str:
    return {0.5: "median", 1.0: "largest"}.get(quantile, f"{round(100 * quantile)} % of pairs are below")

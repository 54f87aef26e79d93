"""Scores of a look at all pictures: films judged as foreign or not, cells counted, probabilities and intervals worked out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from engines.detections import Float64
from engines.evaluation.attributes import mean_scores, score_attributes
from engines.evaluation.average_precision import ratio
from engines.evaluation.calibration import Reliability, area_under_curve
from engines.evaluation.films import natural
from engines.evaluation.halves import half_samples
from engines.evaluation.intervals import LEVEL, Interval, and_everything, caution, on_halves
from engines.evaluation.looks import Look
from engines.evaluation.shares import clustered_interval, youden_interval
from engines.evaluation.told import SHARES, Told, ToldCounts, ToldFilm
from engines.naming.foreign import film_likeness
from engines.taxonomy import Taxonomy


def score_look(
    looks: Sequence[Look],
    name: str,
    rule: str,
    films: Sequence[str],
    units: Sequence[str],
    patients_known: bool,
    taxonomy: Taxonomy,
    resamples: int,
    seed: int,
) -> Told:
    """Scores of one look at all pictures. films, units: of each picture, by name."""
    order = sorted(set(films), key=natural)
    rows = {film: [i for i, one in enumerate(films) if one == film] for film in order}
    shown, likeness = list(looks), {}
    for film, mine in rows.items():
        likeness[film] = film_likeness(np.concatenate([_white_distances(looks[i], taxonomy) for i in mine]))
        if likeness[film].foreign:
            for i in mine:
                shown[i] = looks[i].on_foreign_film()
    counts = [ToldCounts.of(look, taxonomy) for look in shown]
    of_film = tuple(
        ToldFilm(film, len(mine), sum((counts[i] for i in mine), ToldCounts()), likeness[film]) for film, mine in rows.items()
    )
    sure, right, blast, is_blast, place = _found(shown, taxonomy)
    attributes = score_attributes(np.concatenate([look.truth_attributes for look in shown]), _attributes(shown), taxonomy)
    told = Told(
        look=name,
        rule=rule,
        counts=sum(counts, ToldCounts()),
        films=of_film,
        patients_known=patients_known,
        auc=float(area_under_curve(blast, is_blast)[0]),
        types=Reliability.of(sure, right),
        blasts=Reliability.of(blast, is_blast),
        attributes_f1=mean_scores(attributes)["f1"],
        intervals={},
        answers=_answers(shown, taxonomy),
        caution=caution("patient" if patients_known else "picture", len(set(units))),
    )
    if not resamples:
        return told
    unit_names = list(dict.fromkeys(units))
    unit = np.array([unit_names.index(one) for one in units], np.int64)
    told.intervals.update(_intervals(told, counts, unit, (blast, is_blast, unit[place]), resamples, seed))
    return told


def _intervals(
    told: Told, counts: Sequence[ToldCounts], unit: Any, cells: tuple[Float64, Any, Any], resamples: int, seed: int
) -> dict[str, Interval]:
    """Exact ones of shares and J; of AUC, of what is invented and of blast per cent from halves."""
    units = int(unit.max()) + 1

    def summed(keys: Sequence[str]) -> Float64:
        out: Float64 = np.bincount(unit, [float(sum(getattr(c, key) for key in keys)) for c in counts], units).astype(np.float64)
        return out

    found = {}
    for name, (_, of, total) in SHARES.items():
        if name != "invented" and not math.isnan(told.share(name)):
            found[name] = Interval(told.share(name), *clustered_interval(summed(of), summed(total), LEVEL), 0, "exact")
    if "false_blasts" in found:
        false = found["false_blasts"]
        found["specificity"] = Interval(told.specificity, 1 - false.high, 1 - false.low, 0, "exact")
        if "sensitivity" in found:
            hit = found["sensitivity"]
            limits = youden_interval(hit.value, (hit.low, hit.high), false.value, (false.low, false.high))
            found["youden"] = Interval(told.youden, *limits, 0, "exact")
    halves = half_samples(units, resamples, seed)
    weights = and_everything(halves)
    blast, is_blast, cell_unit = cells
    found["auc"] = on_halves(area_under_curve(blast, is_blast, weights[:, cell_unit]), halves)
    invented = weights @ summed(SHARES["invented"][1])
    found["invented"] = on_halves(ratio(invented, weights @ summed(("white",)), np.nan), halves, top=math.inf)
    if told.patients_known:
        off = np.array([abs(labelled - said) for labelled, said in (film.blast_percent for film in told.films)])
        films = half_samples(len(off), resamples, seed)
        drawn, known = and_everything(films), ~np.isnan(off)
        found["blast_percent_off"] = on_halves(ratio(drawn @ np.nan_to_num(off), drawn @ known, np.nan), films, top=100.0)
    return {name: one for name, one in found.items() if not math.isnan(one.value)}


def _found(looks: Sequence[Look], taxonomy: Taxonomy) -> tuple[Float64, Any, Float64, Any, Any]:
    """Of the labelled white cells that a box found: probability of the best type and whether it is right; of a blast and whether it is
    one; the place of its picture."""
    parts = []
    for place, look in enumerate(looks):
        cells = (look.partner >= 0) & ~np.isin(look.truth_classes, taxonomy.artefact_codes)
        box, truth = look.partner[cells], look.truth_classes[cells]
        probabilities = look.names.probabilities[box].astype(np.float64)
        best, sure = probabilities.argmax(1), probabilities.max(1, initial=0)
        is_blast = np.isin(truth, taxonomy.blast_codes)
        parts.append((sure, best == truth, look.blast_share(taxonomy)[box], is_blast, np.full(len(box), place)))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return columns[0], columns[1], columns[2], columns[3], columns[4]


NOTHING, NOT_FOUND, UNIDENTIFIED, NO_CELL = "nothing here", "not found", "unidentified", "no cell"


def _answers(looks: Sequence[Look], taxonomy: Taxonomy) -> dict[str, dict[str, int]]:
    """How often each labelled type, and nothing, was told as which type, group or neither."""
    found: dict[str, Counter[str]] = {}
    for look in looks:
        told = [_answer(int(code), group, taxonomy) for code, group in zip(look.names.types, look.names.groups, strict=True)]
        for code, box in zip(look.truth_classes.tolist(), look.partner.tolist(), strict=True):
            found.setdefault(taxonomy.classes[code], Counter())[told[box] if box >= 0 else NOT_FOUND] += 1
        for box in set(range(len(told))) - set(look.partner.tolist()):
            found.setdefault(NOTHING, Counter())[told[box]] += 1
    return {label: dict(counts.most_common()) for label, counts in found.items()}


def _answer(code: int, group: str, taxonomy: Taxonomy) -> str:
    if code >= 0:
        return NO_CELL if taxonomy.is_artefact(code) else taxonomy.classes[code]
    return taxonomy.group(group).name if group else UNIDENTIFIED


def _attributes(looks: Sequence[Look]) -> Any:
    """(cells, logits) of the labelled cells, NaN for those not found."""
    rows = []
    for look in looks:
        out = np.full((len(look.partner), look.attributes.shape[1]), np.nan, np.float32)
        out[look.partner >= 0] = look.attributes[look.partner[look.partner >= 0]]
        rows.append(out)
    return np.concatenate(rows)


def _white_distances(look: Look, taxonomy: Taxonomy) -> Float64:
    distances: Float64 = look.names.distances[~np.isin(look.names.types, taxonomy.artefact_codes)].astype(np.float64)
    return distances

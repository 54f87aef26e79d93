"""What `attridet evaluate` prints, within 80 columns: types by three rules of AP, films, attributes by two, intervals."""

from __future__ import annotations

import textwrap
from functools import partial

from rich.table import Table

from engines.commands.terminal import table_of
from engines.evaluation.attributes import mean_scores
from engines.evaluation.detection import FREQUENT_CELLS
from engines.evaluation.films import largest_difference, most, number
from engines.evaluation.intervals import IN_WORDS, Intervals
from engines.evaluation.result import Evaluation
from engines.evaluation.told import told_rows
from engines.pages import NOTICE

_table = partial(table_of, caption_justify="left", padding=0, pad_edge=False)


def tables(result: Evaluation) -> list[Table]:
    """All tables; those of attributes only where any label states one."""
    shown = [_types(result), *([_told(result)] if result.told else []), _films(result)]
    if result.attributes_stated:
        shown += [_attributes(result), _chance_and_published(result)]
    return shown if result.intervals is None else [*shown, _intervals(result.intervals)]


def _types(result: Evaluation) -> Table:
    rules = ("COCO", "YOLOv5\nv7.0", "Ultra-\nlytics\n8.4")
    headings = ("cells", *(f"{rule}\n{ap}" for rule in rules for ap in ("AP", "AP50")), "P", "R")
    table = _table("\n".join((f"{result.label}: scored: {result.scored.summary}", *result.notes)), "type", headings)
    yolo, types = result.yolo, result.types
    names = result.engine.taxonomy.classes
    for i, index in enumerate(yolo.classes):
        numbers = [value for ap in types.each.values() for value in (ap.ap5095[i], ap.ap50[i])]
        at_best = (number(share, ".2f") for share in (yolo.precision[i], yolo.recall[i]))
        table.add_row(names[index], str(yolo.truths[i]), *map(number, numbers), *at_best)
    table.add_section()
    point = result.working_point
    at_best = (number(shares.mean(), ".2f") for shares in (yolo.precision, yolo.recall))
    table.add_row("mean", str(point.cells), *map(number, types.means), *at_best)
    table.add_row(f"mean, {FREQUENT_CELLS} cells or more", str(result.frequent_cells), *map(number, result.frequent.means), "", "")
    table.add_row("white / background", str(result.wbc_cells), *map(number, result.wbc.means), "", "")
    table.caption = (
        f"AP: IoU .5 to .95; AP50: IoU .5. P and R: by YOLOv5 v7.0's rule at confidence {yolo.best_confidence:.3f}, where mean F1 "
        "peaks. White / background: all types as one, artefacts left out.\n"
        f"At the working point (confidence {point.thresholds.confidence:g}{_from(result)}): {point.detections} detections, "
        f"{point.found} of {point.cells} cells found (recall {number(point.recall)}, precision {number(point.precision)}), "
        f"right type in {number(point.type_accuracy)} of these. "
    )
    table.caption += " ".join(filter(None, (result.blasts.words, NOTICE)))
    if result.concepts is not None:
        table.caption += f"\n{result.concepts.words}"
    if not result.attributes_stated:
        table.caption += " No attribute is both labelled and told."
    return table


def _told(result: Evaluation) -> Table:
    headings = [heading for look in result.told for heading in (look.look.replace(" ", "\n"), "95%")]
    table = _table("What is told of the cells, by each look", "score", headings)
    for words, values in told_rows(result.told):
        cells = [part for value, low, high in values for part in (value, f"{low} {high}".strip())]
        table.add_row(textwrap.fill(words, 34), *cells)
    shown = result.appliance
    foreign, known = shown.foreign
    table.caption = (
        f"The appliance shows the {shown.look}, {shown.rule}. {shown.words}"
        + (f" {foreign} of {known} films are unlike all that the layer knows: groups alone are told there." if foreign else "")
        + (f" {shown.caution}" if shown.caution and result.intervals else "")
    )
    return table


def _films(result: Evaluation) -> Table:
    names = result.engine.taxonomy.classes
    right, judged = result.films_right
    what = "patient" if result.patients_known else "film"
    table = _table("Differential of each film at the working point", what, ("pict.", "cells", "told"))
    for heading in ("most labelled", "most told", "largest difference, pp"):
        table.add_column(heading)
    table.add_column("total\nvar.", justify="right", no_wrap=True)
    for film in result.films:
        mark = {True: "", False: " (wrong)", None: ""}[film.most_right]
        table.add_row(
            film.film,
            str(film.pictures),
            str(film.labelled.sum()),
            str(film.told.sum()),
            most(film.most_labelled, names),
            most(film.most_told, names) + mark,
            largest_difference(film, names),
            number(film.total_variation),
        )
    table.caption = (
        f"{result.film_note} Most frequent type right on {right} of {judged}; total variation (half of L1), mean: "
        f"{number(result.mean_total_variation)}. Artefacts left out."
    )
    return table


def _from(result: Evaluation) -> str:
    frame = f", each picture in a frame of {result.frame.words} px" if result.frame is not None else ""
    return (f", {result.confidence_from}" if result.confidence_from else "") + frame


def _attributes(result: Evaluation) -> Table:
    headings = ("cells", "cover-\nage", "accu-\nracy", "bal.\nacc.", "P", "R", "F1", "AP")
    table = _table("Attributes of the cells found (IoU 0.5)", "attribute", headings)
    columns = ("coverage", "accuracy", "balanced_accuracy", "precision", "recall", "f1", "ap")
    for attribute in result.engine.taxonomy.attributes:
        score = result.attributes[attribute.key]
        table.add_row(attribute.name, str(score.n), *(number(getattr(score, column)) for column in columns))
    mean = mean_scores(result.attributes)
    table.add_section()
    table.add_row("mean of those stated", "", *(number(mean[column]) for column in columns))
    return table


def _chance_and_published(result: Evaluation) -> Table:
    """Chance and the published rule, to hold beside the attributes."""
    headings = ("chance\nacc.", "chance\nF1", "publ.\nacc.", "publ.\nP", "publ.\nR", "publ.\nF1")
    table = _table("Beside them: the best constant answer, and the published rule", "attribute", headings)
    published = result.published
    for attribute in result.engine.taxonomy.attributes:
        score, theirs = result.attributes[attribute.key], published.scores.get(attribute.key)
        given = ["-"] * 4 if theirs is None else [number(v) for v in (theirs.accuracy, theirs.precision, theirs.recall, theirs.f1)]
        table.add_row(attribute.name, number(score.chance_accuracy), number(score.chance_f1), *given)
    mean = mean_scores(result.attributes)
    table.add_section()
    table.add_row("mean", number(mean["chance_accuracy"]), number(mean["chance_f1"]), "", "", "", number(published.mean_f1))
    table.caption = (
        f"Published rule: the box of highest IoU without a floor, two-valued attributes, {published.rows} cells with all of them known."
        if published.rows
        else "Published rule: no cell whose label states all its attributes."
    )
    return table


def _intervals(intervals: Intervals) -> Table:
    table = _table("How sure these are", "score", ("value", f"{intervals.level:.0%}\nfrom", "to"))
    for name, words in IN_WORDS.items():
        interval = intervals.each.get(name)
        if interval is not None:
            table.add_row(words, number(interval.value), number(interval.low), number(interval.high))
    table.caption = f"{intervals.rule}. {intervals.caution}".strip()
    return table

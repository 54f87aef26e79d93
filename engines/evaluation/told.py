"""What is told of the cells, as the appliance shows it: named, told as a group, unidentified, invented; blasts against other cells.

A cell is *named* with a type, told as a *group* (blast or other white cell) where only that is sure, or *unidentified*. What is told
where no cell is labelled is *invented*. Each look is scored by itself: the detector alone, and the second look where there is one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property, partial
from typing import Any

import numpy as np
from typing_extensions import Self

from engines.evaluation.calibration import Reliability
from engines.evaluation.films import number
from engines.evaluation.intervals import Interval
from engines.evaluation.looks import Look
from engines.intervals import exact_interval
from engines.naming.foreign import FilmLikeness
from engines.taxonomy import Taxonomy


@dataclass(frozen=True)
class ToldCounts:
    """Cells by what was told of them.

    named, grouped: told as a type, or as a group alone; right, wrong (also on a labelled artefact), invented. unidentified: on a
    labelled cell; unsure_invented: on nothing. dropped: labelled white cells told as no cell. blasts: labelled; of them told as a
    blast (type or group), told as another cell, unsure; the rest is lost (not found, or told as no cell). others: labelled white
    cells that are no blasts; others_told_blast: of them told as a blast. invented_blasts: told as a blast where nothing is.
    group_right: of all told on a labelled cell those whose group is right. white: labelled white cells. told_white, told_blasts:
    all told white cells, and blasts.
    """

    named_right: int = 0
    named_wrong: int = 0
    named_invented: int = 0
    grouped_right: int = 0
    grouped_wrong: int = 0
    grouped_invented: int = 0
    unidentified: int = 0
    unsure_invented: int = 0
    dropped: int = 0
    white: int = 0
    found: int = 0
    blasts: int = 0
    blasts_told: int = 0
    blasts_other: int = 0
    blasts_unsure: int = 0
    others: int = 0
    others_told_blast: int = 0
    invented_blasts: int = 0
    group_right: int = 0
    told_white: int = 0
    told_blasts: int = 0

    @classmethod
    def of(cls, look: Look, taxonomy: Taxonomy) -> Self:
        """Of one picture."""
        names, truth, partner = look.names, look.truth_classes, look.partner
        group_of = np.array([taxonomy.group_of(i) for i in range(len(taxonomy.classes))], object)
        n = len(names.types)
        label = np.full(n, -1, np.int64)  # of the labelled cell that each box found
        label[partner[partner >= 0]] = truth[partner >= 0]
        groups = np.array(names.groups, object) if n else np.zeros(0, object)
        no_cell = np.isin(names.types, taxonomy.artefact_codes)
        white = ~no_cell
        named, grouped = white & (names.types >= 0), white & (names.types < 0) & (groups != "")
        unsure, on_cell = white & ~named & ~grouped, label >= 0
        true_group = np.where(on_cell, group_of[label], "")
        same_group = on_cell & (groups == true_group) & (groups != "")
        type_right = on_cell & (names.types == label)
        blast, real_blast = white & (groups == "blasts"), true_group == "blasts"
        is_white, is_blast = ~np.isin(truth, taxonomy.artefact_codes), np.isin(truth, taxonomy.blast_codes)
        given = {
            "named_right": named & type_right,
            "named_wrong": named & on_cell & ~type_right,
            "named_invented": named & ~on_cell,
            "grouped_right": grouped & same_group,
            "grouped_wrong": grouped & on_cell & ~same_group,
            "grouped_invented": grouped & ~on_cell,
            "unidentified": unsure & on_cell,
            "unsure_invented": unsure & ~on_cell,
            "dropped": no_cell & on_cell & (true_group != ""),
            "white": is_white,
            "found": is_white & (partner >= 0),
            "blasts": is_blast,
            "blasts_told": blast & real_blast,
            "blasts_other": white & (groups == "others") & real_blast,
            "blasts_unsure": unsure & real_blast,
            "others": is_white & ~is_blast,
            "others_told_blast": blast & (true_group == "others"),
            "invented_blasts": blast & ~on_cell,
            "group_right": (named | grouped) & same_group,
            "told_white": white,
            "told_blasts": blast,
        }
        return cls(**{name: int(rows.sum()) for name, rows in given.items()})

    def __add__(self, other: ToldCounts) -> ToldCounts:
        return ToldCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def named(self) -> int:
        return self.named_right + self.named_wrong + self.named_invented

    @property
    def grouped(self) -> int:
        return self.grouped_right + self.grouped_wrong + self.grouped_invented

    @property
    def told(self) -> int:
        """Named or told as a group."""
        return self.named + self.grouped

    @property
    def invented(self) -> int:
        """White cells told where nothing is labelled, sure or unsure."""
        return self.named_invented + self.grouped_invented + self.unsure_invented

    @property
    def blasts_lost(self) -> int:
        return self.blasts - self.blasts_told - self.blasts_other - self.blasts_unsure


SHARES: Mapping[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "sensitivity": ("blasts told as a blast, of those labelled", ("blasts_told",), ("blasts",)),
    "false_blasts": ("other white cells told as a blast", ("others_told_blast",), ("others",)),
    "found": ("white cells found", ("found",), ("white",)),
    "named_right": ("right type, of the cells named", ("named_right",), ("named_right", "named_wrong", "named_invented")),
    "grouped_right": (
        "right group, of those told as a group",
        ("grouped_right",),
        ("grouped_right", "grouped_wrong", "grouped_invented"),
    ),
    "told_right": (
        "right, of the cells told as type or group",
        ("named_right", "grouped_right"),
        ("named_right", "named_wrong", "named_invented", "grouped_right", "grouped_wrong", "grouped_invented"),
    ),
    "told_right_on_cells": (
        "right, of those told on a labelled cell",
        ("named_right", "grouped_right"),
        ("named_right", "named_wrong", "grouped_right", "grouped_wrong"),
    ),
    "group_right": (
        "right group, of those told on a labelled cell",
        ("group_right",),
        ("named_right", "named_wrong", "grouped_right", "grouped_wrong"),
    ),
    "unidentified": ("unidentified, of the white cells told", ("unidentified", "unsure_invented"), ("told_white",)),
    "invented": (
        "white cells told where nothing is labelled, per labelled white cell",
        ("named_invented", "grouped_invented", "unsure_invented"),
        ("white",),
    ),
}
"""Ratios of `ToldCounts`: words, what is counted, of what. "invented" is no share: it can exceed 1."""


@dataclass(frozen=True)
class ToldFilm:
    """One film (patient). likeness: whether it is unlike all that the naming layer knows; on a foreign film groups alone are told."""

    film: str
    pictures: int
    counts: ToldCounts
    likeness: FilmLikeness

    @property
    def blast_percent(self) -> tuple[float, float]:
        """Blasts per cent of the white cells, labelled and told (unidentified ones among the cells); NaN without a cell."""
        counts = self.counts
        return _percent(counts.blasts, counts.white), _percent(counts.told_blasts, counts.told_white)

    @property
    def blast_interval(self) -> tuple[float, float]:
        """Exact 95 % interval of the told per cent: what counting so few cells leaves open; of a perfect reader, that is."""
        low, high = exact_interval(self.counts.told_blasts, self.counts.told_white)
        return 100 * low, 100 * high

    @property
    def inside(self) -> bool | None:
        """Whether the labelled per cent lies in the interval; None without a labelled cell."""
        labelled, (low, high) = self.blast_percent[0], self.blast_interval
        return None if math.isnan(labelled) else low <= labelled <= high


@dataclass(frozen=True, eq=False)
class Told:
    """The scores of one look. look: which. rule: from when it names, in words. auc: blasts against other white cells among those found.

    types: reliability of the most probable type; blasts: of the probability of a blast. attributes_f1: mean, of this look's attributes.
    answers: by what was labelled ("nothing here" too) how many were told as what. intervals: by the names of `SHARES`, and auc,
    youden, specificity, blast_percent_off.
    """

    look: str
    rule: str
    counts: ToldCounts
    films: tuple[ToldFilm, ...]
    patients_known: bool
    auc: float
    types: Reliability
    blasts: Reliability
    attributes_f1: float
    intervals: dict[str, Interval]
    caution: str
    answers: dict[str, dict[str, int]]

    def share(self, name: str) -> float:
        """One of `SHARES`; NaN over nothing."""
        _, of, total = SHARES[name]
        return _share(sum(getattr(self.counts, key) for key in of), sum(getattr(self.counts, key) for key in total))

    @property
    def sensitivity(self) -> float:
        return self.share("sensitivity")

    @property
    def specificity(self) -> float:
        """Share of the other labelled white cells that are not told as a blast."""
        return 1 - self.share("false_blasts")

    @property
    def youden(self) -> float:
        """Youden's J: sensitivity + specificity - 1."""
        return self.sensitivity - self.share("false_blasts")

    @property
    def foreign(self) -> tuple[int, int]:
        """Films that are foreign, and films of which that can be told."""
        known = [film.likeness for film in self.films if film.likeness.verdict in ("unlike", "known")]
        return sum(one.foreign for one in known), len(known)

    @property
    def blast_percent_off(self) -> float:
        """Mean over the films of |told - labelled| blast per cent, points."""
        off = [abs(told - labelled) for labelled, told in (film.blast_percent for film in self.films)]
        known = [value for value in off if not math.isnan(value)]
        return float(np.mean(known)) if known else math.nan

    @cached_property
    def words(self) -> str:
        """The cells in one or two sentences."""
        c = self.counts
        said = (
            f"{c.named} cells named ({c.named_right} right, {c.named_wrong} wrong, {c.named_invented} where nothing is), "
            f"{c.grouped} told as a group ({c.grouped_right} right, {c.grouped_wrong} wrong, {c.grouped_invented} where nothing is), "
            f"{c.unidentified + c.unsure_invented} unidentified."
        )
        if c.blasts:
            said += (
                f" Of {c.blasts} blasts {c.blasts_told} are told as a blast, {c.blasts_other} as another white cell, "
                f"{c.blasts_unsure} are unidentified and {c.blasts_lost} lost; of {c.others} other white cells {c.others_told_blast} "
                f"are told as a blast, and {c.invented_blasts} where nothing is."
            )
        return said

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON."""
        return {
            "look": self.look,
            "rule": self.rule,
            "counts": {**asdict(self.counts), "blasts_lost": self.counts.blasts_lost},
            "shares": {name: self.share(name) for name in SHARES},
            "blasts": {
                "auc": self.auc,
                "youden": self.youden,
                "sensitivity": self.sensitivity,
                "specificity": self.specificity,
                "percent_off": self.blast_percent_off,
            },
            "attributes_f1": self.attributes_f1,
            "calibration": {"types": self.types.to_dict(), "blasts": self.blasts.to_dict()},
            "answers": self.answers,
            "foreign": dict(zip(("films", "of"), self.foreign, strict=True)),
            "films": [
                {
                    "film": film.film,
                    "pictures": film.pictures,
                    "likeness": film.likeness.label,
                    "distance": film.likeness.distance,
                    "blast_percent": dict(zip(("labelled", "told"), film.blast_percent, strict=True)),
                    "blast_interval": dict(zip(("low", "high"), film.blast_interval, strict=True)),
                    "counts": asdict(film.counts),
                }
                for film in self.films
            ],
            "intervals": {"caution": self.caution, "each": {name: asdict(value) for name, value in self.intervals.items()}},
        }


_SHOWN = ("named_right", "grouped_right", "told_right", "told_right_on_cells", "group_right", "found", "unidentified", "invented")


def told_rows(looks: Sequence[Told]) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """The scores of each look beside each other: words, and value ("-" for none), lower and upper limit ("" for none) of each."""
    rows: list[tuple[str, list[tuple[str, str, str]]]] = []

    def add(words: str, name: str, value: Callable[[Told], float]) -> None:
        rows.append((words, [(number(value(look)), *_limits(look, name)) for look in looks]))

    add("Blasts against other white cells: AUC", "auc", lambda look: look.auc)
    add("Blasts: sensitivity", "sensitivity", lambda look: look.sensitivity)
    add("Blasts: specificity", "specificity", lambda look: look.specificity)
    add("Blasts: Youden's J", "youden", lambda look: look.youden)
    for name in _SHOWN:
        words = SHARES[name][0]
        add(words[:1].upper() + words[1:], name, partial(Told.share, name=name))
    rows.append(("Cells named, told as a group, unidentified", [(_numbers(look), "", "") for look in looks]))
    rows.append(
        ("Blast per cent of a film, off by (points, mean)", [(number(look.blast_percent_off, ".1f"), "", "") for look in looks])
    )
    add("Type: expected calibration error", "", lambda look: look.types.error)
    add("Blast: expected calibration error", "", lambda look: look.blasts.error)
    add("Attributes: mean F1", "", lambda look: look.attributes_f1)
    return rows


def _numbers(look: Told) -> str:
    counts = look.counts
    return f"{counts.named}, {counts.grouped}, {counts.unidentified + counts.unsure_invented}"


def _limits(look: Told, name: str) -> tuple[str, str]:
    interval = look.intervals.get(name)
    return ("", "") if interval is None else (number(interval.low), number(interval.high))


def _share(count: int, total: int) -> float:
    return count / total if total else math.nan


def _percent(count: int, total: int) -> float:
    return 100 * _share(count, total)

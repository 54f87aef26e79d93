"""Splits by patient: no patient on two sides, every class shared out as evenly as whole patients allow, and such a split on disk."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.data.aspect import carry_statement
from engines.data.census import Census, count, in_order
from engines.data.coco import write_json
from engines.data.export import left_out, subset_root
from engines.data.labels import Picture
from engines.data.layout import UNLABELLED, Subset, find_subset, find_subsets, patient_of
from engines.data.leukemiaattri import admit
from engines.data.look_alikes import field_units
from engines.data.reading import SplitLabels
from engines.data.writing import Bring, bring_all, write_txt
from engines.errors import DataError
from engines.files import atomic_folder
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy

KEPT = ("test",)
"""Splits that are left as they are unless asked for: what a paper's figures are measured on."""

_FEW = 20.0
"""Cells of a class up to which its shares are mostly chance."""

_LACKING = 0.25
"""Fine for a side without a class that several patients have: it could not be scored there."""

_SWAPS_UP_TO = 400
_ROUNDS = 60


def divide(counts: NDArray[np.float64], shares: Sequence[float], seed: int) -> NDArray[np.int64]:
    """The side of each unit, so that every side holds its share of every column as nearly as whole units allow.

    counts: (units, columns), such as cells of each class; columns of zeros do not count. shares: one for each side, sum 1. Least is the
    squared distance from the wanted shares, few cells weighing less, plus a fine for each side that lacks a class it could have. Greedy
    in an order drawn by `seed`, large units first, then improved by moving and swapping units while that helps. No side stays empty.
    Raises ValueError where there are fewer units than sides.
    """
    units, sides = len(counts), len(shares)
    if units < sides:
        raise ValueError(f"{units} units cannot fill {sides} sides")
    totals = counts.sum(0)
    parts = counts[:, totals > 0] / totals[totals > 0]
    weights = totals[totals > 0] / (totals[totals > 0] + _FEW)
    wanted = np.asarray(shares, np.float64)[:, None]
    could = (parts > 0).sum(0) >= sides

    def cost(held: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of what the sides hold, (..., sides, columns): one number each."""
        lacking = _LACKING * ((held < 1e-9) & could).sum((-1, -2))
        return np.asarray((weights * (held - wanted) ** 2).sum((-1, -2)) + lacking, np.float64)

    rng = np.random.default_rng(seed)
    size = (parts.max(1) if parts.shape[1] else np.zeros(units)) * rng.uniform(0.8, 1.25, units)
    held = np.zeros((sides, parts.shape[1]))
    chosen = np.zeros(units, np.int64)
    for unit in np.lexsort((rng.random(units), -size)):
        growth = (weights * (2 * parts[unit] * (held - wanted) + parts[unit] ** 2)).sum(1)
        chosen[unit] = int(np.argmin(growth))
        held[chosen[unit]] += parts[unit]
    for side in range(sides):
        if not (chosen == side).any():
            rich = np.flatnonzero(np.bincount(chosen, minlength=sides)[chosen] > 1)
            chosen[rich[np.argmin(parts[rich].sum(1))]] = side
    for _ in range(_ROUNDS):
        moved = _improve(chosen, parts, sides, cost, swap=False)
        swapped = units <= _SWAPS_UP_TO and _improve(chosen, parts, sides, cost, swap=True)
        if not (moved or swapped):
            break
    return chosen


_Cost = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _improve(chosen: NDArray[np.int64], parts: NDArray[np.float64], sides: int, cost: _Cost, swap: bool) -> bool:
    """Give units to another side, or exchange (`swap`) two of different sides, where that costs less; whether any were."""
    better = False
    held = np.stack([parts[chosen == side].sum(0) for side in range(sides)])
    for unit, part in enumerate(parts):
        here = chosen[unit]
        others = np.flatnonzero((chosen if swap else np.arange(sides)) != here)  # units to exchange it with, or sides to give it to
        if not len(others) or not (swap or (chosen == here).sum() > 1):
            continue
        there = chosen[others] if swap else others
        gain = parts[others] - part if swap else -part
        after = np.repeat(held[None], len(others), 0)
        after[:, here] += gain
        after[np.arange(len(others)), there] -= gain
        costs = cost(after)
        best = int(np.argmin(costs))
        if costs[best] < cost(held) - 1e-9:
            if swap:
                chosen[others[best]] = here
            chosen[unit], held, better = there[best], after[best], True
    return better


@dataclass(frozen=True, eq=False)
class Plan:
    """Who goes where. sides: name of the new split to its pictures, each with the split it comes from; kept: splits left as they are.

    by: "patient", "picture", or "patient and picture" where only some names give a patient. patients: of each side. shared: patients
    who are in a kept split of any subset, and how many of their pictures are on no side therefore.
    """

    root: Path
    taxonomy: Taxonomy
    seed: int
    shares: Mapping[str, float]
    by: str
    pooled: tuple[str, ...]
    sides: Mapping[str, Sequence[tuple[SplitLabels, Picture]]]
    kept: tuple[SplitLabels, ...]
    patients: Mapping[str, tuple[str, ...]]
    left_out: tuple[str, ...]
    shared: Mapping[str, int] = field(default_factory=dict)

    def census(self) -> list[Census]:
        """Counts of each side and of what is kept."""
        new = [count(name, [p for _, p in pictures], self.taxonomy) for name, pictures in self.sides.items()]
        return new + [count(f"{one.split.label} (as it was)", one.pictures, self.taxonomy) for one in self.kept]

    def to_dict(self) -> dict[str, Any]:
        """What is written beside the pictures, so that the split can be made again."""
        return {
            "source": self.root.resolve().name,
            "by": self.by,
            "seed": self.seed,
            "shares": dict(self.shares),
            "from": list(self.pooled),
            "kept": sorted({one.split.name for one in self.kept}),
            "patients": {side: list(names) for side, names in self.patients.items()},
            "pictures": {side: len(pictures) for side, pictures in self.sides.items()},
            "left_out_for_patients_kept_elsewhere": dict(self.shared),
        }


def plan(
    root: Path,
    shares: Mapping[str, float],
    seed: int,
    pooled: Sequence[str] = (),
    taxonomy: Taxonomy = LEUKEMIA_ATTRI,
    subsets: Sequence[str] = (),
    leave_out_shared: bool = False,
) -> Plan:
    """Divide the pictures of the splits `pooled` (default: all but `test`) into sides, each patient whole, over all subsets at once.

    Pictures whose names give no patient are divided one by one, copies of one field together. Those without labels follow their patient
    into `<side>_unlabelled`, those without a patient into the first side's. subsets: only these, by the names of their folders.
    leave_out_shared: pictures of a patient who is in a kept split of any of them come on no side, where otherwise that is refused; so
    that what is learnt on one microscope is judged on strangers under another. Raises DataError.
    """
    splits = [split for subset in _named_subsets(root, subsets) for split in subset.splits if split.pictures()]
    names = sorted({split.name for split in splits})
    unknown = sorted(set(pooled) - set(names))
    if unknown:
        raise DataError(f"{root}: no split '{', '.join(unknown)}'; splits there: {', '.join(names)}")
    pooled = tuple(pooled) or tuple(name for name in names if name not in KEPT)
    read, faults = admit(splits, root, taxonomy)
    pool = [one for one in read if one.split.name in pooled]
    kept = tuple(one for one in read if one.split.name not in pooled)
    taken = sorted({one.split.name for one in kept} & {name + end for name in shares for end in ("", UNLABELLED)})
    if taken:
        raise DataError(f"{root}: has a split '{taken[0]}' already, which would be mixed with the new; add --from {taken[0]}")
    labelled: dict[str, list[tuple[SplitLabels, Picture]]] = defaultdict(list)
    unlabelled: dict[str, list[tuple[SplitLabels, Picture]]] = defaultdict(list)
    unit_of = dict(zip(paths := [p.path for one in pool for p in one.pictures], field_units(paths), strict=True))
    for one in pool:
        bears_labels = any(picture.cells for picture in one.pictures)
        for picture in one.pictures:
            group = labelled if bears_labels and picture.labels is not None else unlabelled
            group[unit_of[picture.path]].append((one, picture))
    if not labelled:
        raise DataError(f"{root}: no label in {', '.join(pooled) or 'any split'}; there is nothing to balance")
    shared: dict[str, int] = {}
    if leave_out_shared:
        held_back = {patient_of(picture.path.name) for one in kept for picture in one.pictures} & (labelled.keys() | unlabelled.keys())
        for patient in sorted((p for p in held_back if p), key=in_order):
            shared[patient] = len(labelled.pop(patient, ())) + len(unlabelled.pop(patient, ()))
        if not labelled:
            raise DataError(
                f"{root}: every patient is in {', '.join(sorted({one.split.name for one in kept}))} too; none is left to learn from"
            )
    _refuse_shared_patients(root, labelled.keys() | unlabelled.keys(), kept)
    units = sorted(labelled, key=in_order)
    try:
        chosen = divide(np.stack([_counts(labelled[unit], taxonomy, leave_out_shared) for unit in units]), list(shares.values()), seed)
    except ValueError as error:
        who = f"patient {_patient(units[0])}" if len(units) == 1 and _patient(units[0]) else f"{len(units)} patients or pictures"
        raise DataError(f"{root}: {who} cannot be divided into {', '.join(shares)}; a patient stays whole") from error
    side_of = {unit: list(shares)[side] for unit, side in zip(units, chosen, strict=True)}
    first = next(iter(shares))
    sides: dict[str, list[tuple[SplitLabels, Picture]]] = {name: [] for name in shares}
    for unit in units:
        sides[side_of[unit]] += labelled[unit]
    for unit, pictures in unlabelled.items():
        sides.setdefault(side_of.get(unit, first) + UNLABELLED, []).extend(pictures)
    for pictures in sides.values():
        pictures.sort(key=lambda placed: (placed[0].split.label, placed[1].path.name))
    named = {side: {_patient(unit) for unit in units if side_of[unit] == side} for side in shares}
    patients = {side: tuple(sorted((p for p in found if p), key=in_order)) for side, found in named.items()}
    ways = {"patient" if _patient(unit) else "picture" for unit in (*units, *unlabelled)}
    by = " and ".join(sorted(ways))
    return Plan(root, taxonomy, seed, dict(shares), by, pooled, sides, kept, patients, tuple(left_out(faults)), shared)


def _named_subsets(root: Path, names: Sequence[str]) -> list[Subset]:
    """The subsets below `root` whose folders bear one of `names`, in any case; all of them where none is named."""
    there = find_subsets(root)
    return [find_subset(root, name, there) for name in names] or there


def _patient(unit: str) -> str | None:
    return None if unit.startswith("file:") else unit


def _counts(pictures: Sequence[tuple[SplitLabels, Picture]], taxonomy: Taxonomy, groups: bool) -> NDArray[np.float64]:
    """Cells of each class; pictures and cells in all, which count double so that the sides get their sizes too.

    groups: blasts and other white cells count too, six times, so that no side lacks either if the patients allow it: a working point
    cannot be chosen where one is missing.
    """
    codes = np.array([cell.code for _, picture in pictures for cell in picture.cells], np.int64)
    counts = np.bincount(codes, minlength=len(taxonomy.classes))
    told = [taxonomy.group_of(int(code)) for code in codes] if groups else []
    both = [told.count("blasts"), told.count("others")] * (6 if groups else 0)
    return np.concatenate([counts, [len(pictures)] * 2, [len(codes)] * 2, both]).astype(np.float64)


def _refuse_shared_patients(root: Path, units: set[str], kept: Sequence[SplitLabels]) -> None:
    for one in kept:
        patients = {patient_of(picture.path.name) for picture in one.pictures}
        shared = sorted((unit for unit in units if unit in patients), key=in_order)
        if shared:
            raise DataError(
                f"{root}: patients {', '.join(shared)} are in {one.split.label} too, which is kept as it is; "
                f"pool it with --from {one.split.name}, or leave these pictures out"
            )


def write_plan(plan: Plan, out: Path, how: Bring = Bring.LINK, progress: Callable[[int, int], None] | None = None) -> tuple[int, int]:
    """Write the sides in the published layout with JSON and TXT labels, and `split.json`; returns (pictures linked, copied)."""
    parts: list[tuple[Path, str, Mapping[str, Any], Sequence[Picture]]] = []
    for name, placed in plan.sides.items():
        by_subset: dict[str, list[tuple[SplitLabels, Picture]]] = defaultdict(list)
        for one, picture in placed:
            by_subset[one.split.subset].append((one, picture))
        for some in by_subset.values():
            source = some[0][0]
            parts.append((subset_root(Path(), source.split, plan.root), name, source.extra, [picture for _, picture in some]))
    parts += [(subset_root(Path(), one.split, plan.root), one.split.name, one.extra, one.pictures) for one in plan.kept]
    with atomic_folder(out) as folder:
        jobs = [(p.path, folder / where / "Images" / name / p.path.name) for where, name, _, pictures in parts for p in pictures]
        linked = bring_all(jobs, how, progress)
        for one in (*(one for placed in plan.sides.values() for one, _ in placed), *plan.kept):
            carry_statement(one.split, folder / subset_root(Path(), one.split, plan.root))
        for where, name, extra, pictures in parts:
            if not name.endswith(UNLABELLED) and any(picture.labels is not None for picture in pictures):
                write_json(folder / where, name, pictures, plan.taxonomy, extra)
                write_txt(folder / where, name, pictures, plan.taxonomy)
        (folder / "split.json").write_text(json.dumps(plan.to_dict(), indent=1) + "\n", encoding="utf-8")
    return linked, len(jobs) - linked

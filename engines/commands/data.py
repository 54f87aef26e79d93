"""`attridet data split`, `export` and `plot`: files read, written, and what was done in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engines.commands.terminal import one_task, table_of
from engines.data.census import Census, count
from engines.data.export import Format, export, left_out
from engines.data.layout import find_subsets, patient_of
from engines.data.leukemiaattri import admit
from engines.data.splits import Plan, plan, write_plan
from engines.data.writing import Bring
from engines.errors import DataError
from engines.taxonomy import LEUKEMIA_ATTRI

_Choice = TypeVar("_Choice", bound=Enum)
_table = partial(table_of, padding=(0, 1, 0, 0))


def run_split(root: Path, out: Path, *, val: float, test: float, seed: int, pooled: Sequence[str], images: str) -> None:
    """Divide by patient, write, and print who went where. Raises DataError."""
    if val + test >= 1:
        raise DataError(f"--val {val:g} and --test {test:g} leave nothing for train; together they must be below 1")
    how = _chosen(Bring, images, "--images", (Bring.LINK, Bring.COPY))
    shares = {"train": 1 - val - test, "val": val} | ({"test": test} if test else {})
    planned = plan(root, shares, seed, pooled)
    with one_task("writing pictures") as progress:
        linked, copied = write_plan(planned, out, how, progress)
    console = Console()
    console.print(_sides(planned))
    for side, patients in planned.patients.items():
        if patients:
            console.print(f"{side}: patients {', '.join(patients)}", highlight=False, soft_wrap=True)
    for words in warnings(planned):
        console.print(f"[bold yellow]Mind:[/] {escape(words)}", highlight=False, soft_wrap=True)
    console.print(
        f"{escape(str(out))}: divided by {planned.by} with seed {seed}; {_brought(linked, copied)}", highlight=False, soft_wrap=True
    )


def warnings(planned: Plan) -> list[str]:
    """What the person who uses the split must know."""
    found = []
    alone = [name for name, pictures in planned.sides.items() if pictures and not planned.patients.get(name)]
    if planned.by != "patient":
        where = ", ".join(alone) or "some pictures"
        found.append(
            f"file names give no patient in {where}: divided by PICTURE. Pictures of one person may be on both sides, so scores on val "
            "flatter; identical files stay together."
        )
    found += _on_one_side(planned)
    found += [
        f"{len(pictures)} pictures without labels are in {name}"
        for name, pictures in planned.sides.items()
        if name not in planned.shares
    ]
    return found + [f"left out: {words}" for words in planned.left_out]


def _on_one_side(planned: Plan) -> list[str]:
    """Classes that only one of the new sides has, and how many patients have them: one cannot be divided, several need not fit."""
    lone: dict[str, list[str]] = {}
    for code, name in enumerate(planned.taxonomy.classes):
        cells = {side: [p for _, p in pictures for c in p.cells if c.code == code] for side, pictures in planned.sides.items()}
        sides = [side for side, pictures in cells.items() if pictures]
        if len(sides) == 1 and len(planned.shares) > 1:
            patients = {patient_of(picture.path.name) for picture in cells[sides[0]]} - {None}
            whose = f" of {len(patients)} patient{'s' if len(patients) != 1 else ''}" if patients else ""
            lone.setdefault(sides[0], []).append(f"{name} ({len(cells[sides[0]])} cells{whose})")
    return [f"only in {side}: {', '.join(names)}" for side, names in lone.items()]


def run_export(root: Path, to: str, out: Path, *, images: str) -> None:
    """Write the labels in the other format and print what was lost. Raises DataError."""
    target = _chosen(Format, to, "--to", tuple(Format))
    how = _chosen(Bring, images, "--images", tuple(Bring))
    with one_task("writing pictures") as progress:
        done = export(root, target, out, how, progress=progress)
    console = Console()
    table = _table("Written", "split", ("pictures", "labelled", "cells"))
    for label, pictures, labelled, cells in done.splits:
        table.add_row(escape(label), str(pictures), str(labelled), str(cells))
    console.print(table)
    for words in done.lost:
        console.print(f"[bold yellow]Lost:[/] {escape(words)}", highlight=False, soft_wrap=True)
    if not done.lost:
        console.print("Nothing was lost.")
    console.print(f"{escape(str(out))}: {target.value}; {_brought(done.linked, done.copied)}", highlight=False, soft_wrap=True)


def run_plot(root: Path, out: Path, *, splits: Sequence[str]) -> None:
    """Draw the distribution. Raises DataError."""
    chosen = [split for subset in find_subsets(root) for split in subset.splits if split.pictures()]
    names = sorted({split.name for split in chosen})
    unknown = sorted(set(splits) - set(names))
    if unknown:
        raise DataError(f"{root}: no split '{unknown[0]}'; splits there: {', '.join(names)}")
    read, faults = admit([split for split in chosen if not splits or split.name in splits], root, LEUKEMIA_ATTRI)
    counts = [count(one.split.label, one.pictures, LEUKEMIA_ATTRI) for one in read]

    from engines.data.plots import draw

    draw(root.resolve().name, counts, LEUKEMIA_ATTRI, out)
    console = Console()
    for words in left_out(faults):
        console.print(f"[bold yellow]Mind:[/] not counted: {escape(words)}", highlight=False, soft_wrap=True)
    console.print(f"{escape(str(out))}: written", highlight=False, soft_wrap=True)


def _sides(planned: Plan) -> Table:
    """Classes by side, in numbers and as shares of all that was divided."""
    new = [c for c in planned.census() if c.label in planned.shares]
    rest = [c for c in planned.census() if c.label not in planned.shares]
    table = _table("Cells of each class", "", [f"{c.label}\nwanted {100 * planned.shares[c.label]:.0f} %" for c in new])
    for census in rest:
        table.add_column(escape(census.label).replace(" (", "\n("), justify="right")
    rows: list[tuple[str, Callable[[Census], int]]] = [("pictures", lambda c: c.images), ("cells", lambda c: c.cells)]
    for name, of in rows:
        table.add_row(name, *_shares([of(c) for c in new]), *(str(of(c)) for c in rest))
    table.add_section()
    for code, name in enumerate(planned.taxonomy.classes):
        if any(c.classes[code] for c in (*new, *rest)):
            table.add_row(escape(name), *_shares([c.classes[code] for c in new]), *(str(c.classes[code]) for c in rest))
    return table


def _shares(numbers: Sequence[int]) -> list[str]:
    total = sum(numbers)
    return [f"{n}  {100 * n / total:3.0f} %" if total else "0      " for n in numbers]


def _brought(linked: int, copied: int) -> str:
    parts = [f"{n} pictures {way}" for n, way in ((linked, "linked"), (copied, "copied")) if n]
    return " and ".join(parts) or "no pictures brought"


def _chosen(kind: type[_Choice], value: str, option: str, allowed: Sequence[_Choice]) -> _Choice:
    found = next((choice for choice in allowed if choice.value == value.lower()), None)
    if found is None:
        raise DataError(f"{option} {value}: no such choice; take {', '.join(str(choice.value) for choice in allowed)}")
    return found

"""What `attridet data` prints: counts as tables, every fault with its place, who went to which side, what was lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engines.commands.terminal import Terminal, table_of
from engines.data.aspect import PixelAspect
from engines.data.census import Census, in_order
from engines.data.check import Checked
from engines.data.class_lists import ClassNumbers
from engines.data.export import Exported
from engines.data.faults import Fault
from engines.data.layout import patient_of
from engines.data.splits import Plan
from engines.data.vocabulary import NOT_APPLICABLE
from engines.red_cells import FEWEST
from engines.taxonomy import UNKNOWN, Taxonomy

_wide = partial(table_of, padding=(0, 1, 0, 0))
thin_table = partial(table_of, caption_justify="left", padding=0, collapse_padding=True, pad_edge=False)
FIRST = 12
"""Faults of one kind that are printed without --all."""


def print_split(terminal: Terminal, planned: Plan, out: Path, linked: int, copied: int) -> None:
    """Classes by side, the patients of each side, and what the person who uses the split must know."""
    terminal.console.print(_sides(planned))
    for side, patients in planned.patients.items():
        if patients:
            terminal.message(f"{side}: patients {', '.join(patients)}")
    for words in warnings(planned):
        terminal.warning(words)
    terminal.message(f"{out}: divided by {planned.by} with seed {planned.seed}; {_brought(linked, copied)}")


def print_export(done: Exported, to: str) -> None:
    """Pictures and cells written, and what the format could not hold."""
    console = Console()
    table = _wide("Written", "split", ("pictures", "labelled", "cells"))
    for label, pictures, labelled, cells in done.splits:
        table.add_row(escape(label), str(pictures), str(labelled), str(cells))
    console.print(table)
    for words in done.lost:
        console.print(f"[bold yellow]Lost:[/] {escape(words)}", highlight=False, soft_wrap=True)
    if not done.lost:
        console.print("Nothing was lost.")
    console.print(f"{escape(str(done.out))}: {to}; {_brought(done.linked, done.copied)}", highlight=False, soft_wrap=True)


def warnings(planned: Plan) -> list[str]:
    """What the person who uses the split must know."""
    found = []
    alone = [name for name, pictures in planned.sides.items() if pictures and not planned.patients.get(name)]
    if planned.by != "patient":
        where = ", ".join(alone) or "some pictures"
        found.append(
            f"file names give no patient in {where}: divided by PICTURE. Pictures of one person may be on both sides, so scores on val "
            "flatter; copies of one field stay together."
        )
    found += _on_one_side(planned)
    found += [
        f"{len(pictures)} pictures without labels are in {name}"
        for name, pictures in planned.sides.items()
        if name not in planned.shares
    ]
    if planned.shared:
        kept = ", ".join(sorted({one.split.name for one in planned.kept}))
        whose = ", ".join(f"{patient} ({pictures} pictures)" for patient, pictures in planned.shared.items())
        found.append(f"in {kept} of one subset or another, and so left out everywhere else: patient {whose}")
    found += [f"left out: {words}" for words in planned.left_out]
    return found


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


def _sides(planned: Plan) -> Table:
    """Classes by side, in numbers and as shares of all that was divided."""
    new = [c for c in planned.census() if c.label in planned.shares]
    rest = [c for c in planned.census() if c.label not in planned.shares]
    table = _wide("Cells of each class", "", [f"{c.label}\nwanted {100 * planned.shares[c.label]:.0f} %" for c in new])
    for census in rest:
        table.add_column(escape(census.label).replace(" (", "\n("), justify="right")
    totals = [("pictures", [c.images for c in (*new, *rest)]), ("cells", [c.cells for c in (*new, *rest)])]
    classes = [(escape(name), [c.classes[n] for c in (*new, *rest)]) for n, name in enumerate(planned.taxonomy.classes)]
    for row, (name, numbers) in enumerate([*totals, *(one for one in classes if any(one[1]))], start=1):
        table.add_row(name, *_shares(numbers[: len(new)]), *map(str, numbers[len(new) :]), end_section=row == len(totals))
    return table


def _shares(numbers: Sequence[int]) -> list[str]:
    total = sum(numbers)
    return [f"{n}  {100 * n / total:3.0f} %" if total else "0      " for n in numbers]


def _brought(linked: int, copied: int) -> str:
    parts = [f"{n} pictures {way}" for n, way in ((linked, "linked"), (copied, "copied")) if n]
    return " and ".join(parts) or "no pictures brought"


def tables(found: Checked, width: int) -> list[Table]:
    """What the data set holds: one line a split, then classes and attributes with a column a split, then patients."""
    columns = [*found.splits, found.total] if len(found.splits) > 1 else list(found.splits)
    if len(found.subsets) == 1:  # its name stands above already
        columns = [replace(census, label=census.label.rpartition("/")[2]) for census in columns]
    cells = [census for census in columns if census.cells]
    return [
        _splits(columns),
        *_by_column("Classes", _class_rows(cells, found.taxonomy), cells, width),
        *_by_column("Attributes", _attribute_rows(cells, found.taxonomy), cells, width),
        *_patients([census for census in columns if census.patients and census.label != "all"]),
    ]


def red_cells(one: PixelAspect, named: bool) -> str:
    """Pixel aspect of a subset and what its red cells tell of the size of a pixel."""
    cells, whose = one.measured, f" of {escape(one.subset)}" if named else ""
    if cells is None or not cells.measured:
        few = 0 if cells is None else cells.cells
        told = f"not measured ({few} red cells stand alone; {FEWEST} are needed)"
    else:
        told = f"{cells.aspect:.2f} ({cells.low:.2f} to {cells.high:.2f}) by {cells.cells} red cells of {cells.pictures} pictures"
        told += f"; a red cell is {cells.diameter_px:.0f} px: about {cells.um_per_px:.2g} um a px, an estimate"
    stated = f"; stated by {escape(one.stated_by)}: {one.value:g}" if one.stated_by else "; stated nowhere"
    done = f"; [bold yellow]commands undo {one.value:g}[/]" if one.value != 1 else ""
    return f"Pixel aspect{whose}: {told}{stated}{done}"


def class_list(numbers: ClassNumbers) -> str:
    """What a list of class names beside TXT labels says."""
    files = " and ".join(escape(str(file)) for file in numbers.files)
    if numbers.in_order:
        return f"Class numbers by {files}: in the taxonomy's order"
    pairs = ", ".join(f"{number} {name} -> {numbers.meaning(number) or 'no class'}" for number, name in sorted(numbers.names.items()))
    return f"Class numbers by {files}: {escape(pairs)}"


def _splits(columns: Sequence[Census]) -> Table:
    headings = ("images", "labelled", "empty", "cells", "classes", "stated", "patients")
    table = thin_table("Splits", "", headings)
    table.add_column("labels", no_wrap=True)
    for census in columns:
        if census.label == "all":
            table.add_section()
        stated = sum(census.stated(key) for key in census.attributes)
        applies = sum(n for codes in census.attributes.values() for code, n in codes.items() if code != NOT_APPLICABLE)
        table.add_row(
            escape(census.label),
            *map(number, (census.images, census.labelled, census.empty, census.cells)),
            str(sum(n > 0 for n in census.classes)),
            f"{100 * stated / applies:.0f} %" if applies else "-",
            str(len(census.patients)) if census.patients else "?" if census.unnamed else "-",
            ", ".join(census.sources).replace(", TXT ", ", ") or "none",
        )
    table.caption = "empty: labelled as without cells; stated: attributes, of those that apply; labels: JSON, columns of TXT"
    return table


Row = tuple[str, list[str], bool]
"""Name, one word for each column, and whether a line is drawn above."""


def _class_rows(columns: Sequence[Census], taxonomy: Taxonomy) -> list[Row]:
    rows: list[Row] = [(name, [number(c.classes[code]) for c in columns], False) for code, name in enumerate(taxonomy.classes)]
    return [*rows, ("cells", [number(c.cells) for c in columns], True)]


def _attribute_rows(columns: Sequence[Census], taxonomy: Taxonomy) -> list[Row]:
    rows: list[Row] = []
    for attribute in taxonomy.attributes:
        words = [*enumerate(attribute.values), (UNKNOWN, "not stated"), (NOT_APPLICABLE, "not applicable")]
        for position, (code, word) in enumerate(words):
            counts = [c.attributes[attribute.key][code] for c in columns]
            if code >= 0 or any(counts):
                rows.append((f"{attribute.name}: {word}" if not position else f"  {word}", [number(n) for n in counts], not position))
    return rows


def _by_column(title: str, rows: Sequence[Row], columns: Sequence[Census], width: int) -> list[Table]:
    """One table, or several where the columns are too many for the terminal."""
    if not columns or not rows:
        return []
    widest = max(len(part) for census in columns for part in (*census.label.rpartition("/")[::2], "00000"))
    room = max(1, (width - 4 - max(len(name) for name, _, _ in rows)) // (widest + 1))
    found = []
    for start in range(0, len(columns), room):
        some = slice(start, start + room)
        table = thin_table(title if not start else f"{title} (continued)", "", [_heading(c.label) for c in columns[some]])
        for name, words, line in rows:
            if line:
                table.add_section()
            table.add_row(escape(name), *words[some])
        found.append(table)
    return found


def _heading(label: str) -> str:
    subset, _, split = label.rpartition("/")
    return escape(f"{subset}\n{split}" if subset else split)


def _patients(censuses: Sequence[Census]) -> list[Table]:
    if not censuses:
        return []
    table = thin_table("Patients (pictures of each)", "split", ())
    table.add_column("patients")
    table.add_column("pictures by diagnosis")
    for census in censuses:
        patients = ", ".join(f"{name} ({census.patients[name]})" for name in sorted(census.patients, key=in_order))
        diagnoses = ", ".join(f"{name} {n}" for name, n in sorted(census.diagnoses.items()))
        table.add_row(escape(census.label), escape(patients), escape(diagnoses))
    return [table]


def print_findings(console: Console, title: str, findings: Sequence[Fault], colour: str) -> None:
    """All of them, by kind."""
    if not findings:
        return
    console.print(f"[bold {colour}]{title}[/]")
    for kind, group in groupby(findings, key=lambda fault: fault.kind):
        faults = list(group)
        console.print(f"  [bold]{kind.title}[/] ({kind.slug}): {len(faults)}")
        for fault in faults:
            console.print(f"    {escape(str(fault))}", soft_wrap=True, highlight=False)


def many(number: int, word: str) -> str:
    return f"{number} {word}{'s' if number != 1 else ''}"


def number(value: int) -> str:
    return str(value) if value else "[dim]0[/]"

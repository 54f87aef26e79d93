"""What `attridet data check` prints and writes: the verdict first, then what a screen holds; all of it with --all, JSON, CSV, page."""

from __future__ import annotations

import json
import os
import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engines.commands.data_tables import FIRST, class_list, many, number, print_findings, red_cells, tables
from engines.commands.terminal import table_of
from engines.data.census import Census, together
from engines.data.check import Checked
from engines.data.faults import Fault
from engines.data.sheet import sheet
from engines.files import write_result
from engines.pages import page_template

LINES = 60
"""Lines that are printed without --all, however much is found."""

_PAGE_FIRST = 40


def print_check(found: Checked, root: Path, every: bool) -> None:
    """The verdict, counts, faults and notes; within `LINES` lines of the terminal's width, or all of them with `every`."""
    console = Console()
    colour = "red" if found.faults else "green"
    console.print(f"[bold {colour}]{escape(verdict(found, root))}[/]", highlight=False, no_wrap=not every, overflow="ellipsis")
    if every:
        for table in tables(found, console.width):
            console.print(table)
        for words in dict.fromkeys(class_list(numbers) for _, numbers in found.numbers):
            console.print(words, highlight=False, soft_wrap=True)
        for one in found.aspects:
            console.print(red_cells(one, len(found.aspects) > 1), highlight=False, soft_wrap=True)
        _print_regions(console, found)
        print_findings(console, "Faults", found.faults, "red")
        print_findings(console, "Notes", found.notes, "yellow")
        return
    with console.capture() as captured:
        _print_counts(console, found)
    counts = captured.get()
    console.file.write(counts)
    left = LINES - 2 - len(counts.splitlines())
    groups = [(kind, list(group)) for kind, group in groupby((*found.faults, *found.notes), key=lambda fault: fault.kind)]
    texts = [[_wrapped(short(fault, found), console.width) for fault in faults[:FIRST]] for _, faults in groups]
    for (kind, faults), places in list(zip(groups, _fitting(texts, left), strict=True))[: max(left, 0)]:
        tone = "yellow" if faults[0] in found.notes else "red"
        line = f"[{tone}]{kind.title}[/] ({kind.slug}): {len(faults)}"
        console.print(line, highlight=False, no_wrap=True, overflow="ellipsis")
        for place in places:
            console.print(escape("\n".join(place)), highlight=False, no_wrap=True, overflow="ellipsis")
    if found.findings:
        words = "--all prints everything, --json writes it; --csv and --page: classes by subset"
        console.print(words, style="dim", highlight=False, no_wrap=True, overflow="ellipsis")


def write_check(found: Checked, root: Path, json_file: Path | None, csv_file: Path | None, page_file: Path | None) -> None:
    """The files that were asked for."""
    if json_file is not None:
        write_result(json_file, (json.dumps(found.to_dict(), indent=1) + "\n").encode())
    columns = [*found.splits, found.total] if len(found.splits) > 1 else list(found.splits)
    table = sheet(columns, found.taxonomy)
    if csv_file is not None:
        write_result(csv_file, table.csv().encode())
    if page_file is not None:
        page = page_template(Path(__file__).with_name("data_check.html.j2")).render(
            name=root.resolve().name,
            verdict=verdict(found, root),
            columns=[label.split("/") for label in table.columns],
            rows=[(n in table.sections, name, numbers) for n, (name, numbers) in enumerate(table.rows)],
            faults=_of_page(found.faults, found),
            notes=_of_page(found.notes, found),
        )
        write_result(page_file, page.encode())


def verdict(found: Checked, root: Path) -> str:
    """How many faults and notes, and in how much."""
    faults = many(len(found.faults), "fault") if found.faults else "no fault"
    total = found.total
    held = f"{many(total.images, 'picture')}, {many(total.cells, 'cell')}"
    return f"{faults}, {many(len(found.notes), 'note')} in {held}: {root}"


def short(fault: Fault, found: Checked) -> str:
    """A fault with its files named from the folder that all subsets lie in."""
    folders = [subset.root for subset in found.subsets]
    base = folders[0] if len(folders) == 1 else os.path.commonpath(folders)
    return str(fault).replace(f"{base}/", "").replace(f"{found.root}/", "")


def _of_page(faults: Sequence[Fault], found: Checked) -> list[tuple[str, list[str], int]]:
    groups = [(kind, list(group)) for kind, group in groupby(faults, key=lambda fault: fault.kind)]
    return [
        (f"{kind.title} ({kind.slug}): {len(some)}", [short(f, found) for f in some[:_PAGE_FIRST]], max(0, len(some) - _PAGE_FIRST))
        for kind, some in groups
    ]


def _wrapped(text: str, width: int) -> list[str]:
    """A fault on two lines at most."""
    return textwrap.wrap(
        text, width - 1, initial_indent="  ", subsequent_indent="    ", max_lines=2, placeholder=" …", break_on_hyphens=False
    )


def _fitting(texts: Sequence[Sequence[list[str]]], lines: int) -> list[list[list[str]]]:
    """The places of each kind that are printed, so that with a heading each they fit into so many lines: one of each kind in turn."""
    shown: list[list[list[str]]] = [[] for _ in texts]
    left = lines - len(texts)
    for n in range(max(map(len, texts), default=0)):
        for kind, places in enumerate(texts):
            if n < len(places) and len(places[n]) <= left and len(shown[kind]) == n:
                shown[kind].append(places[n])
                left -= len(places[n])
    return shown


def _print_counts(console: Console, found: Checked) -> None:
    console.print(_subsets(found))
    if len(found.subsets) == 1 and found.total.cells:
        console.print(tables(found, console.width)[1])
    for words in list(dict.fromkeys(class_list(numbers) for _, numbers in found.numbers))[:3]:
        console.print(words, highlight=False, no_wrap=True, overflow="ellipsis")
    if len(found.aspects) == 1:
        console.print(red_cells(found.aspects[0], named=False), highlight=False)
    _print_regions(console, found)


def _print_regions(console: Console, found: Checked) -> None:
    if found.total.ignored:
        console.print(f"{many(found.total.ignored, 'region')} to ignore: nothing in them is learnt or scored")
    if found.total.in_part:
        console.print(f"{many(found.total.in_part, 'picture')} labelled in part: the rest of them is neither cell nor background")


def _subsets(found: Checked) -> Table:
    """One line a subset (a split where there is one subset): what it holds, by what labels, squeezed how."""
    aspects = {one.subset: f"{one.value:.2f}" for one in found.aspects}
    if len(found.subsets) == 1:
        rows = [(census.label.rpartition("/")[2], census) for census in found.splits]
        aspects = {name: next(iter(aspects.values()), "") for name, _ in rows}
    else:
        parts = {s.name: [c for c in found.splits if c.label == s.name or c.label.startswith(f"{s.name}/")] for s in found.subsets}
        last = Counter(name.rpartition("/")[2] for name in parts)
        rows = [
            (end if last[end := name.rpartition("/")[2]] == 1 else name, together(name, some, found.taxonomy))
            for name, some in parts.items()
        ]
        aspects = {name.rpartition("/")[2]: value for name, value in aspects.items()} | aspects
    table = table_of("", "", ("pictures", "labelled", "cells", "classes", "patients", "aspect"), padding=(0, 1, 0, 0))
    table.add_column("labels", no_wrap=True, overflow="ellipsis")
    for name, census in (*rows, *([("all", found.total)] if len(rows) > 1 else [])):
        if name == "all":
            table.add_section()
        table.add_row(
            escape(name),
            *map(number, (census.images, census.labelled, census.cells)),
            str(sum(n > 0 for n in census.classes)),
            _patients(census),
            aspects.get(name, ""),
            ", ".join(census.sources).replace(", TXT ", ", ") or "none" if name != "all" else "",
        )
    return table


def _patients(census: Census) -> str:
    return str(len(census.patients)) if census.patients else "?" if census.unnamed else "-"

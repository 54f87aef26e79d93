"""The page of a recipe, one HTML file: verdict first, the paper's tables with our rows beside the paper's, how it came about."""

from __future__ import annotations

import itertools
import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from engines.bench.machine import processor
from engines.experiments.measures import number_at
from engines.files import make_folder, write_json, write_result
from engines.pages import page_template
from engines.recipe.choose import CHOICE, SCORES
from engines.recipe.page_plan import PagePlan, PlannedRow, PlannedTable
from engines.recipe.places import BEGUN, DIVIDED, Places
from engines.recipe.plan import SPLIT, Plan, Step
from engines.recipe.result import result_of
from engines.version import version

_TEMPLATE = "page.html.j2"


@dataclass(frozen=True)
class Cell:
    """One measure of a network: each seed's value in points, and the paper's where it has one."""

    ours: tuple[float, ...]
    paper: float | None

    @property
    def mean(self) -> str:
        return _points(statistics.fmean(self.ours)) if self.ours else ""

    @property
    def each(self) -> str:
        """The seeds apart, where there are several."""
        return ", ".join(map(_points, self.ours)) if len(self.ours) > 1 else ""

    @property
    def theirs(self) -> str:
        if self.paper is None:
            return ""
        return f"{self.paper:.1f}" if round(self.paper, 1) == self.paper else f"{self.paper:g}"


@dataclass(frozen=True)
class Row:
    name: str
    scored: str
    cells: tuple[Cell, ...]

    @property
    def run(self) -> bool:
        return any(cell.ours for cell in self.cells)


@dataclass(frozen=True)
class Table:
    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def tables_of(plan: Plan, where: Path, steps: Sequence[Step], places: Places) -> list[Table]:
    """The plan's tables with what has been scored so far; what was not is empty."""
    page = PagePlan.read(plan.page, where)
    return [
        Table(
            one.title, one.note, tuple(one.columns), tuple(itertools.chain(*(_rows(row, one, plan, steps, places) for row in one.rows)))
        )
        for one in page.tables
    ]


def _rows(row: PlannedRow, table: PlannedTable, plan: Plan, steps: Sequence[Step], places: Places) -> list[Row]:
    found = []
    for chosen in itertools.product(*(plan.lists[name] for name in row.each)):
        own = {**dict(zip(row.each, chosen, strict=True)), **row.where}
        name = row.name
        for key, value in own.items():
            name = name.replace("{" + key + "}", value)
        scored = [
            _scores(places.folder(one.name)) for one in steps if one.planned.name == row.scores and own.items() <= one.means.items()
        ]
        there = [one for one in scored if one is not None]
        paper = row.paper.get(name, {}) if row.each else row.paper
        cells = []
        for column, path in table.columns.items():
            place = row.measures.get(column, path)
            values = [100 * number_at(one, place) for one in there] if place else []
            theirs = paper.get(column)
            cells.append(Cell(tuple(v for v in values if not math.isnan(v)), None if theirs is None else float(theirs)))
        data = there[0]["data"] if there else {}
        found.append(Row(name, f"{data['name']}, {data['split']}: {data['images']} pictures" if data else "", tuple(cells)))
    return found


def write_page(plan: Plan, where: Path, steps: Sequence[Step], places: Places, command: str) -> Path:
    """index.html, and the same numbers as tables.json and tables.md, in the folder of the step `page`; the page's path."""
    step = next(one for one in steps if one.planned.do == "page")
    folder = places.folder(step.name)
    make_folder(folder)
    tables = tables_of(plan, where, steps, places)
    result = result_of(steps, places)
    now, begun = datetime.now(timezone.utc), _json(places.out / BEGUN)
    html = page_template(Path(__file__).with_name(_TEMPLATE)).render(
        plan=plan,
        tables=tables,
        differences=PagePlan.read(plan.page, where).differences,
        result=result,
        choice=_choice(steps, places),
        split=_json(places.out / SPLIT / DIVIDED / "split.json"),
        steps=[(one, _json(places.record(one.name)), _pages(one, places, folder)) for one in steps if one is not step],
        command=command,
        at=begun.get("at", ""),
        changed={name: words for name, words in begun.get("values", {}).items() if words != plan.values[name]},
        seeds=plan.seeds,
        machine=f"{places.device}; {os.cpu_count()} cores, {processor()}",
        version=version(),
        check=_check(steps, places),
        created=now,
    )
    write_result(folder / "index.html", html)
    write_json(folder / "tables.json", {"created": now.isoformat(timespec="seconds"), "tables": [_plain(one) for one in tables]})
    write_result(folder / "tables.md", "\n\n".join(map(markdown, tables)) + "\n")
    return folder / "index.html"


def markdown(table: Table) -> str:
    """The table for a page of documentation: ours, each seed in brackets, the paper's after a stroke; cells not run are empty."""
    lines = [f"### {table.title}", ""]
    lines += [table.note.strip(), ""] if table.note else []
    lines += [f"| | {' | '.join(table.columns)} |", "|---|" + "---|" * len(table.columns)]
    for row in table.rows:
        cells = []
        for cell in row.cells:
            ours = cell.mean + (f" ({cell.each})" if cell.each else "")
            cells.append(f"{ours}{f' / {cell.theirs}' if cell.theirs else ''}".strip())
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", "Points. Ours / the paper's; each seed in brackets; empty: not run, or not in the paper."])


def _plain(table: Table) -> dict[str, Any]:
    return {
        "title": table.title,
        "columns": list(table.columns),
        "rows": [
            {"name": row.name, "scored": row.scored, "ours": [list(c.ours) for c in row.cells], "paper": [c.paper for c in row.cells]}
            for row in table.rows
        ],
    }


def _scores(folder: Path) -> dict[str, Any] | None:
    return _json(folder / SCORES) or None


def _choice(steps: Sequence[Step], places: Places) -> Mapping[str, Any]:
    files = [places.folder(step.name) / CHOICE for step in steps if step.planned.do == "choose"]
    return _json(files[0]) if files else {}


def _check(steps: Sequence[Step], places: Places) -> str:
    """What `data check` found, in words."""
    for step in steps:
        if step.command == "data check" and (found := _json(places.folder(step.name) / "check.json")):
            faults = len(found.get("faults", ()))
            return f"{faults} faults and {len(found.get('notes', ()))} notes" if faults else "no fault"
    return ""


def _pages(step: Step, places: Places, folder: Path) -> list[tuple[str, str]]:
    """Pages that a step wrote, as links from the folder of this one."""
    found = sorted(places.folder(step.name).rglob("index.html"))
    return [(str(page.parent.relative_to(places.folder(step.name))), os.path.relpath(page, folder)) for page in found]


def _json(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content


def _points(value: float) -> str:
    return f"{value:.1f}"

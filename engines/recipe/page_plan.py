"""What a recipe's page shows, as the plan says: tables of measures, a row a network, the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from engines.errors import DataError
from engines.yaml_model import model_of


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlannedRow(_Part):
    """name: in words, {LIST} being filled in. scores: the step that scored it; "" for a row of the paper alone. each: lists of the
    plan, a row for each of their values; where: one value of a list. measures: other places than the table's columns have, "" for an
    empty cell. paper: by column, in points; by the row's name in full where `each` gives several."""

    name: str
    scores: str = ""
    each: tuple[str, ...] = ()
    where: dict[str, str] = {}
    measures: dict[str, str] = {}
    paper: dict[str, Any] = {}


class PlannedTable(_Part):
    """columns: heading to the place of a number in the JSON of `attridet evaluate`, a share; it is shown in points."""

    title: str
    note: str = ""
    columns: dict[str, str]
    rows: tuple[PlannedRow, ...]


class PagePlan(_Part):
    """differences: in what the protocol differs from the paper's, a sentence each."""

    tables: tuple[PlannedTable, ...] = ()
    differences: tuple[str, ...] = ()

    @classmethod
    def read(cls, content: Mapping[str, Any], where: Path) -> PagePlan:
        return model_of(cls, content, f"{where}: page.")

    @property
    def measures(self) -> dict[str, str]:
        """Every place of a number that is asked for, with where on the page."""
        found: dict[str, str] = {}
        for table in self.tables:
            found |= {f"{table.title}: {column}": path for column, path in table.columns.items()}
            for row in table.rows:
                found |= {f"{table.title}: {row.name}: {column}": path for column, path in row.measures.items() if path}
        return found

    def check(self, steps: Iterable[str], lists: Mapping[str, Sequence[str]], where: Path) -> None:
        """DataError for a row of a step or list that there is not, or with a column that its table has not."""
        known = set(steps)
        for table in self.tables:
            for row in table.rows:
                if row.scores and row.scores not in known:
                    raise DataError(f"{where}: page: {table.title}: row {row.name}: no step {row.scores}")
                for name in (*row.each, *row.where):
                    if name not in lists or row.where.get(name, lists[name][0]) not in lists[name]:
                        raise DataError(
                            f"{where}: page: {table.title}: row {row.name}: no list {name} with {row.where.get(name, 'it')}"
                        )
                for column in (*row.measures, *(key for key, value in row.paper.items() if not isinstance(value, Mapping))):
                    if column not in table.columns:
                        raise DataError(f"{where}: page: {table.title}: row {row.name}: no column {column!r}")

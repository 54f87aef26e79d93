"""The plan of an experiment: a YAML file of data sets, runs, seeds, scores and bars, read and checked. `experiment` carries it out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from engines.errors import DataError
from engines.yaml_model import read_model


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlannedRun(_Part):
    """One network.

    command: words after `attridet`, where {data}, {seed}, {device} and {NAME}, the network of another run, are filled in; `--out` and
    `--seed` are added. score: the data sets of the plan that it is scored on.
    """

    name: str
    command: str
    score: tuple[str, ...] = ()


class Score(_Part):
    """How a network is scored: `attridet evaluate` on `data` (with {data} or a prepared {NAME}), with these further words."""

    data: str
    split: str = "val"
    options: str = ""


class Bar(_Part):
    """`run` should reach `times` what `against` reaches in `measure` on `score`."""

    run: str
    against: str
    score: str
    measure: str
    times: float


class Plan(_Part):
    """What the YAML file says.

    prepare: data sets made first, each by a command with {this} for its folder; {NAME} stands for that folder later on. measures: a
    heading for the table and where its number stands in the JSON of `attridet evaluate`. details: further such numbers, for a second
    table with a column a run.
    """

    title: str
    note: str = ""
    seeds: tuple[int, ...]
    prepare: dict[str, str] = {}
    runs: tuple[PlannedRun, ...]
    scores: dict[str, Score]
    measures: dict[str, str]
    details: dict[str, str] = {}
    bars: tuple[Bar, ...] = ()

    @property
    def scored(self) -> list[tuple[PlannedRun, str]]:
        """Each run with each data set that it is scored on."""
        return [(planned, score) for planned in self.runs for score in planned.score]


def read_plan(path: Path) -> Plan:
    """The plan in a YAML file; DataError naming the file and the key that is wrong."""
    plan = read_model(Plan, path)
    if fault := _fault(plan):
        raise DataError(f"{path}: {fault}")
    return plan


def _fault(plan: Plan) -> str | None:
    """What does not fit together, in words."""
    names = [r.name for r in plan.runs]
    if len(set(names)) < len(names):
        return "two runs bear one name"
    if clash := set(names) & set(plan.prepare):
        return f"{', '.join(clash)} is both a run and a data set"
    for planned, score in plan.scored:
        if score not in plan.scores:
            return f"run {planned.name} is to be scored on {score}, which scores does not hold"
    for number, planned in enumerate(plan.runs):
        for wanted in starts_from(planned, names):
            if wanted not in names[:number]:
                return f"run {planned.name} starts from {wanted}, which must stand before it"
    for name in (name for bar in plan.bars for name in (bar.run, bar.against)):
        if name not in names:
            return f"a bar names the run {name}, which is not planned"
    return None


def starts_from(planned: PlannedRun, names: Iterable[str]) -> list[str]:
    """The runs whose networks this one's command names."""
    return [name for name in names if "{" + name + "}" in planned.command]

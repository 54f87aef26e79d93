"""The plan of a recipe: a YAML file of values and steps, read and checked, its steps written out for each seed, subset and method.

A step's command is the words after `attridet`, in which {NAME} stands for a value of the plan, a folder of data, or the folder of an
earlier step: so a step needs those that it names, and no list of needs can be wrong.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from engines.errors import DataError
from engines.yaml_model import read_model

PLANS = Path(__file__).parent / "plans"
"""Where the plans that ship with the package lie."""
TINY = "tiny"
SPLIT = "split"
"""Name of the step that divides the subsets: {SUBSET} stands for a folder that it makes."""
NAME = ".name"
"""{SUBSET.name} stands for the name of its folder in the download."""
MACHINE = ("device", "threads")
"""What a command may say differently when a run goes on: it changes where it runs, not what it is."""
_PLACE = re.compile(r"\{([\w.-]+)\}")
_NAMED = re.compile(r"\{\{([\w.-]+)\}\}")
_RESERVED = {"download", "out", "seed", *MACHINE}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlannedStep(_Part):
    """One step, or one for each of `each`.

    run: words after `attridet`. do: instead of a command what the recipe does itself: card or choose, with `of`, or page. accept: exit
    codes with which it is done. each: names that take several values: a list of the plan's, or "seed"; the step is then NAME-VALUE.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    run: str = ""
    do: Literal["card", "choose", "page", ""] = ""
    of: dict[str, Any] = {}
    accept: tuple[int, ...] = (0,)
    each: tuple[str, ...] = ()


class Plan(_Part):
    """What the YAML file says. subsets: name in commands to the folder's name in the download. at: other values, by name."""

    title: str
    note: str = ""
    subsets: dict[str, str]
    seeds: tuple[int, ...] = (0,)
    lists: dict[str, tuple[str, ...]] = {}
    values: dict[str, str] = {}
    at: dict[str, dict[str, str]] = {}
    steps: tuple[PlannedStep, ...]
    page: dict[str, Any] = {}


@dataclass(frozen=True)
class Step:
    """A step as it is done. said: its command without the places of this machine. needs: earlier steps. means: its own of `each`."""

    name: str
    planned: PlannedStep
    said: str
    needs: tuple[str, ...]
    means: Mapping[str, str]

    @property
    def command(self) -> str:
        """The command's own words, such as "data split"; what the recipe does itself has none."""
        words = self.planned.run.split()
        return " ".join(words[:2] if words[:1] == ["data"] else words[:1])

    @property
    def trains(self) -> bool:
        return self.command in ("train", "adapt")


def shipped_plans() -> list[str]:
    """Names of the plans that ship with the package."""
    return sorted(path.stem for path in PLANS.glob("*.yaml"))


def plan_file(name: str) -> Path:
    """The file of a shipped plan, or `name` itself. DataError naming the plans that there are."""
    if (shipped := PLANS / f"{name}.yaml").is_file() and "/" not in name:
        return shipped
    if not Path(name).is_file():
        raise DataError(f"{name}: no such plan; name a YAML file, or one that is shipped: {', '.join(shipped_plans())}")
    return Path(name)


def read_plan(path: Path) -> Plan:
    """The plan in a YAML file; DataError naming the file and the key that is wrong."""
    return read_model(Plan, path)


def values_of(plan: Plan, where: Path, at: str, given: tuple[str, ...]) -> dict[str, str]:
    """The plan's values, those of `at` and those given (NAME=VALUE) in their place. Raises DataError."""
    if at and at not in plan.at:
        raise DataError(f"--at {at}: {where.name} has {', '.join(plan.at) or 'no other sizes'}")
    values = {**plan.values, **(plan.at[at] if at else {})}
    for name in plan.at.get(at, {}):
        if name not in plan.values:
            raise DataError(f"{where}: at.{at}.{name}: values has no {name}")
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in plan.values:
            raise DataError(f"--set {text}: give NAME=VALUE; {where.name} has {', '.join(plan.values)}")
        values[name] = value
    return values


def steps_of(plan: Plan, where: Path, values: Mapping[str, str]) -> list[Step]:
    """All steps, in order, written out for each of `each`; DataError naming the step and what in it means nothing."""
    lists = {"seed": tuple(map(str, plan.seeds)), **plan.lists}
    written: list[Step] = []
    names: dict[str, PlannedStep] = {}
    for planned in plan.steps:
        if planned.name in _RESERVED or planned.name in plan.subsets or planned.name in values or planned.name in names:
            raise DataError(f"{where}: step {planned.name}: the name has another meaning already")
        if bool(planned.run) == bool(planned.do):
            raise DataError(f"{where}: step {planned.name}: say either run or do")
        for name in planned.each:
            if name not in lists:
                raise DataError(f"{where}: step {planned.name}: each: {name}; there are {', '.join(lists)}")
        for chosen in itertools.product(*(lists[name] for name in planned.each)):
            own = dict(zip(planned.each, chosen, strict=True))
            written.append(_step(plan, where, planned, values, own, names, lists))
        names[planned.name] = planned
    return written


def _step(
    plan: Plan,
    where: Path,
    planned: PlannedStep,
    values: Mapping[str, str],
    own: dict[str, str],
    names: Mapping[str, PlannedStep],
    lists: Mapping[str, tuple[str, ...]],
) -> Step:
    name = "-".join((planned.name, *own.values()))
    seed = own.get("seed", lists["seed"][0])
    needs: list[str] = []

    def earlier(wanted: str) -> Iterator[str]:
        """The steps that {wanted} stands for: of the same seed and the like, else the first."""
        each = names[wanted].each
        yield "-".join((wanted, *(own.get(one, lists[one][0]) for one in each)))

    def put(found: re.Match[str]) -> str:
        key = found[1]
        if key in own or key == "seed":
            return own.get(key, seed)
        if key.removesuffix(NAME) in plan.subsets and key.endswith(NAME):
            return plan.subsets[key.removesuffix(NAME)]
        if key in values:
            return _PLACE.sub(put, values[key])
        if key in names:
            needs.extend(step := list(earlier(key)))
            return f"{{{step[0]}}}"
        if key in plan.subsets or key in plan.subsets.values():
            if SPLIT in names and SPLIT not in needs:
                needs.append(SPLIT)
            return found[0]
        if key in _RESERVED:
            return found[0]
        meanings = [*plan.subsets, *values, *names, *_RESERVED]
        raise DataError(f"{where}: step {planned.name}: {found[0]} stands for nothing; there are {', '.join(sorted(meanings))}")

    # {{subset}} stands for what {H_100X_C2} does where the subset's turn is H_100X_C2's.
    said = _PLACE.sub(put, _NAMED.sub(lambda found: "{" + own.get(found[1], found[1]) + "}", planned.run))
    for text in _texts(planned.of):
        for wanted in names:
            if text == wanted:
                needs.extend(_all_of(names[wanted], own, lists))
    return Step(name, planned, said, tuple(dict.fromkeys(needs)), {**own, "seed": seed})


def _all_of(planned: PlannedStep, own: Mapping[str, str], lists: Mapping[str, tuple[str, ...]]) -> list[str]:
    choices = [(own[one],) if one in own else lists[one] for one in planned.each]
    return ["-".join((planned.name, *chosen)) for chosen in itertools.product(*choices)]


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping):
        for value in content.values():
            yield from _texts(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _texts(value)


def words_of(step: Step, places: Mapping[str, str]) -> list[str]:
    """The words after `attridet`; each {NAME} that is left is a place of this machine."""
    return [_PLACE.sub(lambda found: places[found[1]], word) for word in shlex.split(step.said)]

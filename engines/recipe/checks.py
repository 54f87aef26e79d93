"""A recipe looked through before anything is done: commands, folders, splits, subsets and measures that would fail hours later."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.data.layout import UNLABELLED
from engines.data.splits import Plan as Division
from engines.data.splits import plan as divide
from engines.errors import DataError, EnginesError
from engines.experiments.measures import Measures
from engines.options import Request, option_name, options_of, request_from
from engines.recipe.card import CardPlan
from engines.recipe.choose import Choice
from engines.recipe.page_plan import PagePlan
from engines.recipe.places import DIVIDED, Places
from engines.recipe.plan import SPLIT, Plan, Step, words_of
from engines.taxonomy import LEUKEMIA_ATTRI

Commands = Mapping[str, type[Request]]
"""Each command of `attridet` that a step may be, by its words, and what it takes."""

_WRITES = {"out", "json", "csv", "page", "plot", "plans", "section", "progress"}
_DATA = {"data", "source", "target", "watch", "root", "exclude_split", "tune_data"}
_PICTURES = {"images", "folders", "frames", "golden"}
_FILES = {"initial", "checkpoint", "bundle", "candidate", "reference", "model", "engine", "card", "readme", "taxonomy", "layer"}
_SHARE = re.compile(r"\d+(\.\d+)?|\.\d+")
_WITHOUT_VALUE = ("rendered", "link", "copy", "auto")


@dataclass(frozen=True)
class Side:
    """One side of one subset: pictures, labelled cells, and how many of these are blasts and other white cells."""

    pictures: int
    cells: int
    blasts: int
    others: int


@dataclass(frozen=True)
class Looked:
    """A step that was looked through. inputs: what it reads, in words for people; pictures: of each side that it reads.

    judged: pictures that a training scores after each epoch.
    """

    step: Step
    request: Request | None
    inputs: tuple[str, ...]
    pictures: Mapping[str, int]
    judged: Mapping[str, int]


class Checks:
    """Everything that is known of a recipe before it begins. Raises DataError naming step and option."""

    def __init__(self, plan: Plan, where: Path, steps: Sequence[Step], places: Places, commands: Commands) -> None:
        self._plan, self._where, self._steps, self.places, self._commands = plan, where, list(steps), places, commands
        self._names = {step.name: position for position, step in enumerate(steps)}
        self.division: Division | None = None
        self.sides: dict[Path, dict[str, Side]] = {}
        self._measures = Measures(LEUKEMIA_ATTRI)

    def all(self) -> list[Looked]:
        """Every step looked through, in order."""
        requests = [(step, self._request(step)) for step in self._steps]  # misspelt words first: they cost no reading
        self._check_own()
        looked = []
        for step, request in requests:
            try:
                if step.name == SPLIT and request is not None:
                    self._divide(request)
                looked.append(self._look(step, request))
            except EnginesError as error:
                raise DataError(f"{self._where}: step {step.name}: {error}") from error
        return looked

    def _request(self, step: Step) -> Request | None:
        if not step.planned.run:
            return None
        try:
            words = words_of(step, self.places.for_step(step, self._steps, self._plan))
        except (KeyError, ValueError) as error:
            raise DataError(f"{self._where}: step {step.name}: {error}") from error
        count = len(step.command.split())
        kind = self._commands.get(step.command)
        if kind is None:
            raise DataError(f"{self._where}: step {step.name}: no command {step.command!r}; there are {', '.join(self._commands)}")
        try:
            return request_from(kind, words[count:])
        except EnginesError as error:
            raise DataError(f"{self._where}: step {step.name}: attridet {step.command}: {error}") from error

    def _check_own(self) -> None:
        """Measures and names of what the recipe does itself."""
        for step in self._steps:
            if step.planned.do == "choose":
                self._measures.check(self._where, Choice.read(step.planned.of, self._where, step.name).measures)
            if step.planned.do == "card":
                CardPlan.read(step.planned.of, self._where, step.name)
            if step.planned.do == "page":
                page = PagePlan.read(self._plan.page, self._where)
                self._measures.check(self._where, page.measures)
                page.check({one.planned.name for one in self._steps}, self._plan.lists, self._where)

    def _divide(self, request: Request) -> None:
        """What the step `split` will make, without making it."""
        asked: Any = request
        shares = {"train": 1 - asked.val - asked.test, "val": asked.val} | ({"test": asked.test} if asked.test else {})
        self.division = divide(asked.root, shares, asked.seed, asked.pooled, LEUKEMIA_ATTRI, asked.subsets, asked.leave_out_shared)
        for name in self._plan.subsets:
            subset = self.places.subsets[name]
            sides: dict[str, Side] = {}
            for side, placed in self.division.sides.items():
                sides[side] = _side(picture for one, picture in placed if one.split.root == subset.root)
            for one in self.division.kept:
                if one.split.root == subset.root:
                    sides[one.split.name] = _side(one.pictures)
            self.sides[self.places.divided(name)] = {side: held for side, held in sides.items() if held.pictures}

    def _look(self, step: Step, request: Request | None) -> Looked:
        inputs: list[str] = []
        pictures: Counter[str] = Counter()
        judged: dict[str, int] = {}
        for field, option, _ in options_of(type(request)) if request is not None else ():
            values = getattr(request, field.name)
            for value in values if isinstance(values, tuple) else (values,):
                if field.name in _WRITES or value is None or not isinstance(value, str | Path):
                    continue
                if field.name in _DATA:
                    folder, side = self._data(step, request, field.name, str(value), option_name(field.name, option))
                elif field.name in _PICTURES and str(value) not in _WITHOUT_VALUE:
                    folder, side = self._folder(step, Path(value), option_name(field.name, option)), ""
                    side = folder.name if folder.parent.name == "Images" else ""
                    folder = folder.parent.parent if side else folder
                elif field.name in _FILES:
                    folder, side = self._file(step, str(value), option_name(field.name, option)), ""
                else:
                    continue
                inputs.append(self._shown(folder) + (f":{side}" if side else ""))
                if side and folder in self.sides:
                    pictures[f"{self._shown(folder)}:{side}"] = self.sides[folder][side].pictures
                    if step.trains and "val" in self.sides[folder]:
                        judged[f"{self._shown(folder)}:val"] = self.sides[folder]["val"].pictures
        return Looked(step, request, tuple(dict.fromkeys(inputs)) or step.needs, pictures, judged)

    def _data(self, step: Step, request: Any, name: str, text: str, option: str) -> tuple[Path, str]:
        """Folder and split of labelled pictures; the split is there, with labels where it must have them."""
        command = step.command
        head, _, tail = text.rpartition(":")
        split = getattr(request, "split", "") if name == "data" else ""
        if head and not Path(text).is_dir():
            text, split = head, (split or "train") if _SHARE.fullmatch(tail) else tail
        split = split or {"train": "train", "adapt": "train"}.get(command, "val")
        if command.startswith("data "):
            split = ""
        folder = self._folder(step, Path(text), option)
        if folder not in self.sides:
            return folder, split
        sides = self.sides[folder]
        wanted = [(split, not (command == "adapt" and name == "target" and not request.oracle))] if split else []
        if command == "train" and getattr(request, "judge", False):
            wanted.append(("val", True))
        for side, labelled in wanted:
            if side not in sides:
                there = ", ".join(one for one in sides if not one.endswith(UNLABELLED))
                raise DataError(f"{option} {self._shown(folder)}: no split {side!r}; splits there: {there}")
            if labelled and not sides[side].cells:
                raise DataError(f"{option} {self._shown(folder)}:{side} bears no labelled cell")
        if command in ("working-point", "export") and not (sides[split].blasts and sides[split].others):
            lacks = "blast" if not sides[split].blasts else "white cell that is no blast"
            raise DataError(
                f"{option} {self._shown(folder)}:{split} has no {lacks}, so no working point can be weighed there; give the split "
                "another --seed or a larger --val"
            )
        return folder, split

    def _folder(self, step: Step, path: Path, option: str) -> Path:
        """A folder that is there, or that an earlier step makes."""
        path = Path(os.path.normpath(path.absolute()))
        if not path.is_relative_to(self.places.out):
            if not path.exists():
                raise DataError(f"{option} {path}: is not there")
            return path
        made_by = path.relative_to(self.places.out).parts[0]
        if made_by not in self._names:
            raise DataError(f"{option} {path}: no step of the plan makes it")
        if self._names[made_by] >= self._names[step.name]:
            raise DataError(f"{option} {path}: the step {made_by} makes it, which does not stand before {step.name}")
        root = self.places.out / SPLIT / DIVIDED
        if path.is_relative_to(root) and self.sides:
            subset = next((one for one in self.sides if path.is_relative_to(one)), None)
            if subset is None and path != root:
                raise DataError(f"{option} {path}: the plan's subsets are {', '.join(map(self._shown, self.sides))}")
            inside = path.relative_to(subset).parts if subset is not None else ()
            if subset is not None and inside[:1] == ("Images",) and inside[1:2] and inside[1] not in self.sides[subset]:
                raise DataError(f"{option} {path}: no split {inside[1]!r}; splits there: {', '.join(self.sides[subset])}")
        return path

    def _file(self, step: Step, text: str, option: str) -> Path:
        if not text or text.startswith("zoo:"):
            if text:
                from engines.bundle import resolve

                resolve(text)
            return Path(text)
        return self._folder(step, Path(text), option)

    def _shown(self, path: Path) -> str:
        """A place without what is the same for all."""
        for name, subset in self._plan.subsets.items():
            if path == self.places.divided(name):
                return subset
        return str(path.relative_to(self.places.out) if path.is_relative_to(self.places.out) else path)


def _side(pictures: Iterator[Any] | Sequence[Any]) -> Side:
    listed = list(pictures)
    told = [LEUKEMIA_ATTRI.group_of(cell.code) for picture in listed for cell in picture.cells]
    return Side(len(listed), len(told), told.count("blasts"), told.count("others"))

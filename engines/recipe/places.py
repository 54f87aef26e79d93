"""Where everything of a recipe lies: the download's subsets, found however they are nested, and the folders that its steps write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.data.layout import Subset, find_subset, find_subsets
from engines.errors import DataError
from engines.recipe.plan import SPLIT, Plan, Step
from engines.recipe.request import RecipeRequest

RECORDS = "steps"
"""Folder of the records and logs of all steps."""
BEGUN = "recipe.json"
"""File of what the recipe in a folder was begun with."""
DIVIDED = "data"
"""Folder, of the step that divides, that the subsets lie in."""


@dataclass(frozen=True)
class Places:
    """download: as given, in full. out: of the recipe. subsets: name in the plan to the subset as the download has it."""

    download: Path
    out: Path
    subsets: dict[str, Subset]
    device: str
    threads: int

    @classmethod
    def of(cls, plan: Plan, where: Path, request: RecipeRequest) -> Places:
        """Raises DataError naming what the download lacks."""
        download = request.data.absolute()
        there = find_subsets(download)
        subsets = {}
        for name, folder in plan.subsets.items():
            try:
                subsets[name] = find_subset(download, folder, there)
            except DataError as error:
                raise DataError(f"{where}: subsets.{name}: {error}") from error
        return cls(download, request.out.absolute(), subsets, request.device, request.threads)

    def divided(self, name: str) -> Path:
        """The folder of a subset after its division. name: in the plan."""
        subset = self.subsets[name]
        root = self.out / SPLIT / DIVIDED
        return root if subset.root == self.download else root / subset.root.relative_to(self.download)

    def folder(self, step: str) -> Path:
        """What a step writes into."""
        return self.out / step

    def record(self, step: str) -> Path:
        return self.out / RECORDS / f"{step}.json"

    def log(self, step: str) -> Path:
        return self.out / RECORDS / f"{step}.log"

    def for_step(self, step: Step, steps: list[Step], plan: Plan) -> dict[str, str]:
        """What each {NAME} in the step's command stands for."""
        places = {one.name: str(self.folder(one.name)) for one in steps}
        for name, folder in plan.subsets.items():
            places[name] = places[folder] = str(self.divided(name))
        return {
            **places,
            "download": str(self.download),
            "out": str(self.folder(step.name)),
            "device": self.device,
            "threads": str(self.threads),
        }

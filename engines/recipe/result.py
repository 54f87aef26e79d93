"""What a finished recipe has to say: which engine ships, by what digest, and what must be known before it is used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.bundle import MANIFEST, Bundle
from engines.errors import EnginesError
from engines.recipe.choose import CHOICE, ENGINE
from engines.recipe.places import Places
from engines.recipe.plan import Step


@dataclass(frozen=True)
class Result:
    """engine: the last bundle that the recipe made, None where it made none. cautions: each a sentence."""

    engine: Bundle | None
    page: Path | None
    choice: str
    cautions: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """For a terminal; the verdict first."""
        said = [f"Caution: {words}" for words in self.cautions]
        if not said and self.choice:
            said = [self.choice]
        if self.page is not None:
            said.append(f"page: {self.page}")
        if self.engine is not None:
            manifest = self.engine.manifest
            said.append(
                f"engine: {self.engine.path}: {manifest.name} {manifest.version} {manifest.precision}, digest {self.engine.digest}"
            )
        return said


def result_of(steps: Sequence[Step], places: Places) -> Result:
    """Read from what the steps wrote."""
    engine: Bundle | None = None
    page: Path | None = None
    choice, cautions = "", []
    for step in steps:
        folder = places.folder(step.name)
        if step.planned.do == "choose" and (folder / CHOICE).exists():
            told = json.loads((folder / CHOICE).read_text(encoding="utf-8"))
            choice = told["words"]
            if not told["better"]:
                cautions.append(choice)
        if step.planned.do == "page":
            page = folder / "index.html"
        if step.command and (folder / ENGINE / MANIFEST).exists():
            try:
                engine = Bundle.open(folder / ENGINE)
            except EnginesError as error:
                cautions.append(str(error))
    if engine is not None:
        if fault := engine.manifest.gate_fault:
            cautions.append(f"The engine {fault}; an appliance refuses it.")
        elif words := engine.manifest.gate_caution:
            cautions.append(f"The gate passes the engine against its float reference, which is weak: it {words}.")
    return Result(engine, page, choice, tuple(cautions))

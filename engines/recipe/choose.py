"""Whether an adapted network is better than the one it began from, on labelled pictures of the target; the better one ships."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from engines.errors import DataError
from engines.experiments.measures import number_at
from engines.files import make_folder, write_json
from engines.yaml_model import model_of

CHOICE, ENGINE = "choice.json", "engine"
SCORES = "scores.json"
"""What a step that scores writes into its folder."""


class Candidate(BaseModel):
    """name: in words. scores: the step that scored it. engine: the step whose folder holds its bundle, ENGINE."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    scores: str
    engine: str


class Choice(BaseModel):
    """before: the network to beat, which ships unless `after` has more of every measure of `up`, and of those of `not_down` at most
    `points` hundredths less. Measures: words to the place of a number in the JSON of `attridet evaluate`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    before: Candidate
    after: Candidate
    up: dict[str, str]
    not_down: dict[str, str] = {}
    points: float = 2.0

    @classmethod
    def read(cls, content: Mapping[str, Any], where: Path, step: str) -> Choice:
        return model_of(cls, content, f"{where}: step {step}: of.")

    @property
    def measures(self) -> dict[str, str]:
        return {**self.up, **self.not_down}


@dataclass(frozen=True)
class Compared:
    """One measure of both, and whether it is as it should be."""

    words: str
    before: float
    after: float
    kept: bool
    asked: str


@dataclass(frozen=True)
class Verdict:
    """better: all measures are as they should be. ships: the candidate's name."""

    better: bool
    ships: str
    compared: tuple[Compared, ...]

    @property
    def words(self) -> str:
        """One sentence."""
        told = "; ".join(
            f"{one.words} {_number(one.before)} → {_number(one.after)}{'' if one.kept else f' ({one.asked})'}" for one in self.compared
        )
        if self.better:
            return f"The adapted network is better, and ships: {told}."
        return f"The adaptation is no success, and {self.ships} ships: {told}."


def compare(choice: Choice, before: Mapping[str, Any], after: Mapping[str, Any]) -> Verdict:
    """before, after: the JSON of their evaluations on the same pictures. A number that is missing is never as it should be."""
    compared = []
    for words, path in choice.measures.items():
        one, other = number_at(before, path), number_at(after, path)
        rises = words in choice.up
        kept = other > one if rises else other >= one - choice.points / 100
        asked = "must rise" if rises else f"may lose {choice.points:g} points"
        if math.isnan(one) or math.isnan(other):
            kept, asked = False, "was not measured on both"
        compared.append(Compared(words, one, other, kept, asked))
    better = all(one.kept for one in compared)
    return Verdict(better, choice.after.name if better else choice.before.name, tuple(compared))


def choose(choice: Choice, out: Path, folder: Path) -> Verdict:
    """Compare, write choice.json, and lay a link ENGINE to the bundle that ships. out: of the recipe; folder: of this step."""
    verdict = compare(choice, *(scores_of(out / one.scores) for one in (choice.before, choice.after)))
    ships = choice.after if verdict.better else choice.before
    make_folder(folder)
    link = folder / ENGINE
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(out / ships.engine / ENGINE, folder))
    write_json(
        folder / CHOICE,
        {
            "better": verdict.better,
            "ships": verdict.ships,
            "words": verdict.words,
            "compared": [
                {
                    "measure": one.words,
                    "before": _plain(one.before),
                    "after": _plain(one.after),
                    "kept": one.kept,
                    "asked": one.asked,
                }
                for one in verdict.compared
            ],
        },
    )
    return verdict


def scores_of(folder: Path) -> dict[str, Any]:
    """What a step that scored wrote; DataError where it is gone."""
    try:
        content: dict[str, Any] = json.loads((folder / SCORES).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder / SCORES}: cannot be read ({error}); remove the record of the step {folder.name} and start again"
        ) from error
    return content


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def _number(value: float) -> str:
    return "not measured" if math.isnan(value) else f"{value:.3f}"

"""The card of an engine folder written by the machine: what its weights learnt from, in pictures, cells, patients and roles."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from engines.errors import DataError
from engines.experiments.measures import number_at
from engines.files import make_folder, write_result
from engines.recipe.choose import scores_of
from engines.recipe.places import DIVIDED, Places
from engines.recipe.plan import SPLIT, Plan
from engines.yaml_model import model_of

CARD = "card.yaml"
_METRICS = {
    "mAP50, YOLOv5 v7.0's rule": "detection.yolov5.map50",
    "mAP50-95, YOLOv5 v7.0's rule": "detection.yolov5.map5095",
    "mAP50-95, COCO's rule": "detection.coco.map5095",
}


class CardPlan(BaseModel):
    """runs: steps whose networks follow each other, the last the one that is exported. scores: steps that scored it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    version: str = "1.0.0"
    licence: str
    data_licence: str
    runs: tuple[str, ...]
    scores: tuple[str, ...] = ()

    @classmethod
    def read(cls, content: Mapping[str, Any], where: Path, step: str) -> CardPlan:
        return model_of(cls, content, f"{where}: step {step}: of.")


def write_card(asked: CardPlan, command: str, plan: Plan, places: Places, folder: Path) -> Path:
    """Write card.yaml, from the settings that each run kept and from the divided data. command: of the recipe."""
    seen: dict[str, dict[str, Any]] = {}
    epochs, seed, begins = 0, None, ""
    for name in asked.runs:
        kept = _settings(places.folder(name))
        seed = kept.get("seed", seed)
        epochs += sum(int(n) for n in str(kept["phases"]).split(",")) if kept.get("phases") else int(kept.get("epochs") or 0)
        begins = begins or _start(kept, places)
        for role, texts in (("labelled", kept.get("data")), ("labelled", kept.get("source")), ("target", kept.get("target"))):
            for text in texts or ():
                folder_of = Path(str(text).rpartition(":")[0])
                labelled = role == "labelled" or bool(kept.get("oracle"))
                _add(seen, folder_of, labelled, plan, places, asked.data_licence)
    if not seen:
        raise DataError(f"{places.out}: the runs {', '.join(asked.runs)} name no data, so no card can be written")
    note = f"from {begins}; " if begins else ""
    metrics = {}
    for name in asked.scores:
        scores = scores_of(places.folder(name))
        told = {words: number_at(scores, path) for words, path in _METRICS.items()}
        data = scores.get("data", {})
        metrics[f"{data.get('name')}, {data.get('split')}"] = {
            words: round(value, 4) for words, value in told.items() if not math.isnan(value)
        }
    card = {
        "name": asked.name,
        "version": asked.version,
        "licence": asked.licence,
        "training": {
            "data": list(seen.values()),
            "seed": seed,
            "epochs": epochs,
            "command": command,
            "note": f"{note}written by the recipe from the settings of {', '.join(asked.runs)} and the split by patient",
        },
        "metrics": metrics,
    }
    make_folder(folder)
    write_result(folder / CARD, yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=120))
    return folder / CARD


def _settings(folder: Path) -> dict[str, Any]:
    for name in ("train.json", "adapt.json"):
        if (folder / name).exists():
            content: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
            return content
    raise DataError(f"{folder}: holds no run of train or adapt; a card tells what such runs learnt from")


def _start(kept: Mapping[str, Any], places: Places) -> str:
    """What the first of the runs began from, without this machine's places."""
    initial = str(kept.get("initial") or "")
    if not initial or initial.startswith("zoo:") or Path(initial).is_relative_to(places.out):
        return "" if not initial.startswith("zoo:") else initial
    return Path(initial).name


def _add(seen: dict[str, dict[str, Any]], folder: Path, labelled: bool, plan: Plan, places: Places, licence: str) -> None:
    name = next((subset for key, subset in plan.subsets.items() if places.divided(key) == folder), folder.name)
    pictures = len(list((folder / "Images" / "train").glob("*"))) if (folder / "Images" / "train").is_dir() else 0
    patients = _patients(places)
    whose = f", patients {', '.join(patients)}" if patients else ""
    role = "labelled source" if labelled else "unlabelled target: its labels were not looked at"
    if name not in seen or (labelled and not seen[name]["note"].startswith("labelled")):
        seen[name] = {"name": name, "licence": licence, "images": pictures, "note": f"{role}; split train{whose}"}


def _patients(places: Places) -> list[str]:
    file = places.out / SPLIT / DIVIDED / "split.json"
    if not file.exists():
        return []
    found: list[str] = json.loads(file.read_text(encoding="utf-8")).get("patients", {}).get("train", [])
    return found

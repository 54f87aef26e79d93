"""What a training that goes on from weights gains and forgets: how each folder's val fares with the first weights and with the last."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engines.data.augment import Sample
from engines.families.base import Network
from engines.files import write_result
from engines.network import checkpoint
from engines.progress import Reporter
from engines.training.agreement import start_from
from engines.training.judge import FolderJudge, judge_samples

FILE = "forgetting.json"
FELL = 0.02
"""Loss of recall or of Youden's J from which a folder counts as forgotten: 2 points."""


@dataclass(frozen=True)
class Standing:
    """How a network fares on one folder's val, at the working point of a technician.

    cells, blasts: labelled white cells, and how many of them are blasts. recall: share found and told as white cells, of any type; what
    is told as an artefact leaves the count. j: Youden's J of blasts against other white cells, all labelled ones counted, found or
    not. None where the folder lacks such cells.
    """

    cells: int
    blasts: int
    recall: float | None
    j: float | None


@dataclass(frozen=True)
class Forgetting:
    """One folder before and after a training."""

    folder: str
    before: Standing
    after: Standing

    @property
    def fallen(self) -> dict[str, float]:
        """Measures that fell by more than `FELL`, each with its loss."""
        lost = {name: before - after for name, before, after in self._measures()}
        return {name: loss for name, loss in lost.items() if loss > FELL}

    def _measures(self) -> list[tuple[str, float, float]]:
        each = (("recall", self.before.recall, self.after.recall), ("J", self.before.j, self.after.j))
        return [(name, before, after) for name, before, after in each if before is not None and after is not None]

    def __str__(self) -> str:
        words = ", ".join(f"{name} {before:.3f} to {after:.3f}" for name, before, after in self._measures())
        return f"{self.folder} ({self.after.cells} white cells, {self.after.blasts} blasts): {words or 'no white cell'}"


def standings(model: Network, judge: FolderJudge) -> dict[str, Standing]:
    """How `model`, in evaluation mode, fares on each set of a judge."""
    return {name: _standing(model, samples, judge) for name, samples in judge.sets.items()}


def _standing(model: Network, samples: Sequence[Sample], judge: FolderJudge) -> Standing:
    taxonomy = model.taxonomy
    group = np.array([taxonomy.group_of(code) for code in range(len(taxonomy.classes))])
    labelled, told = [], []
    for sample, seen in zip(samples, judge_samples(model, samples, judge.imgsz, judge.scale_up), strict=True):
        labelled.append(group[sample.labels[:, 0]])
        classes = np.append(seen.shown.classes, -1)
        told.append(np.append(group, "")[classes[seen.partner]])  # what no box found is told as nothing
    truth, said = np.concatenate(labelled), np.concatenate(told)
    white, blasts = truth != "", truth == "blasts"
    others = white & ~blasts
    recall = float((said[white] != "").mean()) if white.any() else None
    both = blasts.any() and others.any()
    j = float((said[blasts] == "blasts").mean() - (said[others] == "blasts").mean()) if both else None
    return Standing(int(white.sum()), int(blasts.sum()), recall, j)


def before_training(folder: Path, initial: Path, model: Network, judge: FolderJudge, device: str) -> dict[str, Standing]:
    """How the first weights, put into `model`, fare, kept in `folder` so that a resumed run has it too.

    Raises EnginesError where they cannot be read.
    """
    file = folder / FILE
    if file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8"))["before"]
        return {name: Standing(**one) for name, one in kept.items()}
    start_from(model, initial)
    before = standings(model.to(device).eval(), judge)
    _write(file, {"before": before})
    return before


def after_training(
    folder: Path, before: Mapping[str, Standing], judge: FolderJudge, device: str, reporter: Reporter
) -> list[Forgetting]:
    """Compare `best.pt` with what was before: a line for each folder, a warning where it fell, all of it in `forgetting.json`."""
    after = standings(checkpoint.load_network(folder / "best.pt")[0].to(device), judge)
    found = [Forgetting(name, before[name], after[name]) for name in after if name in before]
    _write(folder / FILE, {"before": before, "after": after})
    reporter.message("first weights and best.pt on val, at the technician's working point:")
    for one in found:
        reporter.message(f"  {one}")
    for one in found:
        for name, loss in one.fallen.items():
            reporter.warning(
                f"{one.folder}: {name} fell by {100 * loss:.1f} points. Show more of it (--data {one.folder}:N beside the others), or "
                "take fewer --epochs or a lower --learning-rate"
            )
    return found


def _write(file: Path, content: Mapping[str, Mapping[str, Standing]]) -> None:
    plain: dict[str, Any] = {when: {name: asdict(one) for name, one in each.items()} for when, each in content.items()}
    write_result(file, (json.dumps(plain, indent=1, allow_nan=False) + "\n").encode())

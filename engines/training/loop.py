"""The training loop: joint loss of detector and attributes in one backward, EMA, warm-up, checkpoints, resume (spec 1.7, 2.2, 2.5).

What a batch contains is the dataset's business, what a step costs the schedule's, how good the result is the judge's, what is left for
people to look at the record's. Under torchrun (`parallel`) each process works on its slice of every batch.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from engines.data.augment import Sample
from engines.detections import Float32
from engines.errors import EnginesError
from engines.families import DEFAULT, family, parallel
from engines.families.base import Batch, Course, Network
from engines.families.hyper import FILM, Hyper
from engines.network import checkpoint
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy
from engines.training import record
from engines.training.agreement import DataDigest, must_agree, must_fit, start_from
from engines.training.class_weights import class_weights
from engines.training.dataset import TrainingSet, collate
from engines.training.draws import EpochDraw
from engines.training.ema import ModelEma
from engines.training.optimiser import apply_step, build_optimiser
from engines.training.pseudo import NO_ROWS, Filling, Rows
from engines.training.schedule import Schedule
from engines.training.sync_norm import synchronise

PATIENCE = 100
"""Epochs without a better fitness after which the published recipe stops."""


class TrainingError(EnginesError):
    """The loss is no longer a number. Lower the learning rate or look at the data; the last good checkpoint is kept."""

    exit_code = 1


@dataclass(frozen=True)
class Run:
    """One training run; everything that decides its result."""

    folder: Path
    family: str = DEFAULT  # of detectors, see engines.families
    size: str = "n"
    imgsz: int = 320
    epochs: int = 30
    batch: int = 16  # pictures in a step, over all processes
    seed: int = 0
    hyper: Hyper = FILM
    cosine: bool = True  # decay of the learning rate; False: linear
    amp: bool = True  # autocast of the convolutions: bfloat16 on CPUs, float16 with a gradient scaler on GPUs; losses stay float32
    detach: bool = False
    bottleneck: str = "joint"  # how a concept bottleneck's types are taught; other families have none
    variances: bool = False  # the detection layer of ConfMix and DACA (spec 3.1)
    autoanchor: bool = False  # fit the anchors to the labels first, where too few labels match them (spec 1.4)
    patience: int = PATIENCE  # epochs without a better fitness before it stops; 0: never; counts only where a judge scores
    phase: int = 1  # each phase of one seed draws its own pictures
    workers: int = 1
    device: str = "cpu"
    initial: Path | None = None  # checkpoint or weights whose network is the start, head included (not its optimiser)
    data: tuple[str, ...] = field(default_factory=tuple)  # names of the folders
    about: Mapping[str, Any] = field(default_factory=dict)  # what else checkpoints keep: seen, seen_before, command
    labels: DataDigest | None = None  # a run does not go on when they have changed
    pictures: bool = False  # draw results.png after an epoch, and write TensorBoard's events where it is installed


@dataclass(frozen=True)
class Progress:
    """What the terminal shows after each batch."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    losses: dict[str, float]  # running means of this epoch: box, obj, cls, attr; sums of `record.COUNTS`
    images_per_s: float


Judge = Callable[[Network, int], dict[str, float]]
"""Scores the averaged network after an epoch; must return "fitness", larger is better."""


class Trainer:
    """One run in memory: `fit` goes from the epoch that was reached to the last; `save` and `resume` keep and restore all of it.

    Raises DataError where run, pictures and processes cannot fit together.
    """

    def __init__(
        self,
        run: Run,
        samples: Sequence[Sample],
        taxonomy: Taxonomy = LEUKEMIA_ATTRI,
        draw: EpochDraw | None = None,
        filling: Filling | None = None,
    ) -> None:
        torch.manual_seed(run.seed)
        self.filling, self.pseudo = filling, NO_ROWS
        """What labels ground that nobody labelled, and the pseudo-labels that it gave last."""
        self.run, self.taxonomy = run, taxonomy
        self.processes = parallel.current()
        must_fit(samples, len(samples) if draw is None else len(draw), taxonomy, run.imgsz, run.batch, self.processes.count)
        self.draws = run.seed + 1_000_003 * (run.phase - 1)
        """Seed of pictures and noise."""
        self.data = TrainingSet(samples, run.imgsz, run.hyper, self.draws, draw)
        self.class_weights = _class_weights(samples, draw, taxonomy) if run.hyper.class_weights else None
        """What a labelled cell of each type counts in the class loss, (classes,) float32; None: all the same."""
        self.collate: Callable[[Any], Batch] = collate
        self.noise = torch.Generator().manual_seed(self.draws)
        self.batches = len(self.data) // run.batch
        self.device = torch.device(run.device)
        model = family(run.family).begun(run.size, taxonomy, detach=run.detach, variances=run.variances, bottleneck=run.bottleneck)
        self.begun_anew, self.left_behind = ([], []) if run.initial is None else start_from(model, run.initial)
        """Names of parameters, classes and attributes that `run.initial` has not; and of those that it has and the taxonomy has not."""
        weights = None if self.class_weights is None else torch.from_numpy(self.class_weights)
        self.course = Course(run.hyper, run.imgsz, weights, self.noise, self.halved)
        self.anchors: Any = model.fit_anchors(samples, self.course, run.seed) if run.autoanchor else None
        """What was fitted to the labels before the first step; None where the run or the family fits nothing."""
        self.model: Network = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch stub
        parallel.start_alike(self.model)
        self.ema = ModelEma(self.model, tau=run.hyper.tau(self.total_iterations))
        self.optimiser = build_optimiser(self.model, run.hyper, run.batch)
        if self.processes.count > 1:
            synchronise(self.model)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=run.amp and self.device.type == "cuda")
        self.schedule = Schedule(run.hyper, run.epochs, self.batches, run.batch, run.cosine)
        self.learner = self.model.learner(self.course)
        self.record = record.Record(run.folder, run.pictures)
        self.about = dict(run.about)
        self.epoch = 0
        self.iteration = 0
        """Number of the batch in work since the start of the run, from 0; right after a resume too."""
        self.best, self.best_epoch = float("-inf"), 0
        self.history: list[dict[str, float]] = []
        """A row for each epoch done: epoch, losses, scores, seconds."""

    @property
    def total_iterations(self) -> int:
        """Batches of the whole run."""
        return self.run.epochs * self.batches

    @property
    def stopped_early(self) -> bool:
        """Whether judged fitness has not risen for `patience` epochs."""
        judged = bool(self.history) and "fitness" in self.history[-1]
        return judged and 0 < self.run.patience <= self.epoch - self.best_epoch

    @property
    def finished(self) -> bool:
        return self.epoch >= self.run.epochs or self.stopped_early

    def halved(self) -> torch.autocast:
        """Convolutions in half precision, if the run wants it: bfloat16 on a CPU, float16 on a GPU."""
        half = torch.float16 if self.device.type == "cuda" else torch.bfloat16
        return torch.autocast(self.device.type, half, enabled=self.run.amp)

    def joint_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one batch, and its parts; of this process's slice, so that all processes' add up."""
        total, parts = self.learner(batch)
        return total, parts

    def fit(
        self,
        report: Callable[[Progress], None] = lambda _: None,
        judge: Judge | None = None,
        after_epoch: Callable[[Mapping[str, float]], None] = lambda _: None,
    ) -> float:
        """Train to the last epoch, or until fitness has not risen for `patience` epochs; returns the best fitness.

        report is told of each batch, after_epoch of the row that an epoch adds to the history.
        Writes last.pt, best.pt and results.csv (and pictures) into the run's folder after each epoch. Raises TrainingError.
        """
        try:
            while not self.finished:
                began = time.monotonic()
                losses = self._one_epoch(report)
                self.epoch += 1
                scores = judge(self.ema.model, self.epoch) if judge and self.processes.first else {}  # type: ignore[arg-type]  # EMA keeps the type
                self._keep(losses, parallel.from_first(scores), time.monotonic() - began)
                after_epoch(self.history[-1])
        finally:
            self.record.close()
        self.conclude()
        return self.best

    def conclude(self) -> None:
        """Raises, at the end of a run, where it did not do what it was for; its checkpoint is kept."""

    def _keep(self, losses: dict[str, float], scores: dict[str, float], seconds: float) -> None:
        fitness = scores.get("fitness", -sum(value for name, value in losses.items() if name not in record.COUNTS))
        improved = fitness >= self.best  # equals count: at the start of a training every fitness is 0
        if improved:
            self.best, self.best_epoch = fitness, self.epoch
        self.history.append({"epoch": self.epoch, **losses, **scores, "seconds": round(seconds, 1)})
        if not self.processes.first:
            return
        self.save(self.run.folder / "last.pt")
        if improved:
            hard_link(self.run.folder / "last.pt", self.run.folder / "best.pt")
        self.record.write(self.history, last=self.finished)

    def _loader(self) -> DataLoader[Any]:
        """The batches of this epoch; of each the slice that is this process's."""
        mine = self.run.batch // self.processes.count
        begins = range(self.processes.rank * mine, self.batches * self.run.batch, self.run.batch)
        return DataLoader(
            self.data,
            mine,
            sampler=[begin + i for begin in begins for i in range(mine)],
            num_workers=self.run.workers,
            collate_fn=self.collate,
            pin_memory=self.device.type == "cuda",
        )

    def _one_epoch(self, report: Callable[[Progress], None]) -> dict[str, float]:
        run = self.run
        # Draws of dropout and box noise depend on the epoch alone, so that a resumed run makes the identical next step.
        torch.manual_seed(self.draws * 100_003 + self.epoch + 1_000_000_007 * self.processes.rank)
        self.noise.manual_seed(self.draws * 100_003 + self.epoch)
        if self.filling is not None and self.filling.due(self.epoch, run.epochs):
            self._fill(parallel.from_first(self.filling.find(self.ema.model) if self.processes.first else NO_ROWS))  # type: ignore[arg-type]  # EMA keeps the type
        self.data.set_epoch(self.epoch)
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        means: dict[str, float] = {}
        pending, started = 0, time.monotonic()
        for number, batch in enumerate(self._loader()):
            self.iteration = self.epoch * self.batches + number
            step = self.schedule.at(self.iteration)
            apply_step(self.optimiser, step)
            loss, parts = self.joint_loss(batch)
            values = parallel.summed({**parts, "": loss})
            if not math.isfinite(values.pop("")):
                where = f"epoch {self.epoch + 1}, batch {number + 1}"
                raise TrainingError(f"the loss is no number any more in {where}; the last good state is {run.folder}/last.pt")
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch stub
            pending += 1
            accumulate = step.accumulate if run.hyper.optimiser == "sgd" else 1
            if pending >= accumulate or number == self.batches - 1:
                self._step()
                pending = 0
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value
            means = {name: value / (1 if name in record.COUNTS else number + 1) for name, value in sums.items()}
            speed = (number + 1) * run.batch / max(time.monotonic() - started, 1e-9)
            report(Progress(self.epoch + 1, run.epochs, number + 1, self.batches, means, speed))
        return means if self.filling is None else {**means, "pseudo_labels": float(len(self.pseudo))}

    def _fill(self, rows: Rows) -> None:
        """Learn from these pseudo-labels too from now on."""
        assert self.filling is not None
        self.pseudo, self.data.samples = rows, self.filling.filled(rows)

    def _step(self) -> None:
        """One step of the optimiser with the gradients of all processes; the scaler leaves it out where float16 overflowed."""
        parallel.add_gradients(self.model.parameters())
        self.scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.run.hyper.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        self.ema.update(self.model)

    def _settings(self) -> dict[str, Any]:
        run = self.run
        network = ("family", "size", "variances", "bottleneck", "imgsz", "detach", "amp", "autoanchor")
        names = (*network, "batch", "epochs", "phase", "seed", "cosine", "patience")
        labels = None if run.labels is None else asdict(run.labels)
        settings = {name: getattr(run, name) for name in names}
        return {**settings, "hyper": run.hyper.to_dict(), "batches": self.batches, "labels": labels, "pseudo": self.filling is not None}

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            **self._settings(),
            "taxonomy": self.taxonomy.to_dict(),
            "model": self.model.state_dict(),
            "ema": self.ema.model.state_dict(),
            "ema_updates": self.ema.updates,
            "pseudo_labels": torch.from_numpy(self.pseudo),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "epoch": self.epoch,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "history": self.history,
            "data": list(self.run.data),
            **self.about,
        }

    def save(self, path: Path) -> None:
        checkpoint.save(path, self.state())

    def resume(self, path: Path) -> str:
        """Go on where `path` was written; raises DataError naming the setting if it belongs to a run with others.

        Returns what could not be compared, in words; "" where all could.
        """
        state = checkpoint.read(path)
        note = must_agree(path, state, {**self._settings(), "taxonomy": self.taxonomy.to_dict()})
        self.model.load_state_dict(state["model"])
        self.ema.model.load_state_dict(state["ema"])
        self.ema.updates = int(state["ema_updates"])
        self.learner = self.model.learner(self.course)
        self.optimiser.load_state_dict(state["optimiser"])
        if state.get("scaler") and self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        if self.filling is not None:
            self._fill(state["pseudo_labels"].numpy())
        self.epoch, self.best = int(state["epoch"]), float(state["best"])
        self.best_epoch = int(state.get("best_epoch", self.epoch))
        self.history = list(state["history"]) if "history" in state else record.read(path.parent)
        self.iteration = self.epoch * self.batches
        self.about |= {key: state[key] for key in ("seen_before", "command") if key in state}
        return note


def _class_weights(samples: Sequence[Sample], draw: EpochDraw | None, taxonomy: Taxonomy) -> Float32:
    times = np.ones(len(samples)) if draw is None else draw.expected()
    cells = np.concatenate([sample.labels[:, 0] for sample in samples])
    each = np.repeat(times, [len(sample.labels) for sample in samples])
    return class_weights(np.bincount(cells, each, len(taxonomy.classes)).astype(np.float64), taxonomy)


def hard_link(written: Path, name: Path) -> None:
    """Give a checkpoint a second name, whole or not at all; it is copied only where the file system knows no links.

    Sound because checkpoints are never written into: the next one takes the place of its name.
    """
    staging = name.with_suffix(name.suffix + ".part")
    staging.unlink(missing_ok=True)
    try:
        os.link(written, staging)
    except OSError:
        shutil.copyfile(written, staging)
    staging.replace(name)
    staging.unlink(missing_ok=True)  # renaming one link of a file to another of the same file leaves both

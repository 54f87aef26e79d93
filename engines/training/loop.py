"""The training loop: joint loss of detector and attributes in one backward, EMA, warm-up, checkpoints, resume (spec 1.7, 2.2, 2.5).

What a batch contains is the dataset's business, what a step costs the schedule's, how good the result is the judge's.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from engines.data.augment import Sample
from engines.errors import EnginesError
from engines.network import AttriDet, Taps
from engines.spec import LEUKEMIA_ATTRI, Taxonomy
from engines.training import checkpoint
from engines.training.dataset import Batch, TrainingSet, collate
from engines.training.ema import ModelEma
from engines.training.hyper import FILM, Hyper
from engines.training.losses import DetectionLoss, LossWeights, attribute_loss
from engines.training.schedule import Schedule, Step

CLIP_NORM = 10.0
BOX_JITTER = 0.05
"""Share of a box's side by which the attribute head's boxes are shaken, so that it meets boxes as a detector draws them."""


class TrainingError(EnginesError):
    """The loss is no longer a number. Lower the learning rate or look at the data; the last good checkpoint is kept."""

    exit_code = 1


@dataclass(frozen=True)
class Run:
    """One training run; everything that decides its result."""

    folder: Path
    size: str = "n"
    imgsz: int = 320
    epochs: int = 30
    batch: int = 16
    seed: int = 0
    hyper: Hyper = FILM
    cosine: bool = True
    bfloat16: bool = True  # autocast of the convolutions on CPUs that have it; losses stay float32
    detach: bool = False
    variances: bool = False  # the detection layer of ConfMix and DACA (spec 3.1)
    workers: int = 1
    device: str = "cpu"
    initial: Path | None = None  # checkpoint whose network is the start (not its optimiser)
    data: tuple[str, ...] = field(default_factory=tuple)


@dataclass(frozen=True)
class Progress:
    """What the terminal shows after each batch."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    losses: dict[str, float]  # running means of this epoch: box, obj, cls, attr
    images_per_s: float


Judge = Callable[[AttriDet, int], dict[str, float]]
"""Scores the averaged network after an epoch; must return "fitness", larger is better."""


def parameter_groups(model: nn.Module, hyper: Hyper) -> list[dict[str, Any]]:
    """Biases, decayed weights, norm weights: only the second group decays (spec 1.7)."""
    biases, decayed, norms = [], [], []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias":
                biases.append(parameter)
            elif isinstance(module, nn.BatchNorm2d):
                norms.append(parameter)
            else:
                decayed.append(parameter)
    return [
        {"params": biases, "weight_decay": 0.0},
        {"params": decayed, "weight_decay": hyper.weight_decay},
        {"params": norms, "weight_decay": 0.0},
    ]


def build_optimiser(model: nn.Module, hyper: Hyper) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum as published, or AdamW."""
    groups = parameter_groups(model, hyper)
    if hyper.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=hyper.lr0, momentum=hyper.momentum, nesterov=True)
    if hyper.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=hyper.lr0, betas=(hyper.momentum, 0.999))
    raise ValueError(f"unknown optimiser '{hyper.optimiser}'; there are 'sgd' and 'adamw'")


def apply_step(optimiser: torch.optim.Optimizer, step: Step) -> None:
    """Put the schedule's values into the groups of `parameter_groups`."""
    for number, group in enumerate(optimiser.param_groups):
        group["lr"] = step.lr_bias if number == 0 else step.lr
        if "momentum" in group:
            group["momentum"] = step.momentum


class Trainer:
    """One run in memory: `fit` goes from the epoch that was reached to the last; `save` and `resume` keep and restore all of it."""

    def __init__(self, run: Run, samples: Sequence[Sample], taxonomy: Taxonomy = LEUKEMIA_ATTRI) -> None:
        torch.manual_seed(run.seed)
        self.run, self.taxonomy = run, taxonomy
        self.device = torch.device(run.device)
        model = AttriDet(run.size, taxonomy, detach_features=run.detach)
        if run.initial is not None:
            model.load_state_dict(checkpoint.load_network(run.initial)[0].state_dict())
        self.model: AttriDet = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch stub
        self.ema = ModelEma(self.model, tau=run.hyper.ema_tau)
        self.optimiser = build_optimiser(self.model, run.hyper)
        self.data = TrainingSet(samples, run.imgsz, run.hyper, run.seed)
        self.collate: Callable[[Any], Batch] = collate
        self.batches = max(1, len(self.data) // run.batch)
        self.schedule = Schedule(run.hyper, run.epochs, self.batches, run.batch, run.cosine)
        hyper = run.hyper
        weights = LossWeights(hyper.box, hyper.cls, hyper.obj, 1.0, 1.0, hyper.anchor_t, hyper.fl_gamma, hyper.label_smoothing)
        self.detection_loss = DetectionLoss(self.model, weights, imgsz=run.imgsz)
        self.epoch = 0
        self.iteration = 0
        """Number of the batch in work since the start of the run, from 0; right after a resume too."""
        self.best = float("-inf")

    @property
    def total_iterations(self) -> int:
        """Batches of the whole run."""
        return self.run.epochs * self.batches

    def joint_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """L_det + lambda x L_attr of one batch, and its parts."""
        images = batch.images.to(self.device, memory_format=torch.channels_last).float() / 255
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.run.bfloat16):
            levels, taps = self.model.forward_train(images)
        levels = [level.float() for level in levels]
        total, parts = self.detection_loss(levels, batch.targets.to(self.device))
        if self.run.hyper.attribute == 0:  # YOLOv5 alone: the attribute head neither learns nor costs time
            return total, {**parts._asdict(), "attr": torch.zeros(())}
        known = (batch.attributes >= 0).any(1)
        rois = self._shaken(batch.rois()[known]).to(self.device)
        logits = self.model.attribute_logits(Taps(taps.p2.float(), taps.p3.float()), rois)
        attr = attribute_loss(logits, batch.attributes[known], self.taxonomy.groups)
        return total + self.run.hyper.attribute * attr, {**parts._asdict(), "attr": attr.detach()}

    def _shaken(self, rois: Tensor) -> Tensor:
        sides = (rois[:, 3:5] - rois[:, 1:3]).repeat(1, 2)
        noise = (torch.rand(len(rois), 4) * 2 - 1) * BOX_JITTER
        return torch.cat([rois[:, :1], rois[:, 1:] + noise * sides], dim=1)

    def fit(self, report: Callable[[Progress], None] = lambda _: None, judge: Judge | None = None) -> float:
        """Train to the last epoch; returns the best fitness. Writes last.pt, best.pt and results.csv into the run's folder."""
        while self.epoch < self.run.epochs:
            losses = self._one_epoch(report)
            self.epoch += 1
            scores = judge(self.ema.model, self.epoch) if judge is not None else {}  # type: ignore[arg-type]  # EMA keeps the type
            fitness = scores.get("fitness", -sum(losses.values()))
            improved = fitness > self.best
            self.best = max(self.best, fitness)
            self.save(self.run.folder / "last.pt")
            if improved:
                self.save(self.run.folder / "best.pt")
            self._log({"epoch": self.epoch, **losses, **scores})
        return self.best

    def _one_epoch(self, report: Callable[[Progress], None]) -> dict[str, float]:
        run = self.run
        # Draws of dropout and box noise depend on the epoch alone, so that a resumed run makes the identical next step.
        torch.manual_seed(run.seed * 100_003 + self.epoch)
        self.data.set_epoch(self.epoch)
        loader = DataLoader(
            self.data,
            run.batch,
            sampler=range(self.batches * run.batch),
            num_workers=run.workers,
            collate_fn=self.collate,
            drop_last=False,
        )
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        pending, started = 0, time.monotonic()
        for number, batch in enumerate(loader):
            self.iteration = self.epoch * self.batches + number
            step = self.schedule.at(self.iteration)
            apply_step(self.optimiser, step)
            loss, parts = self.joint_loss(batch)
            if not torch.isfinite(loss):
                where = f"epoch {self.epoch + 1}, batch {number + 1}"
                raise TrainingError(f"the loss is {float(loss)} in {where}; the last good state is {run.folder}/last.pt")
            loss.backward()  # type: ignore[no-untyped-call]  # torch stub
            pending += 1
            accumulate = step.accumulate if run.hyper.optimiser == "sgd" else 1
            if pending >= accumulate or number == self.batches - 1:
                nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
                self.optimiser.step()
                self.optimiser.zero_grad(set_to_none=True)
                self.ema.update(self.model)
                pending = 0
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value)
            means = {name: value / (number + 1) for name, value in sums.items()}
            speed = (number + 1) * run.batch / max(time.monotonic() - started, 1e-9)
            report(Progress(self.epoch + 1, run.epochs, number + 1, self.batches, means, speed))
        return {name: value / self.batches for name, value in sums.items()}

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        hyper = self.run.hyper
        return {
            "size": self.run.size,
            "variances": self.run.variances,
            "taxonomy": self.taxonomy.to_dict(),
            "model": self.model.state_dict(),
            "ema": self.ema.model.state_dict(),
            "ema_updates": self.ema.updates,
            "optimiser": self.optimiser.state_dict(),
            "epoch": self.epoch,
            "best": self.best,
            "hyper": hyper.to_dict(),
            "seed": self.run.seed,
            "imgsz": self.run.imgsz,
            "batch": self.run.batch,
            "data": list(self.run.data),
        }

    def save(self, path: Path) -> None:
        checkpoint.save(path, self.state())

    def resume(self, path: Path) -> None:
        """Go on where `path` was written; raises DataError if it belongs to another size."""
        state = checkpoint.read(path)
        self.model.load_state_dict(state["model"])
        self.ema.model.load_state_dict(state["ema"])
        self.ema.updates = int(state["ema_updates"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.best = int(state["epoch"]), float(state["best"])
        self.iteration = self.epoch * self.batches

    def _log(self, row: dict[str, float]) -> None:
        file = self.run.folder / "results.csv"
        fresh = not file.exists()
        with file.open("a", newline="") as out:
            writer = csv.DictWriter(out, fieldnames=list(row))
            if fresh:
                writer.writeheader()
            writer.writerow({k: round(v, 6) for k, v in row.items()})

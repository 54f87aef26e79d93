"""One training from labelled folders to a checkpoint: settings recalled, pictures read, phases trained, the best network judged.

`train` neither prints nor ends the process; a `Reporter` hears what happens. Ctrl-C (KeyboardInterrupt) passes through: what the last
full epoch reached is kept, and `resume=True` goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from engines.errors import DataError, EnginesError
from engines.evaluation.run import write_pages
from engines.families import family, parallel
from engines.families.base import Network
from engines.families.hyper import SETS, Hyper
from engines.network.checkpoint import load_any
from engines.network.engine import open_checkpoint
from engines.progress import SILENT, Reporter
from engines.provenance import data_of
from engines.taxonomy import read_taxonomy
from engines.training.agreement import whole_strides
from engines.training.forgetting import Forgetting, Standing, after_training, before_training
from engines.training.judge import FolderJudge
from engines.training.loop import Judge, Progress, Run, Trainer
from engines.training.pictures import read_pictures
from engines.training.record import in_words
from engines.training.request import Phase, TrainRequest, command_of, parse_folder, recalled, workers_on
from engines.training.seen import about


@dataclass(frozen=True, eq=False)
class TrainResult:
    """What a training reached.

    folder: holds last.pt, best.pt, results.csv. history: a row for each epoch of the last phase (epoch, losses, scores, seconds).
    best_epoch: the epoch of best.pt. stopped_early: fitness did not rise any more. pages: of best.pt on each val split. forgetting:
    each folder's val with the first weights and with best.pt, of a run from weights that was judged; also in forgetting.json.
    """

    folder: Path
    history: tuple[Mapping[str, float], ...]
    best_epoch: int
    stopped_early: bool
    pages: tuple[Path, ...] = ()
    forgetting: tuple[Forgetting, ...] = ()


def train(request: TrainRequest, reporter: Reporter = SILENT) -> TrainResult:
    """Train an AttriDet as `attridet train` does, or go on with a run (`resume`). Raises EnginesError."""
    command, asked, request = command_of(request, "train"), request.given, recalled(request)
    planned = request.planned(asked)
    kind = family(request.family)
    size = kind.sizes[0] if request.size is None else request.size
    if size not in kind.sizes:
        raise DataError(f"--size {size}: there are {', '.join(kind.sizes)} of {request.family}")
    if kind.needs_start and planned[0].initial is None and not planned[0].begun:
        raise DataError(f"--family {request.family}: tells types of the cells that a trained detector finds; name it with --initial")
    taxonomy, hyper = read_taxonomy(request.taxonomy), hyper_of(request)
    torch.set_num_threads(request.threads)
    pages: tuple[Path, ...] = ()
    forgetting: list[Forgetting] = []
    with parallel.joined(request.device) as device:
        first = parallel.current().first
        reporter = reporter if first else SILENT
        pictures = read_pictures(request, hyper, taxonomy, reporter)
        if first:
            request.keep()
            if pictures.held:
                pictures.held.write(request.out)
        before = _first_standings(request, kind.begun(size, taxonomy), pictures.watched, device, reporter) if first else {}
        for phase in planned:
            run = Run(
                folder=phase.folder,
                family=request.family,
                size=size,
                imgsz=whole_strides(request.imgsz),
                epochs=phase.epochs,
                batch=request.batch,
                seed=request.seed,
                hyper=hyper,
                cosine=hyper.name in ("film", "finetune") if request.cosine is None else request.cosine,
                amp=request.amp,
                detach=request.detach,
                bottleneck=request.bottleneck,
                autoanchor=request.autoanchor and phase.number == 1 and not phase.begun,
                patience=request.patience,
                phase=phase.number,
                workers=workers_on(device, request.workers),
                device=device,
                initial=phase.initial if not phase.begun else phase.checkpoint if kind.needs_start else None,
                data=tuple(parse_folder(text)[0].name for text in request.data),
                about=about(pictures.seen, pictures.before, phase, command),
                labels=pictures.labels,
                pictures=request.pictures,
            )
            trainer = Trainer(run, pictures.samples, taxonomy, pictures.draw, pictures.filling)
            fit(trainer, phase, reporter, f"attridet train --out {request.out} --resume", pictures.judge)
        curves = ", results.png" if request.pictures else ""
        reporter.message(f"written: {request.out}: last.pt, best.pt, results.csv{curves}")
        if before and pictures.watched:
            forgetting = after_training(request.out, before, pictures.watched, device, reporter)
        if first and request.pictures and (judge := pictures.judge):
            with open_checkpoint(request.out / "best.pt", judge.imgsz, judge.scale_up, device=device) as engine:
                pages = write_pages(engine, pictures.val, request.out / "val", reporter, request.judge_split)
    return TrainResult(request.out, tuple(trainer.history), trainer.best_epoch, trainer.stopped_early, pages, tuple(forgetting))


def hyper_of(request: TrainRequest) -> Hyper:
    """The set that was asked for, with what was asked for instead of its own, or what the family needs instead."""
    hyper, kind = SETS[request.hyper], family(request.family)
    if (rate := request.learning_rate or kind.learning_rate) is not None:
        hyper = hyper.at_rate(rate)
    if (clip := kind.clip_norm if request.clip_norm is None else request.clip_norm) is not None:
        hyper = replace(hyper, clip_norm=clip)
    # Held back only where it has learnt something before: the published backbones began with ImageNet's weights.
    trained = None if request.initial is None else kind.backbone_rate
    if (share := trained if request.backbone_rate is None else request.backbone_rate) is not None:
        hyper = replace(hyper, backbone_rate=share)
    if request.attribute_weight is not None:
        hyper = replace(hyper, attribute=request.attribute_weight)
    if request.stain_shake is not None:
        hyper = replace(hyper, stain=request.stain_shake, stain_cells=request.stain_shake)
    if request.class_weights is not None:
        hyper = replace(hyper, class_weights=request.class_weights)
    if request.balance_patients is not None:
        hyper = replace(hyper, balance_patients=request.balance_patients)
    return hyper


def _first_standings(
    request: TrainRequest, model: Network, judge: FolderJudge | None, device: str, reporter: Reporter
) -> dict[str, Standing]:
    """How the weights that the run starts from fare on each val; none for a run from random weights or without a judge."""
    if request.initial is None:
        return {}
    try:
        start, record = load_any(request.initial)
        if start.family != model.family:  # it brings a part of this one, which has learnt nothing itself yet
            return {}
        learnt = list(dict.fromkeys(one.name for one in data_of(record)))
        if learnt and not request.resume:
            reporter.message(f"{request.initial} learnt from: {'; '.join(learnt)}. What of it is not shown again may be forgotten")
        return before_training(request.out, request.initial, model, judge, device) if judge else {}
    except EnginesError as error:
        if not request.resume:
            raise
        reporter.warning(f"what this run has forgotten cannot be told, its first weights are gone: {error}")
        return {}


def fit(trainer: Trainer, phase: Phase, reporter: Reporter, to_resume: str, judge: Judge | None = None) -> None:
    """Train a phase to its last epoch, or go on with it, an epoch a message. to_resume: the command that goes on after Ctrl-C."""
    if phase.begun and (note := trainer.resume(phase.checkpoint)):
        reporter.warning(note)
    name = f"phase {phase.number} of {phase.of}: " if phase.of > 1 else ""
    if phase.begun:
        words = "complete" if trainer.finished else f"goes on after epoch {trainer.epoch} of {phase.epochs}"
    else:
        words = f"{phase.epochs} epochs from " + (str(phase.initial) if phase.initial else "random weights")
    reporter.message(name + words)
    if trainer.begun_anew:
        reporter.message(f"not in there, so at random: {', '.join(trainer.begun_anew)}")
    if trainer.left_behind:
        names = ", ".join(trainer.left_behind)
        reporter.warning(f"in there, but not in the taxonomy of this run, so left behind: {names}; to keep it, name --taxonomy")
    if not trainer.schedule.leaves_warmup:
        steps, warmup = trainer.total_iterations, trainer.schedule.warmup_iterations
        when = "it ends before it reaches its learning rate" if steps <= warmup else "most of it is below its learning rate"
        reporter.warning(
            f"this run has {steps} steps and its warm-up {warmup}: {when}. Give it more --epochs or a smaller --batch, or "
            "--hyper film, finetune or adapt, whose warm-up is a tenth of it"
        )
    if trainer.class_weights is not None and not trainer.model.weighs_classes:
        reporter.warning(f"types are not weighed: the losses of {trainer.model.family} do not know --class-weights")
    elif trainer.class_weights is not None:
        named = zip(trainer.taxonomy.classes, trainer.class_weights, strict=True)
        reporter.message("a cell counts in the class loss: " + ", ".join(f"{name} {weight:.2f}" for name, weight in named))
    if trainer.anchors is not None:
        reporter.message(f"anchors {trainer.anchors}")

    def after_batch(now: Progress) -> None:
        reporter.progress(
            f"epoch {now.epoch}/{now.epochs}  {in_words(now.losses)}  {now.images_per_s:.1f} pictures/s", now.batch, now.batches
        )

    def after_epoch(row: Mapping[str, float]) -> None:
        reporter.message(epoch_line(row, trainer.run.epochs, trainer.best_epoch == trainer.epoch))

    try:
        trainer.fit(after_batch, judge, after_epoch)
    except KeyboardInterrupt:
        reporter.message(f"stopped; go on with: {to_resume}")
        raise
    if trainer.stopped_early:
        waited, best = trainer.epoch - trainer.best_epoch, trainer.best_epoch
        reporter.message(f"stopped early: fitness has not risen for {waited} epochs; best.pt is of epoch {best}")


def epoch_line(row: Mapping[str, float], epochs: int, best: bool) -> str:
    """One epoch of the history in words: losses, then the scores of each folder."""
    folders = [name.removesuffix("_map50") for name in row if name.endswith("_map50")]
    scores = [
        f"{f}: AP50 {_number(row[f + '_map50'])}, AP {_number(row[f + '_map'])}, attributes' F1 {_number(row[f + '_attr_f1'])}"
        for f in folders
    ]
    line = f"epoch {row['epoch']:.0f}/{epochs}  {in_words(row)}"
    return "  ".join([line, *scores]) + ("  best so far" if best and scores else "")


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"

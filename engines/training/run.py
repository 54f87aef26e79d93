"""One training from labelled folders to a checkpoint: settings recalled, pictures read, phases trained, the best network judged.

`train` neither prints nor ends the process; a `Reporter` hears what happens. Ctrl-C (KeyboardInterrupt) passes through: what the last
full epoch reached is kept, and `resume=True` goes on from there.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import torch

from engines.data.augment import Sample
from engines.data.leukemiaattri import SplitData, has_labels, read_split
from engines.errors import DataError
from engines.evaluation.folder import evaluate_pictures
from engines.evaluation.page import write_page
from engines.network.engine import open_checkpoint
from engines.progress import SILENT, Reporter
from engines.taxonomy import Taxonomy, read_taxonomy
from engines.training import parallel
from engines.training.agreement import DataDigest, whole_strides
from engines.training.dataset import load_sets
from engines.training.hyper import SETS, Hyper
from engines.training.judge import FolderJudge
from engines.training.loop import Judge, Progress, Run, Trainer
from engines.training.phases import Phase, phases, remaining
from engines.training.record import in_words
from engines.training.request import TrainRequest, parse_folder, recalled


@dataclass(frozen=True, eq=False)
class TrainResult:
    """What a training reached.

    folder: holds last.pt, best.pt, results.csv. history: a row for each epoch of the last phase (epoch, losses, scores, seconds).
    best_epoch: the epoch of best.pt. stopped_early: fitness did not rise any more. pages: of best.pt on each val split.
    """

    folder: Path
    history: tuple[Mapping[str, float], ...]
    best_epoch: int
    stopped_early: bool
    pages: tuple[Path, ...] = ()


@dataclass(frozen=True, eq=False)
class Pictures:
    """What is trained on, and what is judged on: each val split under a name of its own. labels: of what is trained on."""

    samples: list[Sample]
    labels: DataDigest
    val: dict[str, tuple[SplitData, list[Sample]]]


def train(request: TrainRequest, reporter: Reporter = SILENT) -> TrainResult:
    """Train an AttriDet as `attridet train` does, or go on with a run (`resume`). Raises EnginesError."""
    asked, request = request.given, recalled(request)
    planned = phases(request.out, request.epochs_by_phase(), request.initial)
    _check(request, asked, planned)
    taxonomy, hyper = read_taxonomy(request.taxonomy), SETS[request.hyper]
    if request.attribute_weight is not None:
        hyper = replace(hyper, attribute=request.attribute_weight)
    torch.set_num_threads(request.threads)
    with parallel.joined(request.device) as device:
        first = parallel.current().first
        reporter = reporter if first else SILENT
        pictures = _read(request, hyper, taxonomy, reporter)
        judge = _judge(request, hyper, pictures)
        if first:
            request.keep()
        for phase in remaining(planned):
            trainer = _trainer(request, hyper, device, phase, pictures, taxonomy, reporter)
            _announce(phase, trainer, reporter)
            fit(trainer, reporter, f"attridet train --out {request.out} --resume", judge)
        curves = ", results.png" if request.pictures else ""
        reporter.message(f"written: {request.out}: last.pt, best.pt, results.csv{curves}")
        pages = tuple(_pages(request.out, device, pictures, judge, reporter)) if first and request.pictures and judge else ()
    return TrainResult(request.out, tuple(trainer.history), trainer.best_epoch, trainer.stopped_early, pages)


def fit(trainer: Trainer, reporter: Reporter, to_resume: str, judge: Judge | None = None) -> None:
    """Train to the last epoch, an epoch a message. to_resume: the command that goes on with the run when Ctrl-C has ended it."""

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


def report_left_out(folder: Path, images: SplitData, reporter: Reporter) -> None:
    """A line on what of a folder is not used, if anything is not."""
    if images.left_out or images.regions:
        reporter.warning(f"{folder}: {images.summary}")


def report_start(trainer: Trainer, reporter: Reporter) -> None:
    """What of the network that it starts from is not taken over, if anything is not."""
    if trainer.begun_anew:
        reporter.message(f"not in there, so at random: {', '.join(trainer.begun_anew)}")
    if trainer.left_behind:
        names = ", ".join(trainer.left_behind)
        reporter.warning(f"in there, but not in the taxonomy of this run, so left behind: {names}; to keep it, name --taxonomy")


def check_device(device: str) -> None:
    """DataError unless it is cpu or cuda."""
    if device != "cpu" and device.partition(":")[0] != "cuda":
        raise DataError(f"--device {device}: there are cpu and cuda")


def _check(request: TrainRequest, asked: Collection[str], planned: Sequence[Phase]) -> None:
    """DataError for what needs no picture to be seen as wrong."""
    if not request.data:
        raise DataError("--data: name a folder to learn from" + (f"; {request.out} holds no run to resume" if request.resume else ""))
    check_device(request.device)
    if {"epochs", "phases"} <= set(asked):
        raise DataError("--epochs and --phases: give one of them; --phases E1,E2 names the epochs of both phases")
    begun = any(phase.begun for phase in planned) or any(request.out.glob("phase-*/last.pt"))
    if request.initial is not None and not begun and not request.initial.is_file():
        raise DataError(f"--initial {request.initial}: no such file; it takes a .pt or .safetensors of a training run")
    request.check_folder(begun)


def _read(request: TrainRequest, hyper: Hyper, taxonomy: Taxonomy, reporter: Reporter) -> Pictures:
    """All pictures in memory: of the splits train and, to be judged on, val."""
    imgsz = whole_strides(request.imgsz)
    if imgsz != request.imgsz:
        reporter.message(f"pictures of {imgsz} px: the next multiple of 32 from {request.imgsz}")
    folders = [parse_folder(text) for text in request.data]
    train = [_split(folder, "train", taxonomy) for folder, _ in folders]
    val = {}
    for folder, _ in folders if request.judge else ():
        name = folder.name if folder.name not in val else f"{folder.parent.name}/{folder.name}"
        val[name] = _split(folder, "val", taxonomy)
    for (folder, _), images in [*zip(folders, train), *zip(folders, val.values())]:  # noqa: B905  # val may be left out
        report_left_out(folder, images, reporter)
    # Windows are cut out of larger fields; without them no picture is ever seen larger than the input.
    longest_px = max(2 * imgsz if hyper.cuts_windows else imgsz, request.judge_imgsz or 0)
    read = load_sets([*train, *val.values()], longest_px, reporter.counter("reading pictures"))
    samples = [sample for (_, times), part in zip(folders, read) for sample in part * times]  # noqa: B905  # val's come after train's
    labels = DataDigest.of(image for images in train for image in images)
    pictures = Pictures(samples, labels, {name: (val[name], part) for name, part in zip(val, read[len(train) :], strict=True)})
    judged = ", ".join(f"{name} ({len(images)})" for name, images in val.items())
    cells = sum(len(sample.boxes) for sample in samples)
    reporter.message(
        f"{len(samples)} pictures an epoch with {cells} cells; " + (f"judged on val of {judged}" if judged else "not judged")
    )
    return pictures


def _split(folder: Path, split: str, taxonomy: Taxonomy) -> SplitData:
    way_out = "" if split == "train" else ", or leave judging out with --no-judge"
    try:
        images = read_split(folder, split, taxonomy)
    except DataError as error:
        raise DataError(f"{error}{way_out}") from error
    if not has_labels(folder, split) or not any(len(image.classes) for image in images):
        raise DataError(f"{folder}: the split {split} has no labelled cell; name a folder whose {split} is labelled{way_out}")
    return images


def _judge(request: TrainRequest, hyper: Hyper, pictures: Pictures) -> FolderJudge | None:
    if not pictures.val:
        return None
    # Sets that cut windows have seen cells at their own scale; the published ones have seen every field enlarged to the input.
    windows = hyper.cuts_windows
    imgsz = request.judge_imgsz or whole_strides(request.imgsz) * (2 if windows else 1)
    return FolderJudge({name: samples for name, (_, samples) in pictures.val.items()}, imgsz, scale_up=not windows)


def _trainer(
    request: TrainRequest, hyper: Hyper, device: str, phase: Phase, pictures: Pictures, taxonomy: Taxonomy, reporter: Reporter
) -> Trainer:
    cores = os.cpu_count() or 1
    workers = request.workers if request.workers is not None else 1 if device == "cpu" else min(8, max(1, cores - 1))
    run = Run(
        folder=phase.folder,
        size=request.size,
        imgsz=whole_strides(request.imgsz),
        epochs=phase.epochs,
        batch=request.batch,
        seed=request.seed,
        hyper=hyper,
        cosine=hyper.name == "film" if request.cosine is None else request.cosine,
        amp=request.amp,
        detach=request.detach,
        autoanchor=request.autoanchor and phase.number == 1 and not phase.begun,
        patience=request.patience,
        phase=phase.number,
        workers=workers,
        device=device,
        initial=None if phase.begun else phase.initial,
        data=tuple(parse_folder(text)[0].name for text in request.data),
        labels=pictures.labels,
        pictures=request.pictures,
    )
    trainer = Trainer(run, pictures.samples, taxonomy)
    if phase.begun and (note := trainer.resume(phase.checkpoint)):
        reporter.warning(note)
    return trainer


def _announce(phase: Phase, trainer: Trainer, reporter: Reporter) -> None:
    """What happens next, and what was decided before it, in a line each."""
    name = f"phase {phase.number} of {phase.of}: " if phase.of > 1 else ""
    if phase.begun:
        words = "complete" if trainer.finished else f"goes on after epoch {trainer.epoch} of {phase.epochs}"
    else:
        words = f"{phase.epochs} epochs from " + (str(phase.initial) if phase.initial else "random weights")
    reporter.message(name + words)
    report_start(trainer, reporter)
    if trainer.anchors is not None:
        reporter.message(f"anchors {trainer.anchors}")


def _pages(out: Path, device: str, pictures: Pictures, judge: FolderJudge, reporter: Reporter) -> Iterator[Path]:
    """Judge best.pt on each val split as `attridet evaluate` does, and write its page and pictures beside it."""
    with open_checkpoint(out / "best.pt", judge.imgsz, judge.scale_up, device=device) as engine:
        for name, (images, _) in pictures.val.items():
            result = evaluate_pictures(engine, images, name, "val", reporter.counter(f"judging best.pt on {name}"))
            page = write_page(result, out / "val" / name.replace("/", "-"), datetime.now(timezone.utc))
            reporter.message(f"written: {page}")
            yield page


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

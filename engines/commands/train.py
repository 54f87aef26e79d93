"""`attridet train`: one run from labelled folders to a checkpoint, with live progress; it can be stopped and resumed."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, TaskID

from engines.commands.terminal import follow, progress_bar
from engines.data.leukemiaattri import LabelledImage, SplitData, has_labels, read_split
from engines.errors import DataError
from engines.training.request import FILE, Request, keep, parse_folder, recalled

__all__ = ["Request", "parse_folder", "run"]

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it."""

if TYPE_CHECKING:
    from engines.data.augment import Sample
    from engines.training.hyper import Hyper
    from engines.training.judge import FolderJudge
    from engines.training.loop import Trainer
    from engines.training.phases import Phase


@dataclass(frozen=True)
class Pictures:
    """What is trained on, and what is judged on: each val split under a name of its own."""

    samples: list[Sample]
    val: dict[str, tuple[SplitData, list[Sample]]]


def run(request: Request, asked: Collection[str] = ()) -> None:
    """Train; raises EnginesError. Ctrl-C keeps what the last full epoch reached: go on with --resume.

    asked: fields of the request that were named on the command line; a resumed run takes the others from its folder.
    """
    import torch

    from engines.training import parallel
    from engines.training.agreement import whole_strides
    from engines.training.phases import phases, remaining

    if request.resume:
        request = recalled(request, asked)
    hyper = _hyper(request)
    planned = phases(request.out, request.epochs_by_phase(), request.initial)
    _check(request, asked, planned)
    imgsz = whole_strides(request.imgsz)
    torch.set_num_threads(request.threads)
    with parallel.joined(request.device) as device:
        first = parallel.current().first
        console = Console(quiet=not first)
        if imgsz != request.imgsz:
            console.print(f"pictures of {imgsz} px: the next multiple of 32 from {request.imgsz}")
        with progress_bar(transient=False, quiet=not first) as bar:
            pictures = _read(request, hyper, imgsz, bar)
            judge = _judge(request, hyper, imgsz, pictures)
            console.print(_what(request, pictures), soft_wrap=True)
            if first:
                keep(request)
            for phase in remaining(planned):
                trainer = _trainer(request, hyper, imgsz, device, phase, pictures)
                _announce(console, request, phase, trainer)
                _fit(console, bar, request, phase, trainer, judge)
            curves = ", results.png" if request.pictures else ""
            console.print(f"written: {request.out}: last.pt, best.pt, results.csv{curves}", soft_wrap=True, highlight=False)
            if first and request.pictures and judge is not None:
                for page in _pages(request, device, pictures, judge, bar):
                    console.print(f"written: {page}", soft_wrap=True, highlight=False)


def _hyper(request: Request) -> Hyper:
    from engines.training.hyper import SETS

    if request.hyper not in SETS:
        raise DataError(f"--hyper {request.hyper}: there are {', '.join(SETS)}")
    hyper = SETS[request.hyper]
    return hyper if request.attribute_weight is None else replace(hyper, attribute=request.attribute_weight)


def _check(request: Request, asked: Collection[str], planned: Sequence[Phase]) -> None:
    """DataError for what needs no picture to be seen as wrong."""
    from engines.network.yolov5 import VARIANTS

    if not request.data:
        raise DataError("--data: name a folder to learn from" + (f"; {request.out} holds no run to resume" if request.resume else ""))
    if request.size not in VARIANTS:
        raise DataError(f"--size {request.size}: there are {', '.join(VARIANTS)}")
    if request.device != "cpu" and request.device.partition(":")[0] != "cuda":
        raise DataError(f"--device {request.device}: there are cpu and cuda")
    if {"epochs", "phases"} <= set(asked):
        raise DataError("--epochs and --phases: give one of them; --phases E1,E2 names the epochs of both phases")
    begun = any(phase.begun for phase in planned) or any(request.out.glob("phase-*/last.pt"))
    if request.initial is not None and not begun and not request.initial.is_file():
        raise DataError(f"--initial {request.initial}: no such file; it takes a .pt or .safetensors of a training run")
    if request.resume and not begun and not (request.out / FILE).exists():
        raise DataError(f"{request.out}: nothing to resume; leave out --resume")
    if begun and not request.resume:
        raise DataError(f"{request.out}: holds a run already; go on with --resume, or name another --out")


def _read(request: Request, hyper: Hyper, imgsz: int, bar: Progress) -> Pictures:
    """All pictures in memory: of the splits train and, to be judged on, val."""
    from engines.training.dataset import load

    folders = [parse_folder(text) for text in request.data]
    train = [(times, _split(folder, "train")) for folder, times in folders]
    val = {}
    for folder, _ in folders if request.judge else ():
        name = folder.name if folder.name not in val else f"{folder.parent.name}/{folder.name}"
        val[name] = _split(folder, "val")
    # Windows are cut out of larger fields; without them no picture is ever seen larger than the input.
    longest_px = 2 * imgsz if hyper.crop or hyper.patchwork else imgsz
    longest_px = max(longest_px, request.judge_imgsz or 0)
    reading = bar.add_task("reading pictures", total=sum(len(s) for _, s in train) + sum(len(s) for s in val.values()))

    def read(images: Sequence[LabelledImage]) -> list[Sample]:
        return load(images, longest_px, lambda: bar.advance(reading))

    samples = [sample for times, images in train for sample in read(images) * times]
    judged = {name: (images, read(images)) for name, images in val.items()}
    bar.remove_task(reading)
    return Pictures(samples, judged)


def _split(folder: Path, split: str) -> SplitData:
    way_out = "" if split == "train" else ", or leave judging out with --no-judge"
    try:
        images = read_split(folder, split)
    except DataError as error:
        raise DataError(f"{error}{way_out}") from error
    if not has_labels(folder, split) or not any(len(image.classes) for image in images):
        raise DataError(f"{folder}: the split {split} has no labelled cell; name a folder whose {split} is labelled{way_out}")
    return images


def _judge(request: Request, hyper: Hyper, imgsz: int, pictures: Pictures) -> FolderJudge | None:
    from engines.training.judge import FolderJudge

    if not pictures.val:
        return None
    # Sets that cut windows have seen cells at their own scale; the published ones have seen every field enlarged to the input.
    windows = bool(hyper.crop or hyper.patchwork)
    sets = {name: samples for name, (_, samples) in pictures.val.items()}
    return FolderJudge(sets, request.judge_imgsz or (2 * imgsz if windows else imgsz), scale_up=not windows)


def _what(request: Request, pictures: Pictures) -> str:
    cells = sum(len(sample.boxes) for sample in pictures.samples)
    judged = ", ".join(f"{name} ({len(samples)})" for name, (_, samples) in pictures.val.items())
    return f"{len(pictures.samples)} pictures an epoch with {cells} cells; " + (
        f"judged on val of {judged}" if judged else "not judged"
    )


def _trainer(request: Request, hyper: Hyper, imgsz: int, device: str, phase: Phase, pictures: Pictures) -> Trainer:
    from engines.training.loop import Run, Trainer

    cores = os.cpu_count() or 1
    workers = request.workers if request.workers is not None else 1 if device == "cpu" else min(8, max(1, cores - 1))
    run = Run(
        folder=phase.folder,
        size=request.size,
        imgsz=imgsz,
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
        pictures=request.pictures,
    )
    trainer = Trainer(run, pictures.samples)
    if phase.begun:
        trainer.resume(phase.checkpoint)
    return trainer


def _announce(console: Console, request: Request, phase: Phase, trainer: Trainer) -> None:
    """What happens next, and what was decided before it, in a line each."""
    name = f"phase {phase.number} of {phase.of}: " if phase.of > 1 else ""
    if phase.begun:
        words = "complete" if trainer.finished else f"goes on after epoch {trainer.epoch} of {phase.epochs}"
    else:
        words = f"{phase.epochs} epochs from " + (str(phase.initial) if phase.initial else "random weights")
    console.print(name + words, soft_wrap=True, highlight=False)
    if trainer.begun_anew:
        console.print(f"not in there, so at random: {', '.join(trainer.begun_anew)}", soft_wrap=True, highlight=False)
    if trainer.anchors is not None:
        console.print(f"anchors {trainer.anchors}", highlight=False)


def _fit(console: Console, bar: Progress, request: Request, phase: Phase, trainer: Trainer, judge: FolderJudge | None) -> None:
    task = bar.add_task("training", total=trainer.batches)

    def after_epoch(row: Mapping[str, float]) -> None:
        console.print(epoch_line(row, phase.epochs, trainer.best_epoch == trainer.epoch), soft_wrap=True, highlight=False)

    try:
        trainer.fit(follow(bar, task), judge, after_epoch)
    except KeyboardInterrupt:
        console.print(f"stopped; go on with: attridet train --out {request.out} --resume", soft_wrap=True, highlight=False)
        sys.exit(INTERRUPTED)
    bar.remove_task(task)
    if trainer.stopped_early:
        waited, best = trainer.epoch - trainer.best_epoch, trainer.best_epoch
        console.print(f"stopped early: fitness has not risen for {waited} epochs; best.pt is of epoch {best}", highlight=False)


def _pages(request: Request, device: str, pictures: Pictures, judge: FolderJudge, bar: Progress) -> Iterator[Path]:
    """Judge best.pt on each val split as `attridet evaluate` does, and write its page and pictures beside it."""
    from engines.evaluation.folder import evaluate_pictures
    from engines.evaluation.page import write_page
    from engines.training.graphs import open_checkpoint

    with open_checkpoint(request.out / "best.pt", judge.imgsz, judge.scale_up, device=device) as engine:
        for name, (images, _) in pictures.val.items():
            task = bar.add_task(f"judging best.pt on {name}", total=len(images))

            def progress(done: int, _: int, task: TaskID = task) -> None:
                bar.update(task, completed=done)

            result = evaluate_pictures(engine, images, name, "val", progress)
            yield write_page(result, request.out / "val" / name.replace("/", "-"), datetime.now(timezone.utc))
            bar.remove_task(task)


def epoch_line(row: Mapping[str, float], epochs: int, best: bool) -> str:
    """One epoch of the history in words: losses, then the scores of each folder."""
    from engines.training.record import ATTRIBUTE_LOSS, LOSSES, panel_of

    losses = "  ".join(f"{name} {value:.4f}" for name, value in row.items() if panel_of(name) in (LOSSES, ATTRIBUTE_LOSS))
    folders = [name.removesuffix("_map50") for name in row if name.endswith("_map50")]
    scores = [f"{f}: AP50 {_number(row[f + '_map50'])}, AP {_number(row[f + '_map'])}, " for f in folders]
    scores = [words + f"attributes' F1 {_number(row[f + '_attr_f1'])}" for words, f in zip(scores, folders, strict=True)]
    line = f"epoch {row['epoch']:.0f}/{epochs}  {losses}"
    return "  ".join([line, *scores]) + ("  best so far" if best and scores else "")


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"

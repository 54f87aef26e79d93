"""`attridet adapt`: a network trained on one microscope carried over to another, whose pictures bear no labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from engines.commands.terminal import follow, progress_bar
from engines.data.leukemiaattri import has_labels, read_split, read_unlabelled
from engines.errors import DataError
from engines.training.request import parse_folder

if TYPE_CHECKING:
    from engines.data.augment import Sample


@dataclass(frozen=True)
class Request:
    """What the command line asks for; folders as in `engines.commands.train`."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    initial: Path
    out: Path
    method: str
    oracle: bool
    size: str
    imgsz: int
    epochs: int
    batch: int
    hyper: str
    learning_rate: float | None
    teacher: str
    source_boxes: str
    confidence: float
    unsure: float | None
    weight: float
    recolour: float
    target_crop: float
    published: bool
    seed: int
    resume: bool
    device: str
    threads: int


def run(request: Request) -> None:
    """Adapt; raises EnginesError. Ctrl-C keeps what the last full epoch reached: go on with --resume."""
    import torch

    from engines.adapt.trainer import METHODS, Adaptation, AdaptTrainer, Method
    from engines.training.hyper import SETS
    from engines.training.loop import Run

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise DataError("attridet adapt runs in one process; start it without torchrun")
    for option, given, known in (
        ("--hyper", request.hyper, tuple(SETS)),
        ("--method", request.method, METHODS),
        ("--teacher", request.teacher, ("student", "ema")),
        ("--source-boxes", request.source_boxes, ("pseudo", "truth")),
    ):
        if given not in known:
            raise DataError(f"{option} {given}: there are {', '.join(known)}")
    last = request.out / "last.pt"
    if last.exists() and not request.resume:
        raise DataError(f"{request.out}: holds a run already; go on with --resume, or name another --out")
    if request.resume and not last.exists():
        raise DataError(f"{last}: nothing to resume; leave out --resume")
    sources = [parse_folder(text) for text in request.source]
    targets = [parse_folder(text) for text in request.target]
    for folder, _ in [*sources, *(targets if request.oracle else [])]:
        if not has_labels(folder, "train"):
            raise DataError(f"{folder}: the split train bears no labels, and {'--oracle' if request.oracle else '--source'} needs them")
    method: Method = "source-only" if request.oracle else request.method  # type: ignore[assignment]  # checked above
    torch.set_num_threads(request.threads)
    hyper = SETS[request.hyper]
    if request.learning_rate is not None:
        hyper = replace(hyper, lr0=request.learning_rate)
    with progress_bar(transient=False) as bar:
        reading = bar.add_task("reading pictures", total=None)
        labelled = _read(sources, request.imgsz, lambda: bar.advance(reading))
        unlabelled = _read(targets, request.imgsz, lambda: bar.advance(reading), labels=request.oracle)
        bar.remove_task(reading)
        settings = Run(
            folder=request.out,
            size=request.size,
            imgsz=request.imgsz,
            epochs=request.epochs,
            batch=request.batch,
            seed=request.seed,
            hyper=hyper,
            device=request.device,
            initial=None if request.resume else request.initial,
            data=tuple(folder.name for folder, _ in [*sources, *targets]),
        )
        adaptation = Adaptation(
            method,
            request.teacher,  # type: ignore[arg-type]  # checked above
            request.source_boxes,  # type: ignore[arg-type]  # checked above
            request.confidence,
            request.weight,
            0.0 if request.oracle else request.recolour,
            request.target_crop,
            request.unsure,
        )
        if request.published:
            adaptation = Adaptation.published(method)
        trainer = AdaptTrainer(settings, adaptation, labelled + unlabelled if request.oracle else labelled, unlabelled)
        if request.resume:
            trainer.resume(last)
        trainer.fit(follow(bar, bar.add_task("adapting", total=None)))
    Console().print(f"written: {last}, and results.csv beside it", soft_wrap=True)


def _read(folders: Sequence[tuple[Path, int]], imgsz: int, advance: Callable[[], None], labels: bool = True) -> list[Sample]:
    from engines.training.dataset import load

    read = read_split if labels else read_unlabelled
    return [s for folder, times in folders for s in load(read(folder, "train"), 2 * imgsz, advance) * times]

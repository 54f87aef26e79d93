"""`attridet train`: one run from labelled folders to a checkpoint, with live progress; it can be stopped and resumed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from engines.data.leukemiaattri import read_split
from engines.errors import DataError


@dataclass(frozen=True)
class Request:
    """What the command line asks for. data: folders, each with an optional ":N" to show its pictures N times an epoch."""

    data: tuple[str, ...]
    out: Path
    size: str
    imgsz: int
    epochs: int
    batch: int
    hyper: str
    seed: int
    initial: Path | None
    resume: bool
    device: str
    threads: int
    judge: bool
    attribute_weight: float | None = None
    detach: bool = False


def parse_folder(text: str) -> tuple[Path, int]:
    """A folder and how often its pictures count, from "DIR" or "DIR:N"."""
    folder, colon, times = text.rpartition(":")
    if colon and times.isdigit() and int(times) > 0:
        return Path(folder), int(times)
    return Path(text), 1


def run(request: Request) -> None:
    """Train; raises EnginesError. Ctrl-C keeps what the last full epoch reached: go on with --resume."""
    import torch

    from engines.training.dataset import load
    from engines.training.hyper import SETS
    from engines.training.judge import FolderJudge
    from engines.training.loop import Progress as Report
    from engines.training.loop import Run, Trainer

    if request.hyper not in SETS:
        raise DataError(f"--hyper {request.hyper}: there are {', '.join(SETS)}")
    last = request.out / "last.pt"
    if last.exists() and not request.resume:
        raise DataError(f"{request.out}: holds a run already; go on with --resume, or name another --out")
    if request.resume and not last.exists():
        raise DataError(f"{last}: nothing to resume; leave out --resume")
    hyper = SETS[request.hyper]
    if request.attribute_weight is not None:
        hyper = replace(hyper, attribute=request.attribute_weight)
    torch.set_num_threads(request.threads)
    folders = [parse_folder(text) for text in request.data]
    splits = [(folder, times, read_split(folder, "train")) for folder, times in folders]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        reading = bar.add_task("reading pictures", total=sum(len(images) for _, _, images in splits))
        samples = [s for _, times, images in splits for s in load(images, 2 * request.imgsz, lambda: bar.advance(reading)) * times]
        settings = Run(
            folder=request.out,
            size=request.size,
            imgsz=request.imgsz,
            epochs=request.epochs,
            batch=request.batch,
            seed=request.seed,
            hyper=hyper,
            detach=request.detach,
            device=request.device,
            initial=request.initial,
            data=tuple(folder.name for folder, _ in folders),
        )
        trainer = Trainer(settings, samples)
        if request.resume:
            trainer.resume(last)
        task = bar.add_task("training", total=None)

        def report(now: Report) -> None:
            parts = "  ".join(f"{name} {value:.4f}" for name, value in now.losses.items())
            words = f"epoch {now.epoch}/{now.epochs}  {parts}  {now.images_per_s:.1f} pictures/s"
            bar.update(task, description=words, completed=now.batch, total=now.batches)

        judged = {folder.name: load(read_split(folder, "val"), 2 * request.imgsz) for folder, _ in folders} if request.judge else {}
        trainer.fit(report, FolderJudge(judged, 2 * request.imgsz) if judged else None)
    Console().print(f"written: {last}, best.pt and results.csv beside it", soft_wrap=True)

"""A network trained on one microscope carried over to another, whose pictures bear no labels.

`adapt` neither prints nor ends the process, and Ctrl-C leaves what the last full epoch reached, as in `engines.training.run`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from engines.adapt.pictures import read_adapt_pictures
from engines.adapt.request import AdaptRequest
from engines.adapt.trainer import Adaptation, AdaptTrainer
from engines.errors import DataError
from engines.families import parallel
from engines.families.hyper import SETS
from engines.network import checkpoint
from engines.progress import SILENT, Reporter
from engines.taxonomy import read_taxonomy
from engines.training.agreement import whole_strides
from engines.training.loop import Run
from engines.training.request import CHECKPOINT, command_of, recalled, workers_on
from engines.training.run import fit
from engines.training.seen import about

_SIDE = 320
"""px of training pictures where the start does not say what it was trained at."""


@dataclass(frozen=True, eq=False)
class AdaptResult:
    """What an adaptation reached. checkpoint: the adapted network of the last epoch; best.pt and results.csv are beside it.

    history: a row for each epoch of the last phase. best_epoch: that of best.pt.
    """

    checkpoint: Path
    history: tuple[Mapping[str, float], ...]
    best_epoch: int = 0


def adapt(request: AdaptRequest, reporter: Reporter = SILENT) -> AdaptResult:
    """Adapt as `attridet adapt` does, or go on with a run (`resume`). Raises EnginesError."""
    command, goes_on = command_of(request, "adapt"), request.resume and (request.out / request.FILE).exists()
    if {"epochs", "phases"} <= request.given:
        raise DataError("--epochs and --phases: give one of them; --phases S,A names the epochs of both phases")
    request = recalled(request) if goes_on else request.settled()
    planned = request.planned()
    for option, given in (("--source", request.source), ("--target", request.target), ("--initial", request.initial)):
        if not given:
            raise DataError(f"{option}: name {'the network to start from' if option == '--initial' else 'a folder of pictures'}")
    request.check_device()
    begun = next((phase.checkpoint for phase in reversed(planned) if phase.begun), None)
    assert request.initial is not None
    start, record = checkpoint.load_attridet(begun or request.initial)
    taxonomy = start.taxonomy if request.taxonomy is None else read_taxonomy(request.taxonomy)  # what is adapted keeps its own
    request = _of_start(request, start.size, record)
    assert request.size is not None and request.imgsz is not None
    imgsz, hyper = whole_strides(request.imgsz), SETS[request.hyper]
    if request.learning_rate is not None:
        hyper = replace(hyper, lr0=request.learning_rate)
    torch.set_num_threads(request.threads)
    with parallel.joined(request.device) as device:
        first = parallel.current().first
        reporter = reporter if first else SILENT
        pictures = read_adapt_pictures(request, imgsz, hyper, taxonomy, reporter)
        if first:
            request.keep()
            if pictures.held:
                pictures.held.write(request.out)
        for phase in planned:
            run = Run(
                folder=phase.folder,
                size=request.size,
                imgsz=imgsz,
                epochs=phase.epochs,
                batch=request.batch,
                seed=request.seed,
                hyper=hyper,
                cosine=hyper.name not in ("low", "med", "high"),
                patience=0,
                phase=phase.number,
                workers=workers_on(device, request.workers),
                device=device,
                initial=None if phase.begun else phase.initial,
                data=pictures.names,
                about=about(pictures.seen, pictures.before, phase, command),
                labels=pictures.labels,
                pictures=request.pictures,
            )
            how = _adaptation(request) if phase.number == phase.of else Adaptation("source-only", recolour=0.0)
            trainer = AdaptTrainer(run, how, pictures.samples, pictures.unlabelled, taxonomy, pictures.draw, pictures.target_draw)
            try:
                fit(trainer, phase, reporter, f"attridet adapt --out {request.out} --resume", pictures.judge)
            finally:
                if words := trainer.taught_by_epoch:
                    reporter.message(words)
        curves = ", results.png" if request.pictures else ""
        reporter.message(
            f"written: {request.out / CHECKPOINT}, and best.pt (epoch {trainer.best_epoch}), results.csv{curves} beside it"
        )
    return AdaptResult(request.out / CHECKPOINT, tuple(trainer.history), trainer.best_epoch)


def _of_start(request: AdaptRequest, size: str, record: Mapping[str, Any]) -> AdaptRequest:
    """Size and side of the pictures as the start has them, where they were not named. Raises DataError for another size."""
    if request.size is not None and request.size != size:
        raise DataError(f"--size {request.size}: {request.initial} is of another size, {size}; leave --size out")
    trained_at = record.get("imgsz")
    imgsz = request.imgsz or (int(trained_at) if isinstance(trained_at, int) else _SIDE)
    return replace(request, size=size, imgsz=imgsz)


def _adaptation(request: AdaptRequest) -> Adaptation:
    asked = Adaptation(**{each.name: getattr(request, each.name) for each in fields(Adaptation)})
    return replace(asked, method="source-only", recolour=0.0) if request.oracle else asked

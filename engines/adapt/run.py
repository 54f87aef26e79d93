"""A network trained on one microscope carried over to another, whose pictures bear no labels.

`adapt` neither prints nor ends the process, and Ctrl-C leaves what the last full epoch reached, as in `engines.training.run`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch

from engines.adapt.request import AdaptRequest
from engines.adapt.trainer import Adaptation, AdaptTrainer
from engines.data.aspect import check_given, given_for
from engines.data.leukemiaattri import has_labels, packed_labels, read_split, read_unlabelled
from engines.errors import DataError
from engines.families.hyper import SETS
from engines.network import checkpoint
from engines.progress import SILENT, Reporter
from engines.taxonomy import read_taxonomy
from engines.training.agreement import DataDigest
from engines.training.dataset import load_sets
from engines.training.draws import lay_out
from engines.training.loop import Run
from engines.training.pictures import report_left_out
from engines.training.request import Phase, parse_folder, recalled
from engines.training.run import fit


@dataclass(frozen=True, eq=False)
class AdaptResult:
    """What an adaptation reached. checkpoint: the adapted network; results.csv is beside it. history: a row for each epoch."""

    checkpoint: Path
    history: tuple[Mapping[str, float], ...]


def adapt(request: AdaptRequest, reporter: Reporter = SILENT) -> AdaptResult:
    """Adapt as `attridet adapt` does, or go on with a run (`resume`). Raises EnginesError."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise DataError("attridet adapt runs in one process; start it without torchrun")
    request = recalled(request)
    last = request.out / "last.pt"
    request.check_folder(last.exists())
    for option, given in (("--source", request.source), ("--target", request.target), ("--initial", request.initial)):
        if not given:
            raise DataError(f"{option}: name {'the network to start from' if option == '--initial' else 'a folder of pictures'}")
    request.check_device()
    folders = [parse_folder(text) for text in (*request.source, *request.target)]
    sources = folders[: len(request.source)]
    for folder, _ in folders if request.oracle else sources:
        if not has_labels(folder, "train"):
            packed = f"; {words}" if (words := packed_labels(folder)) else ""
            raise DataError(
                f"{folder}: the split train bears no labels, and {'--oracle' if request.oracle else '--source'} needs them{packed}"
            )
    taxonomy = read_taxonomy(request.taxonomy)
    start = last if last.exists() else request.initial
    if request.taxonomy is None and start is not None:
        taxonomy = checkpoint.load_any(start)[0].taxonomy  # what is adapted keeps its own
    hyper = SETS[request.hyper]
    if request.learning_rate is not None:
        hyper = replace(hyper, lr0=request.learning_rate)
    torch.set_num_threads(request.threads)
    readers = [read_split] * len(sources) + [read_split if request.oracle else read_unlabelled] * len(request.target)
    check_given(request.pixel_aspect, (folder for folder, _ in folders))
    images = [
        reader(folder, "train", taxonomy, given_for(folder, request.pixel_aspect))
        for reader, (folder, _) in zip(readers, folders, strict=True)
    ]
    for (folder, _), one in zip(folders, images, strict=True):
        report_left_out(folder, one, reporter)
    read = load_sets(images, 2 * request.imgsz, reporter.counter("reading pictures"))
    often, first = [times for _, times in folders], len(folders) if request.oracle else len(sources)
    labelled, draw = lay_out(read[:first], often[:first], images[:first] if hyper.balance_patients else None)
    unlabelled, target_draw = lay_out(read[len(sources) :], often[len(sources) :])
    run = Run(
        folder=request.out,
        size=request.size,
        imgsz=request.imgsz,
        epochs=request.epochs,
        batch=request.batch,
        seed=request.seed,
        hyper=hyper,
        device=request.device,
        initial=None if last.exists() else request.initial,
        data=tuple(folder.name for folder, _ in folders),
        labels=DataDigest.of(image for one in images for image in one),
    )
    trainer = AdaptTrainer(run, _adaptation(request), labelled, unlabelled, taxonomy, draw, target_draw)
    request.keep()
    fit(trainer, Phase(1, 1, request.epochs, request.out, request.initial), reporter, f"attridet adapt --out {request.out} --resume")
    reporter.message(f"written: {last}, and results.csv beside it")
    return AdaptResult(last, tuple(trainer.history))


def _adaptation(request: AdaptRequest) -> Adaptation:
    asked = Adaptation(**{each.name: getattr(request, each.name) for each in fields(Adaptation)})
    if request.oracle:
        asked = replace(asked, method="source-only", recolour=0.0)
    return Adaptation.published(asked.method) if request.published else asked

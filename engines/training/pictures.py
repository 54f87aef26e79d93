"""The pictures of a training in memory: those that are learnt from, and those that judge, with what was left out of each folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engines.data.aspect import check_given, given_for
from engines.data.augment import Sample
from engines.data.leukemiaattri import SplitData, has_labels, packed_labels, read_split
from engines.errors import DataError
from engines.evaluation.trained_on import overlap
from engines.families.hyper import Hyper
from engines.progress import Reporter
from engines.provenance import DataSeen
from engines.taxonomy import Taxonomy
from engines.training.agreement import DataDigest, whole_strides
from engines.training.dataset import load_sets
from engines.training.draws import EpochDraw, lay_out
from engines.training.held_out import VAL, HeldOut, hold_out, lacks, names_of, parted, read_held_out
from engines.training.judge import FolderJudge
from engines.training.pseudo import Filling
from engines.training.request import TrainRequest, parse_folder
from engines.training.seen import seen_before, seen_in

_FEW = 0.02
"""Share of a folder's pictures from which a patient is worth a word."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """What is trained on and, each under a name of its own, the val splits that judge.

    draw: which of the samples an epoch shows. labels: of what is trained on. watched: those val splits and the ones that are only
    looked at before and after the training. held: what of train judges instead, where a folder has no val. seen: what a checkpoint says
    of the data. before: what the start was trained on. filling: what labels ground of train that nobody labelled, where that is asked.
    """

    samples: list[Sample]
    draw: EpochDraw
    labels: DataDigest
    val: dict[str, SplitData]
    judge: FolderJudge | None
    watched: FolderJudge | None
    held: HeldOut | None
    seen: tuple[DataSeen, ...]
    before: tuple[DataSeen, ...]
    filling: Filling | None = None


def read_pictures(request: TrainRequest, hyper: Hyper, taxonomy: Taxonomy, reporter: Reporter) -> Pictures:
    """Read the splits train and, to be judged on, val, or hold out patients of train where there is none. Raises DataError."""
    imgsz = whole_strides(request.imgsz)
    if imgsz != request.imgsz:
        reporter.message(f"pictures of {imgsz} px: the next multiple of 32 from {request.imgsz}")
    folders = [parse_folder(text) for text in request.data]
    watch = [Path(text) for text in request.watch]
    check_given(request.pixel_aspect, [*(folder for folder, _ in folders), *watch])
    learning = [folder for folder, _ in folders]
    train = dict(zip(names_of(learning), (_split(f, "train", taxonomy, request.pixel_aspect) for f in learning), strict=True))
    held = _held_out(request, learning, train, reporter)
    parts = {name: parted(name, one, held) if held else (one, None) for name, one in train.items()}
    train = {name: one for name, (one, _) in parts.items()}
    val: dict[str, SplitData] = {}
    judging = learning if request.judge else []
    for name, folder in zip(names_of([*judging, *watch]), [*judging, *watch], strict=True):
        own = parts[name][1] if held and folder in judging and name in held.pictures else None
        val[name] = own or _split(folder, request.judge_split, taxonomy, request.pixel_aspect)
    for folder, images in zip([*learning, *judging, *watch], [*train.values(), *val.values()], strict=True):
        report_left_out(folder, images, reporter)
    seen = [one for folder, images in zip(learning, train.values(), strict=True) for one in seen_in(folder, "train", images)]
    judged = [image.path.name for name in list(val)[: len(judging)] for image in val[name]]
    before = seen_before(request.initial, request.resume)
    both = overlap([*seen, *before], judged)
    if both:
        reporter.warning(both.words)
    # Windows are cut out of larger fields; without them no picture is ever seen larger than the input.
    windows = hyper.cuts_windows
    longest_px = max(2 * imgsz if windows else imgsz, request.judge_imgsz or 0)
    read = load_sets([*train.values(), *val.values()], longest_px, reporter.counter("reading pictures"))
    learnt, often = read[: len(train)], [times for _, times in folders]
    samples, draw = lay_out(learnt, often, list(train.values()) if hyper.balance_patients else None)
    filling = (
        Filling.of(samples, learnt, list(train.values()), 2 * imgsz if windows else imgsz, not windows) if request.pseudo else None
    )
    judged_on, looked_at = (
        ", ".join(f"{name} ({len(val[name])})" for name in some) for some in (list(val)[: len(judging)], list(val)[len(judging) :])
    )
    cells = round(sum(times * len(sample.boxes) for times, sample in zip(draw.expected(), samples, strict=True)))
    several = f" of {sum(map(len, learnt))}" if any(times % 1 for times in often) else ""
    reporter.message(
        f"{len(draw)}{several} pictures an epoch with {cells} cells; "
        + (f"judged on {request.judge_split} of {judged_on}" if judged_on else "not judged")
        + (f"; watched, before and after: {request.judge_split} of {looked_at}" if looked_at else "")
    )
    sets = dict(zip(val, read[len(train) :], strict=True))
    # Sets that cut windows have seen cells at their own scale; the published ones have seen every field enlarged to the input.
    watched = FolderJudge(sets, request.judge_imgsz or imgsz * (2 if windows else 1), scale_up=not windows) if sets else None
    judge = replace(watched, sets={name: sets[name] for name in list(val)[: len(judging)]}) if watched and judging else None
    for (folder, _), part in zip(folders, draw.parts, strict=True):
        count, shown = draw.largest(part)
        if part.units is not None and count / part.count > _FEW and shown / part.shown < 0.95 * count / part.count:
            reporter.message(
                f"{folder}: the patient with most pictures has {100 * count / part.count:.0f} % of them and is shown as "
                f"{100 * shown / part.shown:.0f} %, so that others count"
            )
    return Pictures(
        samples,
        draw,
        DataDigest.of(image for images in train.values() for image in images),
        dict(list(val.items())[: len(judging)]),
        judge,
        watched,
        held,
        tuple(seen),
        before,
        filling,
    )


def _held_out(request: TrainRequest, folders: Sequence[Path], train: Mapping[str, SplitData], reporter: Reporter) -> HeldOut | None:
    """What judges of the folders that have no val; None where all have one, another split was named, or nothing is judged."""
    held = read_held_out(request.out) if request.resume else None
    if held is None:
        if not request.judge or request.judge_split != VAL:
            return None
        without = [name for name, folder in zip(train, folders, strict=True) if lacks(folder, VAL)]
        if not without:
            return None
        held = hold_out(train, without, request.val, request.seed)
    reporter.message(held.said(train, request.out))
    return held


def report_left_out(folder: Path, images: SplitData, reporter: Reporter) -> None:
    """Lines on what of a folder is not used or not plain 8-bit colour, and what was assumed of its labels, if anything."""
    worth_a_line = images.left_out or images.regions or images.in_part[0] or images.files or images.aspect
    for words in (*((images.summary,) if worth_a_line else ()), *images.readings):
        reporter.warning(f"{folder}: {words}")


def _split(folder: Path, split: str, taxonomy: Taxonomy, aspects: Sequence[str]) -> SplitData:
    way_out = "" if split == "train" else "; name another with --judge-split, or leave judging out with --no-judge"
    try:
        images = read_split(folder, split, taxonomy, given_for(folder, aspects))
    except DataError as error:
        raise DataError(f"{error}{way_out}") from error
    if not has_labels(folder, split) or not any(len(image.classes) for image in images):
        where = packed_labels(folder) or f"name a folder whose {split} is labelled"
        raise DataError(f"{folder}: the split {split} has no labelled cell; {where}{way_out}")
    return images

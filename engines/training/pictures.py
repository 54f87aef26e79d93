"""The pictures of a training in memory: those that are learnt from, and those that judge, with what was left out of each folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engines.data.aspect import check_given, given_for
from engines.data.augment import Sample
from engines.data.leukemiaattri import SplitData, has_labels, read_split
from engines.errors import DataError
from engines.families.hyper import Hyper
from engines.progress import Reporter
from engines.taxonomy import Taxonomy
from engines.training.agreement import DataDigest, whole_strides
from engines.training.dataset import load_sets
from engines.training.draws import EpochDraw, lay_out
from engines.training.judge import FolderJudge
from engines.training.request import TrainRequest, parse_folder

_FEW = 0.02
"""Share of a folder's pictures from which a patient is worth a word."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """What is trained on and, each under a name of its own, the val splits that judge.

    draw: which of the samples an epoch shows. labels: of what is trained on. watched: those val splits and the ones that are only
    looked at before and after the training.
    """

    samples: list[Sample]
    draw: EpochDraw
    labels: DataDigest
    val: dict[str, SplitData]
    judge: FolderJudge | None
    watched: FolderJudge | None


def read_pictures(request: TrainRequest, hyper: Hyper, taxonomy: Taxonomy, reporter: Reporter) -> Pictures:
    """Read the splits train and, to be judged on, val. Raises DataError."""
    imgsz = whole_strides(request.imgsz)
    if imgsz != request.imgsz:
        reporter.message(f"pictures of {imgsz} px: the next multiple of 32 from {request.imgsz}")
    folders = [parse_folder(text) for text in request.data]
    watch = [Path(text) for text in request.watch]
    check_given(request.pixel_aspect, [*(folder for folder, _ in folders), *watch])
    train = [_split(folder, "train", taxonomy, request.pixel_aspect) for folder, _ in folders]
    val: dict[str, SplitData] = {}
    judging = [folder for folder, _ in folders] if request.judge else []
    for folder in (*judging, *watch):
        name = folder.name if folder.name not in val else f"{folder.parent.name}/{folder.name}"
        val[name] = _split(folder, "val", taxonomy, request.pixel_aspect)
    learning = [folder for folder, _ in folders]
    for folder, images in zip([*learning, *judging, *watch], [*train, *val.values()], strict=True):
        report_left_out(folder, images, reporter)
    # Windows are cut out of larger fields; without them no picture is ever seen larger than the input.
    windows = hyper.cuts_windows
    longest_px = max(2 * imgsz if windows else imgsz, request.judge_imgsz or 0)
    read = load_sets([*train, *val.values()], longest_px, reporter.counter("reading pictures"))
    learnt, often = read[: len(train)], [times for _, times in folders]
    samples, draw = lay_out(learnt, often, train if hyper.balance_patients else None)
    judged, looked_at = (
        ", ".join(f"{name} ({len(val[name])})" for name in some) for some in (list(val)[: len(judging)], list(val)[len(judging) :])
    )
    cells = round(sum(times * len(sample.boxes) for times, sample in zip(draw.expected(), samples, strict=True)))
    several = f" of {sum(map(len, learnt))}" if any(times % 1 for times in often) else ""
    reporter.message(
        f"{len(draw)}{several} pictures an epoch with {cells} cells; "
        + (f"judged on val of {judged}" if judged else "not judged")
        + (f"; watched, before and after: val of {looked_at}" if looked_at else "")
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
        DataDigest.of(image for images in train for image in images),
        dict(list(val.items())[: len(judging)]),
        judge,
        watched,
    )


def report_left_out(folder: Path, images: SplitData, reporter: Reporter) -> None:
    """Lines on what of a folder is not used or not plain 8-bit colour, and what was assumed of its labels, if anything."""
    worth_a_line = images.left_out or images.regions or images.in_part[0] or images.files or images.aspect
    for words in (*((images.summary,) if worth_a_line else ()), *images.readings):
        reporter.warning(f"{folder}: {words}")


def _split(folder: Path, split: str, taxonomy: Taxonomy, aspects: Sequence[str]) -> SplitData:
    way_out = "" if split == "train" else ", or leave judging out with --no-judge"
    try:
        images = read_split(folder, split, taxonomy, given_for(folder, aspects))
    except DataError as error:
        raise DataError(f"{error}{way_out}") from error
    if not has_labels(folder, split) or not any(len(image.classes) for image in images):
        raise DataError(f"{folder}: the split {split} has no labelled cell; name a folder whose {split} is labelled{way_out}")
    return images

"""The pictures of an adaptation in memory: the labelled source, the target without its labels, and those that judge each epoch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.adapt.request import AdaptRequest
from engines.data.aspect import check_given, given_for
from engines.data.augment import Sample
from engines.data.leukemiaattri import SplitData, has_labels, packed_labels, read_split, read_unlabelled
from engines.errors import DataError
from engines.evaluation.trained_on import overlap
from engines.families.hyper import Hyper
from engines.progress import Reporter
from engines.provenance import DataSeen
from engines.taxonomy import Taxonomy
from engines.training.agreement import DataDigest
from engines.training.dataset import load_sets
from engines.training.draws import EpochDraw, lay_out
from engines.training.held_out import VAL, HeldOut, hold_out, lacks, names_of, parted, read_held_out
from engines.training.judge import FolderJudge
from engines.training.pictures import report_left_out
from engines.training.request import parse_folder
from engines.training.seen import seen_before, seen_in


@dataclass(frozen=True, eq=False)
class AdaptPictures:
    """What is learnt from with labels (`samples`) and without (`unlabelled`), and which of both an epoch shows.

    names: of the folders. labels: digest of all. judge: None where nothing is judged. held: what of train judges, where no folder has a
    labelled val. seen: what a checkpoint says of the data. before: what the start was trained on.
    """

    names: tuple[str, ...]
    samples: list[Sample]
    draw: EpochDraw
    unlabelled: list[Sample]
    target_draw: EpochDraw
    labels: DataDigest
    judge: FolderJudge | None
    held: HeldOut | None
    seen: tuple[DataSeen, ...]
    before: tuple[DataSeen, ...]


def read_adapt_pictures(request: AdaptRequest, imgsz: int, hyper: Hyper, taxonomy: Taxonomy, reporter: Reporter) -> AdaptPictures:
    """Read train of all folders, the target's without labels unless `oracle`, and what judges. Raises DataError."""
    parsed = [parse_folder(text) for text in (*request.source, *request.target)]
    folders, often = [folder for folder, _ in parsed], [times for _, times in parsed]
    of_source = len(request.source)
    first = len(folders) if request.oracle else of_source
    """Folders up to here are learnt from with their labels."""
    for folder in folders[:first]:
        if not has_labels(folder, "train"):
            packed = f"; {words}" if (words := packed_labels(folder)) else ""
            raise DataError(
                f"{folder}: the split train bears no labels, and {'--oracle' if request.oracle else '--source'} needs them{packed}"
            )
    check_given(request.pixel_aspect, folders)
    readers = [read_split] * first + [read_unlabelled] * (len(folders) - first)
    train = [
        reader(folder, "train", taxonomy, given_for(folder, request.pixel_aspect))
        for reader, folder in zip(readers, folders, strict=True)
    ]
    names = names_of(folders)
    val = _labelled_val(request, folders[of_source:], taxonomy) or _labelled_val(request, folders[:of_source], taxonomy)
    held = read_held_out(request.out) if request.resume else None
    before = seen_before(request.initial, request.resume)
    if held is None and request.judge and not val:
        if request.judge_split != VAL:
            raise DataError(
                f"--judge-split {request.judge_split}: no folder has such a split with labelled cells; --no-judge judges nothing"
            )
        known = {patient for one in before for patient in one.patients}
        labelled = dict(zip(names[:first], train[:first], strict=True))
        held = hold_out(labelled, list(labelled), request.val, request.seed, known.__contains__)
    if held is not None:
        reporter.message(held.said(dict(zip(names, train, strict=True)), request.out))
        for number, (name, one) in enumerate(zip(names, train, strict=True)):
            kept, judging = parted(name, one, held)
            train[number] = kept if len(kept) or number < first else one
            if len(judging) and not any(len(split) for key, split in val.items() if key == name):
                val[name] = judging
    val = val if request.judge else {}
    for folder, one in zip(folders, train, strict=True):
        report_left_out(folder, one, reporter)
    looked_at = len(folders) if request.oracle or request.method != "source-only" or request.recolour else of_source
    seen = tuple(
        entry
        for number, (folder, one) in enumerate(zip(folders[:looked_at], train, strict=False))
        for entry in seen_in(folder, "train", one, labelled=number < first)
    )
    both = overlap([*seen, *before], [image.path.name for one in val.values() for image in one])
    if both:
        reporter.warning(both.words)
    windows = hyper.cuts_windows
    read = load_sets([*train, *val.values()], 2 * imgsz, reporter.counter("reading pictures"))
    samples, draw = lay_out(read[:first], often[:first], train[:first] if hyper.balance_patients else None)
    unlabelled, target_draw = lay_out(read[of_source : len(train)], often[of_source:])
    sets = dict(zip(val, read[len(train) :], strict=True))
    reporter.message(
        f"{len(draw)} pictures an epoch; "
        + (f"judged on {request.judge_split} of " + ", ".join(f"{n} ({len(s)})" for n, s in sets.items()) if sets else "not judged")
    )
    return AdaptPictures(
        tuple(folder.name for folder in folders),
        samples,
        draw,
        unlabelled,
        target_draw,
        DataDigest.of(image for one in train for image in one),
        FolderJudge(sets, imgsz * (2 if windows else 1), scale_up=not windows) if sets else None,
        held,
        seen,
        before,
    )


def _labelled_val(request: AdaptRequest, folders: list[Path], taxonomy: Taxonomy) -> dict[str, SplitData]:
    """The split that judges, of those folders that have it with labelled cells."""
    found = {}
    for name, folder in zip(names_of(folders), folders, strict=True):
        if request.judge and not lacks(folder, request.judge_split) and has_labels(folder, request.judge_split):
            split = read_split(folder, request.judge_split, taxonomy, given_for(folder, request.pixel_aspect))
            if any(len(image.classes) for image in split):
                found[name] = split
    return found

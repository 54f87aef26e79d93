"""An engine on labelled pictures: looks at each, scores them all, and gives everything `attridet evaluate` reports as one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from engines.data.leukemiaattri import LabelledImage, has_labels, read_split
from engines.detections import Int64
from engines.errors import DataError
from engines.evaluation.attributes import confusion, published_scores, score_attributes, two_valued
from engines.evaluation.detection import BothRules, coco_ap, frequent_types, white_cells, yolo_ap
from engines.evaluation.films import films_of, score_films
from engines.evaluation.gather import Seen, look
from engines.evaluation.intervals import RESAMPLES, bootstrap
from engines.evaluation.result import Evaluation, Published, Use, WorkingPoint
from engines.runtime.engine import NetworkEngine
from engines.taxonomy import Taxonomy

Progress = Callable[[int, int], None]
"""Called with (pictures done, pictures in all)."""


def evaluate_folder(
    engine: NetworkEngine, root: Path, split: str, progress: Progress | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> Evaluation:
    """Scores an open engine on one split of a folder in the published layout; labels without attributes will do.

    resamples: draws for the intervals, 0 for none; seed: of these draws. Raises DataError naming folder or file for a split that is
    missing, unlabelled or unreadable; a picture that cannot be decoded ends it, since a score over the rest would be another score.
    """
    pictures = read_split(root, split, engine.info.taxonomy)
    if not has_labels(root, split) or not sum(len(p.classes) for p in pictures):
        raise DataError(f"{root}: the split {split!r} has no labelled cell to score against. Choose another split.")
    return evaluate_pictures(engine, pictures, root.resolve().name, split, progress, resamples, seed)


def evaluate_pictures(
    engine: NetworkEngine,
    pictures: Sequence[LabelledImage],
    data: str,
    split: str,
    progress: Progress | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Scores an open engine on labelled pictures, one or more; data, split: what they are called. The rest as `evaluate_folder`."""
    if not pictures:
        raise DataError(f"{data}/{split}: no picture to score on. Name another folder or split.")
    seen = []
    for done, picture in enumerate(pictures, 1):
        seen.append(look(engine, picture))
        if progress is not None:
            progress(done, len(pictures))
    return score(engine, seen, data, split, resamples, seed)


def score(engine: NetworkEngine, seen: Sequence[Seen], data: str, split: str, resamples: int = RESAMPLES, seed: int = 0) -> Evaluation:
    """The evaluation of what an engine said of pictures; needs the engine only for what it tells of itself."""
    taxonomy = engine.info.taxonomy
    judged = [s.judged for s in seen]
    white = [white_cells(j, taxonomy) for j in judged]
    yolo = yolo_ap(judged)
    names, patients_known = films_of([s.shown.path.name for s in seen])
    films = score_films(names, [s.shown.truth_classes for s in seen], [s.shown.classes for s in seen], taxonomy)
    labels, probabilities = (np.concatenate([getattr(s, f) for s in seen]) for f in ("labels", "probabilities"))
    rows, scores = published_scores(
        np.concatenate([s.published_labels for s in seen]), np.concatenate([s.published_told for s in seen])
    )
    keys = [taxonomy.attributes[i].key for i in two_valued(taxonomy)]
    intervals = None
    if resamples:
        # Each picture is a unit of its own where no name gives a patient.
        units = names if patients_known else [str(i) for i in range(len(seen))]
        often = frequent_types(yolo, taxonomy)
        intervals = bootstrap(seen, white, units, films if patients_known else None, often, taxonomy, resamples, seed)
    return Evaluation(
        engine=engine.info,
        use=Use(engine.intended_use, engine.must_not_be_used_for),
        data=data,
        split=split,
        yolo=yolo,
        coco=coco_ap(judged),
        wbc=BothRules(yolo_ap(white), coco_ap(white)),
        wbc_cells=sum(j.n_truths for j in white),
        working_point=WorkingPoint(
            engine.thresholds,
            detections=sum(len(s.shown.classes) for s in seen),
            cells=sum(len(s.shown.truth_classes) for s in seen),
            found=sum(int((s.shown.partner >= 0).sum()) for s in seen),
            right_type=sum(s.shown.right for s in seen),
        ),
        confusion=type_confusion(seen, taxonomy),
        attributes=score_attributes(labels, probabilities, taxonomy),
        attribute_confusions={
            a.key: confusion(labels[:, column], probabilities[:, group])
            for column, (a, group) in enumerate(zip(taxonomy.attributes, taxonomy.groups, strict=True))
        },
        published=Published(rows, dict(zip(keys, scores, strict=True)) if rows else {}),
        films=tuple(films),
        patients_known=patients_known,
        intervals=intervals,
        examples=tuple(s.shown for s in seen),
        median_ms={stage: float(np.median([s.timings_ms[stage] for s in seen])) for stage in seen[0].timings_ms},
    )


def type_confusion(seen: Sequence[Seen], taxonomy: Taxonomy) -> Int64:
    """Types labelled (rows) and told (columns) at the working point, the last of each background: (C + 1, C + 1) int64."""
    background = len(taxonomy.classes)
    counts: Int64 = np.zeros((background + 1, background + 1), np.int64)
    for s in seen:
        shown = s.shown
        told = np.append(shown.classes, background)[shown.partner]  # -1, not found, takes the last
        np.add.at(counts, (shown.truth_classes, told), 1)
        invented = np.setdiff1d(np.arange(len(shown.classes)), shown.partner)
        np.add.at(counts[background], shown.classes[invented], 1)
    return counts

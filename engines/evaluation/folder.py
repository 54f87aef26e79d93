"""An engine on labelled pictures: looks at each, scores them all, and gives everything `attridet evaluate` reports as one value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from engines.data.aspect import OPTION
from engines.data.leukemiaattri import LabelledImage, SplitData, has_labels, packed_labels, read_split
from engines.data.look_alikes import field_units
from engines.data.pictures import EXIF_TURN
from engines.errors import DataError
from engines.evaluation.attributes import confusion, published_scores, score_attributes, two_valued
from engines.evaluation.concepts import concept_score
from engines.evaluation.detection import ByRule, coco_ap, frequent_types, ultralytics_ap, white_cells, yolo_ap
from engines.evaluation.films import films_of, score_films
from engines.evaluation.frame import WholeFrame
from engines.evaluation.intervals import RESAMPLES, intervals_of
from engines.evaluation.look_scores import score_look
from engines.evaluation.looks import DETECTOR, IDENTIFY_FROM, SECOND_LOOK
from engines.evaluation.picture import PictureResult, judge_picture
from engines.evaluation.result import Evaluation, Published
from engines.evaluation.told import Told
from engines.evaluation.trained_on import overlap
from engines.evaluation.working_point import BoxLimits, WorkingPoint, coco_boxes, type_confusion
from engines.pictures import inspect_picture
from engines.runtime.engine import NetworkEngine

Progress = Callable[[int, int], None]
"""Called with (pictures done, pictures in all)."""
NEAR_ZERO = 0.05
"""mAP50 below which labels and pictures hardly lie on each other."""


def evaluate_folder(
    engine: NetworkEngine,
    root: Path,
    split: str,
    progress: Progress | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    given_aspect: float | None = None,
    identify_from: float = IDENTIFY_FROM,
    frame: WholeFrame | None = None,
) -> Evaluation:
    """Scores an open engine on one split of a folder in the published layout; labels without attributes will do.

    resamples: draws for the intervals, 0 for none; seed: of these draws; given_aspect: as of `read_split`. Raises DataError naming
    folder or file for a split that is missing, unlabelled or unreadable; a picture that cannot be decoded ends it, since a score over
    the rest would be another score.
    """
    pictures = read_split(root, split, engine.info.taxonomy, given_aspect)
    if not has_labels(root, split) or not sum(len(p.classes) for p in pictures):
        where = packed_labels(root) or "choose another split"
        raise DataError(f"{root}: the split {split!r} has no labelled cell to score against; {where}.")
    return evaluate_pictures(engine, pictures, root.resolve().name, split, progress, resamples, seed, identify_from, frame)


def evaluate_pictures(
    engine: NetworkEngine,
    pictures: Sequence[LabelledImage],
    data: str,
    split: str,
    progress: Progress | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    identify_from: float = IDENTIFY_FROM,
    frame: WholeFrame | None = None,
) -> Evaluation:
    """Scores an open engine on labelled pictures, one or more; data, split: what they are called. The rest as `evaluate_folder`.

    identify_from: the score from which the detector alone names a cell. frame: each picture is laid into one of that size. A
    `SplitData` brings what was left out with it.
    """
    if not pictures:
        raise DataError(f"{data}/{split}: no picture to score on. Name another folder or split.")
    results = [judge_picture(engine, picture, identify_from, frame) for picture in counted(pictures, progress)]
    result = replace(score(engine, results, data, split, resamples, seed, pictures, identify_from), frame=frame)
    if isinstance(pictures, SplitData):
        result = replace(result, notes=(*result.notes, *pictures.readings, *_another_aspect(engine.pixel_aspect, pictures)))
    if result.coco.map50 < NEAR_ZERO and all(inspect_picture(picture.path).turn != 1 for picture in pictures):
        return replace(result, notes=(*result.notes, f"All {len(pictures)} pictures bear an EXIF turn; {EXIF_TURN}."))
    return result


def _another_aspect(made_for: float, pictures: SplitData) -> Iterator[str]:
    """Of a bundle that was made for squeezed cells, shown round ones."""
    if made_for != 1 and not any(one.stated_by == OPTION for one in pictures.aspects):
        yield f"The bundle was made for pixel aspect {made_for:g}, and cells here are round: judge it on its squares, with {OPTION} 1."


def tell_pictures(
    engine: NetworkEngine,
    pictures: Sequence[LabelledImage],
    progress: Progress | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    identify_from: float = IDENTIFY_FROM,
    frame: WholeFrame | None = None,
) -> tuple[tuple[Told, ...], tuple[PictureResult, ...]]:
    """What each look tells of pictures, also of those without a labelled cell; and of each picture. The rest as `evaluate_pictures`."""
    results = [judge_picture(engine, picture, identify_from, frame) for picture in counted(pictures, progress)]
    films, known = films_of([r.shown.path.name for r in results])
    units = films if known else [str(number) for number in range(len(results))]
    return _told(engine, results, films, units, known, resamples, seed, identify_from), tuple(results)


def counted(pictures: Sequence[LabelledImage], progress: Progress | None) -> Iterator[LabelledImage]:
    """The pictures one after the other; `progress` hears when the caller is done with each."""
    for done, picture in enumerate(pictures, 1):
        yield picture
        if progress is not None:
            progress(done, len(pictures))


def score(
    engine: NetworkEngine,
    results: Sequence[PictureResult],
    data: str,
    split: str,
    resamples: int = RESAMPLES,
    seed: int = 0,
    pictures: Sequence[LabelledImage] = (),
    identify_from: float = IDENTIFY_FROM,
) -> Evaluation:
    """The evaluation of what an engine said of `pictures`; needs the engine only for what it tells of itself."""
    taxonomy = engine.info.taxonomy
    judged = [r.judged for r in results]
    white = [white_cells(j, taxonomy) for j in judged]
    limits = BoxLimits.of(results, white, engine.thresholds)
    yolo, boxes, types = yolo_ap(judged), coco_boxes(engine.thresholds), type_confusion(results, taxonomy)
    names, patients_known = films_of([r.shown.path.name for r in results])
    films = score_films(names, [r.shown.truth_classes for r in results], [r.shown.classes for r in results], taxonomy)
    labels, probabilities = (np.concatenate([getattr(r, f) for r in results]) for f in ("labels", "probabilities"))
    rows, scores = published_scores(
        np.concatenate([r.published_labels for r in results]), np.concatenate([r.published_told for r in results])
    )
    keys = [taxonomy.attributes[i].key for i in two_valued(taxonomy)]
    intervals = None
    # Each field is a unit of its own where no name gives a patient, with all its copies.
    units = names
    if not patients_known and resamples:
        units = field_units([r.shown.path for r in results], by_patient=False)
    told = _told(engine, results, names, units, patients_known, resamples, seed, identify_from)
    seen = overlap(engine.trained_on, [r.shown.path.name for r in results])
    if resamples:
        often = frequent_types(yolo, taxonomy)
        intervals = intervals_of(results, white, units, films if patients_known else None, often, taxonomy, resamples, seed, boxes)
    return Evaluation(
        engine=engine.info,
        intended_use=engine.intended_use,
        must_not_be_used_for=engine.must_not_be_used_for,
        pixel_aspect=engine.pixel_aspect,
        data=data,
        split=split,
        yolo=yolo,
        coco=coco_ap(judged, boxes),
        ultralytics=ultralytics_ap(judged),
        wbc=ByRule.score(white, boxes),
        wbc_cells=sum(j.n_truths for j in white),
        working_point=WorkingPoint.of(engine.thresholds, types),
        box_limits=limits,
        scored=pictures if isinstance(pictures, SplitData) else SplitData(tuple(pictures), len(results)),
        notes=tuple(filter(None, (seen.words, limits.words))),
        trained_on=seen,
        confusion=types,
        attributes=score_attributes(labels, probabilities, taxonomy),
        attribute_confusions={
            a.key: confusion(labels[:, column], probabilities[:, group])
            for column, (a, group) in enumerate(zip(taxonomy.attributes, taxonomy.groups, strict=True))
        },
        published=Published(rows, dict(zip(keys, scores, strict=True)) if rows else {}),
        told=told,
        concepts=concept_score(engine, results),
        films=tuple(films),
        patients_known=patients_known,
        intervals=intervals,
        examples=tuple(r.shown for r in results),
        median_ms={stage: float(np.median([r.timings_ms[stage] for r in results])) for stage in results[0].timings_ms},
    )


def _told(
    engine: NetworkEngine,
    results: Sequence[PictureResult],
    films: Sequence[str],
    units: Sequence[str],
    patients_known: bool,
    resamples: int,
    seed: int,
    identify_from: float,
) -> tuple[Told, ...]:
    """The looks that every picture has: the detector alone first, then the second look, which the appliance shows."""
    naming = engine.info.naming
    rules = {
        DETECTOR: f"a type from a score of {identify_from:g} on",
        SECOND_LOOK: f"by the naming layer {naming.label}" if naming is not None else "by the naming layer",
    }
    return tuple(
        score_look(
            [r.looks[look] for r in results],
            look,
            rule,
            films,
            units,
            patients_known,
            engine.info.taxonomy,
            resamples,
            seed,
        )
        for look, rule in rules.items()
        if all(look in r.looks for r in results)
    )

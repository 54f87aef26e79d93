"""How far an engine's answer lies from any tie: of its threshold, of the second type, of each attribute's second value.

What lies near a tie is decided by the last bits of a number, and so differs between two ways of computing that are both right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from typing_extensions import Self

from engines.decode import Candidates, box_iou, candidates, inside_frame
from engines.detections import Detections, Float32, Image, Int64
from engines.runtime.engine import NetworkEngine, nearest_pairs
from engines.taxonomy import Taxonomy

_FAINT = 0.02
"""Score from which something below the threshold is looked at, since it may rise above it elsewhere."""


@dataclass(frozen=True, eq=False)
class Margins:
    """How far the answer to one picture lies from any tie, by what was found on it, N boxes, those below the threshold too.

    boxes_px: (N, 4) in px of the picture. classes: (N,); -1 below the threshold. each: (N,) the least of: score against the threshold,
    the type's score against the second type's, half the distance of each attribute's best value to its second, where attributes are
    told. types: (N,) the second of these alone.
    """

    boxes_px: Float32
    classes: Int64
    each: Float32
    types: Float32

    @property
    def least(self) -> float:
        """Of the whole picture; 0 where nothing is found."""
        return float(self.each.min(initial=1.0)) if (self.classes >= 0).any() else 0.0


def margins_of(engine: NetworkEngine, image: Image) -> Margins:
    """Looks at one picture (BGR, uint8) with an open engine. Raises InferenceError."""
    proposals = engine.propose(image)
    rows, threshold = proposals.rows.copy(), engine.thresholds.confidence
    seen = candidates(rows, replace(engine.thresholds, confidence=min(_FAINT, threshold)))
    told = seen.scores > threshold
    types = _type_margins(rows, seen)
    each = np.abs(seen.scores - threshold)
    if engine.describes:
        types_and_attributes = np.minimum(types, attribute_margins(engine.describe(seen.boxes_px), engine.info.taxonomy))
    else:  # what nobody tells cannot be told otherwise
        types_and_attributes = types
    each[told] = np.minimum(each, types_and_attributes)[told]
    boxes_px = proposals.letterbox.to_frame(seen.boxes_px)
    return Margins(boxes_px, np.where(told, seen.classes, -1), each, types)


def type_margins(engine: NetworkEngine, image: Image) -> Float32:
    """By how much the type of each cell that `engine.infer` tells leads the second one, in its order; for `golden.json`."""
    proposals = engine.propose(image)
    found = candidates(proposals.rows, engine.thresholds)
    every = _type_margins(proposals.rows, found)
    margins: Float32 = every[inside_frame(proposals.letterbox.to_frame(found.boxes_px))]
    return margins


def _type_margins(rows: Float32, found: Candidates) -> Float32:
    """By how much the best type's score leads the second's, of candidates found in these rows: a row is known by its box."""
    if not len(found):
        return np.zeros(0, np.float32)
    if rows.shape[1] < 7:  # one class: there is no second type
        return np.asarray(found.scores, np.float32)
    scores = np.sort(rows[:, 5:] * rows[:, 4:5], 1)
    centre, half = rows[:, :2], rows[:, 2:4] / 2
    boxes_px = np.concatenate((centre - half, centre + half), 1)
    off = np.array(
        [np.abs(boxes_px - box).max(1) + np.abs(scores[:, -1] - score) for box, score in zip(found.boxes_px, found.scores, strict=True)]
    )
    at = off.argmin(1)
    margins: Float32 = (scores[at, -1] - scores[at, -2]).astype(np.float32)
    return margins


def attribute_margins(probabilities: Float32, taxonomy: Taxonomy) -> Float32:
    """The least `attribute_lead` of each box over all attributes that are told, (N,); infinite where none is told."""
    ends = np.cumsum([len(attribute.values) for attribute in taxonomy.attributes])[:-1]
    leads = [attribute_lead(values) for values in np.split(probabilities, ends, axis=1) if not _untold(values)]
    least: Float32 = np.min([np.full(len(probabilities), np.inf, np.float32), *leads], axis=0)
    return least


def _untold(probabilities: Float32) -> bool:
    """Whether an attribute is told of no box, as of one that is no concept of a bottleneck; it cannot be told otherwise."""
    return bool(np.isnan(probabilities).all())


def attribute_lead(probabilities: Float32) -> Float32:
    """Half of how far the best of one attribute's values (N, values) leads the second: of two values the distance from .5."""
    ordered = np.sort(probabilities, 1)
    lead: Float32 = ((ordered[:, -1] - ordered[:, -2]) / 2).astype(np.float32)
    return lead


@dataclass(frozen=True, eq=False)
class Answer:
    """What an engine said of one picture, and by how much each cell's type led the second (N,)."""

    detections: Detections
    types: Float32

    @classmethod
    def of(cls, engine: NetworkEngine, image: Image) -> Self:
        """Looks at one picture with an open engine. Raises InferenceError."""
        types = type_margins(engine, image)
        return cls(engine.infer(image).detections, types)


def disagreement(
    engine: NetworkEngine, image: Image, reference: Answer, corner_px: float, tolerance: float, share: float = 0.05
) -> str | None:
    """What an open engine says of a picture otherwise than `reference` beyond its near ties, in words; None where there is nothing.

    A cell whose score lies further than `tolerance` from the threshold needs its equal: IoU .7 or more, every corner within `corner_px`
    or within `share` of the box's longer side, the score within `tolerance`, the same type unless the second was nearer than
    that, and so with each attribute's probabilities. Of an engine with a naming layer only boxes and scores are compared: types and
    attributes are told by its second look. Raises InferenceError.
    """
    return next(_differences(engine, image, reference, corner_px, tolerance, share), None)


def _differences(
    engine: NetworkEngine, image: Image, reference: Answer, corner_px: float, tolerance: float, share: float
) -> Iterator[str]:
    # Each comparison is written so that a NaN is a difference.
    expected, types, found = reference.detections, reference.types, engine.infer(image).detections
    first, second = nearest_pairs(1 - box_iou(expected.boxes_px, found.boxes_px), 0.3)
    for words, told, paired in (("is not found", expected, first), ("is found that is none", found, second)):
        alone = np.delete(told.scores, paired)
        if not (alone <= engine.thresholds.confidence + tolerance).all():
            yield f"a cell of score {alone.max():.2f} {words}"
    one, other = expected.select(first), found.select(second)
    longest_px = (one.boxes_px[:, 2:] - one.boxes_px[:, :2]).max(1)
    off_px = np.abs(one.boxes_px - other.boxes_px).max(1)
    if not (off_px <= np.maximum(corner_px, share * longest_px)).all():
        yield f"a box lies {off_px.max():.1f} px elsewhere"
    off = np.abs(one.scores - other.scores)
    if not (off <= tolerance).all():
        yield f"a score differs by {off.max():.3f}"
    if engine.naming is not None:  # what is told of a cell is the second look's, which is float32 in every precision
        return
    if ((one.classes != other.classes) & ~(types[first] <= tolerance)).any():
        yield "a cell has another type"
    if not engine.describes:
        return
    start = 0
    for attribute in engine.info.taxonomy.attributes:
        values, theirs = (some.attributes[:, start : start + len(attribute.values)] for some in (one, other))
        start += len(attribute.values)
        if _untold(values) and _untold(theirs):
            continue
        clear = ~(attribute_lead(values) <= tolerance)
        if ((values.argmax(1) != theirs.argmax(1)) & clear).any() or not np.isfinite(theirs).all():
            yield f"a cell's {attribute.name} is told otherwise"

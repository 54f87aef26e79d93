"""Whether what an engine says has a meaning: shapes, classes of the taxonomy, numbers that are numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engines.decode import ROUNDING
from engines.detections import CellNames, Detections, Image
from engines.errors import InferenceError
from engines.taxonomy import Taxonomy

MOST_BOXES = 10_000
"""More than any manifest lets an engine give of one picture."""


def sound(found: Detections, taxonomy: Taxonomy, image: Image) -> Detections:
    """`found`, said of `image`, without the boxes that have no meaning; `non_finite` counts these, and values that are no probability.

    Left out is a box whose corners are no numbers, in the wrong order or outside the picture, or whose score is none from 0 to 1. An
    attribute that is no probability becomes unknown (NaN), as the decoder leaves one that was not computed.
    Raises InferenceError for arrays of another shape, a class that the taxonomy has not, and an answer of which no box has a meaning;
    and where the second look names a cell by what is no number: then the first look's names are better.
    """
    _check_shapes(found, taxonomy)
    if not len(found):
        return found
    if len(found) > MOST_BOXES:
        raise InferenceError(f"it tells {len(found):,} boxes in one picture")
    height, width = image.shape[:2]
    x1, y1, x2, y2 = found.boxes_px.T
    with np.errstate(invalid="ignore"):
        keep = (x1 < x2) & (y1 < y2) & (x1 < width) & (y1 < height) & (x2 > 0) & (y2 > 0) & np.isfinite(found.boxes_px).all(1)
        keep &= (found.scores >= -ROUNDING) & (found.scores <= 1 + ROUNDING)
    lost = int(np.count_nonzero(~keep))
    if lost == len(found):
        raise InferenceError(f"none of the {lost} boxes that it tells has a meaning (no numbers, or outside the picture)")
    if lost:
        found = found.select(keep)
    strange = (found.attributes < -ROUNDING) | (found.attributes > 1 + ROUNDING)  # an infinity too; a NaN is unknown
    values = int(np.count_nonzero(strange.any(1)))
    if values:
        found = replace(found, attributes=np.where(strange, np.float32(np.nan), found.attributes))
    if found.scores.min() < 0 or found.scores.max() > 1:
        found = replace(found, scores=found.scores.clip(0, 1))
    return replace(found, non_finite=found.non_finite + lost + values) if lost or values else found


def _check_shapes(found: Detections, taxonomy: Taxonomy) -> None:
    classes, n = len(taxonomy.classes), len(found)
    if found.attributes.shape != (n, taxonomy.n_logits):
        raise InferenceError(f"it tells attributes of shape {found.attributes.shape}, not {(n, taxonomy.n_logits)}")
    if n and not (int(found.classes.min()) >= 0 and int(found.classes.max()) < classes):
        wrong = next(int(kind) for kind in found.classes if not 0 <= kind < classes)
        raise InferenceError(f"it tells class {wrong}, and the taxonomy has {classes}")
    if found.names is not None:
        _check_names(found.names, n, classes)


def _check_names(names: CellNames, n: int, classes: int) -> None:
    shapes = names.probabilities.shape, len(names.types), len(names.groups), len(names.distances)
    if shapes != ((n, classes), n, n, n):
        raise InferenceError(f"its second look tells {shapes}, not {n} cells of {classes} classes")
    if n and not (int(names.types.min()) >= -1 and int(names.types.max()) < classes):
        raise InferenceError(f"its second look tells a class that the taxonomy's {classes} do not have")
    fine = (names.probabilities >= -ROUNDING) & (names.probabilities <= 1 + ROUNDING)
    bad = int(np.count_nonzero(~(fine.all(1) & np.isfinite(names.distances))))
    if bad:
        raise InferenceError(f"its second look names {bad} of {n} cells by what is no number")

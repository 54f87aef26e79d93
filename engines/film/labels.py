"""What rendered film can draw, and its truth in the codes of a taxonomy: by names of classes, attributes and values, not by number."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from engines.detections import Int64
from engines.errors import DataError
from engines.film.morphology import ATTRIBUTES, TYPES
from engines.film.slide import FieldTruth
from engines.taxonomy import UNKNOWN, Taxonomy


def require_drawable(taxonomy: Taxonomy) -> None:
    """Raises DataError for a taxonomy with a class, an attribute or a value that is never drawn, or without a class that is."""
    values = {key: set(words) for key, words in ATTRIBUTES}
    never = [f"'{name}'" for name in taxonomy.classes if name not in TYPES]
    never += [f"'{a.name}'" for a in taxonomy.attributes if set(a.values) != values.get(a.key)]
    lacking = [f"'{name}'" for name in TYPES if name not in taxonomy.classes]
    if never or lacking:
        words = [f"cannot draw {_list(never)}" if never else "", f"draws {_list(lacking)}, which the taxonomy lacks" if lacking else ""]
        advice = "render without --taxonomy: its labels are read with a taxonomy of your own by name"
        raise DataError(f"rendered film {' and '.join(filter(None, words))}; {advice}")


def labels(truth: FieldTruth, taxonomy: Taxonomy) -> tuple[Int64, Int64]:
    """Classes (N,) and attributes (N, A) in the taxonomy's codes; UNKNOWN for attributes that are not drawn.

    Raises DataError for a class that the taxonomy lacks.
    """
    lacking = [name for code, name in enumerate(TYPES) if name not in taxonomy.classes and code in truth.classes]
    if lacking:
        raise DataError(f"rendered film shows {_list(lacking)}, which the taxonomy lacks; render another case")
    codes = np.array([taxonomy.classes.index(name) if name in taxonomy.classes else UNKNOWN for name in TYPES], np.int64)
    attributes = np.full((len(truth), len(taxonomy.attributes)), UNKNOWN, np.int64)
    drawn = {key: (column, words) for column, (key, words) in enumerate(ATTRIBUTES)}
    for place, attribute in enumerate(taxonomy.attributes):
        if attribute.key in drawn:
            column, words = drawn[attribute.key]
            values = np.array([attribute.values.index(w) if w in attribute.values else UNKNOWN for w in words] + [UNKNOWN], np.int64)
            attributes[:, place] = values[truth.attributes[:, column]]  # UNKNOWN is -1, the last
    return codes[truth.classes], attributes


def _list(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last

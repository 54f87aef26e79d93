"""From what the engine says of a counted frame to the slide's cells, and what the first of them say of the film."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from device.slide.model import Cell
from engines.detections import Detections
from engines.naming.foreign import film_likeness
from engines.naming.layer import FIRST_CELLS
from engines.taxonomy import Taxonomy


def read_cells(detections: Detections, taxonomy: Taxonomy, identify_threshold: float) -> tuple[Cell, ...]:
    """The cells of one frame, without crops.

    Without a second look a type is told from a score of `identify_threshold` on. With one the naming layer's word counts: a cell whose
    type is not told has the class of the white cell, of its group where that is told, that it is most like; so only what is told as the
    artefact is one.
    """
    boxes, scores, names = detections.boxes_px.tolist(), detections.scores.tolist(), detections.names
    firsts = [
        Cell(kind, score, score >= identify_threshold, (box[0], box[1], box[2], box[3]), attributes)
        for box, score, kind, attributes in zip(boxes, scores, detections.classes.tolist(), detections.attributes, strict=True)
    ]
    if names is None:
        return tuple(firsts)
    white = [i for i in range(len(taxonomy.classes)) if not taxonomy.is_artefact(i)]
    blasts = list(taxonomy.blast_codes)
    cells = []
    for at, first in enumerate(firsts):
        shares, told = names.probabilities[at], int(names.types[at])
        group = [i for i in white if names.groups[at] in ("", taxonomy.group_of(i))]
        kind = told if told >= 0 else max(group, key=lambda i: float(shares[i]))
        cells.append(
            Cell(
                kind,
                first.score,
                told >= 0,
                first.box_px,
                first.attributes,
                group=names.groups[at],
                probability=float(shares[kind]),
                blast_probability=float(shares[blasts].sum()),
                distance=float(names.distances[at]),
            )
        )
    return tuple(cells)


def is_foreign(cells: Iterable[Cell], taxonomy: Taxonomy) -> bool | None:
    """Whether the first white cells say that the film is unlike all that the naming layer knows; None where there are too few of them,
    or the layer cannot tell."""
    white = (cell.distance for cell in cells if cell.distance is not None and not taxonomy.is_artefact(cell.class_index))
    return {"unlike": True, "known": False}.get(film_likeness(list(islice(white, FIRST_CELLS))).verdict)

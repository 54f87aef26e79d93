"""Slides to review: cells told by a word each, on one or more fields and charts."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np

from device.slide.model import Cell, Field, Place, Slide, SlideState
from engines.taxonomy import LEUKEMIA_ATTRI

BEGUN = datetime(2026, 11, 23, 18, 15, 12, tzinfo=timezone.utc)
A_BLAST_PERHAPS = "blast?"
"""An unidentified cell whose likest type is a blast."""


def cell(
    said: str, cell_id: int = 0, score: float = 0.9, box: tuple[float, float, float, float] = (100.0, 100.0, 180.0, 180.0)
) -> Cell:
    """said: a class, a told group, "" for unidentified, or A_BLAST_PERHAPS."""
    taxonomy = LEUKEMIA_ATTRI
    attributes = np.full(taxonomy.n_logits, 0.5, np.float32)
    if said in taxonomy.classes:
        index = taxonomy.classes.index(said)
        return Cell(index, score, True, box, attributes, group=taxonomy.group_of(index), cell_id=cell_id)
    likest = taxonomy.classes.index("Myeloblast" if said in ("blasts", A_BLAST_PERHAPS) else "Neutrophil")
    return Cell(likest, score, False, box, attributes, group=said if said in ("blasts", "others") else "", cell_id=cell_id)


def slide(*fields: tuple[str, ...], charts: tuple[int, ...] = (), number_cells: bool = True) -> Slide:
    """A finished slide: for each field the words of its cells. charts: of each field, 1 where none is given; the way to
    each but the first was lost."""
    made, cell_id = [], 0
    for index, words in enumerate(fields, 1):
        cells = []
        for at, word in enumerate(words):
            cell_id += 1
            left = 20.0 + 90.0 * (at % 20)
            top = 20.0 + 90.0 * (at // 20)
            cells.append(cell(word, cell_id if number_cells else 0, 0.5 + cell_id % 50 / 100, (left, top, left + 80, top + 80)))
        chart = charts[index - 1] if charts else 1
        when = BEGUN + timedelta(seconds=2 * index)
        made.append(Field(index, when, "a", (1920, 1080), 100.0, tuple(cells), place=Place(chart, 0.0, 2000.0 * index)))
    end = BEGUN + timedelta(minutes=5)
    return Slide("20261123-181512-4f9a2c", BEGUN, SlideState.REVIEW, end, fields=tuple(made), lost_rests=max(0, len(set(charts)) - 1))


def ordinary(*more: str, lymphocytes: int = 100) -> Slide:
    """So many lymphocytes that no reason is needed, and `more` on a field of their own."""
    return slide(("Lymphocyte",) * lymphocytes, more)

"""What is said of a cell, by the engine or by a person, as one word: the name of a class, the key of a told group or of a person's
class, "" for an unidentified cell. The person's word goes before the engine's."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from device.slide.model import Cell, Slide
from engines.taxonomy import Taxonomy

ARTEFACT = "artefact"
"""Key of the person's class that means the same as the taxonomy's artefact."""
NOT_CLASSED = "not_classed"
BLASTS = "blasts"
"""Key of the told group that counts as blasts (`engines.taxonomy.CellGroup`)."""


def pre_class(cell: Cell, taxonomy: Taxonomy, groups_only: bool = False) -> str:
    """What the engine says of `cell`, whatever a person says; groups_only: as `Cell.told`. Not of a cell that `with_verdict` made."""
    if taxonomy.is_artefact(cell.class_index):
        return ARTEFACT
    told = (replace(cell, verdict="") if cell.verdict else cell).told(groups_only)
    return told if isinstance(told, str) else taxonomy.classes[told]


def said(cell: Cell, taxonomy: Taxonomy, groups_only: bool = False) -> str:
    """What is said of `cell`: the person's verdict, or the engine's pre-class."""
    return as_verdict(cell.verdict, taxonomy) if cell.verdict else pre_class(cell, taxonomy, groups_only)


def as_verdict(word: str, taxonomy: Taxonomy) -> str:
    """`word` as a verdict is written; the artefact's class is the person's "artefact". ValueError if the taxonomy knows none such."""
    if word not in _known(taxonomy):
        raise ValueError(f"'{word}' is no class of this taxonomy")
    return ARTEFACT if word == taxonomy.artefact else word


@lru_cache(maxsize=8)
def _known(taxonomy: Taxonomy) -> frozenset[str]:
    return frozenset((*taxonomy.classes, *verdicts(taxonomy)))


def verdicts(taxonomy: Taxonomy) -> tuple[str, ...]:
    """All words that a person can say: the classes in the taxonomy's order, the told groups, the person's classes."""
    types = (name for name in taxonomy.classes if name != taxonomy.artefact)
    return (*types, *(group.key for group in taxonomy.told_groups), *(one.key for one in taxonomy.person_classes))


def is_blast(word: str, taxonomy: Taxonomy) -> bool:
    """Whether what is said is a blast or an equivalent, of certain or uncertain kind."""
    return word == BLASTS or word in taxonomy.blasts


def name_of(word: str, taxonomy: Taxonomy) -> str:
    """What is said, for people: "Myeloblast", "Blast or equivalent, kind uncertain", "Smudge cell"; "Unidentified" for ""."""
    if person := taxonomy.person_class(word):
        return person.name
    return next((group.name for group in taxonomy.told_groups if group.key == word), word) or "Unidentified"


def with_verdict(cell: Cell, verdict: str, taxonomy: Taxonomy) -> Cell:
    """`cell` as a person said it is: type, group and artefact of it follow, so that whatever counts or draws cells need know no more.

    What the engine said of it is in the slide as it was counted. "" gives the cell back as it is.
    """
    if not verdict:
        return cell
    verdict = as_verdict(verdict, taxonomy)
    if verdict in taxonomy.classes:
        index = taxonomy.classes.index(verdict)
        return replace(cell, verdict=verdict, class_index=index, identified=True, group=taxonomy.group_of(index))
    if taxonomy.person_class(verdict) is None:  # a group
        alike = taxonomy.group_of(cell.class_index) == verdict
        members = (i for i in range(len(taxonomy.classes)) if taxonomy.group_of(i) == verdict)
        return replace(
            cell, verdict=verdict, class_index=cell.class_index if alike else next(members, 0), identified=False, group=verdict
        )
    artefact = next(iter(taxonomy.artefact_codes), cell.class_index)
    return replace(cell, verdict=verdict, class_index=artefact, identified=False, group="")


def numbered(slide: Slide) -> Slide:
    """`slide` with an id for each of its cells: those that have none (records that knew none) get the next, by field and place."""
    if all(cell.cell_id for cell in slide.cells):
        return slide
    next_id = 1 + max((cell.cell_id for field in slide.fields for cell in (*field.cells, *field.seen)), default=0)
    fields = []
    for field in slide.fields:
        cells = []
        for cell in field.cells:
            cells.append(cell if cell.cell_id else replace(cell, cell_id=next_id))
            next_id += not cell.cell_id
        fields.append(replace(field, cells=tuple(cells)))
    return replace(slide, fields=tuple(fields))

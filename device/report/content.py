"""What a slide's page says, as plain values made from the counted slide; how it is laid out is the template's, writing it `page`'s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timezone

import numpy as np

from device.display.palette import TEXT, TypeStyle, group_styles, type_styles
from device.display.words import attribute_phrases
from device.mqtt.payloads import AttributeShares
from device.report.case import Case
from device.slide.bank import MARGIN_SHARE, UNIDENTIFIED, BankCell, morphology_bank
from device.slide.description import CLEAR_MAJORITY, attribute_majorities
from device.slide.model import Cell
from device.slide.verdict import BLASTS, name_of, said
from engines.pages import data_uri
from engines.taxonomy import MIXED, Taxonomy

PER_TYPE = 12
"""Cells of one type that the bank shows."""
_SCALE_AT = 0.95
"""Crops share one scale at which so many of them fit their tile; the few larger ones are reduced, and say so."""
UNIDENTIFIED_STYLE = TypeStyle(UNIDENTIFIED, TEXT, "ring", "?", blast=False, artefact=False)


@dataclass(frozen=True)
class Tile:
    """One cell of the bank. uri: its picture as data; width, height: in shares of the tile.

    words: its known attributes ("open chromatin", with "?" where doubtful), each with whether its type has another majority.
    certainty: probability of what it is told as, without a second look its score; blast_percent: None where that is this, or unknown.
    """

    uri: str
    width: float
    height: float
    reduced: bool
    certainty: float
    blast_percent: float | None
    unlike: bool  # all that the naming layer knows
    field_index: int
    words: tuple[tuple[str, bool], ...]
    closest: str  # for a cell whose type is not told: the type that it looked most like
    said_by: str = ""  # who looked at it or named it, and when
    was: str = ""  # what the engine had told, where a person said otherwise


def styles(taxonomy: Taxonomy) -> dict[int | str, TypeStyle]:
    """The look of each type and group, and of the unidentified, by what is told (`Cell.told`); groups with their whole names."""
    groups = {key: replace(style, name=taxonomy.group(key).name) for key, style in group_styles(taxonomy).items()}
    looks: dict[int | str, TypeStyle] = {"": UNIDENTIFIED_STYLE}
    looks.update(enumerate(type_styles(taxonomy)))
    looks.update(groups)
    return looks


def majority(attribute: AttributeShares, cells: int) -> tuple[str, str, float]:
    """Of one attribute of a type with `cells` cells: "clear", "mixed" or "unknown", the word, its share in per cent."""
    best = max(attribute.shares, key=lambda s: s.count)
    if 2 * attribute.known <= cells:
        return "unknown", "", 0.0
    return "clear" if best.count >= CLEAR_MAJORITY * attribute.known else "mixed", best.value, best.percent


def bank(case: Case, um_per_px: float | None) -> tuple[list[tuple[TypeStyle, int, list[Tile]]], float | None]:
    """The slide's cells by type and group, all at one scale: the same share of the field's width is the same width on the page.

    Returns of each its style, the number of its cells and those that are shown, and what the width of a tile measures in um (or None).
    um_per_px: of the slide's frames; the scale is given only where they are all of one size.
    """
    slide, taxonomy = case.slide, case.taxonomy
    rows = morphology_bank(slide, taxonomy, PER_TYPE)
    frames = {field.index: field.size_px for field in slide.fields}
    sizes = [max(_crop_size(cell, frames[cell.field_index])) for row in rows for cell in row.cells]
    tile = float(np.quantile(sizes, _SCALE_AT, method="higher")) if sizes else 1.0
    groups, looks = [], styles(taxonomy)
    for row in rows:
        alike = [cell for cell in slide.cells if slide.told(cell) == row.told != ""]
        usual = attribute_majorities(alike, taxonomy)
        tiles = [_reviewed(_tile(c, row.told, frames[c.field_index], tile, taxonomy, usual), c.cell, case) for c in row.cells]
        groups.append((looks[row.told], row.count, tiles))
    one_size = len({size[0] for size in frames.values()}) == 1
    if not sizes or not one_size or um_per_px is None:
        return groups, None
    return groups, tile * slide.fields[0].size_px[0] * um_per_px


def _reviewed(tile: Tile, cell: Cell, case: Case) -> Tile:
    """With who said so and when, and what was told before."""
    entry, pre = case.looked_at.get(cell.cell_id), case.pre.get(cell.cell_id)
    if entry is None:
        return tile
    foreign = bool(case.slide.foreign)
    before = said(pre, case.taxonomy, foreign) if pre is not None else None
    was = "" if before is None or before == said(cell, case.taxonomy, foreign) else name_of(before, case.taxonomy)
    return replace(tile, said_by=f"{entry.who}, {entry.at.astimezone(timezone.utc):%d %b %H:%M}", was=was)


def _crop_size(shown: BankCell, frame_px: tuple[int, int]) -> tuple[float, float]:
    """Width and height of what the crop shows, in shares of its frame's width; a large crop is stored with fewer pixels than that."""
    x1, y1, x2, y2 = shown.cell.box_px
    margin = MARGIN_SHARE * max(x2 - x1, y2 - y1)
    width = min(frame_px[0], x2 + margin) - max(0.0, x1 - margin)
    height = min(frame_px[1], y2 + margin) - max(0.0, y1 - margin)
    return width / frame_px[0], height / frame_px[0]


def _tile(
    shown: BankCell, told: int | str, frame_px: tuple[int, int], tile: float, taxonomy: Taxonomy, usual: Mapping[str, str]
) -> Tile:
    cell = shown.cell
    differs = [usual.get(key, word) not in (word, MIXED) for key, word in cell.attribute_words(taxonomy).items()]
    phrases = attribute_phrases(cell.attributes, taxonomy)
    width, height = _crop_size(shown, frame_px)
    by = max(tile, width, height)
    return Tile(
        uri=data_uri(cell.crop_jpeg),
        width=width / by,
        height=height / by,
        reduced=by > tile,
        certainty=cell.certainty(told),
        blast_percent=None if told == BLASTS or cell.blast_probability is None else 100 * cell.blast_probability,
        unlike=(cell.distance or 0) > 1,
        field_index=shown.field_index,
        words=tuple((phrase.words, other) for phrase, other in zip(phrases, differs, strict=True)),
        closest=taxonomy.classes[cell.class_index] if isinstance(told, str) else "",
    )

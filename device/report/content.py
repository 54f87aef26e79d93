"""What a slide's page says, as plain values made from the counted slide; how it is laid out is the template's, writing it `page`'s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from device.display.palette import TEXT, TypeStyle, type_styles
from device.display.words import attribute_phrases
from device.mqtt.payloads import AttributeShares
from device.slide.bank import MARGIN_SHARE, UNIDENTIFIED, BankCell, morphology_bank
from device.slide.description import CLEAR_MAJORITY, attribute_majorities
from device.slide.model import Slide
from engines.pages import data_uri
from engines.taxonomy import MIXED, Taxonomy

PER_TYPE = 12
"""Cells of one type that the bank shows."""
_NORMAL_95 = 1.959964
"""Half width of the central 95 % of a normal distribution, in standard deviations."""
_SCALE_AT = 0.95
"""Crops share one scale at which so many of them fit their tile; the few larger ones are reduced, and say so."""
UNIDENTIFIED_STYLE = TypeStyle(UNIDENTIFIED, TEXT, "ring", "?", blast=False, artefact=False)


@dataclass(frozen=True)
class Tile:
    """One cell of the bank. uri: its picture as data; width, height: in shares of the tile.

    words: its known attributes ("open chromatin", with "?" where doubtful), each with whether its type has another majority.
    """

    uri: str
    width: float
    height: float
    reduced: bool
    score: float
    field_index: int
    words: tuple[tuple[str, bool], ...]
    closest: str  # for a cell that could not be named: the type that it looked most like


def wilson_percent(count: int, total: int) -> tuple[float, float]:
    """The 95 % score interval of a share, in per cent (Wilson 1927): what counting so few cells leaves open; 0 to 100 of nothing."""
    if not total:
        return 0.0, 100.0
    z2 = _NORMAL_95**2
    centre = (count + z2 / 2) / (total + z2)
    half = _NORMAL_95 / (total + z2) * (count * (total - count) / total + z2 / 4) ** 0.5
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)


def majority(attribute: AttributeShares, cells: int) -> tuple[str, str, float]:
    """Of one attribute of a type with `cells` cells: "clear", "mixed" or "unknown", the word, its share in per cent."""
    best = max(attribute.shares, key=lambda s: s.count)
    if 2 * attribute.known <= cells:
        return "unknown", "", 0.0
    return "clear" if best.count >= CLEAR_MAJORITY * attribute.known else "mixed", best.value, best.percent


def bank(slide: Slide, taxonomy: Taxonomy, um_per_px: float | None) -> tuple[list[tuple[TypeStyle, int, list[Tile]]], float | None]:
    """The slide's cells by type, all at one scale: the same share of the field's width is the same width on the page.

    Returns of each type its style, the number of its cells and the best of them, and what the width of a tile measures in um (or None).
    um_per_px: of the slide's frames; the scale is given only where they are all of one size.
    """
    rows = morphology_bank(slide, taxonomy, PER_TYPE)
    frames = {field.index: field.size_px for field in slide.fields}
    sizes = [max(_crop_size(cell, frames[cell.field_index])) for row in rows for cell in row.cells]
    tile = float(np.quantile(sizes, _SCALE_AT, method="higher")) if sizes else 1.0
    groups = []
    for row in rows:
        style = UNIDENTIFIED_STYLE if row.class_index is None else type_styles(taxonomy)[row.class_index]
        alike = [cell for cell in slide.cells if cell.identified and cell.class_index == row.class_index]
        usual = attribute_majorities(alike, taxonomy)
        tiles = [_tile(cell, frames[cell.field_index], tile, taxonomy, usual, style is UNIDENTIFIED_STYLE) for cell in row.cells]
        groups.append((style, row.count, tiles))
    one_size = len({size[0] for size in frames.values()}) == 1
    if not sizes or not one_size or um_per_px is None:
        return groups, None
    return groups, tile * slide.fields[0].size_px[0] * um_per_px


def _crop_size(shown: BankCell, frame_px: tuple[int, int]) -> tuple[float, float]:
    """Width and height of what the crop shows, in shares of its frame's width; a large crop is stored with fewer pixels than that."""
    x1, y1, x2, y2 = shown.cell.box_px
    margin = MARGIN_SHARE * max(x2 - x1, y2 - y1)
    width = min(frame_px[0], x2 + margin) - max(0.0, x1 - margin)
    height = min(frame_px[1], y2 + margin) - max(0.0, y1 - margin)
    return width / frame_px[0], height / frame_px[0]


def _tile(
    shown: BankCell, frame_px: tuple[int, int], tile: float, taxonomy: Taxonomy, usual: Mapping[str, str], unidentified: bool
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
        score=cell.score,
        field_index=shown.field_index,
        words=tuple((phrase.words, other) for phrase, other in zip(phrases, differs, strict=True)),
        closest=taxonomy.classes[cell.class_index] if unidentified else "",
    )

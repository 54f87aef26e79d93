"""What a slide's page says, as plain values made from the counted slide; how it is laid out is the template's, writing it `page`'s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from device.display.palette import UNIDENTIFIED as UNIDENTIFIED_COLOUR
from device.display.palette import Colour, TypeStyle, type_styles
from device.display.words import attribute_phrases
from device.mqtt.payloads import AttributeShares
from device.mqtt.summary import morphology
from device.slide.bank import MARGIN_SHARE, BankCell, morphology_bank
from device.slide.description import CLEAR_MAJORITY, attribute_majorities
from device.slide.model import Cell, Field, Slide
from device.slide.picture_state import field_faults, shown_faults
from device.slide.tally import Differential, differential
from engines.pages import data_uri
from engines.taxonomy import MIXED, Taxonomy

PER_TYPE = 12
"""Cells of one type that the bank shows."""
_NORMAL_95 = 1.959964
"""Half width of the central 95 % of a normal distribution, in standard deviations."""
_SCALE_AT = 0.95
"""Crops share one scale at which so many of them fit their tile; the few larger ones are reduced, and say so."""


@dataclass(frozen=True)
class Mark:
    """How a type is told from the others: colour (six hexadecimal digits with #), marker and code."""

    colour: str
    marker: str
    code: str


UNIDENTIFIED_MARK = Mark("#{2:02x}{1:02x}{0:02x}".format(*UNIDENTIFIED_COLOUR), "ring", "?")


@dataclass(frozen=True)
class Share:
    """A count, its share of all white blood cells in per cent, and the range of shares that chance alone leaves open (95 %)."""

    name: str
    mark: Mark
    blast: bool
    count: int
    percent: float
    low: float
    high: float


@dataclass(frozen=True)
class Majority:
    """One attribute of one type: the word with most cells and its share of those known. state: "clear", "mixed" or "unknown"."""

    word: str
    percent: float
    state: str


@dataclass(frozen=True)
class TypeMorphology:
    """The words of one type, in the taxonomy's order of attributes."""

    name: str
    mark: Mark
    blast: bool
    cells: int
    majorities: tuple[Majority, ...]


@dataclass(frozen=True)
class Word:
    """One attribute of one cell in words ("open chromatin"), with "?" where it is doubtful. differs: the type has another majority."""

    text: str
    differs: bool


@dataclass(frozen=True)
class Tile:
    """One cell of the bank. uri: its picture as data; width, height: in shares of the tile; words: its known attributes."""

    uri: str
    width: float
    height: float
    reduced: bool
    score: float
    field_index: int
    words: tuple[Word, ...]
    closest: str  # for a cell that could not be named: the type that it looked most like


@dataclass(frozen=True)
class BankGroup:
    """One type of the bank: its best cells, and how many there are."""

    name: str
    mark: Mark
    blast: bool
    count: int
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Bank:
    """The morphology bank. tile_um: what the width of a tile measures on the film in micrometres; None where the scale is not known."""

    groups: tuple[BankGroup, ...]
    tile_um: float | None


def wilson_percent(count: int, total: int) -> tuple[float, float]:
    """The 95 % score interval of a share, in per cent (Wilson 1927): what counting so few cells leaves open; 0 to 100 of nothing."""
    if not total:
        return 0.0, 100.0
    z2 = _NORMAL_95**2
    centre = (count + z2 / 2) / (total + z2)
    half = _NORMAL_95 / (total + z2) * (count * (total - count) / total + z2 / 4) ** 0.5
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)


def share(name: str, mark: Mark, blast: bool, count: int, total: int) -> Share:
    """`count` of `total` white blood cells with its range."""
    low, high = wilson_percent(count, total)
    return Share(name, mark, blast, count, 100 * count / total if total else 0.0, low, high)


def mark_of(style: TypeStyle) -> Mark:
    """The screen's colour, marker and code of a type, for the page."""
    return Mark(_hex(style.colour), style.marker, style.code)


def shares(tally: Differential, taxonomy: Taxonomy) -> tuple[Share, ...]:
    """Every type of the taxonomy, most frequent first, those not seen last in the taxonomy's order."""
    marks = {style.name: mark_of(style) for style in type_styles(taxonomy)}
    ordered = sorted(tally.rows, key=lambda row: -row.count)
    return tuple(share(row.name, marks[row.name], row.blast, row.count, tally.white_cells) for row in ordered)


def morphology_table(slide: Slide, taxonomy: Taxonomy) -> tuple[TypeMorphology, ...]:
    """The majority words of each type that was seen, most frequent first. "mixed" below the same majority as in the description."""
    styles = {style.name: style for style in type_styles(taxonomy)}
    rows = []
    for kind in sorted(morphology(slide.cells, taxonomy), key=lambda k: -k.cells):
        style = styles[kind.name]
        words = tuple(_majority(attribute, kind.cells) for attribute in kind.attributes)
        rows.append(TypeMorphology(kind.name, mark_of(style), style.blast, kind.cells, words))
    return tuple(rows)


def bank(slide: Slide, taxonomy: Taxonomy, um_per_px: float | None) -> Bank:
    """The slide's cells by type, all at one scale: the same share of the field's width is the same width on the page.

    um_per_px: of the slide's frames; the scale is given only where they are all of one size.
    """
    rows = morphology_bank(slide, taxonomy, PER_TYPE)
    frames = {field.index: field.size_px for field in slide.fields}
    sizes = [max(_crop_size(cell, frames[cell.field_index])) for row in rows for cell in row.cells]
    tile = float(np.quantile(sizes, _SCALE_AT, method="higher")) if sizes else 1.0
    groups = []
    for row in rows:
        style = None if row.class_index is None else type_styles(taxonomy)[row.class_index]
        mark, blast = (UNIDENTIFIED_MARK, False) if style is None else (mark_of(style), style.blast)
        usual = {} if style is None else attribute_majorities(_of_type(slide, row.class_index), taxonomy)
        tiles = tuple(_tile(cell, frames[cell.field_index], tile, taxonomy, usual, style is None) for cell in row.cells)
        groups.append(BankGroup(row.name, mark, blast, row.count, tiles))
    one_size = len({size[0] for size in frames.values()}) == 1
    if not sizes or not one_size or um_per_px is None:
        return Bank(tuple(groups), None)
    return Bank(tuple(groups), tile * slide.fields[0].size_px[0] * um_per_px)


def fields(slide: Slide, taxonomy: Taxonomy) -> list[tuple[Field, str, Differential]]:
    """The fields that count, in the order of counting, each with the faults of its picture in words and what was counted in it."""
    faults = map(shown_faults, field_faults(slide))
    return [(field, words, differential(field.cells, taxonomy)) for field, words in zip(slide.fields, faults, strict=True)]


def _hex(colour: Colour) -> str:
    blue, green, red = colour
    return f"#{red:02x}{green:02x}{blue:02x}"


def _majority(attribute: AttributeShares, cells: int) -> Majority:
    best = max(attribute.shares, key=lambda s: s.count)
    if 2 * attribute.known <= cells:
        return Majority("", 0.0, "unknown")
    return Majority(best.value, best.percent, "clear" if best.count >= CLEAR_MAJORITY * attribute.known else "mixed")


def _crop_size(shown: BankCell, frame_px: tuple[int, int]) -> tuple[float, float]:
    """Width and height of what the crop shows, in shares of its frame's width; a large crop is stored with fewer pixels than that."""
    x1, y1, x2, y2 = shown.cell.box_px
    margin = MARGIN_SHARE * max(x2 - x1, y2 - y1)
    width = min(frame_px[0], x2 + margin) - max(0.0, x1 - margin)
    height = min(frame_px[1], y2 + margin) - max(0.0, y1 - margin)
    return width / frame_px[0], height / frame_px[0]


def _of_type(slide: Slide, class_index: int | None) -> list[Cell]:
    return [cell for cell in slide.cells if cell.identified and cell.class_index == class_index]


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
        words=tuple(Word(phrase.words, other) for phrase, other in zip(phrases, differs, strict=True)),
        closest=taxonomy.classes[cell.class_index] if unidentified else "",
    )

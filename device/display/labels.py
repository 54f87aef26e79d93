"""The words beside each cell: how much is said where there is room for how much, and the label's picture. Boxes live in `field`."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from device.display import marks, text
from device.display.layout import Rect, Unit
from device.display.palette import CARD, HALO, SOFT, TEXT, UNIDENTIFIED, WARN, TypeStyle, mix
from device.display.placing import place
from device.display.text import Piece
from device.display.words import BLAST_MARK, Phrase, most_telling
from engines.detections import Image

PLATE = mix(CARD, HALO, 0.45)
TYPE_PX, SCORE_PX, ATTRIBUTE_PX, SMALL_PX = 28, 23, 21, 20
_PAD_X, _PAD_Y, _EDGE = 12, 6, 6
_LINE_PX = 376
"""Attribute phrases are joined with a dot up to this width, then a new line begins."""


class Tag(NamedTuple):
    """What can be said about one cell; score: None where there is no number to show."""

    box: Rect
    style: TypeStyle
    score: float | None
    phrases: tuple[Phrase, ...]


class Label(NamedTuple):
    """One label as it is drawn: the code alone if `short`."""

    tag: Tag
    lines: tuple[str, ...]
    whole: bool  # all its attributes are said
    short: bool


class Plan(NamedTuple):
    """Labels with their places (None: no room), and a line that says what was left out, empty if nothing was."""

    labels: tuple[Label, ...]
    places: tuple[Rect | None, ...]
    caption: str


def plan(tags: tuple[Tag, ...], others: tuple[Rect, ...], area: Rect, unit: Unit) -> Plan:
    """Say as much as there is room for: all attributes, the three most telling, those of the surest cells only, types, codes.

    others: boxes without a label. area: where labels may lie.
    """
    n = len(tags)
    boxes = tuple(_steady(t, unit) for t in tags)
    stages = _stages(tags)
    for number, stage in enumerate(stages):
        sayings = tuple(tuple(_label(t, k, unit) for k in steps) for t, steps in zip(tags, stage, strict=True))
        sizes = tuple(tuple(_label_size(label, unit) for label in labels) for labels in sayings)
        placed = place(sizes, boxes, others, area, unit(8))
        labels = tuple(said[chosen] for said, chosen in zip(sayings, placed.chosen, strict=True))
        codes = sum(label.short for label in labels)
        if placed.good and (codes <= n // 3 or number + 1 == len(stages)):
            break
    caption = _caption(labels)
    missing = sum(p is None for p in placed.places)
    return Plan(labels, placed.places, f"{caption}; no room for {missing} of {n}" if missing else caption)


def _caption(labels: tuple[Label, ...]) -> str:
    """What the labels leave out; empty if nothing."""
    worded = [label for label in labels if label.tag.phrases]
    shown = [label for label in worded if label.lines]
    words = []
    if worded and not shown:
        words.append("no room for attributes")
    elif len(shown) < len(worded):
        words.append(f"attributes of {len(shown)} of {len(worded)} cells")
    elif any(not label.whole for label in shown):
        words.append("the most telling attributes")
    named = [label for label in labels if label.tag.style is not UNIDENTIFIED]
    coded = sum(label.short for label in named)
    if coded:
        words.append(f"{'types' if coded == len(named) else 'some types'} as codes, see the list")
    return ", ".join(words)


_NAME, _CODE = 0, -1
"""Instead of a number of phrases: the type's name alone, its code alone."""


def _stages(tags: tuple[Tag, ...]) -> list[list[tuple[int, ...]]]:
    """What to try, the fullest first: for each cell how many phrases, and what to fall back to where there is no room."""
    n = len(tags)
    stages: list[list[tuple[int, ...]]] = []
    if n <= 6:
        stages.append([(99, 3, _NAME, _CODE)] * n)
    elif n <= 12:
        stages.append([(3, _NAME, _CODE)] * n)
    elif n <= 32:
        sure = set(sorted(range(n), key=lambda i: (-round(tags[i].score or 0.0, 2), i))[:5])
        stages.append([(3, _NAME, _CODE) if i in sure else (_NAME, _CODE) for i in range(n)])
    return [*stages, [(_CODE,)] * n]


def _steady(tag: Tag, unit: Unit) -> Rect:
    """The box on a coarse grid, so that a label does not tremble with its box from frame to frame; with room for a blast's edge."""
    grid, edge = unit(6), unit(8) if tag.style.blast else 0
    x0, y0, x1, y1 = tag.box
    return Rect((x0 - edge) // grid * grid, (y0 - edge) // grid * grid, -(-(x1 + edge) // grid) * grid, -(-(y1 + edge) // grid) * grid)


def _label(tag: Tag, saying: int, unit: Unit) -> Label:
    lines = join(most_telling(tag.phrases, saying), unit) if saying > 0 else ()
    return Label(tag, lines, whole=saying >= len(tag.phrases), short=saying == _CODE)


@lru_cache(maxsize=512)
def join(phrases: tuple[str, ...], unit: Unit) -> tuple[str, ...]:
    """Phrases in lines of at most `_LINE_PX`, with dots between."""
    lines: list[str] = []
    for phrase in phrases:
        longer = f"{lines[-1]} · {phrase}" if lines else phrase
        if lines and text.width(longer, unit(ATTRIBUTE_PX)) <= unit(_LINE_PX):
            lines[-1] = longer
        else:
            lines.append(phrase)
    return tuple(lines)


def _label_size(label: Label, unit: Unit) -> tuple[int, int]:
    return _size(label.tag.style, label.lines, label.short, label.tag.score is not None, unit)


@lru_cache(maxsize=1024)
def _size(style: TypeStyle, lines: tuple[str, ...], short: bool, scored: bool, unit: Unit) -> tuple[int, int]:
    """Width and height of the label's plate in px."""
    edge, pad = unit(_EDGE), unit(_PAD_X)
    marker = unit(24) + unit(8)
    height = text.line_height(unit(TYPE_PX)) + 2 * unit(_PAD_Y) - unit(2)
    if short:
        return edge + 2 * unit(8) + marker + (text.width(style.code, unit(TYPE_PX), True) if style.code else -unit(8)), height
    row = marker + text.width(style.name, unit(TYPE_PX), True) + _score_width(scored, unit)
    if style.blast:
        row += unit(12) + _chip_width(unit)
    widest = max([row, *(text.width(line, unit(ATTRIBUTE_PX)) for line in lines)])
    return edge + 2 * pad + widest, height + len(lines) * text.line_height(unit(ATTRIBUTE_PX)) + (unit(4) if lines else 0)


def _score_width(scored: bool, unit: Unit) -> int:
    return unit(10) + text.width("0.00", unit(SCORE_PX)) if scored else 0


def _chip_width(unit: Unit) -> int:
    return text.width(BLAST_MARK, unit(SMALL_PX), True) + 2 * unit(7)


@lru_cache(maxsize=64)
def _plate(style: TypeStyle, lines: tuple[str, ...], short: bool, scored: bool, unit: Unit) -> tuple[Image, tuple[int, int]]:
    """The label without its score (read-only), and where in it the score begins (x and y in px)."""
    w, h = _size(style, lines, short, scored, unit)
    picture = marks.blank(w, h, PLATE)
    edge, pad = unit(_EDGE), unit(8 if short else _PAD_X)
    marks.fill(picture, Rect(0, 0, edge, h), style.colour)
    top, row = unit(_PAD_Y) - unit(1), text.line_height(unit(TYPE_PX))
    x = edge + pad
    text.paste(picture, marks.marker(style.marker, unit(24), style.colour, PLATE), x, top + (row - unit(24)) // 2 + unit(1))
    x += unit(24) + unit(8)
    if short:
        text.put(picture, style.code, (x, top), unit(TYPE_PX), TEXT, PLATE, bold=True)
        return text.finished(picture), (0, 0)
    x = text.put(picture, style.name, (x, top), unit(TYPE_PX), TEXT, PLATE, bold=True).x1
    score_at = x + unit(10), top + row - text.line_height(unit(SCORE_PX)) - unit(1)
    if style.blast:
        x += _score_width(scored, unit) + unit(12)
        chip = Rect(x, top + unit(4), x + _chip_width(unit), top + row - unit(3))
        marks.outline(picture, chip, unit(2), WARN)
        middle = chip.y0 + (chip.height - text.line_height(unit(SMALL_PX))) // 2
        text.put(picture, BLAST_MARK, (chip.x0 + unit(7), middle), unit(SMALL_PX), WARN, None, bold=True)
    y = top + row + unit(2)
    for line in lines:
        text.put(picture, line, (edge + pad, y), unit(ATTRIBUTE_PX), SOFT, PLATE)
        y += text.line_height(unit(ATTRIBUTE_PX))
    return text.finished(picture), score_at


def label_pieces(label: Label, at: Rect, unit: Unit) -> list[Piece]:
    """The label at its place: its plate, then its score, which changes more often."""
    said = label.tag.score
    picture, (x, y) = _plate(label.tag.style, label.lines, label.short, said is not None, unit)
    if label.short or said is None:
        return [(picture, at.x0, at.y0)]
    score = text.sprite(score_words(said), unit(SCORE_PX), SOFT, PLATE)
    return [(picture, at.x0, at.y0), (score, at.x0 + x, at.y0 + y)]


def score_words(score: float) -> str:
    """Score with two digits; never rounded up to 1.00."""
    return f"{min(99, round(score * 100)) / 100:.2f}" if score < 1 else "1.00"

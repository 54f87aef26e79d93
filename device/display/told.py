"""What is said of each box on the picture: by the first look alone, or by the second look, which comes when the field is counted.

Where a second look names the cells, nothing is named before it: what the first look says could be another word for the same cell a
moment later. On a counted field its cells stand at their boxes, moved with the stage; what else is found there was not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from device.display.base import ScreenView
from device.display.palette import NOT_LOOKED_AT, UNIDENTIFIED, TypeStyle, group_styles, type_styles
from device.display.words import phrases_of_cells
from device.language import _, number
from device.slide.model import Cell, Field, Slide
from device.slide.picture_state import count_of
from engines.decode import box_iou
from engines.detections import Detections, Float32
from engines.taxonomy import Taxonomy

SAME_CELL = 0.3
"""Boxes that overlap by this share (IoU) are one cell, found now and when the field was counted."""


class Told(NamedTuple):
    """N boxes (N, 4) in px of the frame, the surest first; what each is, how sure that is (None: nothing to say), and its attributes
    (N, A). words: all of them in a few words."""

    boxes_px: Float32
    styles: tuple[TypeStyle, ...]
    scores: tuple[float | None, ...]
    attributes: Float32
    words: str


def told_cells(view: ScreenView, found: Detections) -> Told:
    """What may be said of the boxes on the frame of `view`. found: its detections."""
    if view.engine.naming is None:
        return _by_first_look(view, found)
    slide = view.slide
    last = slide.fields[-1] if slide is not None and slide.fields else None
    field = (view.sight or last) if view.field_counted else None
    if slide is None or field is None or view.frame is None or field.size_px != view.frame.size_px:
        cells = _at_least(found.limit_met) + count_of(len(found), "cell")
        words = _("{cells} found, named once the field is counted").format(cells=cells)
        return _unnamed(found)._replace(words=words)
    return _by_second_look(view, slide, field, found)


def _by_first_look(view: ScreenView, found: Detections) -> Told:
    styles = tuple(
        style if sure or style.artefact else UNIDENTIFIED
        for style, sure in zip(map(type_styles(view.engine.taxonomy).__getitem__, found.classes.tolist()), view.identified, strict=True)
    )
    scores = tuple(round(score, 2) for score in found.scores.tolist())
    return Told(found.boxes_px, styles, scores, found.attributes, _words(styles, found.limit_met))


def _unnamed(found: Detections) -> Told:
    attributes = np.full_like(found.attributes, np.nan)
    return Told(found.boxes_px, (NOT_LOOKED_AT,) * len(found), (None,) * len(found), attributes, "")


def _by_second_look(view: ScreenView, slide: Slide, field: Field, found: Detections) -> Told:
    taxonomy, (width, height) = view.engine.taxonomy, field.size_px
    dx, dy = view.shift_px
    boxes = np.array([cell.box_px for cell in field.cells], np.float32).reshape(-1, 4) + np.array([dx, dy, dx, dy], np.float32)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside: NDArray[np.bool_] = np.all((middle >= 0) & (middle < (width, height)), axis=1)
    cells = [cell for cell, here in zip(field.cells, inside.tolist(), strict=True) if here]
    known_looks: dict[int | str, TypeStyle] = {"": UNIDENTIFIED}
    known_looks.update(enumerate(type_styles(taxonomy)))
    known_looks.update(group_styles(taxonomy))
    looks = [_look(cell, slide, known_looks) for cell in cells]
    styles = tuple(style for style, _ in looks)
    known: NDArray[np.bool_] = np.any(box_iou(found.boxes_px, boxes) >= SAME_CELL, axis=1)
    new = _unnamed(found.select(np.logical_not(known)))
    words = _words(styles, field.limit_met)
    if new.styles:
        words += _(", {n} not counted").format(n=len(new.styles))
    attributes = np.stack([cell.attributes for cell in cells]) if cells else new.attributes[:0]
    return Told(
        np.concatenate([boxes[inside], new.boxes_px]),
        (*styles, *new.styles),
        (*(score for _, score in looks), *new.scores),
        np.concatenate([attributes, new.attributes]),
        words,
    )


def _look(cell: Cell, slide: Slide, looks: Mapping[int | str, TypeStyle]) -> tuple[TypeStyle, float | None]:
    """How a counted cell looks, and how probable it is that what is told of it is right."""
    own = looks[cell.class_index]
    told = cell.class_index if own.artefact else slide.told(cell)
    return looks[told], None if own.artefact or told == "" else round(cell.certainty(told), 2)


def _words(styles: tuple[TypeStyle, ...], limit_met: bool) -> str:
    artefacts = sum(style.artefact for style in styles)
    words = _at_least(limit_met) + count_of(len(styles) - artefacts, "white cell")
    return _("{cells}, {artefacts} (grey)").format(cells=words, artefacts=count_of(artefacts, "artefact")) if artefacts else words


def _at_least(limit_met: bool) -> str:
    return _("at least") + " " if limit_met else ""


@dataclass(frozen=True)
class Spoken:
    """The one cell that is told in words beside the picture. chosen: a person pressed on it; otherwise it is the least sure one."""

    index: int
    chosen: bool


def spoken(told: Told, pointed_px: tuple[float, float] | None) -> Spoken | None:
    """The cell under the point (px of the frame) where a person pressed, the smallest where there are several; else of those that were
    named the least sure; None where nothing was named."""
    sure = [i for i, style in enumerate(told.styles) if style is not NOT_LOOKED_AT]
    if pointed_px is not None:
        x, y = pointed_px
        hit = [i for i in sure if told.boxes_px[i, 0] <= x < told.boxes_px[i, 2] and told.boxes_px[i, 1] <= y < told.boxes_px[i, 3]]
        if hit:
            return Spoken(min(hit, key=lambda i: float(np.prod(told.boxes_px[i, 2:] - told.boxes_px[i, :2]))), True)
    scored = [(score, i) for i in sure if (score := told.scores[i]) is not None and not told.styles[i].artefact]
    return Spoken(min(scored)[1], False) if scored else None


def score_words(score: float) -> str:
    """Score with two digits; never rounded up to 1.00."""
    return number(min(99, round(score * 100)) / 100 if score < 1 else 1.0, 2)


def cell_words(told: Told, index: int, taxonomy: Taxonomy) -> tuple[str, ...]:
    """What is said of one cell: its name with how sure that is, then its attributes, the most telling first."""
    style, score = told.styles[index], told.scores[index]
    name = _(style.name) if score is None else f"{_(style.name)} {score_words(score)}"
    phrases = phrases_of_cells(told.attributes[index : index + 1], taxonomy)[0]
    unknown = (_("attributes not known"),) if taxonomy.attributes and not phrases and not style.artefact else ()
    return (name, *(phrase.words for phrase in sorted(phrases, key=lambda p: p.rank)), *unknown)

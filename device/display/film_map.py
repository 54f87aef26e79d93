"""The map of the film on the panel: ground that was counted, cells as dots, where the stage is. Drawn anew only when the slide changed.

The map lies as the picture does: it is never mirrored, whatever the screen's language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import floor

import cv2
import numpy as np
from numpy.typing import NDArray

from device.display import marks, text
from device.display.base import ScreenView
from device.display.layout import Rect, Unit
from device.display.palette import CARD, DIM, HALO, PANEL, SOFT, TEXT, WARN, Colour, group_styles, mix
from device.display.rows import MARGIN, blank
from device.language import _, ngettext
from device.slide.film_map import ChartMap, film_map
from device.slide.model import Field, Place, Slide
from engines.detections import Image
from engines.taxonomy import Taxonomy

_HEIGHTS = (220, 180, 145, 115, 92)  # the highest that there is room for: it stays while rows come to the differential
_HEAD = 32
_FIELD = 64  # a field is drawn no wider, however few there are
_GAP = 14
_PIECES = 4  # so many pieces of film are drawn, those with most cells; all are told of in words
_VISITED = mix(SOFT, PANEL, 0.27)
_AREA = mix(CARD, PANEL, 0.45)


@dataclass(frozen=True, eq=False)
class Charts:
    """The pieces of a slide's film, the main one first; one object for as long as nothing on them changes. size_px: of its frames."""

    pieces: tuple[ChartMap, ...]
    taxonomy: Taxonomy
    size_px: tuple[int, int]


class _Kept:
    """The charts that were asked for last: two sheets are drawn on, of one slide."""

    def __init__(self) -> None:
        self._of: tuple[tuple[Field, ...], bool | None, Taxonomy] | None = None
        self._charts: Charts | None = None

    def __call__(self, slide: Slide, taxonomy: Taxonomy) -> Charts | None:
        """None where there is no map: no place is known, or stored pictures have none to be joined by."""
        before = self._of
        if before is None or before[0] is not slide.fields or before[1] is not slide.foreign or before[2] is not taxonomy:
            pieces = film_map(slide, taxonomy)
            size = next((field.size_px for field in reversed(slide.fields) if field.place is not None), (1, 1))
            self._charts = Charts(pieces, taxonomy, size) if pieces else None
            self._of = slide.fields, slide.foreign, taxonomy
        charts = self._charts
        return None if slide.separate_pictures else charts


_charts_of = _Kept()


@dataclass(frozen=True)
class Laid:
    """Where a piece of film lies on the map: film px x_px, y_px at the corner of `box`, `scale` px of the map for one of the film."""

    box: Rect
    x_px: float
    y_px: float
    scale: float

    def at(self, x_px: float, y_px: float) -> tuple[float, float]:
        """A point of the film in px of the map."""
        return self.box.x0 + (x_px - self.x_px) * self.scale, self.box.y0 + (y_px - self.y_px) * self.scale


@dataclass(frozen=True, eq=False)
class _Base:
    """The map without the stage. laid: by chart."""

    picture: Image
    laid: dict[int, Laid]


def draw_film_map(view: ScreenView, room_px: int, width: int, unit: Unit) -> Image | None:
    """The map as a part of the panel, no higher than `room_px`; None where there is no room, or nothing to be shown."""
    height = next((unit(measure) for measure in _HEIGHTS if unit(measure) <= room_px), None)
    if view.slide is None or height is None or unit.small:
        return None
    charts = _charts_of(view.slide, view.engine.taxonomy)
    if charts is None:
        return None
    base = _base(charts, width, height, unit, _is_lost(view, charts))
    return _with_stage(base, _stage(base, view.place, charts.size_px), width, unit)


def _is_lost(view: ScreenView, charts: Charts) -> bool:
    """Whether nothing says where on the counted film the stage is."""
    if view.slide is None or not view.slide.is_open or view.frame is None:
        return False
    return view.place is None or view.place.chart not in {piece.chart for piece in charts.pieces}


def _stage(base: _Base, place: Place | None, size_px: tuple[int, int]) -> Rect | None:
    """Where the field now seen lies on the map; at the edge of its piece where it has left it."""
    laid = None if place is None else base.laid.get(place.chart)
    if place is None or laid is None:
        return None
    x, y = laid.at(place.x_px, place.y_px)
    wide, high = max(4, round(size_px[0] * laid.scale)), max(4, round(size_px[1] * laid.scale))
    x0 = min(max(round(x), laid.box.x0), max(laid.box.x0, laid.box.x1 - wide))
    y0 = min(max(round(y), laid.box.y0), max(laid.box.y0, laid.box.y1 - high))
    return Rect(x0, y0, x0 + wide, y0 + high)


@lru_cache(maxsize=4)
def _with_stage(base: _Base, stage: Rect | None, width: int, unit: Unit) -> Image:
    """The map with the field now seen."""
    if stage is None:
        return base.picture
    picture, thick = base.picture.copy(), unit(2)
    at = stage.mirrored(width) if unit.from_right else stage
    marks.outline(picture, at.grow(thick + unit(1)), unit(1), HALO)
    marks.outline(picture, at.grow(thick), thick, TEXT)
    return text.finished(picture)


@lru_cache(maxsize=4)
def _base(charts: Charts, width: int, height: int, unit: Unit, lost: bool) -> _Base:
    picture = blank(width, height, unit, rule=True)
    left, right = unit(MARGIN), width - unit(MARGIN)
    area = Rect(left, unit(_HEAD), right, height - unit(8))
    _heading(picture, len(charts.pieces) - 1, lost, unit)
    marks.fill(picture, area, _AREA)
    laid = _lay_out(charts.pieces[:_PIECES], area, charts.size_px, unit)
    for number, piece in enumerate(charts.pieces[:_PIECES]):
        _draw_piece(picture, piece, laid[piece.chart], charts.taxonomy, unit)
        if number:
            box = laid[piece.chart].box
            marks.dashed(picture, box, unit(1), unit(5), WARN, _AREA)
    if unit.from_right:  # the panel is turned over as a whole; the film is not
        within = picture[area.y0 : area.y1, area.x0 : area.x1]
        within[:] = within[:, ::-1].copy()
    return _Base(text.finished(picture), laid)


def _heading(picture: Image, apart: int, lost: bool, unit: Unit) -> None:
    left, right, px, y = unit(MARGIN), picture.shape[1] - unit(MARGIN), unit.letters(20), unit(4)
    if lost:
        icon = unit(20)
        text.paste(picture, marks.marker("alert", icon, WARN, PANEL), left, y + (text.line_height(px) - icon) // 2)
        x = text.put(picture, _("position lost"), (left + icon + unit(8), y), px, WARN, PANEL, bold=True).x1
    else:
        x = text.put(picture, _("Map of the film"), (left, y), px, DIM, PANEL).x1
    if apart:
        words, room = ngettext("{n} piece never joined", "{n} pieces never joined", apart).format(n=apart), right - x - unit(12)
        small = text.largest(words, (px, unit.letters(18), unit.letters(16)), room)
        text.put(picture, words, (right, y + px - small), small, WARN, PANEL, align="right", max_px=room)


def _lay_out(pieces: Sequence[ChartMap], area: Rect, size_px: tuple[int, int], unit: Unit) -> dict[int, Laid]:
    """Where the pieces lie: side by side at one scale, the largest that has room, with half a field around each of them."""
    extents = []
    for piece in pieces:
        x1, y1, x2, y2 = piece.extent_px
        extents.append((x1 - size_px[0] / 2, y1 - size_px[1] / 2, x2 + size_px[0] / 2, y2 + size_px[1] / 2))
    gap = unit(_GAP)
    wide = area.width - gap * (len(pieces) - 1)
    scale = min(wide / sum(x2 - x1 for x1, _, x2, _ in extents), area.height / max(y2 - y1 for _, y1, _, y2 in extents))
    scale = min(scale, unit(_FIELD) / size_px[0])
    used = sum(floor((x2 - x1) * scale) for x1, _, x2, _ in extents) + gap * (len(pieces) - 1)
    x, laid = area.x0 + (area.width - used) // 2, {}
    for piece, (x1, y1, x2, y2) in zip(pieces, extents, strict=True):
        w, h = floor((x2 - x1) * scale), floor((y2 - y1) * scale)
        y = area.y0 + (area.height - h) // 2
        laid[piece.chart] = Laid(Rect(x, y, x + w, y + h), x1, y1, scale)
        x += w + gap
    return laid


_SUB = 4  # bits behind the point that OpenCV takes
_DIAMOND = np.array([(0, -1), (1, 0), (0, 1), (-1, 0)], np.float64)


def _draw_piece(picture: Image, piece: ChartMap, laid: Laid, taxonomy: Taxonomy, unit: Unit) -> None:
    """Counted ground, then its cells, blasts over all others. Reckoned for all of them at once: there may be thousands."""
    corner, origin = np.array(laid.box[:2], np.float64), np.array((laid.x_px, laid.y_px))
    ground = (np.array(piece.visited, np.float64).reshape(-1, 2, 2) - origin) * laid.scale + corner
    first, last = np.floor(ground[:, 0]).astype(np.int32), np.ceil(ground[:, 1]).astype(np.int32) - 1
    for begin, end in zip(first, last, strict=True):
        cv2.rectangle(picture, begin, end, _VISITED, cv2.FILLED)
    field, fine = (piece.visited[0][2] - piece.visited[0][0]) * laid.scale, 1 << _SUB
    radius = min(max(0.05 * field, 1.7 * unit.scale), 4.0 * unit.scale)
    for blasts in (False, True):
        dots = [dot for dot in piece.dots if dot.blast == blasts]
        film = np.array([(dot.x_px, dot.y_px) for dot in dots], np.float64).reshape(-1, 2)
        middles = ((film - origin) * laid.scale + corner - 0.5) * fine  # OpenCV counts from the middle of the first pixel
        if blasts:
            _draw_diamonds(picture, middles, 1.6 * radius, group_styles(taxonomy)["blasts"].colour, unit)
            continue
        # Paler than in the rows: they are to show on grey.
        colours = {key: mix(style.colour, TEXT, 0.6) for key, style in group_styles(taxonomy).items()}
        for dot, middle in zip(dots, middles.round().astype(np.int32), strict=True):
            cv2.circle(picture, middle, round(radius * fine), colours.get(dot.group, DIM), cv2.FILLED, cv2.LINE_AA, _SUB)


def _draw_diamonds(picture: Image, middles: NDArray[np.float64], reach_px: float, colour: Colour, unit: Unit) -> None:
    """The marks of blasts, with a dark edge. middles: (N, 2), in parts of a pixel."""
    reaches = np.array([reach_px + 2.4 * unit.scale, reach_px + 1.2 * unit.scale]) * (1 << _SUB)
    shapes = (middles[:, None, None] + reaches[:, None, None] * _DIAMOND).round().astype(np.int32)
    for edge, inner in shapes:
        cv2.fillConvexPoly(picture, edge, HALO, cv2.LINE_AA, _SUB)
        cv2.fillConvexPoly(picture, inner, colour, cv2.LINE_AA, _SUB)

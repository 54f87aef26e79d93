"""The film as far as it was read: counted fields and cells by chart. Plain data for a panel of the screen or a page."""

from __future__ import annotations

from dataclasses import dataclass

from device.slide.model import Slide
from engines.taxonomy import Taxonomy


@dataclass(frozen=True)
class Dot:
    """A cell on its chart, by its middle in px of the camera's frames. group: key of the told group of its type, "" unidentified."""

    x_px: float
    y_px: float
    group: str

    @property
    def blast(self) -> bool:
        return self.group == "blasts"


@dataclass(frozen=True)
class ChartMap:
    """One connected piece of film. visited: counted fields (x1, y1, x2, y2) in the order of counting; dots: white cells, each once."""

    chart: int
    visited: tuple[tuple[float, float, float, float], ...]
    dots: tuple[Dot, ...]

    @property
    def extent_px(self) -> tuple[float, float, float, float]:
        """(x1, y1, x2, y2) of all that was visited."""
        x1, y1, x2, y2 = zip(*self.visited, strict=True)
        return min(x1), min(y1), max(x2), max(y2)


def film_map(slide: Slide, taxonomy: Taxonomy) -> tuple[ChartMap, ...]:
    """The charts of a slide, the one with the most cells first; without the fields whose place is not known.

    It takes time with the number of fields: to be asked again only when `slide.fields` changed.
    """
    visited: dict[int, list[tuple[float, float, float, float]]] = {}
    dots: dict[int, list[Dot]] = {}
    for field in slide.fields:
        if field.place is None:
            continue
        x, y, (width, height) = field.place.x_px, field.place.y_px, field.size_px
        visited.setdefault(field.place.chart, []).append((x, y, x + width, y + height))
        here = dots.setdefault(field.place.chart, [])
        for cell in field.cells:
            if not taxonomy.is_artefact(cell.class_index):
                told = slide.told(cell)
                group = taxonomy.group_of(told) if isinstance(told, int) else told
                x1, y1, x2, y2 = cell.box_px
                here.append(Dot(x + (x1 + x2) / 2, y + (y1 + y2) / 2, group))
    charts = [ChartMap(chart, tuple(fields), tuple(dots[chart])) for chart, fields in visited.items()]
    return tuple(sorted(charts, key=lambda one: (-len(one.dots), one.chart)))

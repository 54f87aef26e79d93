"""A layer's card as a page with a picture: blast per cent of each slide left out, as a person says, as told before and as told now."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from calibration.site.card import figures_in_words
from calibration.site.figures import Figures
from engines.naming import NamingLayer
from engines.pages import page_template

_LEFT, _RIGHT = 290, 970
"""Where 0 and 100 per cent lie in the picture, in its own units."""


@dataclass(frozen=True)
class SlideRow:
    """One slide of the picture. truth, told, before: blasts in per cent; told and before None where nothing was told."""

    name: str
    cells: int
    truth: float
    told: float | None
    before: float | None


def picture_page(layer: NamingLayer, found: Figures, before: Figures | None) -> str:
    """The page as HTML that needs nothing else. before: the bundle's own layer on the same cells."""
    told_before = {} if before is None else {slide.slide: slide.told_percent for slide in before.slides}
    rows = [
        SlideRow(
            slide.slide.rpartition("/")[2] or slide.slide,
            slide.cells,
            slide.blast_percent,
            _known(slide.told_percent),
            _known(told_before.get(slide.slide, math.nan)),
        )
        for slide in found.slides
    ]
    return page_template(Path(__file__).with_name("layer.html.j2")).render(
        layer=layer,
        kind="Site layer" if layer.site else "Open layer",
        rows=rows if layer.site else [],
        at=lambda percent: round(_LEFT + (_RIGHT - _LEFT) * percent / 100, 1),
        figures=figures_in_words(found),
        before=None if before is None else figures_in_words(before),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value

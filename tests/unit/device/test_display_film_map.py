"""The map of the film on the panel: cells where they are, where the stage is, pieces apart, and no work where nothing changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import gallery
import numpy as np
import pytest
from drawing import forget

from device import language
from device.display import film_map, text
from device.display.base import ScreenView
from device.display.film_map import draw_film_map
from device.display.layout import Unit
from device.display.palette import TEXT, WARN, Colour, group_styles, mix
from device.slide.film_map import ChartMap
from device.slide.model import Cell, Field, Place, Slide, SlideState
from engines.detections import Image
from engines.taxonomy import LEUKEMIA_ATTRI as TAXONOMY
from engines.taxonomy import Taxonomy

SIZE = (1920, 1080)
UNIT = Unit(1.0)
WIDTH = 560
BLASTS = group_styles(TAXONOMY)["blasts"].colour
OTHERS = mix(group_styles(TAXONOMY)["others"].colour, TEXT, 0.6)


def cell(told: str, x: float, y: float) -> Cell:
    return gallery.told_cell(told, (x - 50, y - 50, x + 50, y + 50))


def field(index: int, place: Place | None, cells: Sequence[Cell] = ()) -> Field:
    return Field(index, gallery.WHEN, "camera", SIZE, 30.0, tuple(cells), place=place)


def view_of(*fields: Field, place: Place | None = None, lost_rests: int = 0) -> ScreenView:
    shown = gallery.named_view(["Neutrophil"], {"Neutrophil": 3})
    assert shown.slide is not None
    return replace(shown, slide=replace(shown.slide, fields=fields, lost_rests=lost_rests), place=place)


def drawn(view: ScreenView, room_px: int = 300, unit: Unit = UNIT) -> Image:
    picture = draw_film_map(view, room_px, round(WIDTH * unit.scale), unit)
    assert picture is not None
    return picture


def bounds(picture: Image, *colours: Colour) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) of all px under the heading that bear one of the colours."""
    hits = np.logical_or.reduce([(picture == colour).all(axis=2) for colour in colours])
    hits[: UNIT(32)] = False
    rows, columns = np.flatnonzero(hits.any(axis=1)), np.flatnonzero(hits.any(axis=0))
    assert len(rows), "none of them is there"
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def has(picture: Image, *colours: Colour) -> bool:
    return bool(np.logical_or.reduce([(picture[32:] == colour).all(axis=2) for colour in colours]).any())


@pytest.mark.parametrize(("x", "y"), [(300, 200), (1500, 900), (2900, 1000), (960, 1700)])
def test_a_blast_is_marked_where_it_lies_on_the_film(x: float, y: float) -> None:
    """Fields at (0, 0), (1500, 0) and (0, 900): film from 0 to 3420 and 1980."""
    places = [Place(1, 0, 0), Place(1, 1500, 0), Place(1, 0, 900)]
    here = next(p for p in places if p.x_px + 50 <= x <= p.x_px + SIZE[0] - 50 and p.y_px + 50 <= y <= p.y_px + SIZE[1] - 50)
    fields = [field(i, p, [cell("blasts", x - p.x_px, y - p.y_px)] if p is here else []) for i, p in enumerate(places, 1)]
    picture = drawn(view_of(*fields))
    x0, y0, x1, y1 = bounds(drawn(view_of(*(replace(one, cells=()) for one in fields))), film_map._VISITED)
    left, top, right, bottom = bounds(picture, BLASTS)
    assert (left + right) / 2 == pytest.approx(x0 + (x1 - x0) * x / 3420, abs=1.5)
    assert (top + bottom) / 2 == pytest.approx(y0 + (y1 - y0) * y / 1980, abs=1.5)
    assert not has(picture, OTHERS)


def test_cells_of_other_groups_are_smaller_dots_and_artefacts_none() -> None:
    view = view_of(field(1, Place(1, 0, 0), [cell("Neutrophil", 500, 500), cell("None", 1500, 500)]))
    picture = drawn(view)
    left, _, right, _ = bounds(picture, OTHERS)
    visited = bounds(picture, film_map._VISITED)
    assert right - left <= 8 and right < (visited[0] + visited[2]) / 2 and not has(picture, BLASTS)


def test_the_field_now_seen_is_outlined_where_it_lies() -> None:
    fields = [field(1, Place(1, 0, 0)), field(2, Place(1, 1920, 0))]
    x0, _, x1, _ = bounds(drawn(view_of(*fields)), film_map._VISITED)
    for x in (0, 700, 1920):
        left, _, right, _ = bounds(drawn(view_of(*fields, place=Place(1, x, 0))), TEXT)
        assert (left + right) / 2 == pytest.approx(x0 + (x1 - x0) * (x + 960) / 3840, abs=1.5)
    left, _, right, _ = bounds(drawn(view_of(*fields, place=Place(1, 90_000, 0))), TEXT)
    assert x1 - 20 < right <= x1 + 40, "far away it stays at the edge"


def test_pieces_that_were_never_joined_lie_apart_and_are_said() -> None:
    joined = view_of(field(1, Place(1, 0, 0), [cell("blasts", 900, 500)]), field(2, Place(1, 400, 0)), place=Place(1, 0, 0))
    apart = view_of(
        field(1, Place(1, 0, 0), [cell("blasts", 900, 500)]), field(2, Place(2, 400, 0)), place=Place(1, 0, 0), lost_rests=1
    )
    assert not has(drawn(joined), WARN) and has(drawn(apart), WARN)
    dashes, main = bounds(drawn(apart), WARN), bounds(drawn(apart), BLASTS)
    assert dashes[0] > main[2]
    assert not np.array_equal(drawn(joined)[:32], drawn(apart)[:32])
    assert np.array_equal(drawn(joined)[:32], drawn(view_of(*joined.slide.fields[:1], place=Place(1, 0, 0)))[:32])  # type: ignore[union-attr]


def test_a_lost_place_is_said_while_the_slide_is_open() -> None:
    known = view_of(field(1, Place(1, 0, 0)), place=Place(1, 0, 0))
    lost, elsewhere = replace(known, place=None), replace(known, place=Place(2, 0, 0))
    assert known.slide is not None
    finished = replace(lost, slide=replace(known.slide, state=SlideState.REVIEW))
    heading = drawn(known)[:32]
    assert not np.array_equal(drawn(lost)[:32], heading) and np.array_equal(drawn(elsewhere), drawn(lost))
    assert (drawn(lost)[:32] == WARN).all(axis=2).any() and not (heading == WARN).all(axis=2).any()
    assert np.array_equal(drawn(finished)[:32], heading) and not has(drawn(lost), TEXT)


def test_no_map_without_room_or_places_or_of_stored_pictures() -> None:
    view = view_of(field(1, Place(1, 0, 0)))
    assert draw_film_map(view, 60, WIDTH, UNIT) is None
    assert draw_film_map(view, 300, 300, Unit(0.55)) is None, "1024 x 600"
    assert draw_film_map(view_of(field(1, None)), 300, WIDTH, UNIT) is None
    assert draw_film_map(view_of(), 300, WIDTH, UNIT) is None
    assert draw_film_map(replace(view, slide=None), 300, WIDTH, UNIT) is None
    assert draw_film_map(view_of(field(1, Place(1, 0, 0)), field(2, Place(2, 0, 0))), 300, WIDTH, UNIT) is None
    for room in (95, 120, 200, 400):
        assert drawn(view, room).shape[0] <= room


def test_the_same_slide_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, made = list[Slide](), film_map.film_map

    def counted(slide: Slide, taxonomy: Taxonomy) -> tuple[ChartMap, ...]:
        asked.append(slide)
        return made(slide, taxonomy)

    monkeypatch.setattr(film_map, "film_map", counted)
    monkeypatch.setattr(film_map, "_charts_of", film_map._Kept())
    forget()
    view = view_of(*(field(i, Place(1, 900.0 * i, 0), [cell("blasts", 500, 500)]) for i in range(1, 9)), place=Place(1, 900, 0))
    first, base = drawn(view), film_map._base.cache_info().misses
    assert view.slide is not None
    same = replace(view, slide=replace(view.slide, state=SlideState.PAUSED, blank_views=3), place=Place(1, 900.4, 0.2))
    assert drawn(view) is first and drawn(same) is first
    moved = drawn(replace(view, place=Place(1, 2900, 0)))
    assert moved is not first and not np.array_equal(moved, first)
    assert len(asked) == 1 and film_map._base.cache_info().misses == base
    more = replace(view, slide=view.slide.with_field(field(9, Place(1, 9000, 0))))
    assert not np.array_equal(drawn(more), first) and len(asked) == 2


def test_the_film_is_not_mirrored_where_the_screen_is() -> None:
    fields = [field(1, Place(1, 0, 0), [cell("blasts", 200, 500)]), field(2, Place(1, 1900, 300))]
    view = view_of(*fields, place=Place(1, 1900, 300))
    usual = drawn(view)
    with language.speaking("ur"), text.mirrored():
        turned = drawn(view, unit=Unit(1.0, "ur"))[:, ::-1]
    assert np.array_equal(turned[32:-8, 28:-28], usual[32:-8, 28:-28])
    assert not np.array_equal(turned[:32], usual[:32])

"""How the count is looked at: bare, from afar, on small and large screens, in the mirror; one cell in words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gallery
import numpy as np
import pytest
from drawing import PLACE, SIZE, VIEWS, footer, forget, has, picture

from device import language
from device.desk.desk import Desk
from device.display import palette, text
from device.display.base import ScreenView
from device.display.inputs import Input, Kind, key
from device.display.layout import Rect, layout
from device.display.overlay import draw, draw_on
from device.display.pages import CountPage
from device.display.sheet import Sheet
from device.slide.model import Slide
from engines.detections import Image

PIXEL_MM = 24 * 25.4 * 16 / math.hypot(16, 9) / 1920
"""Of a screen of 24 inches at 1920 x 1080."""
FAR = CountPage(far=True)


@pytest.fixture
def urdu() -> Iterator[None]:
    with language.speaking("ur"):
        yield


def arc_minutes(cap_px: float, distance_mm: float) -> float:
    return math.degrees(math.atan(cap_px * PIXEL_MM / distance_mm)) * 60


def letters_of(view: ScreenView, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Every text that is drawn, with the size of its letters in px."""
    forget()
    seen: dict[str, int] = {}
    put = text.put

    def watched(canvas: Image, words: str, xy: tuple[int, int], size_px: int, *args: Any, **more: Any) -> Rect:
        if words:
            seen[words] = min(size_px, seen.get(words, size_px))
        return put(canvas, words, xy, size_px, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(text, "put", watched)
        draw(view, size)
    return seen


@pytest.mark.parametrize("name", ["named", "named-zero", "cells-04", "lost", "paused", "simulator", "start", "foreign"])
@pytest.mark.parametrize("code", ["en", "fr", "ur", "sw"])
def test_from_afar_every_capital_is_16_arc_minutes_high_at_2_m(name: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with language.speaking(code):
        seen = letters_of(replace(VIEWS[name], page=FAR), (1919, 1080), monkeypatch)
    assert len(seen) >= 5
    for words, letters in seen.items():
        assert arc_minutes(text.CAP_HEIGHT * letters, 2000) >= 16, (words, letters)


def test_from_afar_there_are_the_count_the_field_the_message_and_blasts_with_what_must_stand_beside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = letters_of(replace(VIEWS["named"], page=FAR), (1917, 1080), monkeypatch)
    wanted = {"88", "/ 200", "counting", "field counted: move on", "Field 12 counted: 6 cells.", "32 of 88", "95 % range 26 to 47 %"}
    assert wanted | {gallery.ENGINE.label, "UNREVIEWED — for review, not a diagnosis"} <= set(seen)
    assert not any(words.startswith(("Neutrophil", "Film so far", "Calibration", "undo")) for words in seen)
    zero = letters_of(replace(VIEWS["named-zero"], page=FAR), (1917, 1080), monkeypatch)
    assert {"0 of 43 told", "up to 6.8 % possible"} <= set(zero)


@pytest.mark.parametrize("name", VIEWS)
def test_from_bench_to_afar_and_back_leaves_nothing_behind(name: str) -> None:
    sheet = Sheet(np.full((1080, 1920, 3), 77, np.uint8))
    bench, far = VIEWS[name], replace(VIEWS[name], page=FAR)
    for view in (bench, far, bench, far):
        draw_on(sheet, view)
        assert np.array_equal(sheet.pixels, draw(view))


def test_bare_is_the_film_and_nothing_on_it() -> None:
    view = VIEWS["cells-20"]
    bare = draw(replace(view, page=CountPage(bare=True)))
    film = draw(replace(view, detections=None, identified=()))
    assert np.array_equal(picture(bare), picture(film))
    assert not np.array_equal(picture(bare), picture(draw(view)))


def test_b_and_z_change_the_look_and_nothing_else() -> None:
    desk = Desk(lambda: 0.0)
    assert desk.take([key("B")], None) == []
    assert desk.page == CountPage(bare=True)
    desk.take([key("Z"), key("B")], None)
    assert desk.page == CountPage(far=True)
    desk.take([Input(Kind.PRESS, "Z")], None)
    assert desk.page == CountPage()


def test_the_cell_that_is_pressed_on_is_told_in_words_until_the_next_field() -> None:
    view = VIEWS["named"]
    assert view.frame is not None and view.slide is not None
    sheet = Sheet(np.zeros((1080, 1920, 3), np.uint8))
    targets = draw_on(sheet, view)
    x, y = PLACE.picture.x0 + 0.15 * PLACE.picture.width, PLACE.picture.y0 + 0.22 * PLACE.picture.height
    word, at = targets.at(x, y)
    assert word == "picture"
    assert at == pytest.approx((0.15, 0.22))
    desk = Desk(lambda: 0.0)
    slide: Slide = view.slide
    desk.take([Input(Kind.PRESS, word, at=at)], slide)
    canvas = footer(draw(replace(view, page=desk.page)))
    assert has(canvas, "This cell", 21, palette.DIM, palette.PANEL)
    assert has(canvas, "Myeloblast 0.97", 21, palette.TEXT, palette.PANEL, bold=True)
    desk.take([], replace(slide, fields=(*slide.fields, slide.fields[-1])))
    assert desk.page == CountPage()


def test_each_key_on_the_screen_can_be_pressed() -> None:
    targets = draw_on(Sheet(np.zeros((1080, 1920, 3), np.uint8)), VIEWS["named"])
    assert {word for _, word in targets.places if len(word) == 1} == set("FUPABZQ")
    assert all(min(at.width, at.height) >= 40 for at, word in targets.places)
    unopened = draw_on(Sheet(np.zeros((1080, 1920, 3), np.uint8)), VIEWS["idle"])
    assert {word for _, word in unopened.places if len(word) == 1} == set("SRBZQ")


@pytest.mark.parametrize("size", [(1024, 600), (1280, 800), (1366, 768)])
@pytest.mark.parametrize("name", ["named", "named-zero", "cells-09", "foreign", "paused"])
def test_on_small_screens_provenance_and_keys_have_letters_of_14_px(
    size: tuple[int, int], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = letters_of(VIEWS[name], (size[0] - 1, size[1]), monkeypatch)
    for words in (gallery.ENGINE.label, "zzcat-5mp, 100x, version 3", "quit", "F", "Camera"):
        assert seen[words] >= 14, words
    assert "UNREVIEWED — for review, not a diagnosis" in " ".join(seen)
    too_small = {words: px for words, px in seen.items() if px < 14}
    assert not too_small
    assert ("Film so far" in seen) == (size != (1024, 600))


@pytest.mark.parametrize("size", [(3840, 2160), (1920, 1080), (1280, 800)])
def test_the_canvas_for_readers_from_the_right_is_laid_out_in_the_mirror(size: tuple[int, int], urdu: None) -> None:
    view = replace(VIEWS["named"], message="")
    canvas = draw(view, size)
    plan = layout(*size)
    assert plan.unit.from_right
    film_at = plan.picture.mirrored(size[0])
    with language.speaking("en"):
        left = draw(view, size)
    # The film itself is not turned over, it only lies at the other side.
    row = (film_at.y0 + film_at.y1) // 2
    inside = slice(film_at.x0 + 20, film_at.x1 - 20)
    shift = film_at.x0 - plan.picture.x0
    same = (canvas[row - 40 : row + 40, inside] == left[row - 40 : row + 40, inside.start - shift : inside.stop - shift]).all(axis=2)
    assert same.mean() > 0.95
    # The panel is at the left, its bars fill from the right, and Latin words in it read as ever.
    panel = plan.panel.mirrored(size[0]).view(canvas)
    assert has(panel, "88", plan.unit(66), palette.TEXT, palette.PANEL, bold=True)
    bar = panel[plan.unit(96 + 84 + 8)]
    filled = np.flatnonzero((bar == palette.BUSY).all(axis=1))
    assert filled.max() > panel.shape[1] * 0.9
    assert filled.min() > panel.shape[1] * 0.4


def test_targets_lie_where_they_are_drawn_in_the_mirror(urdu: None) -> None:
    sheet = Sheet(np.zeros((1080, 1920, 3), np.uint8))
    targets = draw_on(sheet, VIEWS["named"])
    at = next(at for at, word in targets.places if word == "Q")
    assert has(at.view(sheet.pixels), "Q", 24, palette.TEXT, palette.mix(palette.CARD, palette.LINE, 0.4), bold=True)


@pytest.mark.parametrize("name", ["named", "cells-20", "paused", "simulator", "foreign-zero"])
def test_a_change_of_language_leaves_nothing_behind(name: str) -> None:
    sheet = Sheet(np.zeros((1080, 1920, 3), np.uint8))
    for code in ("en", "ur", "fr", "ur", "en"):
        with language.speaking(code):
            draw_on(sheet, VIEWS[name])
            assert np.array_equal(sheet.pixels, draw(VIEWS[name], SIZE))


def test_numbers_have_the_sign_of_the_language() -> None:
    assert language.number(12.34, 1) == "12.3"
    with language.speaking("fr"):
        assert language.number(12.34, 1) == "12,3"
    assert re.fullmatch(r"\d+", language.number(12.0))

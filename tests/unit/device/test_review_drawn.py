"""The pages of the review as they are drawn: nothing beside its place, targets that a finger can hit, redrawn only for a change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gallery
import numpy as np
import pytest
import reviewing
from reviewing import SIZES, Sitting, painted, press

from device import language
from device.display import gallery as drawing
from device.display import gallery_cells, marks, text
from device.display.base import ScreenView
from device.display.gallery_cells import bar_of, code_of, cut, style_of
from device.display.layout import Rect
from device.display.overlay import draw, draw_on
from device.display.pages import COUNT_PAGE
from device.display.pages_review import PAGE_CELLS, GalleryPage, Scale, SlideRow, SlidesPage
from device.display.sheet import Sheet
from device.display.words import NOTICE, REVIEWED_NOTICE
from engines.detections import Image
from engines.taxonomy import LEUKEMIA_ATTRI

TOLD = ["Myeloblast", "Neutrophil", "blasts", "", "Lymphocyte", "artefact", "Neutrophil", "Promonocyte", "others", "Myelocyte"]
SLIDE, PICTURES = painted(TOLD * 13, charts=2)
VIEWS = reviewing.pages(SLIDE, PICTURES)
_TARGET_12_MM = 103
"""Px of the 1920 x 1080 drawing: 12 mm on a screen of 10.1 inches with 1024 x 600, and more on every larger one."""


def test_there_is_a_page_of_every_kind() -> None:
    assert len({type(view.page) for view in VIEWS.values()}) == 4
    assert {"blasts", "unidentified-warned", "field-adding", "sign-not-yet", "signed", "others-accepted"} <= set(VIEWS)


@pytest.mark.parametrize("size", SIZES[:3])
@pytest.mark.parametrize("name", VIEWS)
def test_every_part_lies_inside_and_every_target_is_large_enough(
    name: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts within the part that they are drawn on, parts within the canvas, no two targets on one another."""
    size = size[0] - 2, size[1] - 2  # a canvas of another size meets no cached part
    put, fit = text.put, text.fit

    def inside(canvas: Image, words: str, xy: tuple[int, int], size_px: int, *rest: object, **options: object) -> Rect:
        at = put(canvas, words, xy, size_px, *rest, **options)  # type: ignore[arg-type]
        shown = words if options.get("max_px") is None else fit(words, size_px, int(str(options["max_px"])), bool(options.get("bold")))
        if shown.strip():
            room = Rect(0, 0, canvas.shape[1], canvas.shape[0])
            assert room.x0 <= at.x0 <= at.x1 <= room.x1 + 2, (words, at, room)
            assert room.y0 <= at.y0 <= at.y1 <= room.y1 + 3, (words, at, room)
        return at

    monkeypatch.setattr(text, "put", inside)
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    targets = draw_on(Sheet(canvas), VIEWS[name])
    unit = drawing.review_layout(*size).unit
    assert targets.places
    for number, (place, word) in enumerate(targets.places):
        assert 0 <= place.x0 < place.x1 <= size[0], word
        assert 0 <= place.y0 < place.y1 <= size[1], word
        assert min(place.width, place.height) >= unit(_TARGET_12_MM) - 2, (word, place)
        for other, another in targets.places[number + 1 :]:
            apart = place.x1 <= other.x0 or other.x1 <= place.x0 or place.y1 <= other.y0 or other.y1 <= place.y0
            assert apart, (word, another)


def drawn_texts(view: ScreenView, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str, int, Rect]]:
    """Every text of a page: which part it is drawn on, the words, their size and their place on the part."""
    found, kept = list[tuple[int, str, int, Rect]](), list[Image]()
    put = text.put

    def noted(canvas: Image, words: str, xy: tuple[int, int], size_px: int, *rest: object, **options: object) -> Rect:
        at = put(canvas, words, xy, size_px, *rest, **options)  # type: ignore[arg-type]
        kept.append(canvas)  # no other part has its id meanwhile
        if words.strip() and at.width:
            found.append((id(canvas), words, size_px, at))
        return at

    with monkeypatch.context() as patch:
        patch.setattr(text, "put", noted)
        draw(view, size)
    return found


@pytest.mark.parametrize("code", ["en", "fr", "ur", "sw"])
def test_on_a_small_screen_letters_are_at_least_13_px_where_there_is_room_and_none_lie_on_others(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A canvas of 1024 x 600, a px less so that nothing drawn before is taken. Smaller may be what has a place of fixed width: names
    and codes of the legend, what made the numbers, and the row of keys."""
    with language.speaking(code):
        for name, view in reviewing.pages(SLIDE, PICTURES).items():
            page: Any = view.page
            narrow = {page.head.made_by, *(word for button in page.buttons for word in (*button.words.split(), button.cap))}
            legend = getattr(page, "legend", ())
            narrow |= {word for entry in legend for word in entry.name.split()}
            codes = {code_of(style_of(LEUKEMIA_ATTRI, entry.verdict)) for entry in legend}
            texts = drawn_texts(view, (1023, 599), monkeypatch)
            for part, words, px, at in texts:
                # a word that does not go into its line is broken there
                loose = not any(one in narrow or any(one.strip("….,") in each for each in narrow) for one in words.split())
                if loose and page.head.made_by not in words and words not in codes:
                    assert px >= (12 if "%" in words or "→" in words or "<" in words else 13), (name, words, px)
                for other, more, _, there in texts:
                    if part == other and there is not at:
                        wide = min(at.x1, there.x1) - max(at.x0, there.x0)
                        tall = min(at.y1, there.y1) - max(at.y0, there.y0)
                        assert wide <= 1 or tall <= 3, (name, words, more)


@pytest.mark.parametrize("name", VIEWS)
def test_the_same_page_gives_the_same_picture_whatever_lay_there_before(name: str) -> None:
    fresh = draw(VIEWS[name], (1280, 800))
    canvas = np.full((800, 1280, 3), 99, np.uint8)
    sheet = Sheet(canvas)
    counting = gallery.view(*gallery.crowd(4, cell_px=200))
    for before in (VIEWS["blasts"], VIEWS["field"], replace(counting, page=COUNT_PAGE), VIEWS["sign"], VIEWS[name]):
        draw_on(sheet, before)
    assert (canvas == fresh).all()
    draw_on(sheet, counting)
    assert (canvas == draw(counting, (1280, 800))).all()
    draw_on(sheet, VIEWS[name])
    assert (canvas == fresh).all()


def test_a_page_that_did_not_change_is_not_copied_again_and_a_step_copies_little(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Sitting(SLIDE, PICTURES)
    one.do("PAGEDOWN")
    sheet = Sheet(np.zeros((1080, 1920, 3), np.uint8))
    draw_on(sheet, one.view())
    copied: list[int] = []
    paste = text.paste

    def counted(canvas: Image, picture: Image, x: int, y: int) -> None:
        if canvas is sheet.pixels:
            copied.append(picture.shape[0] * picture.shape[1])
        paste(canvas, picture, x, y)

    monkeypatch.setattr(text, "paste", counted)
    draw_on(sheet, one.view())
    assert copied == []
    one.do("RIGHT")
    draw_on(sheet, one.view())
    tiles = [area for area in copied if area < 200 * 200]
    assert len(tiles) == 2  # the cell that was left, and the one that is current now
    assert sum(copied) < 0.3 * 1920 * 1080


def test_all_cells_of_a_page_are_at_one_scale() -> None:
    page = VIEWS["blasts"].page
    assert isinstance(page, GalleryPage)
    cell = page.cells[0]
    small = cut(cell, 200, 200, 1.0, (0, 0, 0))
    twice = cut(cell, 400, 400, 2.0, (0, 0, 0))
    ink = [np.count_nonzero(each.any(axis=2)) for each in (small, twice)]
    assert ink[1] == pytest.approx(4 * ink[0], rel=0.05)


@pytest.mark.parametrize("per_px", [0.3, 1.0, 4.7])
@pytest.mark.parametrize("um", [None, 0.05, 0.26])
def test_the_scale_bar_is_as_long_as_it_says(um: float | None, per_px: float) -> None:
    long, words = bar_of(Scale(150, um), per_px, 150)
    number, unit = words.split()
    assert unit == ("px" if um is None else "µm")
    assert long == pytest.approx(float(number) / (um or 1.0) * per_px, abs=0.51)
    assert 20 <= long <= 150


def test_the_notice_stands_on_every_page_and_changes_with_the_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    seen: list[str] = []
    put = text.put

    def noted(canvas: Image, words: str, *rest: object, **options: object) -> Rect:
        seen.append(words)
        return put(canvas, words, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(text, "put", noted)
    for name, view in VIEWS.items():
        page = view.page
        notice = REVIEWED_NOTICE if page.head.signed else NOTICE  # type: ignore[union-attr]
        said.append(notice)
        seen.clear()
        draw(view, (1111 + len(said), 777))
        assert notice in seen, name
        assert any("attridet-n 2.0.0" in words for words in seen), name
    assert said[-1] == REVIEWED_NOTICE
    assert NOTICE in said


def test_a_cell_without_a_crop_is_shown_as_one() -> None:
    bare = replace(SLIDE, fields=tuple(replace(f, cells=tuple(replace(c, crop_jpeg=b"") for c in f.cells)) for f in SLIDE.fields))
    draw(Sitting(bare, {}).view(), (1024, 600))
    broken = replace(SLIDE.fields[0], cells=tuple(replace(c, crop_jpeg=b"no jpeg") for c in SLIDE.fields[0].cells))
    draw(Sitting(replace(SLIDE, fields=(broken,)), {}).view(), (1024, 600))


def test_the_list_of_slides_is_pressed_by_row() -> None:
    page = VIEWS["sign"].page
    rows = tuple(SlideRow(f"2026-{i:02d}", f"H26-{i}", "2 March", "to review", signed=i % 2 == 0) for i in range(30))
    view = replace(VIEWS["sign"], page=SlidesPage(page.head, rows, 17, page.buttons))  # type: ignore[union-attr]
    targets = draw_on(Sheet(np.zeros((600, 1024, 3), np.uint8)), view)
    words = [word for _, word in targets.places]
    assert "slide 2026-17" in words
    assert 5 <= sum(word.startswith("slide ") for word in words) < 30
    none = replace(view, page=SlidesPage(page.head, (), 0, page.buttons))  # type: ignore[union-attr]
    draw(none, (1024, 600))


def test_crops_are_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery_cells.decoded.cache_clear()
    one = Sitting(SLIDE, PICTURES)
    for _ in range(3):
        draw(one.view(), (1920, 1080))
        one.do("RIGHT")
    assert gallery_cells.decoded.cache_info().misses <= PAGE_CELLS
    assert marks.blank(2, 2, (1, 2, 3)).shape == (2, 2, 3)


def test_a_press_on_what_was_drawn_is_the_key_that_stands_there() -> None:
    one = Sitting(SLIDE, PICTURES)
    targets = draw_on(Sheet(np.zeros((1080, 1920, 3), np.uint8)), one.view())
    words = {word for _, word in targets.places}
    assert {"SPACE", "PAGEDOWN", "RETURN", "V", "U", "G", "Q", "class Neutrophil", "class artefact"} <= words
    place = next(place for place, word in targets.places if word == "PAGEDOWN")
    word, _ = targets.at((place.x0 + place.x1) / 2, (place.y0 + place.y1) / 2)
    before = one.desk.page.head.title
    one.do(press(word))
    assert one.desk.page.head.title != before

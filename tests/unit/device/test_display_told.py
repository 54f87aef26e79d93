"""What is said of a box where a second look names cells: nothing before the field is counted, then what was told and no more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gallery
import numpy as np
import pytest
from drawing import VIEWS, footer, has, panel, picture, strip

from device.display import palette, text
from device.display.base import ScreenView
from device.display.labels import PLATE
from device.display.layout import Rect
from device.display.overlay import draw
from device.display.palette import NOT_LOOKED_AT, UNIDENTIFIED, group_styles, type_styles
from device.display.told import Told, told_cells
from device.slide.doubt import FOREIGN, UNKNOWN_SENSITIVITY
from device.slide.tally import tally
from engines.detections import Image
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy

SOME = ["Myeloblast", "blasts", "Neutrophil", "others", "", "None"]
GROUPS = group_styles(LEUKEMIA_ATTRI)
TYPES = {style.name: style for style in type_styles(LEUKEMIA_ATTRI)}


def told(view: ScreenView) -> Told:
    assert view.detections is not None
    return told_cells(view, view.detections)


def test_before_a_field_is_counted_no_box_is_named_whatever_the_first_look_says() -> None:
    counted = VIEWS["named"]
    for view in (replace(counted, field_counted=False), replace(counted, slide=None), VIEWS["named-none-yet"]):
        said = told(view)
        assert set(said.styles) == {NOT_LOOKED_AT} and set(said.scores) == {None}
        assert np.isnan(said.attributes).all()
    canvas = draw(replace(counted, field_counted=False))
    assert has(strip(canvas), "6 cells found, named once the field is counted", 21, palette.SOFT, palette.GROUND)
    assert not has(picture(canvas), "LYM", 23, palette.TEXT, PLATE, bold=True)


def test_a_field_of_another_size_than_the_frame_is_not_drawn_over_it() -> None:
    counted = VIEWS["named"]
    assert set(told(replace(counted, frame=gallery.frame(gallery.film(640, 480)))).styles) == {NOT_LOOKED_AT}


def test_a_counted_field_bears_what_the_second_look_told_with_its_probability() -> None:
    said = told(VIEWS["named"])
    looks = [TYPES["Myeloblast"], GROUPS["blasts"], TYPES["Neutrophil"], GROUPS["others"], UNIDENTIFIED, TYPES["None"]]
    assert list(said.styles) == looks
    assert said.scores == (0.97, 0.95, 0.93, 0.91, None, None)
    assert said.words == "5 white cells, 1 artefact (grey)"
    canvas = picture(draw(VIEWS["named"]))
    for code in ("BL?", "WC?", "MYB", "NEU"):
        assert has(canvas, code, 23, palette.TEXT, PLATE, bold=True), code
    least = footer(draw(VIEWS["named"]))
    assert has(least, "Other, kind uncertain 0.91", 21, palette.TEXT, palette.PANEL, bold=True)


def test_a_foreign_film_names_groups_only() -> None:
    said = told(VIEWS["foreign"])
    blast, other = GROUPS["blasts"], GROUPS["others"]
    assert list(said.styles) == [blast, blast, other, other, UNIDENTIFIED, TYPES["None"]]


def test_boxes_follow_the_stage_and_what_came_into_sight_is_not_counted() -> None:
    view = VIEWS["named-displaced"]
    before, said = told(VIEWS["named"]), told(view)
    assert said.styles == (*before.styles, NOT_LOOKED_AT)
    assert np.allclose(said.boxes_px[:-1] - before.boxes_px, [-120, 40, -120, 40])
    assert said.words == "5 white cells, 1 artefact (grey), 1 not counted"
    gone = told(replace(view, shift_px=(-1900.0, 0.0)))  # a cell whose middle is out of the picture is not drawn at its edge
    assert set(gone.styles) == {NOT_LOOKED_AT} and gone.words == "0 white cells, 7 not counted"


def test_a_field_whose_second_look_failed_bears_the_first_looks_names() -> None:
    view = VIEWS["named"]
    assert view.slide is not None
    field = view.slide.fields[-1]
    plain = tuple(
        replace(cell, probability=None, blast_probability=None, group="", identified=i == 2) for i, cell in enumerate(field.cells)
    )
    failed = replace(view.slide, fields=(*view.slide.fields[:-1], replace(field, cells=plain, naming_fault="out of memory")))
    said = told(replace(view, slide=failed))
    assert list(said.styles) == [UNIDENTIFIED, UNIDENTIFIED, TYPES["Neutrophil"], UNIDENTIFIED, UNIDENTIFIED, TYPES["None"]]
    assert said.scores[2] == 0.93


def test_without_a_naming_layer_all_is_as_the_first_look_says() -> None:
    view = VIEWS["cells-09"]
    said = told(view)
    assert view.detections is not None and said.boxes_px is view.detections.boxes_px
    assert NOT_LOOKED_AT not in said.styles
    assert told(replace(view, field_counted=False)).styles == said.styles


@pytest.mark.parametrize("name", ["foreign", "foreign-zero"])
def test_a_foreign_film_says_so_in_one_band_that_stays(name: str) -> None:
    for message in ("", "Field 12 counted: 6 cells."):
        canvas = draw(replace(VIEWS[name], message=message))
        assert has(panel(canvas), "Foreign film", 28, palette.GROUND, palette.WARN, bold=True)
        assert has(panel(canvas), "review all cells.", 21, palette.GROUND, palette.WARN)
        beginning = FOREIGN.split(":")[0]
        assert not any(has(footer(canvas), beginning, size, palette.TEXT, palette.PANEL) for size in (20, 21, 22, 23))


@pytest.mark.parametrize("foreign", [False, None])
def test_a_film_that_is_not_or_not_yet_known_as_foreign_says_nothing_of_it(foreign: bool | None) -> None:
    canvas = panel(draw(gallery.named_view(SOME, gallery.TYPES_TOLD, foreign=foreign)))
    assert not has(canvas, "Foreign film", 28, palette.GROUND, palette.WARN, bold=True)


def test_no_blasts_stand_with_their_limit_and_what_is_known_of_the_sensitivity() -> None:
    canvas = panel(draw(VIEWS["named-zero"]))
    assert has(canvas, "0 of 43 told", 24, palette.TEXT, palette.PANEL, bold=True)  # of 48, five of them unidentified
    assert has(canvas, "up to 6.8 % possible", 24, palette.WARN, palette.PANEL, bold=True)
    assert has(canvas, "On films of microscopes that it never saw it told", 19, palette.SOFT, palette.PANEL)
    for name in ("named-zero-site", "foreign-zero"):  # a layer that says nothing of itself, or that does not know this film
        unknown = panel(draw(VIEWS[name]))
        assert has(unknown, UNKNOWN_SENSITIVITY[:24], 19, palette.SOFT, palette.PANEL), name
    nothing = panel(draw(gallery.named_view(["", ""], {})))
    assert has(nothing, "no cell told", 24, palette.TEXT, palette.PANEL, bold=True)
    assert has(nothing, "any share possible", 24, palette.WARN, palette.PANEL, bold=True)


def test_blasts_stand_first_with_their_range() -> None:
    canvas = panel(draw(VIEWS["named"]))
    assert has(canvas, "32 of 88", 24, palette.TEXT, palette.PANEL, bold=True)
    assert has(canvas, "95 % range 26 to 47 %", 24, palette.SOFT, palette.PANEL)


def test_a_zero_of_an_engine_without_a_naming_layer_has_its_limit_too() -> None:
    slide = gallery.slide({"Neutrophil": 38}, unidentified=2)
    canvas = panel(draw(replace(VIEWS["cells-04"], slide=slide, differential=tally(slide, LEUKEMIA_ATTRI))))
    assert has(canvas, "blasts: up to 7.6 % possible", 23, palette.WARN, palette.PANEL)
    assert not has(canvas, "blast types together", 23, palette.DIM, palette.PANEL)


def test_the_naming_layer_stands_in_the_provenance_and_a_site_layer_is_called_so() -> None:
    assert has(panel(draw(VIEWS["named"])), "open-cells 1.0.0 9f2b61c4", 19, palette.SOFT, palette.PANEL)
    assert has(panel(draw(VIEWS["named-zero-site"])), "site layer st-marys-40x 1.0.0 9f2b61c4", 19, palette.SOFT, palette.PANEL)
    assert not has(panel(draw(VIEWS["cells-04"])), "Naming", 19, palette.DIM, palette.PANEL)


def test_types_that_find_no_row_are_summed_and_blasts_keep_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A taxonomy of many types, all of them seen: the most frequent have rows, the others are told to be left out."""
    names = tuple(f"Type {i}" for i in range(40))
    taxonomy = Taxonomy(("None", *names), LEUKEMIA_ATTRI.attributes, blasts=names[:3])
    cells = tuple(replace(gallery.told_cell("Neutrophil", (0, 0, 9, 9)), class_index=1 + i) for i in range(40) for _ in range(1 + i))
    slide = replace(gallery.slide({}, fields=1), foreign=False)
    slide = replace(slide, fields=(replace(slide.fields[0], cells=cells),))
    view = replace(VIEWS["named"], engine=replace(VIEWS["named"].engine, taxonomy=taxonomy), field_counted=False, slide=slide)
    written = words_of(replace(view, differential=tally(slide, taxonomy)), (1919, 1079), monkeypatch)
    rows = [words for words in written if words.startswith("Type ")]
    left_out = 40 - len(rows)
    assert left_out > 10 and f"{left_out} further types" in written
    assert {"Type 0", "Type 1", "Type 2", "Type 39"} <= set(rows)  # the three blasts, the rarest of all, and the most frequent other


def words_of(view: ScreenView, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that is written on a canvas of a size that no other test draws."""
    written: list[str] = []
    put = text.put

    def watched(canvas: Image, words: str, *args: Any, **more: Any) -> Rect:
        written.append(words)
        return put(canvas, words, *args, **more)

    monkeypatch.setattr(text, "put", watched)
    draw(view, size)
    return written


@pytest.mark.parametrize("size", [(1919, 1079), (1279, 719), (1365, 767), (1023, 767)])
def test_all_types_and_groups_have_a_row_on_every_usual_screen(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    written = words_of(VIEWS["named-all"], size, monkeypatch)
    for style in (*TYPES.values(), *GROUPS.values()):
        assert style.artefact or style.name in written
    assert not any("further types" in words for words in written)


def test_the_number_is_how_probable_what_was_told_is() -> None:
    cell = replace(gallery.told_cell("Myeloblast", (0, 0, 9, 9), score=0.9), probability=0.6, blast_probability=0.85)
    index = LEUKEMIA_ATTRI.classes.index("Myeloblast")
    assert [cell.certainty(told) for told in (index, "blasts", "others", "")] == pytest.approx([0.6, 0.85, 0.15, 0.6])
    assert replace(cell, probability=None, blast_probability=None).certainty("") == 0.9

"""The drawing of the screen: what stands where, nothing outside, the same picture for the same view, and fast enough."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import cv2
import gallery
import numpy as np
import pytest
from drawing import KNOWN, PLACE, SIZE, VIEWS, footer, has, one_cell, panel, picture

from device.camera.base import CameraState, CameraStatus
from device.display import field, palette, text
from device.display.base import PartState, ScreenView
from device.display.labels import PLATE, Tag
from device.display.layout import Rect, Unit
from device.display.overlay import draw
from device.display.text import Piece
from device.display.words import NOTICE, REVIEWED_NOTICE
from device.slide.model import ReviewState, SlideState
from device.slide.tally import differential
from engines.detections import Detections, Image
from engines.taxonomy import LEUKEMIA_ATTRI, UNKNOWN


def on_canvas(x: float, y: float, frame_size: tuple[int, int] = (1920, 1080)) -> tuple[int, int]:
    """Where a point of the frame is to lie: the whole frame, as large as goes, in the middle of its place."""
    place = PLACE.picture
    scale = min(place.width / frame_size[0], place.height / frame_size[1])
    left = (place.width - round(frame_size[0] * scale)) // 2
    top = (place.height - round(frame_size[1] * scale)) // 2
    return round(left + x * scale), round(top + y * scale)


@pytest.mark.parametrize("name", VIEWS)
def test_the_same_view_gives_the_same_picture(name: str) -> None:
    first = draw(VIEWS[name])
    draw(VIEWS["cells-09"])
    out = np.full((1080, 1920, 3), 77, np.uint8)
    assert draw(VIEWS[name], SIZE, out) is out
    assert (first == out).all()


@pytest.mark.parametrize("name", VIEWS)
def test_the_notice_and_the_provenance_are_always_there(name: str) -> None:
    canvas = panel(draw(VIEWS[name]))
    ground = palette.mix(palette.WARN, palette.PANEL, 0.16)
    assert any(has(canvas, NOTICE, size, palette.WARN, ground, bold=True) for size in (20, 21, 22))
    assert has(canvas, gallery.ENGINE.label, 19, palette.SOFT, palette.PANEL)
    assert has(canvas, "zzcat-5mp, 100x, version 3", 19, palette.SOFT, palette.PANEL)


def test_a_reviewed_slide_says_so_and_still_is_no_diagnosis() -> None:
    slide = replace(gallery.slide({"Neutrophil": 3}), state=SlideState.SIGNED, review_state=ReviewState.REVIEWED)
    canvas = panel(draw(replace(one_cell("Neutrophil"), slide=slide)))
    ground = palette.mix(palette.WARN, palette.PANEL, 0.16)
    assert any(has(canvas, REVIEWED_NOTICE, size, palette.WARN, ground, bold=True) for size in (20, 21, 22))


@pytest.mark.parametrize("size", [SIZE, (1280, 720), (1366, 768), (1024, 768), (640, 360), (2560, 1440), (1080, 1920)])
def test_every_text_and_every_part_lies_inside(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    """Each text within the part it is drawn on, each part within the canvas. (A canvas of another size meets no cached part.)"""
    size = (size[0] - 3, size[1] - 3)
    seen = 0
    put, paste = text.put, text.paste

    def inside(canvas: Image, at: Rect, what: str) -> None:
        nonlocal seen
        seen += 1
        height, width = canvas.shape[:2]
        assert at.x0 >= 0, what
        assert at.y0 >= 0, what
        assert at.x1 <= width, what
        assert at.y1 <= height, what

    def watched_put(canvas: Image, words: str, *args: Any, **more: Any) -> Rect:
        at = put(canvas, words, *args, **more)
        inside(canvas, at, words)
        return at

    def watched_paste(canvas: Image, sprite: Image, x: int, y: int) -> None:
        inside(canvas, Rect(x, y, x + sprite.shape[1], y + sprite.shape[0]), f"a part of {sprite.shape} at {x}, {y}")
        paste(canvas, sprite, x, y)

    monkeypatch.setattr(text, "put", watched_put)
    monkeypatch.setattr(text, "paste", watched_paste)
    for name, view in VIEWS.items():
        canvas = draw(view, size)
        assert canvas.shape == (size[1], size[0], 3), name
    assert seen > 500


def long_names() -> ScreenView:
    """A view in which everything that comes from elsewhere is longer than its place."""
    long = "a-name-longer-than-anybody-should-give-" * 4
    view = VIEWS["cells-04"]
    slide = replace(gallery.slide({"Neutrophil": 1234}, fields=321), slide_id="S-" + "7" * 62, fields_undone=17)
    return replace(
        view,
        frame=replace(gallery.frame(gallery.film()), source=f"/dev/v4l/by-id/{long}"),
        engine=replace(view.engine, name=long),
        slide=slide,
        differential=differential(slide.cells, LEUKEMIA_ATTRI),
        target_cells=100_000,
        focus_text=long,
        calibration_label=long,
        message=long,
        message_level="fail",
        parts=tuple(PartState(f"Part {long}", "fail", long) for _ in range(4)),
        description=(long, f"and {long} " * 12),
    )


@pytest.mark.parametrize("camera", [None, CameraState.LOST])
def test_names_that_are_too_long_stay_inside(monkeypatch: pytest.MonkeyPatch, camera: CameraState | None) -> None:
    view = long_names()
    if camera is not None:
        view = replace(view, camera=CameraStatus(camera, "camera", "gone for a reason " * 30, retry_in_s=1e9))
    put = text.put

    def watched(canvas: Image, words: str, *args: Any, **more: Any) -> Rect:
        at = put(canvas, words, *args, **more)
        assert at.x0 >= 0, words
        assert at.x1 <= canvas.shape[1], words
        assert at.y1 <= canvas.shape[0], words
        return at

    monkeypatch.setattr(text, "put", watched)
    draw(view, (1914, 1078))


@pytest.mark.parametrize("name", [c for c in LEUKEMIA_ATTRI.classes if c != "None"])
def test_the_box_has_the_colour_of_its_type_where_the_cell_lies(name: str) -> None:
    canvas = draw(one_cell(name))
    style = next(s for s in palette.type_styles(LEUKEMIA_ATTRI) if s.name == name)
    for x, y in ((900, 600), (1100, 600), (1000, 500), (1000, 700)):
        column, row = on_canvas(x, y)
        around = picture(canvas)[row - 2 : row + 3, column - 2 : column + 3].reshape(-1, 3)
        assert (around == style.colour).all(axis=1).any(), (x, y)
    column, row = on_canvas(1000, 600)
    assert (picture(canvas)[row, column] == 200).all()  # the cell itself is not painted over


@pytest.mark.parametrize("size", [(640, 640), (640, 480), (2592, 1944), (300, 900)])
def test_boxes_follow_the_letterbox_of_every_shape_of_frame(size: tuple[int, int]) -> None:
    w, h = size
    image = np.full((h, w, 3), 200, np.uint8)
    box = (0.4 * w, 0.4 * h, 0.6 * w, 0.6 * h)
    canvas = draw(gallery.view(image, gallery.detections([(box, "Monocyte", 0.9, [UNKNOWN] * 7)])))
    style = next(s for s in palette.type_styles(LEUKEMIA_ATTRI) if s.name == "Monocyte")
    column, row = on_canvas(0.4 * w, 0.5 * h, size)
    assert (picture(canvas)[row - 2 : row + 3, column - 2 : column + 3] == style.colour).all(axis=2).any()


def test_the_whole_frame_is_shown_undistorted() -> None:
    image = np.zeros((600, 800, 3), np.uint8)
    colours = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))
    for corner, colour in zip(((0, 0), (0, 500), (700, 0), (700, 500)), colours, strict=True):
        cv2.rectangle(image, corner, (corner[0] + 99, corner[1] + 99), colour, -1)
    canvas = picture(draw(replace(gallery.view(image), field_counted=False)))
    for x, y in ((5, 594), (794, 5), (794, 594), (50, 550)):
        column, row = on_canvas(x, y, (800, 600))
        assert (canvas[row, column] == image[y, x]).all()


def marked(view: ScreenView) -> Image:
    """Whether a pixel of the picture's place was painted by the cell's box, for a view of one cell: the picture without, subtracted."""
    bare = draw(replace(view, detections=Detections.empty(LEUKEMIA_ATTRI.n_logits), identified=()))
    return np.asarray((picture(draw(view)) != picture(bare)).any(axis=2))


def test_blasts_differ_by_shape_and_not_only_by_colour() -> None:
    column, row = on_canvas(900, 600)
    lines = {}
    for name in ("Myeloblast", "Neutrophil"):
        style = next(s for s in palette.type_styles(LEUKEMIA_ATTRI) if s.name == name)
        across = (picture(draw(one_cell(name)))[row, column - 20 : column + 6] == style.colour).all(axis=1).astype(int)
        lines[name] = int((np.diff(across, prepend=0) == 1).sum())
    assert lines == {"Myeloblast": 2, "Neutrophil": 1}


def test_an_unidentified_cell_is_dashed_and_not_named() -> None:
    view = one_cell("Myeloblast", score=0.3)
    assert view.identified == (False,)
    canvas = picture(draw(view))
    assert has(footer(draw(view)), "unidentified 0.30", 21, palette.TEXT, palette.PANEL, bold=True)
    assert not has(canvas, "MYB", 23, palette.TEXT, PLATE, bold=True)
    column, top = on_canvas(900, 500)
    _, bottom = on_canvas(900, 700)
    line = (canvas[top + 8 : bottom - 8, column] == palette.TEXT).all(axis=1).astype(int)
    assert (np.diff(line) == 1).sum() >= 3


def test_an_artefact_is_thin_and_grey_and_has_no_label() -> None:
    box_only = marked(one_cell("None"))
    left, top = on_canvas(900, 500)
    right, bottom = on_canvas(1100, 700)
    outside = box_only.copy()
    outside[top - 4 : bottom + 5, left - 4 : right + 5] = False
    assert not outside.any()
    row = (top + bottom) // 2
    assert 1 <= box_only[row, left - 5 : left + 6].sum() <= 4


def test_the_plate_bears_the_code_and_the_row_below_says_type_score_and_attributes() -> None:
    canvas = draw(one_cell("Neutrophil", 0.87))
    assert has(picture(canvas), "NEU", 23, palette.TEXT, PLATE, bold=True)
    assert has(footer(canvas), "Neutrophil 0.87", 21, palette.TEXT, palette.PANEL, bold=True)
    for phrase in ("open chromatin", "irregular nucleus", "abundant cytoplasm"):
        assert any(has(footer(canvas), f"· {phrase}", size, palette.SOFT, palette.PANEL) for size in range(16, 22)), phrase


def labels_of(view: ScreenView, monkeypatch: pytest.MonkeyPatch) -> list[Rect]:
    drawn: list[Rect] = []
    piece = field.plate_piece

    def watched(tag: Tag, short: bool, at: Rect, unit: Unit) -> Piece:
        drawn.append(at)
        return piece(tag, short, at, unit)

    monkeypatch.setattr(field, "plate_piece", watched)
    draw(view)
    return drawn


@pytest.mark.parametrize("name", ["cells-01", "cells-04", "cells-09", "cells-20", "cells-45"])
def test_labels_do_not_overlap_and_lie_in_the_picture(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    view = VIEWS[name]
    found = view.detections
    assert found is not None
    drawn = labels_of(view, monkeypatch)
    assert len(drawn) == sum(not LEUKEMIA_ATTRI.is_artefact(int(c)) for c in found.classes)
    for a, b in itertools.combinations(drawn, 2):
        assert min(a.x1, b.x1) <= max(a.x0, b.x0) or min(a.y1, b.y1) <= max(a.y0, b.y0), (a, b)
    for at in drawn:
        assert at.x0 >= 0
        assert at.y0 >= 0
        assert at.x1 <= PLACE.picture.width
        assert at.y1 <= PLACE.picture.height
    cells = field.to_canvas(found.boxes_px, (1920, 1080), Rect(0, 0, PLACE.picture.width, PLACE.picture.height))
    for a, b in itertools.product(drawn, cells):
        assert min(a.x1, b.x1) <= max(a.x0, b.x0) or min(a.y1, b.y1) <= max(a.y0, b.y0), (a, b)
    if len(found) <= 20:
        assert sum(at.width * at.height for at in drawn) <= 0.08 * PLACE.picture.width * PLACE.picture.height


def test_cells_at_the_edge_leave_panel_and_footer_alone() -> None:
    boxes = [(0, 0, 120, 120), (1800, 0, 1920, 120), (0, 960, 120, 1080), (1800, 960, 1920, 1080), (1850, 400, 1920, 600)]
    image = gallery.film()
    with_cells = gallery.view(image, gallery.detections([(b, "Myeloblast", 0.9, KNOWN) for b in boxes]))
    without = replace(with_cells, detections=None, identified=())
    a, b = draw(with_cells), draw(without)
    assert (panel(a) == panel(b)).all()
    rows = slice(58 + 34, None)  # but for message and the row that tells one of them in words
    assert (footer(a)[rows] == footer(b)[rows]).all()
    assert (picture(a) != picture(b)).any()

"""The drawing of the screen: what stands where, nothing outside, the same picture for the same view, and fast enough."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from device.camera.base import CameraState, CameraStatus
from device.display import field, gallery, marks, palette, text
from device.display.base import PartState, ScreenView
from device.display.labels import PLATE
from device.display.layout import Rect, layout
from device.display.overlay import draw
from device.display.words import NOTICE, REVIEWED_NOTICE, SIMULATOR_NOTICE
from device.slide.model import ReviewState, SlideState
from device.slide.tally import differential
from engines.detections import Detections, Image
from engines.spec import LEUKEMIA_ATTRI, UNKNOWN

SIZE = (1920, 1080)
PLACE = layout(*SIZE)
KNOWN = [1, 0, 1, 0, 1, 1, 0]
VIEWS = gallery.views()


def has(canvas: Image, words: str, size: int, colour: palette.Colour, ground: palette.Colour, bold: bool = False) -> bool:
    """Whether the finished picture of `words` lies somewhere on `canvas`, pixel for pixel."""
    sprite = text.sprite(words, size, colour, ground, bold)
    ink = (sprite != ground).any(axis=2)  # without the empty lines above and below, which another part may cover
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    inner = sprite[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = inner.shape[:2]
    middle = height // 2
    wanted = inner[middle].tobytes()
    for y in range(middle, canvas.shape[0] - (height - middle) + 1):
        line = canvas[y].tobytes()
        at = line.find(wanted)
        while at >= 0:
            x = at // 3
            if at % 3 == 0 and np.array_equal(canvas[y - middle : y - middle + height, x : x + width], inner):
                return True
            at = line.find(wanted, at + 1)
    return False


def panel(canvas: Image) -> Image:
    return PLACE.panel.view(canvas)


def strip(canvas: Image) -> Image:
    return PLACE.strip.view(canvas)


def footer(canvas: Image) -> Image:
    return PLACE.footer.view(canvas)


def picture(canvas: Image) -> Image:
    return PLACE.picture.view(canvas)


def one_cell(name: str, score: float = 0.9, box: tuple[float, float, float, float] = (900, 500, 1100, 700)) -> ScreenView:
    image = np.full((1080, 1920, 3), 200, np.uint8)
    codes = [UNKNOWN] * 7 if name == "None" else KNOWN
    return gallery.view(image, gallery.detections([(box, name, score, codes)]))


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


def test_a_blast_is_a_question_and_no_other_cell_is() -> None:
    assert has(picture(draw(one_cell("Lymphoblast"))), "blast?", 20, palette.WARN, PLATE, bold=True)
    assert not has(picture(draw(one_cell("Lymphocyte"))), "blast?", 20, palette.WARN, PLATE, bold=True)


def test_an_unidentified_cell_is_dashed_and_not_named() -> None:
    view = one_cell("Myeloblast", score=0.3)
    assert view.identified == (False,)
    canvas = picture(draw(view))
    assert has(canvas, "unidentified", 28, palette.TEXT, PLATE, bold=True)
    assert not has(canvas, "Myeloblast", 28, palette.TEXT, PLATE, bold=True)
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


def test_label_says_type_score_and_attributes() -> None:
    canvas = picture(draw(one_cell("Neutrophil", 0.87)))
    assert has(canvas, "Neutrophil", 28, palette.TEXT, PLATE, bold=True)
    assert has(canvas, "0.87", 23, palette.SOFT, PLATE)
    for line in ("medium cell · open chromatin", "abundant cytoplasm"):
        assert has(canvas, line, 21, palette.SOFT, PLATE), line


def labels_of(view: ScreenView, monkeypatch: pytest.MonkeyPatch) -> list[Rect]:
    drawn: list[Rect] = []
    draw_label = field.draw_label

    def watched(canvas: Image, label: Any, at: Rect, unit: Any) -> None:
        drawn.append(at)
        draw_label(canvas, label, at, unit)

    monkeypatch.setattr(field, "draw_label", watched)
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


def test_cells_at_the_edge_leave_panel_and_footer_alone() -> None:
    boxes = [(0, 0, 120, 120), (1800, 0, 1920, 120), (0, 960, 120, 1080), (1800, 960, 1920, 1080), (1850, 400, 1920, 600)]
    image = gallery.film()
    with_cells = gallery.view(image, gallery.detections([(b, "Myeloblast", 0.9, KNOWN) for b in boxes]))
    without = replace(with_cells, detections=None, identified=())
    a, b = draw(with_cells), draw(without)
    assert (panel(a) == panel(b)).all()
    assert (footer(a) == footer(b)).all()
    assert (picture(a) != picture(b)).any()


def test_count_and_target_are_shown() -> None:
    canvas = panel(draw(VIEWS["cells-04"]))
    assert has(canvas, "124", 66, palette.TEXT, palette.PANEL, bold=True)
    assert has(canvas, "/ 200", 40, palette.SOFT, palette.PANEL)


@pytest.mark.parametrize("counted", [0, 50, 124, 199, 200, 260])
def test_the_progress_bar_is_as_long_as_the_count(counted: int) -> None:
    slide = gallery.slide({"Neutrophil": counted})
    view = replace(VIEWS["cells-04"], slide=slide, differential=differential(slide.cells, LEUKEMIA_ATTRI))
    canvas = panel(draw(view))
    colour = palette.OK if counted >= 200 else palette.BUSY
    row = 96 + 84 + 8
    length = int((canvas[row] == colour).all(axis=1).sum())
    assert length == pytest.approx(504 * min(1, counted / 200), abs=2)


def test_bars_are_as_long_as_the_per_cents() -> None:
    slide = gallery.slide({"Myeloblast": 60, "Monocyte": 30, "Eosinophil": 10})
    view = replace(VIEWS["cells-04"], slide=slide, differential=differential(slide.cells, LEUKEMIA_ATTRI))
    canvas = panel(draw(view))
    for name, percent in (("Myeloblast", 60), ("Monocyte", 30), ("Eosinophil", 10)):
        style = next(s for s in palette.type_styles(LEUKEMIA_ATTRI) if s.name == name)
        bar = (canvas == palette.mix(style.colour, palette.PANEL, 0.34)).all(axis=2)
        length = int(bar.any(axis=0).sum()) + 4  # its first pixels are in the full colour
        assert length == pytest.approx(474 * percent / 100, abs=3), name


@pytest.mark.parametrize(
    ("state", "title", "colour"),
    [
        (CameraState.LOST, "Camera lost", palette.FAIL),
        (CameraState.STALLED, "The picture stands still", palette.WARN),
        (CameraState.ENDED, "End of the pictures", palette.BUSY),
        (CameraState.OPENING, "Opening the camera", palette.BUSY),
    ],
)
def test_without_a_live_picture_a_banner_says_why(state: CameraState, title: str, colour: palette.Colour) -> None:
    status = CameraStatus(state, "camera 3", "the cable is out", retry_in_s=7.2)
    canvas = picture(draw(replace(VIEWS["cells-04"], camera=status)))
    assert has(canvas, title, 54, palette.TEXT, palette.PANEL, bold=True)
    assert (canvas == colour).all(axis=2).any()
    if state is CameraState.LOST:
        assert has(canvas, "the cable is out", 32, palette.TEXT, palette.PANEL)
        assert has(canvas, "Trying again in 8 s. What was counted is kept.", 28, palette.SOFT, palette.PANEL)
    assert canvas[60:140].max() < 90  # the old picture is dark, without boxes


def test_the_start_screen_is_calm_and_names_the_camera() -> None:
    canvas = picture(draw(VIEWS["start"]))
    assert has(canvas, "Leukoscope", 80, palette.TEXT, palette.GROUND)
    assert has(canvas, "Opening the camera", 34, palette.TEXT, palette.GROUND)
    assert has(canvas, "usb-ZZCAT_5MP-video-index0", 26, palette.SOFT, palette.GROUND)


@pytest.mark.parametrize("source", ["simulator", "Simulator: AML", "usb-ZZCAT_5MP-video-index0", "field_007.png"])
def test_a_simulator_is_named_and_nothing_else_is_called_one(source: str) -> None:
    found = VIEWS["cells-20"].detections
    canvas = strip(draw(gallery.view(gallery.film(), found, source=source)))
    simulated = source.lower().startswith("simulator")
    assert has(canvas, SIMULATOR_NOTICE, 23, palette.GROUND, palette.WARN, bold=True) == simulated
    assert has(canvas, source, 21, palette.DIM, palette.GROUND) != simulated


def test_the_strip_says_what_is_in_the_field() -> None:
    canvas = strip(draw(VIEWS["nothing-seen"]))
    assert has(canvas, "0 white cells", 21, palette.SOFT, palette.GROUND)
    canvas = strip(draw(one_cell("None")))
    assert has(canvas, "0 white cells, 1 artefact (grey)", 21, palette.SOFT, palette.GROUND)


STATE_WORDS = {
    SlideState.COUNTING: "counting",
    SlideState.PAUSED: "paused",
    SlideState.REVIEW: "to review",
    SlideState.SIGNED: "signed",
    SlideState.ABORTED: "aborted",
    SlideState.IDLE: "no slide",
}


@pytest.mark.parametrize("state", SlideState)
def test_the_slides_state_is_in_words(state: SlideState) -> None:
    view = VIEWS["cells-04"]
    slide = view.slide
    assert slide is not None
    canvas = panel(draw(replace(view, slide=replace(slide, state=state))))
    assert any(has(canvas, STATE_WORDS[state], 22, palette.GROUND, colour, bold=True) for colour in palette.LEVELS.values())


@pytest.mark.parametrize("level", ["ok", "busy", "warn", "fail"])
def test_lamps_and_messages_differ_by_shape(level: str) -> None:
    shapes = {name: marks.lamp(name, 20, palette.PANEL) != palette.PANEL for name in palette.LEVELS}
    for other in palette.LEVELS:
        if other != level:
            assert (shapes[level].any(axis=2) != shapes[other].any(axis=2)).sum() > 20
    canvas = footer(draw(replace(VIEWS["cells-04"], message="Something happened", message_level=level)))
    ground = palette.LEVELS[level] if level in ("warn", "fail") else palette.PANEL
    ink = palette.ink_on(ground) if level in ("warn", "fail") else palette.TEXT
    assert has(canvas, "Something happened", 31, ink, ground, bold=level in ("warn", "fail"))


@pytest.mark.parametrize(
    ("resting", "counted", "words"),
    [(True, True, "field counted: move on"), (True, False, "counting: hold still"), (False, False, "counts once it rests")],
)
def test_the_stage_is_in_words(resting: bool, counted: bool, words: str) -> None:
    canvas = footer(draw(replace(VIEWS["cells-04"], resting=resting, field_counted=counted)))
    assert any(has(canvas, words, 23, colour, palette.PANEL) for colour in (palette.OK, palette.BUSY, palette.WARN))
    assert has(canvas, "Stage at rest" if resting else "Stage moving", 30, palette.TEXT, palette.PANEL, bold=True)


@pytest.mark.parametrize("focus", [-1.0, 0.0, 0.5, 1.0, 7.0, float("nan"), float("inf")])
def test_any_focus_can_be_drawn(focus: float) -> None:
    canvas = footer(draw(replace(VIEWS["cells-04"], focus=focus, focus_text="sharp")))
    assert has(canvas, "sharp", 23, palette.SOFT, palette.PANEL)


def test_the_film_in_words_is_whole_sentences() -> None:
    sentences = ("Of 124 cells 57 % are myeloblasts.", "Few are monocytes.", "For review, not a diagnosis.")
    view = replace(VIEWS["cells-04"], description=sentences)
    canvas = footer(draw(view))
    assert has(canvas, "Of 124 cells 57 % are myeloblasts. Few are monocytes.", 23, palette.TEXT, palette.PANEL)
    many = footer(draw(replace(view, description=tuple(f"Sentence {i} says {'very ' * 20}much." for i in range(9)))))
    assert has(many, "the report", 20, palette.DIM, palette.PANEL)


def test_a_canvas_that_is_too_small_or_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 320 x 180"):
        draw(VIEWS["start"], (200, 100))
    with pytest.raises(ValueError, match="wanted"):
        draw(VIEWS["start"], SIZE, np.zeros((100, 100, 3), np.uint8))


def test_the_frame_is_left_as_it_was() -> None:
    view = VIEWS["cells-09"]
    assert view.frame is not None
    before = view.frame.image.copy()
    view.frame.image.setflags(write=False)
    draw(view)
    assert (view.frame.image == before).all()


def test_drawing_costs_little_more_than_scaling_the_picture() -> None:
    """Processor time against that of the one step that cannot be avoided, so that a slow or busy machine does not matter."""

    def least_s(work: Callable[[], object]) -> float:
        times = []
        for _ in range(40):
            start = time.thread_time()
            work()
            times.append(time.thread_time() - start)
        return min(times)

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        view = VIEWS["cells-09"]
        assert view.frame is not None
        image, out = view.frame.image, np.empty((1080, 1920, 3), np.uint8)
        scaling = least_s(lambda: cv2.resize(image, (1360, 765), interpolation=cv2.INTER_LINEAR))
        assert least_s(lambda: draw(view, SIZE, out)) < 2.5 * scaling + 0.001
    finally:
        cv2.setNumThreads(threads)

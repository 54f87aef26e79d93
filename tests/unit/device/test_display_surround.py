"""What the screen says around the picture: counts, banners, states, lamps and words."""

from __future__ import annotations

from dataclasses import replace

import gallery
import numpy as np
import pytest
from drawing import SIZE, VIEWS, footer, has, one_cell, panel, picture, strip

from device.camera.base import CameraState, CameraStatus
from device.display import marks, palette
from device.display.overlay import draw, draw_on
from device.display.sheet import Sheet
from device.display.words import SIMULATOR_NOTICE
from device.slide.model import SlideState
from device.slide.tally import differential
from engines.taxonomy import LEUKEMIA_ATTRI


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
    assert has(many, "report", 20, palette.DIM, palette.PANEL)


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


def test_what_holds_the_count_back_is_said() -> None:
    canvas = footer(draw(replace(VIEWS["cells-04"], resting=True, field_counted=False, held="not counted: out of focus")))
    assert any(has(canvas, "not counted: out of focus", px, palette.WARN, palette.PANEL) for px in (23, 22, 21, 20))


def test_the_best_of_the_rest_is_marked_on_the_bar() -> None:
    low, held = (footer(draw(replace(VIEWS["cells-04"], focus=0.4, focus_text="", focus_peak=peak))) for peak in (0.0, 0.9))
    changed = np.argwhere((low != held).any(axis=2))
    assert 0 < len(changed) < 400
    assert held[tuple(changed[len(changed) // 2])].tolist() == list(palette.TEXT)


def words_of(state: SlideState | None, target: int = 200, size: tuple[int, int] = SIZE) -> list[tuple[str, int, int]]:
    """The footer's targets in a view of 124 cells: their word, width and height in px."""
    view = VIEWS["cells-04"]
    assert view.slide is not None
    view = replace(view, slide=None if state is None else replace(view.slide, state=state), target_cells=target)
    if state is None:
        view = replace(view, differential=None)
    sheet = Sheet(np.zeros((size[1], size[0], 3), np.uint8))
    return [(word, place.width, place.height) for place, word in draw_on(sheet, view).places if word != "picture"]


@pytest.mark.parametrize(
    ("state", "target", "keys"),
    [
        (None, 200, "SRBZQ"),
        (SlideState.COUNTING, 200, "FUPABZQ"),
        (SlideState.PAUSED, 200, "FUPABZQ"),
        (SlideState.PAUSED, 100, "FUGABZQ"),
        (SlideState.REVIEW, 200, "SRCBZQ"),
        (SlideState.ABORTED, 200, "SRBZQ"),
    ],
)
def test_what_can_be_done_now_can_be_pressed(state: SlideState | None, target: int, keys: str) -> None:
    found = words_of(state, target)
    assert "".join(word for word, _, _ in found) == keys
    mm_per_px = 24 * 25.4 / np.hypot(*SIZE)  # a 24 inch screen
    assert min(min(width, height) * mm_per_px for _, width, height in found) >= 20


def test_keys_are_large_enough_for_a_finger_on_a_small_screen() -> None:
    size = (1280, 800)
    mm_per_px = 12.5 * 25.4 / np.hypot(*size)
    assert min(min(width, height) * mm_per_px for _, width, height in words_of(SlideState.COUNTING, size=size)) >= 12


def test_the_head_names_the_specimen_and_changes_colour_at_the_target() -> None:
    view = VIEWS["cells-04"]
    assert view.slide is not None
    slide = replace(view.slide, specimen="H26-104311", operator="AB", state=SlideState.PAUSED)
    canvas = panel(draw(replace(view, slide=slide)))
    assert has(canvas, "H26-104311", 36, palette.TEXT, palette.PANEL, bold=True)
    assert has(canvas, f"AB · {slide.slide_id}", 22, palette.TEXT, palette.PANEL)
    reached = panel(draw(replace(view, slide=slide, target_cells=100)))
    assert has(reached, "H26-104311", 36, palette.GROUND, palette.OK, bold=True)
    assert (reached[:90, 4:20] == palette.OK).all()
    assert any(has(panel(draw(view)), "No specimen number", px, palette.SOFT, palette.PANEL, bold=True) for px in (36, 32, 28))

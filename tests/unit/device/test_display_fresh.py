"""Nothing kept from one view is shown in another: warm drawing, and drawing over it, are the same as drawing with all forgotten."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import replace

import cv2
import gallery
import numpy as np
import pytest
from drawing import VIEWS

from device.display.base import PartState, ScreenView
from device.display.overlay import draw, draw_on
from device.display.sheet import Sheet
from device.slide.tally import differential
from engines.detections import Detections
from engines.taxonomy import LEUKEMIA_ATTRI

SIZE = (1280, 720)


def forget() -> None:
    """Empty every cache of the display's modules."""
    emptied = 0
    for name, module in list(sys.modules.items()):
        if name.startswith("device.display."):
            for part in vars(module).values():
                if hasattr(part, "cache_clear"):
                    part.cache_clear()
                    emptied += 1
    assert emptied > 20


def changed() -> Iterator[tuple[str, ScreenView]]:
    """Views that differ from one another by a single thing each."""
    base = VIEWS["cells-09"]
    found = base.detections
    assert found is not None
    for name in ("Myeloblast", "Neutrophil", "None"):
        slide = gallery.slide({**gallery.COUNTS, name: gallery.COUNTS[name] + 1}, unidentified=6)
        yield f"one more {name}", replace(base, slide=slide, differential=differential(slide.cells, LEUKEMIA_ATTRI))
    slide = gallery.slide(gallery.COUNTS, unidentified=7)
    yield "one more unidentified", replace(base, slide=slide, differential=differential(slide.cells, LEUKEMIA_ATTRI))
    yield "another target", replace(base, target_cells=100)
    scores = found.scores - np.float32(0.01)
    yield "lower scores", replace(base, detections=Detections(found.boxes_px, scores, found.classes, found.attributes))
    yield "other attributes", replace(base, detections=Detections(found.boxes_px, found.scores, found.classes, 1 - found.attributes))
    yield "other types", replace(base, detections=Detections(found.boxes_px, found.scores, found.classes[::-1], found.attributes))
    boxes = found.boxes_px + np.float32(5)
    yield "other places", replace(base, detections=Detections(boxes, found.scores, found.classes, found.attributes))
    yield "none named", replace(base, identified=(False,) * len(found))
    yield "another lamp", replace(base, parts=(*base.parts[:-1], PartState("Record", "fail", "NOT SAVED")))
    yield "another focus", replace(base, focus=0.35, focus_text="turn the fine focus")
    yield "another picture", replace(base, frame=gallery.frame(gallery.film(seed=2)))


def test_a_view_is_drawn_the_same_after_others() -> None:
    forget()
    draw(VIEWS["cells-09"], SIZE)
    warm = {name: draw(view, SIZE) for name, view in changed()}
    assert len({canvas.tobytes() for canvas in warm.values()}) == len(warm)  # each of these things is seen
    for name, view in changed():
        forget()
        assert np.array_equal(draw(view, SIZE), warm[name]), name


@pytest.mark.parametrize("threads", [1, 2])
def test_the_picture_is_the_same_beside_and_before_the_rest(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cells-20", "lost", "start"):
        expected = draw(VIEWS[name], SIZE)
        monkeypatch.setattr(cv2, "getNumThreads", lambda: threads)
        for _ in range(5):
            assert np.array_equal(draw(VIEWS[name], SIZE, np.full((720, 1280, 3), 77, np.uint8)), expected)


def test_the_smallest_screen_is_drawn() -> None:
    for name in ("cells-04", "start", "lost", "idle"):
        assert draw(VIEWS[name], (320, 180)).shape == (180, 320, 3)


@pytest.mark.parametrize("size", [(1920, 1080), SIZE, (720, 1280), (320, 180), (2000, 500)])
def test_a_view_drawn_over_any_other_is_as_if_drawn_alone(size: tuple[int, int]) -> None:
    views = {**VIEWS, **dict(changed())} if size == SIZE else VIEWS
    alone = {name: draw(view, size) for name, view in views.items()}
    sheet = Sheet(np.full((size[1], size[0], 3), 77, np.uint8))
    shuffled = random.Random(5)
    for _ in range(3):
        for name in shuffled.sample(sorted(views), len(views)):
            draw_on(sheet, views[name])
            assert np.array_equal(sheet.pixels, alone[name]), name


def test_two_sheets_in_turn_as_the_window_has_them() -> None:
    sheets = [Sheet(np.zeros((SIZE[1], SIZE[0], 3), np.uint8)) for _ in range(2)]
    for number, (name, view) in enumerate(changed()):
        draw_on(sheets[number % 2], view)
        assert np.array_equal(sheets[number % 2].pixels, draw(view, SIZE)), name

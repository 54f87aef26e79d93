"""The camera's picture and the boxes on it: what is done the quick way is what the plain way gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import gallery
import numpy as np
import pytest
from drawing import PLACE, VIEWS, picture

from device.display import boxes, field, text
from device.display.layout import Rect, Unit, letterbox
from device.display.overlay import draw
from device.display.palette import UNIDENTIFIED, TypeStyle, type_styles
from engines.detections import Image
from engines.taxonomy import LEUKEMIA_ATTRI

STYLES = [UNIDENTIFIED, *type_styles(LEUKEMIA_ATTRI)]
FRAMES = [(1920, 1080), (1280, 960), (2592, 1944), (1921, 1081), (3840, 2160), (1360, 765), (640, 480), (800, 333)]


def scaled(image: Image) -> Image:
    """The part of the screen's picture that the whole of `image` takes, by one call."""
    at = letterbox(image.shape[1], image.shape[0], PLACE.picture.width, PLACE.picture.height)
    method = cv2.INTER_CUBIC if at.width > image.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (at.width, at.height), interpolation=method), np.uint8)


def painted(image: Image) -> Image:
    place = np.full((PLACE.picture.height, PLACE.picture.width, 3), 77, np.uint8)
    field.draw_picture(place, gallery.frame(image))
    return letterbox(image.shape[1], image.shape[0], place.shape[1], place.shape[0]).view(place)


@pytest.mark.parametrize("size", FRAMES)
def test_the_picture_is_scaled_by_plain_interpolation_within_one_level(size: tuple[int, int]) -> None:
    image = np.random.default_rng(3).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)  # the hardest: every pixel an edge
    apart = np.abs(painted(image).astype(int) - scaled(image))
    assert apart.max() <= 1
    assert apart.mean() < 0.25


@pytest.mark.parametrize("faster", [False, True])
def test_how_this_thread_rounds_elsewhere_is_left_as_it_was(faster: bool) -> None:
    before = cv2.ipp.useIPP_NotExact()
    try:
        cv2.ipp.setUseIPP_NotExact(faster)
        kept = cv2.ipp.useIPP_NotExact()  # False where OpenCV was built without IPP
        painted(gallery.film())
        assert cv2.ipp.useIPP_NotExact() == kept
    finally:
        cv2.ipp.setUseIPP_NotExact(before)


@pytest.mark.parametrize("scale", [2 / 3, 0.75, 1.0, 4 / 3, 2.0])
@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.code or style.name)
def test_a_box_put_together_is_the_box_painted_line_by_line(style: TypeStyle, scale: float) -> None:
    unit = Unit(scale)
    for width, height in ((1, 1), (7, 30), (13, 13), (24, 25), (31, 90), (57, 41), (88, 89), (91, 89), (90, 90), (140, 111), (260, 61)):
        for x, y in ((60, 60), (-20, 40), (170, 130)):
            box = Rect(x, y, x + round(width * scale), y + round(height * scale))
            ground = np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)
            by_line = ground.copy()
            boxes._paint(by_line, box, style, unit)
            for piece in boxes.box_pieces(box, style, unit):
                text.paste(ground, *piece)
            assert np.array_equal(ground, by_line), (width, height)


@pytest.mark.parametrize("change", [{"resting": False}, {"resting": True, "sharp": False}], ids=["moving", "blurred"])
def test_cells_are_drawn_only_at_rest_and_in_focus(change: dict[str, Any]) -> None:
    """Smeared red cells got a type and five attributes on the screen."""
    view = VIEWS["cells-04"]
    shown, bare = (picture(draw(replace(view, **change, detections=found))) for found in (view.detections, None))
    changed = (shown != bare).any(axis=2)
    assert not changed[8:-8, 8:-8].any()
    assert (picture(draw(view)) != bare).any(axis=2)[8:-8, 8:-8].mean() > 0.005

"""A sheet: whatever is laid lies on top, and only what lies there whole already is not copied again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.display import text
from device.display.sheet import Sheet
from engines.detections import Image


def plain(width: int, height: int, level: int) -> Image:
    picture = np.full((height, width, 3), level, np.uint8)
    picture.setflags(write=False)
    return picture


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-9, 40), st.integers(-9, 30)), max_size=30))
def test_whatever_is_laid_lies_on_top(steps: list[tuple[int, int, int]]) -> None:
    pictures = [plain(w, h, level) for level, (w, h) in enumerate([(8, 8), (8, 8), (20, 5), (5, 20), (50, 40), (1, 1)], 1)]
    sheet, expected = Sheet(np.zeros((32, 44, 3), np.uint8)), np.zeros((32, 44, 3), np.uint8)
    for which, x, y in steps:
        sheet.lay(pictures[which], x, y)
        text.paste(expected, pictures[which], x, y)
        assert np.array_equal(sheet.pixels, expected)


def test_what_lies_already_is_not_copied_again_until_it_was_covered() -> None:
    sheet, one, other = Sheet(np.zeros((20, 20, 3), np.uint8)), plain(10, 10, 1), plain(4, 4, 2)
    sheet.lay(one, 0, 0)
    sheet.pixels[0, 0] = 9  # what nobody may do shows what is copied
    sheet.lay(one, 0, 0)
    assert sheet.pixels[0, 0, 0] == 9
    sheet.lay(other, 8, 8)
    sheet.lay(one, 0, 0)
    assert (sheet.pixels[:10, :10] == 1).all()
    sheet.lay(plain(10, 10, 1), 0, 0)  # equal, but not the very picture
    assert (sheet.pixels[:10, :10] == 1).all()


def test_a_picture_that_can_still_change_is_refused() -> None:
    with pytest.raises(ValueError, match="finished"):
        Sheet(np.zeros((20, 20, 3), np.uint8)).lay(np.zeros((4, 4, 3), np.uint8), 0, 0)

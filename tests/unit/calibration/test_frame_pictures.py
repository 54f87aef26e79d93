"""The calibration set as a picture: it shows the frames themselves, in order, and can be drawn of any number."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.int8.frame_pictures import AMBER, contact_sheet
from calibration.int8.frames import Survey, cover, survey
from engines.detections import Image
from engines.errors import DataError


def plain(folder: Path, colours: list[tuple[int, int, int]], size: tuple[int, int] = (120, 90)) -> Survey:
    """A folder of frames of one colour each, with some structure in the middle, 120 x 90 px."""
    folder.mkdir(exist_ok=True)
    for n, colour in enumerate(colours):
        image = np.full((size[1], size[0], 3), colour, np.uint8)
        cv2.circle(image, (size[0] // 2, size[1] // 2), 10, (130, 40, 110), -1)
        cv2.imwrite(str(folder / f"{n}.png"), image)
    return survey(folder.glob("*.png"))


def is_drawn(sheet: Image, colour: tuple[int, ...], at_least: int) -> bool:
    return int((sheet == colour).all(axis=2).sum()) >= at_least


COLOURS = [(90 + 9 * n, 200 - 6 * n, 140 + 5 * n) for n in range(17)]


def test_every_chosen_frame_is_shown_and_no_other(tmp_path: Path) -> None:
    seen = plain(tmp_path / "frames", COLOURS)
    chosen = cover(seen, 12)
    told: list[tuple[int, int]] = []
    sheet = contact_sheet(seen, chosen, lambda done, total: told.append((done, total)))
    assert sheet.dtype == np.uint8 and sheet.shape[1:] == (1640, 3) and told[-1] == (12, 12)
    shown = {int(frame.path.stem) for frame in chosen.frames}
    assert {n for n, colour in enumerate(COLOURS) if is_drawn(sheet, colour, 4000)} == shown
    assert np.array_equal(sheet, contact_sheet(seen, chosen))


@pytest.mark.parametrize(("number", "count"), [(1, 1), (2, 2), (3, 2), (17, 17)])
def test_few_frames_of_any_shape_can_be_drawn(tmp_path: Path, number: int, count: int) -> None:
    seen = plain(tmp_path / "frames", COLOURS[:number], size=(300, 64))
    assert contact_sheet(seen, cover(seen, count, fewest=1)).shape[1] == 1640


def test_frames_like_others_have_the_colour_of_warnings(tmp_path: Path) -> None:
    other = [(b, g, r + 1) for b, g, r in COLOURS[:8]]
    seen = plain(tmp_path / "frames", COLOURS[:8] + other)
    sheet = contact_sheet(seen, cover(seen, 16))
    calm = contact_sheet(seen, cover(seen, 8))
    thumbnails = np.s_[600:]
    assert is_drawn(sheet[thumbnails], AMBER, 8 * 150) and not is_drawn(calm[thumbnails], AMBER, 1)


def test_a_frame_that_was_changed_since_is_not_shown(tmp_path: Path) -> None:
    seen = plain(tmp_path / "frames", COLOURS[:3])
    chosen = cover(seen, 3, fewest=1)
    (tmp_path / "frames" / "1.png").write_bytes((tmp_path / "frames" / "0.png").read_bytes())
    with pytest.raises(DataError, match=r"1\.png: is not the frame that was chosen"):
        contact_sheet(seen, chosen)

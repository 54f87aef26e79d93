"""The letterbox: the reference's geometry and boxes, our pixels, and one function from frame to network input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.preprocess import PAD_VALUE, Letterbox, letterbox, letterbox_geometry, place, prepare, to_planes

MISC = Path(__file__).parents[4] / "shared/parity/misc"
needs_reference = pytest.mark.skipif(not MISC.is_dir(), reason="needs the reference numbers in ../shared/parity")


def reference_cases() -> list[dict[str, Any]]:
    if not MISC.is_dir():
        return []
    cases: list[dict[str, Any]] = json.loads((MISC / "misc.json").read_text())["letterbox"]
    return cases


def geometry_of(case: dict[str, Any]) -> Letterbox:
    shape = case["new_shape"]
    input_hw = (shape, shape) if isinstance(shape, int) else tuple(shape)
    return letterbox_geometry(tuple(case["src_hw"]), input_hw, scale_up=case["scaleup"], auto=case["auto"])


@pytest.mark.shared
@needs_reference
@pytest.mark.parametrize("case", reference_cases(), ids=lambda c: f"case{c['id']}")
def test_geometry_is_the_references(case: dict[str, Any]) -> None:
    found = geometry_of(case)
    bottom = found.out_hw[0] - found.top - found.resized_hw[0]
    right = found.out_hw[1] - found.left - found.resized_hw[1]
    assert found.out_hw == tuple(case["out_hw"])
    assert [found.ratio, found.ratio] == case["ratio"]
    assert list(found.pad_xy) == case["dw_dh"]
    assert [found.top, bottom, found.left, right] == case["top_bottom_left_right"]


@pytest.mark.shared
@needs_reference
@pytest.mark.parametrize("case", reference_cases(), ids=lambda c: f"case{c['id']}")
def test_boxes_go_back_to_the_frame_as_the_references(case: dict[str, Any]) -> None:
    boxes = np.array(case["scale_boxes_in"], np.float32)
    np.testing.assert_allclose(geometry_of(case).to_frame(boxes), case["scale_boxes_out_with_ratio_pad"], rtol=0, atol=1e-5)
    # The reference's other form knows only the two sizes and infers ratio and border from them.
    (h, w), (out_h, out_w) = case["src_hw"], case["out_hw"]
    ratio = min(out_h / h, out_w / w)
    pad = ((out_w - w * ratio) / 2, (out_h - h * ratio) / 2)
    inferred = Letterbox((h, w), (h, w), (out_h, out_w), ratio, pad, 0, 0)
    np.testing.assert_allclose(inferred.to_frame(boxes), case["scale_boxes_out"], rtol=0, atol=1e-5)


def ramp(h: int, w: int) -> np.ndarray:
    """The picture behind the reference's pixel cases: grey rising along x, along y and along both."""
    y, x = np.mgrid[:h, :w]
    return np.stack([x * 255 // w, y * 255 // h, (x + y) * 255 // (h + w)], -1).astype(np.uint8)


@pytest.mark.shared
@needs_reference
@pytest.mark.parametrize("number", [4, 5, 6, 7])
def test_pixels_are_the_references(number: int) -> None:
    case = reference_cases()[number]
    expected = np.load(MISC / "misc.npz")[f"letterbox{number}.out"]
    found = letterbox(ramp(*case["src_hw"]), geometry_of(case), cv2.INTER_LINEAR)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


@given(h=st.integers(1, 3000), w=st.integers(1, 3000), side=st.sampled_from([64, 320, 640]), scale_up=st.booleans())
def test_boxes_survive_the_way_there_and_back(h: int, w: int, side: int, scale_up: bool) -> None:
    geometry = letterbox_geometry((h, w), (side, side), scale_up)
    boxes = np.array([[0, 0, w, h], [w * 0.25, h * 0.25, w * 0.5, h * 0.75]], np.float32)
    assert geometry.resized_hw[0] <= side and geometry.resized_hw[1] <= side
    assert geometry.out_hw == (side, side)
    in_input = boxes * geometry.ratio + np.array(2 * geometry.pad_xy)
    np.testing.assert_allclose(geometry.to_frame(in_input), boxes, atol=2e-3 * max(h, w) / side + 1e-3)


@pytest.mark.parametrize("hw", [(1080, 1920), (363, 360), (64, 64), (40, 100)])
@pytest.mark.parametrize("scale_up", [True, False])
def test_a_frame_is_placed_as_letterbox_says_and_prepared_as_planes(hw: tuple[int, int], scale_up: bool) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*hw, 3), np.uint8)
    geometry = letterbox_geometry(hw, (64, 96), scale_up)
    expected = letterbox(image, geometry)
    dirty = np.full((64, 96, 3), 99, np.uint8)
    fresh, found = place(image, (64, 96), scale_up)
    reused, _ = place(image, (64, 96), scale_up, dirty)
    assert found == geometry and reused is dirty
    np.testing.assert_array_equal(fresh, expected)
    np.testing.assert_array_equal(reused, expected)
    np.testing.assert_array_equal(prepare(image, (64, 96), scale_up)[0], to_planes(expected)[None])


def blocks_of_every_sum() -> np.ndarray:
    """A picture of 3 x 3 blocks whose sums are all from 0 to 9 x 255, in each channel at another place."""
    sums = np.concatenate([np.arange(9 * 255 + 1), np.arange(8)])  # 48 x 48 of them
    nine = (sums[:, None] - 255 * np.arange(9)).clip(0, 255)  # as many white pixels as fit, then the rest
    grey = nine.reshape(48, 48, 3, 3).transpose(0, 2, 1, 3).reshape(144, 144)
    return np.stack([grey, grey.T, grey[::-1]], -1).astype(np.uint8)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("hw", [(1080, 1920), (144, 144), (273, 627), (9, 6), (3, 3)])
def test_a_third_is_opencvs_average_to_the_last_bit(hw: tuple[int, int], threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getNumThreads", lambda: threads)
    random = np.random.default_rng(1).integers(0, 256, (*hw, 3), np.uint8)
    h, w = hw[0] // 3, hw[1] // 3
    for image in (blocks_of_every_sum() if hw == (144, 144) else random, random[::-1, ::-1], np.asfortranarray(random)):
        expected = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(place(image, (h, w), False)[0], expected)
        bordered, geometry = place(image, (h + 7, w), True)
        np.testing.assert_array_equal(bordered[geometry.top : geometry.top + h], expected)


def test_planes_are_rgb_from_0_to_1() -> None:
    blue = np.zeros((2, 2, 3), np.uint8)
    blue[..., 0] = 255
    np.testing.assert_array_equal(to_planes(blue)[:, 0, 0], [0, 0, 1])
    grey = np.full((2, 2, 3), PAD_VALUE, np.uint8)
    np.testing.assert_array_equal(to_planes(grey), np.full((3, 2, 2), np.float32(PAD_VALUE) / np.float32(255)))


def test_letterbox_never_hands_out_its_input() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    out = letterbox(image, letterbox_geometry((64, 64), (64, 64), True))
    out[:] = 9
    assert not image.any()


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_anything_but_bgr_bytes_is_refused(image: Any) -> None:
    with pytest.raises(ValueError, match="uint8 BGR"):
        place(image, (64, 64), True)


def test_an_empty_frame_and_a_wrong_buffer_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be letterboxed"):
        place(np.zeros((0, 4, 3), np.uint8), (64, 64), True)
    with pytest.raises(ValueError, match="the buffer is"):
        place(np.zeros((4, 4, 3), np.uint8), (64, 64), True, np.empty((32, 32, 3), np.uint8))
    with pytest.raises(ValueError, match="letterbox was made for"):
        letterbox(np.zeros((4, 4, 3), np.uint8), letterbox_geometry((8, 8), (64, 64), True))

"""The one function that prepares pixels for the network: training, calibration, every runtime and the benchmark call it.

Nothing else resizes, pads or scales a picture on its way into the network; augmentation happens before, on plain BGR
pictures, and ends in `to_planes` like everything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.detections import Float32, Image
from engines.second_thread import in_second_thread

PAD_VALUE = 114
"""Grey level of the letterbox's border and of the mosaic's canvas, 0 to 255."""
_BAND_ROWS = 60
"""So many rows of the scaled picture are made at a time: with fewer the two threads wait for each other, more overflow the cache."""


@dataclass(frozen=True)
class Letterbox:
    """How a frame lies in the network's input: scaled by `ratio`, with a grey border.

    frame_hw, resized_hw, out_hw: height and width in px of the frame, of the scaled frame, of the network's input.
    pad_xy: border on the left and above in px, *as coordinates count it*: half the missing pixels, so it may end in .5.
    left, top: where the scaled frame's first pixel lies. With an odd number of missing pixels these are `pad_xy` rounded
    down; the reference counts boxes by the half (spec 1.8, fixture `scale_boxes`), and so do we.
    """

    frame_hw: tuple[int, int]
    resized_hw: tuple[int, int]
    out_hw: tuple[int, int]
    ratio: float
    pad_xy: tuple[float, float]
    left: int
    top: int

    def to_frame(self, boxes_px: NDArray[np.floating]) -> Float32:
        """Boxes of the network's input, (N, 4) x1 y1 x2 y2 in px, as boxes of the frame, float32, clipped to it."""
        boxes: Float32 = (np.asarray(boxes_px, np.float32) - np.array(2 * self.pad_xy, np.float32)) / np.float32(self.ratio)
        return boxes.clip(0, np.array(2 * self.frame_hw[::-1], np.float32))


def letterbox_geometry(
    hw: tuple[int, int], input_hw: tuple[int, int], scale_up: bool, auto: bool = False, stride: int = 32
) -> Letterbox:
    """Where a frame of `hw` px goes in an input of `input_hw` px, aspect kept (spec 1.8, "Letterbox").

    `scale_up` False leaves a frame that is smaller than the input at its size. `auto` pads only to the next multiple of
    `stride`, so the input may come out smaller than `input_hw`. Raises ValueError on a size that is not positive.
    """
    if min(*hw, *input_hw) < 1:
        raise ValueError(f"a frame of {hw[0]}x{hw[1]} px cannot be letterboxed into {input_hw[0]}x{input_hw[1]} px")
    ratio = min(input_hw[0] / hw[0], input_hw[1] / hw[1])
    if not scale_up:
        ratio = min(ratio, 1.0)
    resized_hw = (max(round(hw[0] * ratio), 1), max(round(hw[1] * ratio), 1))
    missing_h, missing_w = input_hw[0] - resized_hw[0], input_hw[1] - resized_hw[1]
    if auto:
        missing_h, missing_w = missing_h % stride, missing_w % stride
    return Letterbox(
        frame_hw=hw,
        resized_hw=resized_hw,
        out_hw=(resized_hw[0] + missing_h, resized_hw[1] + missing_w),
        ratio=ratio,
        pad_xy=(missing_w / 2, missing_h / 2),
        left=missing_w // 2,
        top=missing_h // 2,
    )


def letterbox(image: Image, geometry: Letterbox, interpolation: int | None = None, out: Image | None = None) -> Image:
    """The frame scaled and padded with `PAD_VALUE`, BGR uint8 (out_h, out_w, 3), in `out` of that shape where it is given.

    `interpolation` is OpenCV's constant; None takes INTER_AREA when shrinking, which averages and so does not alias fine
    chromatin, and INTER_LINEAR when enlarging. Raises ValueError when the picture is not what the geometry was made for.
    """
    if image.shape[:2] != geometry.frame_hw:
        raise ValueError(f"the picture is {image.shape[:2]}, the letterbox was made for {geometry.frame_hw}")
    if out is None:
        out = np.empty((*geometry.out_hw, 3), np.uint8)
    rows = slice(geometry.top, geometry.top + geometry.resized_hw[0])
    columns = slice(geometry.left, geometry.left + geometry.resized_hw[1])
    out[: rows.start] = out[rows.stop :] = PAD_VALUE
    out[rows, : columns.start] = out[rows, columns.stop :] = PAD_VALUE
    _resize(image, geometry, interpolation, out[rows, columns])
    return out


def to_planes(image: Image, out: Float32 | None = None) -> Float32:
    """BGR uint8 (H, W, 3) as the network eats it: RGB planes (3, H, W), float32, value / 255.

    `out`, of that shape and float32, is filled and returned where it is given (it may be a view into a larger buffer).
    """
    if out is None:
        out = np.empty((3, *image.shape[:2]), np.float32)
    for channel, plane in enumerate(cv2.split(image)):
        out[2 - channel] = plane
    out /= np.float32(255)
    return out


def place(image: Image, input_hw: tuple[int, int], scale_up: bool, out: Image | None = None) -> tuple[Image, Letterbox]:
    """A BGR frame of any size as it lies in the network's input, (H, W, 3) uint8 BGR, and how it lies there.

    `out`, contiguous uint8 of that shape, is overwritten and returned where it is given. Raises ValueError on anything but (h, w, 3)
    uint8.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"a frame is (height, width, 3) uint8 BGR, this one is {image.shape} {image.dtype}")
    if out is not None and (out.shape != (*input_hw, 3) or out.dtype != np.uint8):
        raise ValueError(f"the buffer is {out.shape} {out.dtype}, the input needs {(*input_hw, 3)} uint8")
    geometry = letterbox_geometry((image.shape[0], image.shape[1]), input_hw, scale_up)
    return letterbox(image, geometry, out=out), geometry


def prepare(image: Image, input_hw: tuple[int, int], scale_up: bool) -> tuple[Float32, Letterbox]:
    """A BGR frame of any size as a graph's input, (1, 3, H, W) float32 RGB 0 to 1, and how it lies there. Raises as `place`."""
    placed, geometry = place(image, input_hw, scale_up)
    return to_planes(placed)[None], geometry


def _resize(image: Image, geometry: Letterbox, interpolation: int | None, out: Image) -> None:
    """Fills `out` (resized_h, resized_w, 3), which may be a part of a picture, with the frame."""
    if geometry.resized_hw == geometry.frame_hw:
        out[:] = image
        return
    if interpolation is None:
        interpolation = cv2.INTER_AREA if geometry.ratio < 1 else cv2.INTER_LINEAR
    height, width = geometry.resized_hw
    if interpolation == cv2.INTER_AREA and geometry.frame_hw == (3 * height, 3 * width):
        half = height // 2
        with in_second_thread(partial(_third, image[3 * half :], out[half:])):
            _third(image[: 3 * half], out[:half])
    elif out.flags.c_contiguous:
        cv2.resize(image, (width, height), out, interpolation=interpolation)
    else:
        out[:] = cv2.resize(image, (width, height), interpolation=interpolation)


def _third(image: Image, out: Image) -> None:
    """The picture scaled to a third by INTER_AREA, to the last bit, for half the processor time: 1920 px onto 640.

    Rows are added in threes, then pixels, then one pixel in three is kept: nine times as many sums as are needed, but whole registers
    of them at a time, and band by band, so that they stay in the cache. OpenCV rounds the same ninths, none of which is half-way.
    """
    height, width = out.shape[:2]
    threes = image.reshape(height, 3, 9 * width)
    down, across = np.empty((2, _BAND_ROWS, 9 * width), np.uint16)
    kept = np.empty((_BAND_ROWS, width, 3), np.uint16)
    for top in range(0, height, _BAND_ROWS):
        rows = threes[top : top + _BAND_ROWS]
        n = len(rows)
        np.add(rows[:, 0], rows[:, 1], out=down[:n], dtype=np.uint16)
        down[:n] += rows[:, 2]
        np.add(down[:n, :-6], down[:n, 3:-3], out=across[:n, :-6])
        across[:n, :-6] += down[:n, 6:]
        # A block of 3 pixels is 9 numbers; its sums for blue, green and red stand in the first three.
        cv2.mixChannels([across[:n].reshape(n, width, 9)], [kept[:n]], [0, 0, 1, 1, 2, 2])
        out[top : top + n] = cv2.convertScaleAbs(kept[:n].reshape(n, 3 * width), alpha=1 / 9).reshape(n, width, 3)

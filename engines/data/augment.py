"""Training pictures: mosaic, affine jitter, HSV, flips and crops that keep every label column with its box (spec 1.8).

Boxes are (N, 4) float32 x1 y1 x2 y2 in px; `labels` is (N, K) int64 carried along unchanged (class, then attributes). Regions to ignore
go through the same geometry; of them whatever still shows is kept. Randomness comes only from the generator that is handed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.detections import Float32, Image, Int64
from engines.preprocess import PAD_VALUE


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture with its boxes and label columns. ignored: (M, 4) float32, regions in which nothing unlabelled is background."""

    image: Image
    boxes: Float32
    labels: Int64
    ignored: Float32 = field(default_factory=lambda: np.zeros((0, 4), np.float32))


_Boxes = TypeVar("_Boxes", bound=NDArray[np.floating])


def _cut(boxes: _Boxes, x1: float, y1: float, x2: float, y2: float) -> _Boxes:
    """The boxes cut to a window; one outside it has no area then."""
    low, high = np.array([x1, y1] * 2, np.float32), np.array([x2, y2] * 2, np.float32)
    return boxes.clip(low, high)  # type: ignore[return-value]  # numpy's stub forgets the type of the elements


def _areas(boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    areas: NDArray[np.floating] = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return areas


def _shown(regions: Float32) -> Float32:
    """Those of the regions that have an area."""
    return regions[(regions[:, 2:] > regions[:, :2]).all(1)]


def _joined(image: Image, parts: Sequence[Sample]) -> Sample:
    """A picture with the labels of several."""
    boxes, labels, ignored = (np.concatenate([getattr(part, name) for part in parts]) for name in ("boxes", "labels", "ignored"))
    return Sample(image, boxes, labels, ignored)


def resize_longer_side(sample: Sample, size: int, augment: bool = True) -> Sample:
    """Scale so that the longer side is `size` px; linear when enlarging or augmenting, else area (spec 1.8)."""
    height, width = sample.image.shape[:2]
    ratio = size / max(height, width)
    if ratio == 1.0:
        return sample
    interpolation = cv2.INTER_LINEAR if augment or ratio > 1 else cv2.INTER_AREA
    new = (max(1, int(np.ceil(width * ratio - 1e-6))), max(1, int(np.ceil(height * ratio - 1e-6))))
    image: Image = cv2.resize(sample.image, new, interpolation=interpolation)  # type: ignore[assignment]  # cv2 stub
    scale = np.array([new[0] / width, new[1] / height] * 2, np.float32)
    return Sample(image, sample.boxes * scale, sample.labels, sample.ignored * scale)


def squeeze(sample: Sample, factor: float) -> Sample:
    """The picture `factor` times as wide, boxes and regions too; the height stays."""
    height, width = sample.image.shape[:2]
    narrow = max(1, round(width * factor))
    scale = np.array([narrow / width, 1] * 2, np.float32)
    image: Image = cv2.resize(sample.image, (narrow, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]  # cv2 stub
    return Sample(image, sample.boxes * scale, sample.labels, sample.ignored * scale)


def candidates(
    before: NDArray[np.floating], after: NDArray[np.floating], wh_px: float = 2, aspect: float = 100, area: float = 0.1
) -> NDArray[np.bool_]:
    """Which boxes are still worth learning after a warp: (N, 4) xyxy before (already scaled) and after.

    Sides above `wh_px`, area ratio above `area`, side ratio below `aspect` (spec 1.8).
    """
    w0, h0 = before[:, 2] - before[:, 0], before[:, 3] - before[:, 1]
    w1, h1 = after[:, 2] - after[:, 0], after[:, 3] - after[:, 1]
    ratio = np.maximum(w1 / (h1 + 1e-16), h1 / (w1 + 1e-16))
    return (w1 > wh_px) & (h1 > wh_px) & (w1 * h1 / (w0 * h0 + 1e-16) > area) & (ratio < aspect)


def jitter_matrix(
    rng: np.random.Generator,
    in_hw: tuple[int, int],
    out_hw: tuple[int, int],
    degrees: float = 0.0,
    translate: float = 0.0,
    scale: float = 0.0,
    shear: float = 0.0,
    perspective: float = 0.0,
) -> tuple[NDArray[np.float64], float]:
    """M = T S R P C of spec 1.8 (3, 3) and the scale drawn. With zeros: the centre of the input cut to the output's size."""
    centre = np.eye(3)
    centre[0, 2], centre[1, 2] = -in_hw[1] / 2, -in_hw[0] / 2
    tilt = np.eye(3)
    tilt[2, 0], tilt[2, 1] = rng.uniform(-perspective, perspective, 2)
    drawn = float(rng.uniform(1 - scale, 1 + scale))
    turn = np.eye(3)
    turn[:2] = cv2.getRotationMatrix2D((0, 0), float(rng.uniform(-degrees, degrees)), drawn)
    skew = np.eye(3)
    skew[0, 1], skew[1, 0] = np.tan(np.radians(rng.uniform(-shear, shear, 2)))
    shift = np.eye(3)
    shift[0, 2] = rng.uniform(0.5 - translate, 0.5 + translate) * out_hw[1]
    shift[1, 2] = rng.uniform(0.5 - translate, 0.5 + translate) * out_hw[0]
    return shift @ skew @ turn @ tilt @ centre, drawn


def warp(sample: Sample, matrix: NDArray[np.float64], scale: float, out_hw: tuple[int, int]) -> Sample:
    """Warp picture and boxes by `matrix`; boxes become the hull of their corners, clipped; lost ones are dropped."""
    height, width = out_hw
    flat = bool(np.allclose(matrix[2], (0, 0, 1)))
    if flat:
        image = cv2.warpAffine(sample.image, matrix[:2], (width, height), borderValue=(PAD_VALUE,) * 3)
    else:
        image = cv2.warpPerspective(sample.image, matrix, (width, height), borderValue=(PAD_VALUE,) * 3)
    boxes, ignored = (_cut(_hulls(some, matrix), 0, 0, width, height) for some in (sample.boxes, sample.ignored))
    keep = candidates(sample.boxes * scale, boxes)
    regions = _shown(ignored.astype(np.float32))
    return Sample(image, boxes[keep].astype(np.float32), sample.labels[keep], regions)  # type: ignore[arg-type]  # cv2 stub


def _hulls(boxes: Float32, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hulls of the warped corners, (N, 4) float64."""
    corners = np.ones((len(boxes) * 4, 3))
    corners[:, :2] = boxes[:, [0, 1, 2, 3, 0, 3, 2, 1]].reshape(-1, 2)
    moved = corners @ matrix.T
    moved = (moved[:, :2] / moved[:, 2:3]).reshape(-1, 4, 2)
    return np.concatenate([moved.min(1), moved.max(1)], axis=1)


def mosaic(rng: np.random.Generator, four: list[Sample], size: int) -> Sample:
    """Four pictures around a random centre on a canvas of 2 x `size` (spec 1.8); labels clipped to the canvas."""
    canvas = np.full((2 * size, 2 * size, 3), PAD_VALUE, np.uint8)
    xc, yc = (int(rng.uniform(size / 2, 3 * size / 2)) for _ in range(2))
    parts = []
    for position, sample in enumerate(four):
        h, w = sample.image.shape[:2]
        left, top = position % 2 == 0, position < 2
        x1, x2 = (max(xc - w, 0), xc) if left else (xc, min(xc + w, 2 * size))
        y1, y2 = (max(yc - h, 0), yc) if top else (yc, min(yc + h, 2 * size))
        from_x = w - (x2 - x1) if left else 0
        from_y = h - (y2 - y1) if top else 0
        canvas[y1:y2, x1:x2] = sample.image[from_y : from_y + y2 - y1, from_x : from_x + x2 - x1]
        offset = np.array([x1 - from_x, y1 - from_y] * 2, np.float32)
        # A box may reach beyond the part of its picture that is shown: clip to that part, not to the canvas.
        moved = sample.boxes + offset
        whole = np.maximum(_areas(moved), 1e-6)
        moved = _cut(moved, x1, y1, x2, y2)
        keep = _areas(moved) / whole > 0.1
        parts.append(Sample(sample.image, moved[keep], sample.labels[keep], _shown(_cut(sample.ignored + offset, x1, y1, x2, y2))))
    return _joined(canvas, parts)


def tile(rng: np.random.Generator, sample: Sample, width: int, height: int, cell_px: float, visible: float = 0.6) -> Sample:
    """A piece of `sample` that fills `width` x `height`, at the scale that brings its median cell near `cell_px`.

    Tried ten times for a place where each cell shows at least `visible` of itself or nothing; else what shows a quarter is kept.
    """
    full_h, full_w = sample.image.shape[:2]
    least = max(width / full_w, height / full_h)
    sides = np.sqrt(_areas(sample.boxes)) if len(sample.boxes) else np.array([100.0])
    scale = max(cell_px / max(float(np.median(sides)), 1.0), least * float(rng.uniform(1.0, 1.3)))
    room_x, room_y = full_w - width / scale, full_h - height / scale
    area = np.maximum(_areas(sample.boxes), 1e-6)
    for attempt in range(10):
        x, y = rng.uniform(0, max(room_x, 0)), rng.uniform(0, max(room_y, 0))
        boxes, ignored = (
            _cut((some - np.array([x, y, x, y], np.float32)) * np.float32(scale), 0, 0, width, height)
            for some in (sample.boxes, sample.ignored)
        )
        share = _areas(boxes) / (area * scale**2)
        if ((share >= visible) | (share <= 0.02)).all() or attempt == 9:
            break
    keep = share >= 0.25
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    x0, y0 = int(x), int(y)
    x1, y1 = min(full_w, int(np.ceil(x + width / scale)) + 1), min(full_h, int(np.ceil(y + height / scale)) + 1)
    part = sample.image[y0:y1, x0:x1]
    new = (max(width, round((x1 - x0) * scale)), max(height, round((y1 - y0) * scale)))
    image = cv2.resize(part, new, interpolation=interpolation)
    left = min(round((x - x0) * scale), new[0] - width)
    top = min(round((y - y0) * scale), new[1] - height)
    cut = image[top : top + height, left : left + width]
    return Sample(cut, boxes[keep], sample.labels[keep], _shown(ignored))  # type: ignore[arg-type]  # cv2 stub


def patchwork(pieces: list[list[Sample]], columns: list[int], rows: list[int]) -> Sample:
    """Tiles side by side: `pieces[row][column]`, each of the size that the edges `columns` and `rows` (from 0 to the end) give."""
    canvas = np.empty((rows[-1], columns[-1], 3), np.uint8)
    parts = []
    for r, line in enumerate(pieces):
        for c, sample in enumerate(line):
            canvas[rows[r] : rows[r + 1], columns[c] : columns[c + 1]] = sample.image
            corner = np.array([columns[c], rows[r]] * 2, np.float32)
            parts.append(Sample(sample.image, sample.boxes + corner, sample.labels, sample.ignored + corner))
    return _joined(canvas, parts)


def random_window(rng: np.random.Generator, sample: Sample, least: float = 0.55, visible: float = 0.6) -> Sample:
    """Cut to a random window of at least `least` of each side; cells of which less than `visible` remains are refused.

    A picture that shows one centred cell so loses what its middle gives away. If no window of ten is fit, the whole remains.
    """
    height, width = sample.image.shape[:2]
    for _ in range(10):
        window, share = _window(rng, sample, int(width * rng.uniform(least, 1)), int(height * rng.uniform(least, 1)))
        # Neither halves that nobody could name nor slivers that would be taught as background.
        if ((share >= visible) | (share <= 0)).all():
            keep = share > 0
            return Sample(np.ascontiguousarray(window.image), window.boxes[keep], window.labels[keep], window.ignored)
    return sample


def cut_square(rng: np.random.Generator, sample: Sample, size: int, visible: float = 0.1) -> Sample:
    """A random window of `size` px a side out of a larger field, at its own scale; cells with less than `visible` left are dropped."""
    height, width = sample.image.shape[:2]
    window, share = _window(rng, sample, min(width, size), min(height, size))
    keep = share > visible
    return Sample(np.ascontiguousarray(window.image), window.boxes[keep], window.labels[keep], window.ignored)


def _window(rng: np.random.Generator, sample: Sample, width: int, height: int) -> tuple[Sample, NDArray[np.floating]]:
    """A random window, not copied yet, and the share of each cell that it shows."""
    full_h, full_w = sample.image.shape[:2]
    x, y = int(rng.integers(0, full_w - width + 1)), int(rng.integers(0, full_h - height + 1))
    whole, ignored = (some - np.array([x, y, x, y], np.float32) for some in (sample.boxes, sample.ignored))
    boxes, ignored = (_cut(some, 0, 0, width, height) for some in (whole, ignored))
    window = Sample(sample.image[y : y + height, x : x + width], boxes, sample.labels, _shown(ignored))
    return window, _areas(boxes) / np.maximum(_areas(whole), 1e-6)


def quarter_turn(sample: Sample, turns: int) -> Sample:
    """Turn by `turns` x 90 degrees counter-clockwise, exactly."""
    for _ in range(turns % 4):
        width, image = sample.image.shape[1], np.ascontiguousarray(np.rot90(sample.image))
        boxes, ignored = (
            np.stack([b[:, 1], width - b[:, 2], b[:, 3], width - b[:, 0]], axis=1) for b in (sample.boxes, sample.ignored)
        )
        sample = Sample(image, boxes, sample.labels, ignored)
    return sample


def flip(sample: Sample, horizontal: bool) -> Sample:
    """Mirror left-right (`horizontal`) or upside down."""
    side, low, high = (sample.image.shape[1], 0, 2) if horizontal else (sample.image.shape[0], 1, 3)
    boxes, ignored = sample.boxes.copy(), sample.ignored.copy()
    for some in (boxes, ignored):
        some[:, [low, high]] = side - some[:, [high, low]]
    image = sample.image[:, ::-1] if horizontal else sample.image[::-1]
    return Sample(np.ascontiguousarray(image), boxes, sample.labels, ignored)


def jitter_hsv(rng: np.random.Generator, image: Image, h: float, s: float, v: float) -> Image:
    """Hue, saturation and value each times a random gain in 1 +/- the given share, by table (spec 1.8)."""
    gains = rng.uniform(-1, 1, 3) * (h, s, v) + 1
    hue, saturation, value = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2HSV))
    steps = np.arange(256, dtype=np.float64)
    tables = ((steps * gains[0] % 180), np.clip(steps * gains[1], 0, 255), np.clip(steps * gains[2], 0, 255))
    merged = cv2.merge([cv2.LUT(c, t.astype(np.uint8)) for c, t in zip((hue, saturation, value), tables, strict=True)])
    return cv2.cvtColor(merged, cv2.COLOR_HSV2BGR)  # type: ignore[return-value]  # cv2 stub


def mixup(rng: np.random.Generator, one: Sample, two: Sample) -> Sample:
    """Blend two pictures of one size with a Beta(32, 32) weight; both keep their labels."""
    weight = float(rng.beta(32.0, 32.0))
    return _joined((one.image * weight + two.image * (1 - weight)).astype(np.uint8), (one, two))

"""Keypoints of a picture, those of two pictures matched, and how alike the pictures are once one is laid on the other.

SIFT (Lowe 2004) by OpenCV. Whether two pictures show one field is judged in `registration`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from calibration.transfer.homography import Float64, Size, map_points, resized, shape_of
from engines.detections import Float32, Image, Int64

LONGEST_PX = 1600
"""Larger pictures are looked at in a copy that long; positions are given in px of the picture itself."""

MOST_KEYPOINTS = 8000
CONTRAST = 0.02
"""Half of OpenCV's default: stained film has soft edges, above all at 10x."""

_COMPARED_PX = 480
"""Pictures are compared at no more than this, where one pixel more or less of misfit does not count."""
_FEWEST_COMPARED = 200


@dataclass(frozen=True, eq=False)
class Features:
    """What is needed of a picture to register it. size: of the picture itself. points: (N, 2) float64, its px, pixel middle at 0.

    descriptors: (N, 128) float32. grey: the picture, uint8, at most LONGEST_PX long; from_grey: map from its px to the picture's.
    """

    size: Size
    points: Float64
    descriptors: Float32
    grey: Image
    from_grey: Float64


def detect(image: Image, longest_px: int = LONGEST_PX) -> Features:
    """Keypoints of a BGR or grey picture.

    Precise upscale: OpenCV's default positions carry a bias below a pixel, worth 2 to 3 px when 100x is laid on 10x (spec 5).
    """
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
    height, width = grey.shape
    factor = longest_px / max(height, width)
    from_grey: Float64 = np.eye(3)
    if factor < 1:
        small = (max(1, round(width * factor)), max(1, round(height * factor)))
        grey = cv2.resize(grey, small, interpolation=cv2.INTER_AREA)
        from_grey = resized(width / small[0], height / small[1])
    sift = cv2.SIFT_create(  # type: ignore[attr-defined]  # missing from cv2's stub
        nfeatures=MOST_KEYPOINTS, contrastThreshold=CONTRAST, enable_precise_upscale=True
    )
    keypoints, descriptors = sift.detectAndCompute(grey, None)
    points = np.array([k.pt for k in keypoints], np.float64).reshape(-1, 2)
    if descriptors is None:
        descriptors = np.zeros((0, 128), np.float32)
    return Features(
        (width, height), map_points(from_grey, points), np.asarray(descriptors, np.float32), np.asarray(grey, np.uint8), from_grey
    )


def match(source: Features, target: Features, ratio: float) -> tuple[Int64, Int64]:
    """Rows of source and target keypoints that are each other's nearest, nearer than `ratio` times the second (Lowe's test).

    Without the demand that both choose each other, many source points may gather on one target point, and any map that shrinks the
    field to that point would fit them all.
    """
    a, b = source.descriptors, target.descriptors
    if len(a) < 2 or len(b) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    # Squared distances, written over in place: 256 MB with the most keypoints. SIFT's numbers are whole, so that they are exact.
    squared = a @ b.T
    squared *= -2
    squared += np.einsum("ij,ij->i", a, a)[:, None]
    squared += np.einsum("ij,ij->i", b, b)
    rows, nearest, back = np.arange(len(a)), squared.argmin(axis=1), squared.argmin(axis=0)
    best = squared[rows, nearest]
    squared[rows, nearest] = np.inf
    chosen = np.flatnonzero((best < ratio**2 * squared.min(axis=1)) & (back[nearest] == rows))
    return chosen, nearest[chosen]


@dataclass(frozen=True, eq=False)
class Overlay:
    """Source and target on one grid, that of the target made smaller: what they have in common, for comparing.

    source, target: (h, w) float32; covered: (h, w) bool, where the source reaches.
    """

    source: Float32
    target: Float32
    covered: npt.NDArray[np.bool_]

    def likeness(self) -> float:
        """Normalised cross-correlation where both are, -1 to 1; NaN where too little overlaps."""
        return _correlation(self.source[self.covered], self.target[self.covered])

    def likeness_at(self, boxes: npt.ArrayLike, size: Size) -> Float64:
        """The same at each box (N, 4) of the target of this size, with a margin around it; NaN where too little overlaps."""
        b = np.asarray(boxes, np.float64).reshape(-1, 4)
        sides = b[:, 2:] - b[:, :2]
        grown = np.concatenate([b[:, :2] - sides / 4, b[:, 2:] + sides / 4], axis=1)
        height, width = self.target.shape
        on_grid = np.round(grown * np.tile([width / size[0], height / size[1]], 2)).astype(int)
        found = []
        for x1, y1, x2, y2 in on_grid:
            part = np.s_[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
            inside = self.covered[part]
            found.append(_correlation(self.source[part][inside], self.target[part][inside], fewest=16))
        return np.array(found, np.float64)


def overlay(source: Features, target: Features, h: Float64) -> Overlay:
    """Lay the source on the target by `h` (source to target px), both without the detail that only one of them has."""
    height, width = target.grey.shape
    factor = min(1.0, _COMPARED_PX / max(height, width))
    grid = (max(1, round(width * factor)), max(1, round(height * factor)))
    below = cv2.resize(target.grey, grid, interpolation=cv2.INTER_AREA)
    to_target = target.from_grey @ np.linalg.inv(resized(grid[0] / width, grid[1] / height))
    whole = np.linalg.inv(to_target) @ h @ source.from_grey
    above, shrink = source.grey, shape_of(whole, (source.grey.shape[1], source.grey.shape[0])).scale
    if 0 < shrink < 1:  # warping alone would pick single pixels
        small = (max(1, round(above.shape[1] * shrink)), max(1, round(above.shape[0] * shrink)))
        whole = whole @ np.linalg.inv(resized(small[0] / above.shape[1], small[1] / above.shape[0]))
        above = np.asarray(cv2.resize(above, small, interpolation=cv2.INTER_AREA), np.uint8)
    # Beyond its edge the source goes on as it ends, so that softening does not darken the last cells.
    warped = cv2.warpPerspective(above, whole, grid, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    full = np.full(above.shape, 255, np.uint8)
    covered = cv2.warpPerspective(full, whole, grid, flags=cv2.INTER_NEAREST) > 0
    softened = [cv2.GaussianBlur(picture, (0, 0), 1.0).astype(np.float32) for picture in (warped, below)]
    return Overlay(softened[0], softened[1], covered)


def _correlation(a: Float32, b: Float32, fewest: int = _FEWEST_COMPARED) -> float:
    if len(a) < fewest:
        return float("nan")
    x, y = a - a.mean(dtype=np.float64), b - b.mean(dtype=np.float64)
    scale = float(np.sqrt((x * x).sum(dtype=np.float64) * (y * y).sum(dtype=np.float64)))
    return float((x * y).sum(dtype=np.float64) / scale) if scale > 0 else 0.0

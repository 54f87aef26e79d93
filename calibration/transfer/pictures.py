"""Drawings of a transfer for people to judge: source with labels, target with what was carried, matches, one laid on the other.

Each takes BGR pictures and gives a BGR panel. What they show is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from calibration.transfer.homography import Float64, resized
from calibration.transfer.registration import Fit
from engines.detections import Image

Colour = tuple[int, int, int]

PANEL_PX = 480
"""Longest side of a picture in a panel."""

GREEN, AMBER, RED, BLUE, WHITE, INK = (80, 170, 20), (0, 140, 240), (40, 40, 210), (200, 110, 20), (255, 255, 255), (43, 33, 23)

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_MOST_LINES = 60
_SQUARES = 8


@dataclass(frozen=True)
class Mark:
    """A box (x1 y1 x2 y2, px of the picture) with its words and colour."""

    box: tuple[float, float, float, float]
    words: str
    colour: Colour = GREEN


def labels_panel(image: Image, marks: Sequence[Mark], field: Float64 | None = None, ignored: Sequence[Float64] = ()) -> Image:
    """A picture with boxes; of a target also the outline of the field laid on it and in grey what nobody labelled. All in its px."""
    panel, scale = _fitted(image)
    if len(ignored):
        mask = np.zeros(panel.shape[:2], np.uint8)
        for region in ignored:
            cv2.fillPoly(mask, [np.round(region * scale).astype(np.int32)], 1)
        dull = (panel.astype(np.float32).mean(axis=2, keepdims=True) * 0.35 + 120).astype(np.uint8)
        panel = np.where(mask[..., None] > 0, dull, panel)
    if field is not None and np.isfinite(field).all() and np.abs(field).max() < 1e5:
        cv2.polylines(panel, [np.round(field * scale * 8).astype(np.int32)], True, BLUE, 2, cv2.LINE_AA, shift=3)
    _draw_marks(panel, marks, scale)
    return panel


def matches_panel(source: Image, target: Image, fit: Fit) -> Image:
    """Source and target beside each other, lines between matches that agree, evenly chosen where there are many."""
    left, left_scale = _fitted(source)
    right, right_scale = _fitted(target)
    gap = 8
    height = max(left.shape[0], right.shape[0])
    panel = np.full((height, left.shape[1] + gap + right.shape[1], 3), 255, np.uint8)
    panel[: left.shape[0], : left.shape[1]] = left
    panel[: right.shape[0], left.shape[1] + gap :] = right
    chosen = np.unique(np.linspace(0, len(fit.source_points) - 1, _MOST_LINES).round().astype(int))
    colours = cv2.applyColorMap(np.linspace(20, 235, len(chosen)).astype(np.uint8)[:, None], cv2.COLORMAP_TURBO)[:, 0]
    for p, q, colour in zip(fit.source_points[chosen], fit.target_points[chosen], colours, strict=True):
        a, b = p * left_scale, q * right_scale + [left.shape[1] + gap, 0]
        ends = [tuple(int(v) for v in np.round(point * 8)) for point in (a, b)]
        shade = tuple(int(v) for v in colour)
        cv2.line(panel, ends[0], ends[1], shade, 1, cv2.LINE_AA, shift=3)
        for end in ends:
            cv2.circle(panel, end, 20, shade, -1, cv2.LINE_AA, shift=3)
    return panel


def laid_panel(source: Image, target: Image, h: Float64) -> Image:
    """The source laid on the target by `h`, in the squares of a chessboard: where the map is right, cells run on across the lines."""
    panel, scale = _fitted(target)
    height, width = panel.shape[:2]
    small, factor = _fitted(source)
    whole = resized(scale) @ h @ np.linalg.inv(resized(factor))
    warped = cv2.warpPerspective(small, whole, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    full = np.full(small.shape[:2], 255, np.uint8)
    covered = cv2.warpPerspective(full, whole, (width, height), flags=cv2.INTER_NEAREST) > 0
    rows, columns = np.mgrid[:height, :width]
    side = max(height, width) / _SQUARES
    shown = (((rows // side + columns // side) % 2).astype(bool)) & covered
    panel = np.where(shown[..., None], np.asarray(warped, np.uint8), panel)
    for k in range(1, _SQUARES):
        at = round(k * side)
        for a, b in (((at, 0), (at, height)), ((0, at), (width, at))):
            cv2.line(panel, a, b, WHITE, 1)
    return panel


def _fitted(image: Image) -> tuple[Image, float]:
    """A copy no longer than PANEL_PX, enlarged smoothly where it is smaller than a third, and the factor."""
    longest = max(image.shape[:2])
    factor = PANEL_PX / longest if longest > PANEL_PX or longest < PANEL_PX / 1.5 else 1.0
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return np.array(cv2.resize(image, size, interpolation=how), np.uint8), factor


def _draw_marks(panel: Image, marks: Sequence[Mark], scale: float) -> None:
    """Boxes, then their words on white, each beside its box: above it, else below, else inside, moved into the panel."""
    height, width = panel.shape[:2]
    for mark in marks:
        x1, y1, x2, y2 = (round(v * scale) for v in mark.box)
        cv2.rectangle(panel, (x1, y1), (x2, y2), WHITE, 4, cv2.LINE_AA)
        cv2.rectangle(panel, (x1, y1), (x2, y2), mark.colour, 2, cv2.LINE_AA)
    taken: list[tuple[int, int, int, int]] = []
    for mark in marks:
        if not mark.words:
            continue
        x1, y1, x2, y2 = (round(v * scale) for v in mark.box)
        (w, h), base = cv2.getTextSize(mark.words, _FONT, 0.4, 1)
        left = min(max(x1 - 1, 0), max(0, width - w - 5))
        places = [y1 - h - base - 4, y2 + 3, y1 + 3]
        for top in places:
            spot = (left, top, left + w + 5, top + h + base + 2)
            free = all(spot[2] <= t[0] or t[2] <= spot[0] or spot[3] <= t[1] or t[3] <= spot[1] for t in taken)
            if top >= 0 and spot[3] <= height and free:
                break
        else:
            spot = (left, max(0, places[0]), left + w + 5, max(0, places[0]) + h + base + 2)
        taken.append(spot)
        cv2.rectangle(panel, spot[:2], spot[2:], WHITE, -1)
        cv2.putText(panel, mark.words, (spot[0] + 3, spot[1] + h + 2), _FONT, 0.4, mark.colour, 1, cv2.LINE_AA)
